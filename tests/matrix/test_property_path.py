from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.property_path import Path, get_property, parse_path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("type", ("type",)),
        ("content.body", ("content", "body")),
        (r"content.m\.relates_to.rel_type", ("content", "m.relates_to", "rel_type")),
        (r"content.m\\foo", ("content", r"m\foo")),
        (r"content.m\x", ("content", r"m\x")),
        (r"a\\.b", ("a\\", "b")),
        ("a\\", ("a\\",)),
        ("", ("",)),
        ("a.", ("a", "")),
        ("..", ("", "", "")),
    ],
)
def test_parse_path_splits_at_bare_dots(text: str, names: Path) -> None:
    assert parse_path(text) == names


@given(st.lists(st.text(alphabet="a.\\b\n"), min_size=1).map(tuple))
def test_parse_path_reads_back_any_names_that_were_escaped(names: Path) -> None:
    escaped = [name.replace("\\", "\\\\").replace(".", "\\.") for name in names]
    assert parse_path(".".join(escaped)) == names


def test_get_property_goes_through_objects_only() -> None:
    event = {"content": {"body": "x", "list": ["y"], "null": None}}
    assert get_property(event, ("content", "body")) == "x"
    assert get_property(event, ("content", "null"), absent=1) is None
    assert get_property(event, ("content", "list", "0"), absent=1) == 1
    assert get_property(event, ("content", "body", "x"), absent=1) == 1
    assert get_property(event, ("nothing",), absent=1) == 1
