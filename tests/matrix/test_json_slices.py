"""Large JSON in slices is what it is as a whole, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conduit_py.matrix import json_slices
from conduit_py.matrix.canonical_json import NotJson, encode_canonical_json, parse_json
from conduit_py.matrix.ids import Malformed
from conduit_py.matrix.json_slices import Slices, encode_in_slices, parse_in_slices

TEXTS = st.text(alphabet=st.sampled_from('ab"\\[]{},: \né😀'), max_size=30)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=30)
CONTAINERS = st.lists(VALUES) | st.dictionaries(TEXTS, VALUES)


def finish(slices: Slices[Any]) -> tuple[Any, int]:
    """What is returned, and how often others had their turn."""
    turns = 0
    while True:
        try:
            next(slices)
            turns += 1
        except StopIteration as done:
            return done.value, turns


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_slices, "PIECE_BYTES", 10)


every_text = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@every_text
@given(CONTAINERS, st.sampled_from([None, 1]))
def test_whole_is_what_the_pieces_are(value: Any, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=indent is None, indent=indent).encode()
    assert finish(parse_in_slices(text))[0] == value
    assert finish(encode_in_slices(text))[0] == encode_canonical_json(value, strict=False)


@every_text
@given(CONTAINERS, st.data())
def test_text_that_is_broken_anywhere_is_what_the_parser_says(value: Any, data: st.DataObject) -> None:
    """With a character taken out, put in, or put in the place of another."""
    text = json.dumps(value, ensure_ascii=False).encode()
    at = data.draw(st.integers(0, len(text)))
    until = data.draw(st.integers(at, min(at + 1, len(text))))
    text = text[:at] + data.draw(st.sampled_from([b"", *(b"%c" % it for it in b'",[]{}:1 \\')])) + text[until:]
    try:
        told = parse_json(text)
    except NotJson:
        told = None
    try:
        read = finish(parse_in_slices(text))[0]
    except NotJson:
        read = None
    assert read == (told if isinstance(told, dict | list) else None)


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"1", b'"a"', b"[", b"]", b"[}", b"[1,,2]", b"[,1]", b"[[[1]],]", b"[[[1]]1]", b"[[[1]][1]]",
        b"[1[[1]]]", b'{"a" [[1]]}', b'{"a":1 "b":[[1]]}', b"{[[1]]}", b'{"a":[[1]],}', b"[[1]] [", b'["aaaaaaaaaaaaa',
        b'{"a":[[1]]:1}', b'[[[1]]"b"]', b"[[[1111111111111111]]}",
    ],
)  # fmt: skip
def test_what_is_no_json_is_none(text: bytes) -> None:
    for read in (parse_in_slices, encode_in_slices):
        with pytest.raises(NotJson):
            finish(read(text))


def test_the_last_of_two_members_of_one_name_counts() -> None:
    text = b'{"a":[[1,2,3,4,5,6,7]],"b":"xxxxxxxxxxxx","a":[[2]],"a":[[3,3,3,3,3,3,3,3]]}'
    assert finish(parse_in_slices(text))[0] == json.loads(text)
    assert finish(encode_in_slices(text))[0] == encode_canonical_json(json.loads(text), strict=False)


@pytest.mark.parametrize("nested", [b"[" * 200 + b"]" * 200, b'{"a":' * 200 + b"1" + b"}" * 200])
def test_what_is_nested_too_deeply_is_none(nested: bytes) -> None:
    finish(parse_in_slices(nested))
    with pytest.raises(NotJson, match="deeper than 200"):
        finish(parse_in_slices(b"[1," + nested + b"]"))


def test_what_has_too_much_in_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VALUES_MAX", "CONTAINERS_MAX", "ENCODED_VALUES_MAX", "MEMBERS_MAX", "ENTRY_BYTES_MAX"):
        monkeypatch.setattr(json_slices, name, 100)
    finish(parse_in_slices(b"[%b1]" % (b"1," * 90)))
    with pytest.raises(NotJson, match="too many values"):
        finish(parse_in_slices(b"[%b1]" % (b"1," * 110)))
    with pytest.raises(NotJson, match="too many values"):
        finish(encode_in_slices(b"[%b]" % b",".join([b"[[]]"] * 60)))
    members = b",".join(b'"%d":1' % number for number in range(110))
    with pytest.raises(NotJson, match=r"too many values|more than 100 members"):
        finish(encode_in_slices(b"{%b}" % members))
    for long in (b'["%b"]' % (b"x" * 200), b"[%b]" % (b"1" * 200), b"[%b]" % (b" " * 200)):
        with pytest.raises(NotJson, match=r"longer than 100|too long"):
            finish(parse_in_slices(long))


@pytest.mark.parametrize("entry", [b"[]", b"{}", b"1", b'"a"', b'{"a":[[]]}', b"[[[]],1]", b"[" * 90 + b"]" * 90])
def test_others_have_their_turn_after_a_few_pieces(monkeypatch: pytest.MonkeyPatch, entry: bytes) -> None:
    monkeypatch.setattr(json_slices, "PIECE_BYTES", 1000)
    text = b"[%b]" % b",".join([entry] * (100_000 // len(entry)))
    for read in (parse_in_slices, encode_in_slices):
        value, turns = finish(read(text))
        assert turns >= len(text) // 3000
        assert (parse_json(value) if isinstance(value, bytes) else value) == parse_json(text)


def test_what_has_no_canonical_form_is_malformed() -> None:
    with pytest.raises(Malformed):
        finish(encode_in_slices(b'{"a":[[1e999]],"b":[1,2,3,4,5,6,7]}'))
