"""What every engine promises: the memory engine may stand in for LMDB because it passes the same tests."""

from __future__ import annotations

from itertools import product

import lmdb
import pytest

from kvschema.batch import PUT, Write, WriteBatch
from kvschema.engine import Engine
from kvschema.errors import BatchRefused, PreconditionFailed
from tests.kvschema.sample import BYTES, COUNTS, NAMED, TIMELINE, Byte, Name, Place, apply, everything, land, rows


def batch_of(*names: str) -> WriteBatch:
    batch = WriteBatch()
    for name in names:
        batch.put(NAMED, Name(name), name.upper())
    return batch


def names(engine: Engine) -> list[str]:
    with engine.snapshot() as reader:
        return [key.name for key in NAMED.scan_keys(reader)]


def loose(*keys: bytes) -> WriteBatch:
    batch = WriteBatch()
    batch.writes.extend(Write(PUT, "loose", key, b"v") for key in keys)
    return batch


def test_row_is_there_once_it_landed(engine: Engine) -> None:
    land(engine, batch_of("alice"))
    with engine.snapshot() as reader:
        assert NAMED.get(reader, Name("alice")) == "ALICE"
        assert NAMED.get(reader, Name("bob")) is None
        assert NAMED.has(reader, Name("alice"))
        assert not NAMED.has(reader, Name("bob"))


def test_text_too_long_for_its_column_is_in_no_row(engine: Engine) -> None:
    with engine.snapshot() as reader:
        assert NAMED.get(reader, Name("a" * 300)) is None
        assert not NAMED.has(reader, Name("a" * 300))
        assert list(NAMED.scan(reader, "a" * 300)) == []


def test_put_replaces(engine: Engine) -> None:
    batch = batch_of("a")
    batch.put(NAMED, Name("a"), "later")
    land(engine, batch)
    assert rows(engine, "named") == [(b"a\x00\x00", b"later")]


def test_put_same_writes_every_row_in_its_turn(engine: Engine) -> None:
    batch = batch_of("a")
    batch.put_same(NAMED, [NAMED.key.encode(Name(name)) for name in "abc"], "same")
    batch.delete(NAMED, Name("b"))
    batch.put_same(NAMED, [], "none")
    land(engine, batch)
    assert rows(engine, "named") == [(b"a\x00\x00", b"same"), (b"c\x00\x00", b"same")]


def test_delete_removes_and_may_miss(engine: Engine) -> None:
    land(engine, batch_of("a", "b"))
    batch = WriteBatch()
    batch.delete(NAMED, Name("a"))
    batch.delete(NAMED, Name("never there"))
    land(engine, batch)
    assert names(engine) == ["b"]


def test_writes_of_a_batch_apply_in_order(engine: Engine) -> None:
    batch = batch_of("a")
    batch.delete(NAMED, Name("a"))
    batch.require_absent(NAMED, Name("a"))
    batch.put(NAMED, Name("a"), "last")
    batch.require(NAMED, Name("a"), "last")
    land(engine, batch)
    assert rows(engine, "named") == [(b"a\x00\x00", b"last")]


def test_batch_sees_those_before_it(engine: Engine) -> None:
    second = batch_of("b")
    second.require(NAMED, Name("a"), "A")
    assert engine.apply([batch_of("a"), second]) == [None, None]


def test_refused_batch_leaves_no_trace_and_harms_nobody(engine: Engine) -> None:
    bad = batch_of("bad")
    bad.delete(NAMED, Name("a"))
    bad.add(COUNTS, Name("n"), 5)
    bad.put(TIMELINE, Place(1, 2), b"x")
    bad.require(NAMED, Name("b"), "not this")
    outcomes = engine.apply([batch_of("a"), bad, batch_of("b")])
    assert [type(outcome) for outcome in outcomes] == [type(None), PreconditionFailed, type(None)]
    assert names(engine) == ["a", "b"]
    assert rows(engine, "counts") == rows(engine, "timeline") == []


def test_refused_batch_restores_what_it_had_changed(engine: Engine) -> None:
    start = batch_of("a", "b")
    start.add(COUNTS, Name("n"), 2)
    land(engine, start)
    before = everything(engine)

    bad = WriteBatch()
    for text in ("one", "two"):
        bad.put(NAMED, Name("a"), text)
    bad.delete(NAMED, Name("a"))
    bad.put(NAMED, Name("new"), "x")
    bad.delete(NAMED, Name("b"))
    bad.put(NAMED, Name("b"), "y")
    bad.add(COUNTS, Name("n"), -2)
    bad.add(COUNTS, Name("n"), -1)
    assert isinstance(apply(engine, bad), BatchRefused)
    assert everything(engine) == before


def test_batch_whose_precondition_fails_is_refused(engine: Engine) -> None:
    land(engine, batch_of("a"))
    changed, missing, present = batch_of("x"), batch_of("x"), batch_of("x")
    changed.require(NAMED, Name("a"), "other")
    missing.require(NAMED, Name("nobody"), "A")
    present.require_absent(NAMED, Name("a"))
    assert [type(outcome) for outcome in engine.apply([changed, missing, present])] == [PreconditionFailed] * 3
    assert names(engine) == ["a"]


def test_required_empty_value_is_not_an_absent_row(engine: Engine) -> None:
    batch = WriteBatch()
    batch.require(TIMELINE, Place(1, 1), b"")
    assert isinstance(apply(engine, batch), PreconditionFailed)
    batch = WriteBatch()
    batch.put(TIMELINE, Place(1, 1), b"")
    batch.require(TIMELINE, Place(1, 1), b"")
    land(engine, batch)


def test_count_goes_with_its_last(engine: Engine) -> None:
    for difference, total in ((3, 3), (-1, 2), (-2, None), (1, 1)):
        batch = WriteBatch()
        batch.add(COUNTS, Name("n"), difference)
        land(engine, batch)
        with engine.snapshot() as reader:
            assert COUNTS.get(reader, Name("n")) == total


def test_count_below_zero_is_refused(engine: Engine) -> None:
    batch = WriteBatch()
    batch.add(COUNTS, Name("n"), 1)
    batch.add(COUNTS, Name("n"), -2)
    assert isinstance(apply(engine, batch), BatchRefused)
    assert rows(engine, "counts") == []


@pytest.mark.parametrize("width", [0, 512])
def test_key_that_does_not_fit_is_refused(engine: Engine, width: int) -> None:
    outcomes = engine.apply([loose(b"a"), loose(b"b", b"k" * width), loose(b"c")])
    assert [type(outcome) for outcome in outcomes] == [type(None), BatchRefused, type(None)]
    assert rows(engine, "loose") == [(b"a", b"v"), (b"c", b"v")]


def test_widest_key_is_accepted(engine: Engine) -> None:
    land(engine, loose(b"k" * 511, b"\xff" * 511))
    assert [len(key) for key, _ in rows(engine, "loose")] == [511, 511]


@pytest.mark.parametrize("size", [0, 2000, 5000, 300_000, 3_000_000])
def test_values_of_any_size_come_back(engine: Engine, size: int) -> None:
    batch = WriteBatch()
    batch.put(TIMELINE, Place(1, 1), bytes(size))
    land(engine, batch)
    with engine.snapshot() as reader:
        assert TIMELINE.get(reader, Place(1, 1)) == bytes(size)


def test_snapshot_does_not_see_what_lands_after_it(engine: Engine) -> None:
    land(engine, batch_of("a"))
    with engine.snapshot() as before:
        batch = batch_of("b")
        batch.put(NAMED, Name("a"), "changed")
        batch.put(TIMELINE, Place(1, 1), b"x")
        land(engine, batch)
        assert list(NAMED.scan(before)) == [(Name("a"), "A")]
        assert before.count("named") == 1
        assert TIMELINE.get(before, Place(1, 1)) is None
        with engine.snapshot() as after:
            assert list(NAMED.scan(after)) == [(Name("a"), "changed"), (Name("b"), "B")]
            assert after.count("named") == 2
    assert names(engine) == ["a", "b"]


def test_snapshots_of_one_version_show_the_same(engine: Engine) -> None:
    land(engine, batch_of("a"))
    with engine.snapshot() as first, engine.snapshot() as second:
        assert first.version == second.version
        land(engine, batch_of("b"))
        with engine.snapshot() as third:
            assert third.version > first.version == second.version


def test_closed_snapshot_cannot_be_read(engine: Engine) -> None:
    land(engine, batch_of("a"))
    with engine.snapshot() as reader:
        pass
    with pytest.raises((RuntimeError, lmdb.Error)):
        NAMED.get(reader, Name("a"))


def test_scan_may_be_left_early(engine: Engine) -> None:
    land(engine, batch_of("a", "b", "c"))
    with engine.snapshot() as reader:
        found = NAMED.scan(reader)
        assert next(found) == (Name("a"), "A")
    land(engine, batch_of("d"))


def test_empty_tree_has_no_rows(engine: Engine) -> None:
    with engine.snapshot() as reader:
        assert reader.count("named") == 0
        assert list(NAMED.scan(reader)) == list(NAMED.scan(reader, reverse=True)) == []
        assert list(NAMED.scan(reader, "a")) == list(NAMED.scan(reader, after=Name("a"), reverse=True)) == []


def test_appended_rows_may_come_out_of_order(engine: Engine) -> None:
    batch = WriteBatch()
    for pos in (5, 7, 6, 7, 1, 9):
        batch.put(TIMELINE, Place(1, pos), str(pos).encode())
    land(engine, batch)
    later = WriteBatch()
    for pos in (2, 10):
        later.put(TIMELINE, Place(1, pos), str(pos).encode())
    land(engine, later)
    with engine.snapshot() as reader:
        assert [key.pos for key in TIMELINE.scan_keys(reader)] == [1, 2, 5, 6, 7, 9, 10]


# Scans over every combination of bounds. 255 in the left byte makes a prefix of 0xff, which nothing comes after.
CORNERS = (0, 1, 128, 254, 255)
BOUNDS = (None, *(Byte(*corner) for corner in product((0, 1, 254, 255), (0, 1, 255))))


@pytest.mark.parametrize("leading", [(), (0,), (1,), (2,), (255,), (255, 255), (1, 3)], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_finds_what_lies_between_its_bounds(engine: Engine, leading: tuple[int, ...], reverse: bool) -> None:
    held = [Byte(left, right) for left, right in product(CORNERS, CORNERS)]
    batch = WriteBatch()
    for key in held:
        batch.put(BYTES, key, bytes(key))
    land(engine, batch)
    with engine.snapshot() as reader:
        for after, until in product(BOUNDS, BOUNDS):
            if reverse:
                wanted = [key for key in held if (after is None or key < after) and (until is None or key >= until)]
            else:
                wanted = [key for key in held if (after is None or key > after) and (until is None or key <= until)]
            wanted = [key for key in wanted if key[: len(leading)] == leading]
            found = list(BYTES.scan(reader, *leading, after=after, until=until, reverse=reverse))
            assert found == [(key, bytes(key)) for key in (reversed(wanted) if reverse else wanted)], (after, until)


@pytest.mark.parametrize("prefix", [b"", b"a", b"b", b"\xff", b"\xff\xff", b"a\xff", b"\xff\x00"])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_by_raw_prefix(engine: Engine, prefix: bytes, reverse: bool) -> None:
    held = sorted([b"a", b"a\xff", b"a\xff\xff", b"b", b"\xfe\xff", b"\xff", b"\xff\x00", b"\xff\xff", b"\xff" * 511])
    land(engine, loose(*held))
    with engine.snapshot() as reader:
        found = [key for key, _ in reader.scan("loose", prefix, b"", b"", reverse)]
    wanted = [key for key in held if key.startswith(prefix)]
    assert found == (wanted[::-1] if reverse else wanted)


def test_values_are_counted_below_a_prefix(engine: Engine) -> None:
    batch = WriteBatch()
    for pos, value in enumerate([b"a", b"b", b"a", b"a"]):
        batch.put(TIMELINE, Place(1, pos), value)
    batch.put(TIMELINE, Place(2, 0), b"a")
    land(engine, batch)
    with engine.snapshot() as reader:
        assert TIMELINE.count_values(reader, 1) == {b"a": 3, b"b": 1}
        assert TIMELINE.count_values(reader, 3) == {}
