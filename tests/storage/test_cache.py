"""The object cache keeps within its bytes and never answers with a value that is not the snapshot's."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.storage.cache import ENTRY_BYTES, ObjectCache


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache(10 * (ENTRY_BYTES + 100))


def test_hits_and_misses_are_counted(cache: ObjectCache) -> None:
    assert cache.get("a", 1) is None
    cache.put("a", "A", 100, 1)
    assert [cache.get("a", 1), cache.get("a", 5)] == ["A", "A"]
    assert (cache.hits, cache.misses, len(cache), cache.bytes) == (2, 1, 1, ENTRY_BYTES + 100)


def test_least_recently_used_goes_first(cache: ObjectCache) -> None:
    for number in range(10):
        cache.put(number, number, 100, 1)
    cache.get(0, 1)
    cache.put("new", "new", 100, 1)
    assert [cache.get(key, 1) for key in (0, 1, 2, "new")] == [0, None, 2, "new"]


def test_several_are_got_as_one_by_one(cache: ObjectCache) -> None:
    cache.put("a", "A", 100, 1)
    cache.put("later", "L", 100, 7)
    for number in range(8):
        cache.put(number, number, 100, 1)
    assert cache.get_all(["a", "missing", "later"], 5) == ["A", None, None]
    assert (cache.hits, cache.misses) == (1, 2)
    cache.put("new", "new", 100, 1)
    assert cache.get_all(["a", "later"], 9) == ["A", None], "what was got stays longest"


def test_one_value_cannot_push_out_all_others(cache: ObjectCache) -> None:
    cache.put("a", "A", 100, 1)
    cache.put("large", "L", 5 * (ENTRY_BYTES + 100), 1)
    assert (cache.get("a", 1), cache.get("large", 1)) == ("A", None)


def test_full_cache_does_not_keep_the_garbage_collector_from_what_is_new() -> None:
    """Each value that is put frees another, so that the number of objects stays what it is."""
    cache = ObjectCache(30 << 20)
    young = 0
    for number in range(60_000):
        cache.put(number, [number], 700, 1)
        if number % 100 == 0:
            young = max(young, len(gc.get_objects(generation=0)))
    assert len(cache) > 25_000
    assert young < 3_000


def test_replaced_value_is_counted_once(cache: ObjectCache) -> None:
    cache.put("a", "A", 100, 1)
    cache.put("a", "B", 50, 2)
    assert (cache.get("a", 2), cache.bytes) == ("B", ENTRY_BYTES + 50)
    cache.put("a", "too large now", 10_000, 3)
    assert (cache.get("a", 3), cache.bytes) == (None, 0)


def test_older_snapshot_does_not_see_a_later_value(cache: ObjectCache) -> None:
    cache.put("a", "A", 1, 7)
    assert [cache.get("a", pos) for pos in (6, 7, 8)] == [None, "A", "A"]


def test_held_key_stays_out_until_the_last_release(cache: ObjectCache) -> None:
    cache.put("a", "A", 1, 1)
    cache.hold(["a", "b"])
    cache.hold(["a"])
    assert cache.get("a", 9) is None
    for may_put in (False, False, True):
        cache.put("a", "B", 1, 2)
        assert (cache.get("a", 9) == "B") == may_put
        if not may_put:
            cache.release(["a"])
    cache.release(["b"])
    cache.put("b", "B", 1, 2)
    assert cache.get("b", 9) == "B"


def test_clear_forgets_everything(cache: ObjectCache) -> None:
    cache.put("a", "A", 1, 1)
    cache.clear()
    assert (len(cache), cache.bytes, cache.get("a", 1)) == (0, 0, None)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2000), st.sampled_from(["put", "get", "hold", "release"]))))
def test_bytes_are_those_of_what_is_in_it_and_bounded(steps: list[tuple[int, int, str]]) -> None:
    cache = ObjectCache(5000)
    sizes: dict[int, int] = {}
    held: list[int] = []
    for key, size, what in steps:
        if what == "put":
            cache.put(key, key, size, 1)
            sizes[key] = size + ENTRY_BYTES
        elif what == "get":
            assert cache.get(key, 1) in (None, key)
        elif what == "hold":
            cache.hold([key])
            held.append(key)
        elif key in held:
            cache.release([key])
            held.remove(key)
        assert cache.bytes == sum(sizes[there] for there in range(10) if cache.get(there, 1) is not None)
        assert cache.bytes <= 5000
        assert not any(cache.get(key, 1) for key in held)
