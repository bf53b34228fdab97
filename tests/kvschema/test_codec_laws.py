"""The laws of the package docstring, for every tree there is."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvschema.catalog import CATALOG
from kvschema.catalog.timeline import EVENT, EventRow
from kvschema.codec import (
    COUNT,
    I64,
    JSON,
    KEY_BYTES_MAX,
    NOTHING,
    TEXT,
    U8,
    U64,
    Fixed,
    Key,
    KeyTooLong,
    Text,
    may_read,
    record,
)
from kvschema.errors import CorruptValue
from tests.kvschema.strategies import AnyTree, event_rows, keys, part_values, texts, u64s, values

every_tree = pytest.mark.parametrize("tree", CATALOG, ids=lambda tree: tree.name)


class Pair(NamedTuple):
    left: Any
    right: Any


@every_tree
@settings(max_examples=30)
@given(st.data())
def test_key_comes_back_and_sorts_as_its_bytes(tree: AnyTree, data: st.DataObject) -> None:
    one, other = data.draw(keys(tree.key)), data.draw(keys(tree.key))
    raw_one, raw_other = tree.key.encode(one), tree.key.encode(other)
    assert tree.key.decode(raw_one) == one
    assert type(tree.key.decode(raw_one)) is tree.key.type
    assert (raw_one < raw_other) == (one < other)
    assert (raw_one == raw_other) == (one == other)
    for width in range(len(one)):
        assert raw_one.startswith(tree.key.prefix(one[:width]))
        assert raw_other.startswith(tree.key.prefix(one[:width])) == (one[:width] == other[:width])


@every_tree
@settings(max_examples=15)
@given(st.data())
def test_value_comes_back(tree: AnyTree, data: st.DataObject) -> None:
    value = data.draw(values(tree))
    assert tree.value.decode(tree.value.encode(value)) == value


@pytest.mark.parametrize(
    "parts",
    [(Text(), Text(20)), (Text(), U64()), (U64(), Text()), (I64(), U8()), (Fixed(2), Text()), (Text(), I64())],
    ids=str,
)
@settings(max_examples=300)
@given(data=st.data())
def test_parts_side_by_side_sort_as_their_bytes(parts: tuple[Any, ...], data: st.DataObject) -> None:
    key = Key(Pair, parts)
    one, other = data.draw(keys(key)), data.draw(keys(key))
    if data.draw(st.booleans()):
        other = other._replace(left=one.left)
    assert (key.encode(one) < key.encode(other)) == (one < other)
    assert key.decode(key.encode(one)) == one


@given(st.lists(texts, min_size=2, max_size=6))
def test_texts_sort_as_their_bytes(found: list[str]) -> None:
    key = Key(Pair, (Text(), U8()))
    assert sorted(found) == sorted(found, key=lambda text: key.encode(Pair(text, 7)))


@pytest.mark.parametrize("text", ["@" + "a" * 254, "\x01" * 255, "\u00e9" * 127], ids=["ascii", "control", "two bytes"])
def test_identifier_of_255_bytes_fits(text: str) -> None:
    key = Key(Pair, (Text(), U64()))
    assert key.decode(key.encode(Pair(text, 1))) == (text, 1)


@pytest.mark.parametrize("text", ["a" * 256, "\u00e9" * 128, "\x00" * 128])
def test_longer_text_is_refused(text: str) -> None:
    with pytest.raises(KeyTooLong):
        Key(Pair, (Text(), U64())).encode(Pair(text, 1))


@pytest.mark.parametrize(
    ("part", "value"),
    [(U64(), -1), (U64(), 1 << 64), (U8(), 256), (U8(), -1), (I64(), 1 << 63), (I64(), -1 - (1 << 63))],
)
def test_number_out_of_range_is_refused(part: Any, value: int) -> None:
    with pytest.raises(OverflowError):
        Key(Pair, (part, U8())).encode(Pair(value, 0))


@pytest.mark.parametrize("value", [b"", b"123", b"12345"])
def test_digest_of_another_width_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="in a key part of 4"):
        Key(Pair, (Fixed(4), U8())).encode(Pair(value, 0))


@pytest.mark.parametrize("parts", [(U64(), U8()), (I64(), U8()), (Fixed(4), U8()), (U8(), Text())], ids=str)
@given(data=st.data())
def test_cut_or_longer_key_is_corrupt(parts: tuple[Any, ...], data: st.DataObject) -> None:
    key = Key(Pair, parts)
    raw = key.encode(Pair(*(data.draw(part_values(part)) for part in parts)))
    for broken in (raw[:-1], raw + b"x"):
        with pytest.raises(CorruptValue):
            key.decode(broken)


def test_key_width_counts_every_part() -> None:
    key = Key(Pair, (Text(20), Fixed(4)))
    assert key.bytes_max == len(key.encode(Pair("x" * 20, b"1234")))


@every_tree
def test_no_key_exceeds_the_limit(tree: AnyTree) -> None:
    assert tree.key.bytes_max <= KEY_BYTES_MAX


class Old(NamedTuple):
    name: str
    age: int


class New(NamedTuple):
    name: str
    age: int
    tags: tuple[str, ...] = ()
    is_kept: bool = True


def test_old_rows_read_new_fields_as_their_defaults() -> None:
    assert record(New).decode(record(Old).encode(Old("a", 1))) == New("a", 1, (), True)


def test_rows_with_more_fields_than_known_are_corrupt() -> None:
    with pytest.raises(CorruptValue):
        record(Old).decode(record(New).encode(New("a", 1)))


def test_rows_with_too_few_fields_are_corrupt() -> None:
    with pytest.raises(CorruptValue):
        record(New).decode(b"\x91\xa1a")


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x92\x01", b"\x93abcd"])
def test_bytes_that_are_no_record_are_corrupt(raw: bytes) -> None:
    with pytest.raises(CorruptValue):
        record(Old).decode(raw)


@pytest.mark.parametrize(("value", "raw"), [(COUNT, b"123"), (NOTHING, b"x"), (TEXT, b"\xff"), (JSON, b"{")])
def test_bytes_that_no_writer_made_are_corrupt(value: Any, raw: bytes) -> None:
    with pytest.raises(CorruptValue):
        value.decode(raw)


@given(event_rows, st.data())
def test_event_row_cut_short_is_corrupt(row: EventRow, data: st.DataObject) -> None:
    raw = EVENT.encode(row)
    end = data.draw(st.integers(0, len(raw) - len(row.federation) - 1))
    with pytest.raises(CorruptValue):
        EVENT.decode(raw[:end])


@given(u64s)
def test_count_is_eight_bytes(number: int) -> None:
    assert len(COUNT.encode(number)) == 8


@pytest.mark.parametrize(
    ("stored", "spec"),
    [
        ("raw", "raw"),
        ("record(a, b)", "record(a, b, c=)"),
        ("record(a, b)", "record(a, b, c=, d=)"),
        ("record(a, b)", "record(a, b=)"),
        ("record(a, b=)", "record(a, b=, c=)"),
    ],
)
def test_record_may_grow_at_its_end(stored: str, spec: str) -> None:
    assert may_read(stored, spec)


@pytest.mark.parametrize(
    ("stored", "spec"),
    [
        ("raw", "text"),
        ("record(a, b)", "record(a, b, c)"),
        ("record(a, b, c=)", "record(a, b)"),
        ("record(a, b)", "record(b, a)"),
        ("record(a)", "record(ab)"),
        ("record(a, b=)", "record(a, b)"),
        ("record(a)", "record(x=, a)"),
        ("raw", "record(a=)"),
    ],
)
def test_other_changes_of_a_codec_are_told(stored: str, spec: str) -> None:
    assert not may_read(stored, spec)
