"""Entries of lists in a JSON object, found without parsing it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.canonical_json import NotJson
from conduit_py.matrix.json_parts import BYTES_BETWEEN_BRACKETS_MAX, PARTS_MAX, SKELETON_BYTES_MAX, find_parts

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(alphabet=st.characters(codec="utf-8"))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8
)


@given(st.dictionaries(st.text(alphabet=st.characters(codec="utf-8"), max_size=5), VALUES), st.booleans())
def test_parts_put_together_are_the_object(value: dict[str, Any], is_spaced: bool) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2 if is_spaced else None).encode()
    parts = find_parts(text, entries_max=100)
    whole = {**parts.members, **{name: parts.parse_part(name) for name in parts.parts}}
    assert whole == value
    for name, part in value.items():
        if isinstance(part, list):
            entries = [entry for entry in part if isinstance(entry, list | dict)]
            assert [parts.parse(span) for span in parts.get_entries(name)] == entries


def test_brackets_and_quotes_in_strings_are_no_brackets() -> None:
    parts = find_parts(b' {"a}": [{"b]": "\\"}]", "c": [{}]}, 7, []] , "d": 1}\n', entries_max=2)
    assert [parts.parse(span) for span in parts.get_entries("a}")] == [{"b]": '"}]', "c": [{}]}, []]
    assert parts.members == {"d": 1}
    assert parts.get_entries("d") == []
    assert parts.parse_part("d") is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"7",
        b"[]",
        b'["a"]',
        b'{"a":[}',
        b'{"a":[]',
        b'{"a":[]}}',
        b'{"a":[]} x',
        b'x{"a":[]}',
        b'{"a":"',
        b'{"a" [] }',
        b"]",
        b'{"a":["}',
        b'{"a":' + b'"x",' * SKELETON_BYTES_MAX + b"}",
    ],
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(NotJson):
        find_parts(text, entries_max=10)


def test_too_many_entries_are_refused() -> None:
    assert len(find_parts(b'{"a":[{},{}],"b":[{}]}', entries_max=3).parts) == 2
    with pytest.raises(NotJson, match="more than 2"):
        find_parts(b'{"a":[{},{}],"b":[{}]}', entries_max=2)


def test_text_that_breaks_off_is_looked_through_once() -> None:
    """A megabyte of an unfinished string takes no time: it is not tried from every place."""
    with pytest.raises(NotJson):
        find_parts(b'{"a":"' + b"x" * 1_000_000, entries_max=1)


def test_too_many_members_or_too_long_ones_are_none() -> None:
    members = [b'"%d":[]' % number for number in range(PARTS_MAX + 1)]
    assert len(find_parts(b"{%b}" % b",".join(members[1:]), entries_max=1).parts) == PARTS_MAX
    for text in (b"{%b}" % b",".join(members), b'{"a":[%b""]}' % (b'"",' * (BYTES_BETWEEN_BRACKETS_MAX // 3))):
        with pytest.raises(NotJson):
            find_parts(text, entries_max=1)
