"""What codecs cost: a typed get against the raw lmdb get it wraps, and encoding a key of every tree.

``python -m bench.codec [--check] [--rows N]``; with ``--check`` it fails where a budget is exceeded.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database
from kvschema.batch import WriteBatch
from kvschema.catalog import CATALOG, rooms, timeline
from kvschema.codec import I64, U8, Fixed, KeyPart, Text
from kvschema.engine.lmdb import LmdbEngine
from kvschema.tree import Tree

GET_RATIO_MAX = 3.0
"""A typed get without decoding its value (``Tree.has``), measured through a snapshot, in raw gets."""
ENCODE_US_MAX = 1.5
READS = 100_000
ROUNDS = 7
ROOMS = 200


def best_us(function: Callable[[], None], calls: int) -> float:
    """Microseconds a call, in the fastest of some rounds: the others were disturbed."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        function()
        found.append(time.perf_counter() - began)
    return min(found) / calls * 1e6


def fill(engine: LmdbEngine, count: int) -> None:
    """A timeline as a busy year leaves it, and the events by their ids."""
    start_us = 1_700_000_000_000_000
    for first in range(0, count, 20_000):
        batch = WriteBatch()
        for number in range(first, min(first + 20_000, count)):
            pos = start_us + number
            batch.put(timeline.PDUID_SHORTEVENTID, timeline.PduId(room_of(number), pos), pos)
            batch.put(timeline.EVENTID_SHORTEVENTID, timeline.ByEventId(event_id(number)), pos)
        assert engine.apply([batch]) == [None]


def room_of(number: int) -> rooms.ShortRoomId:
    return rooms.ShortRoomId(1_600_000_000_000_000 + number % ROOMS)


def event_id(number: int) -> str:
    return f"${random.Random(number).getrandbits(256):043x}"[:44]


def measure_gets(engine: LmdbEngine, count: int) -> float:
    """Print what gets cost, and return the worst ratio of a typed get to a raw one."""
    chosen = random.Random(1).choices(range(count), k=READS)
    pdu_ids = [timeline.PduId(room_of(number), 1_700_000_000_000_000 + number) for number in chosen]
    event_ids = [timeline.ByEventId(event_id(number)) for number in chosen]
    worst = 0.0
    with Database(engine, ObjectCache(1)).snapshot() as snapshot:
        for tree, keys in ((timeline.PDUID_SHORTEVENTID, pdu_ids), (timeline.EVENTID_SHORTEVENTID, event_ids)):
            any_tree: Tree[Any, int] = tree
            raw_us = measure_raw(engine, any_tree, keys)

            def has(any_tree: Tree[Any, int] = any_tree, keys: list[Any] = keys) -> None:
                for key in keys:
                    any_tree.has(snapshot, key)

            def get(any_tree: Tree[Any, int] = any_tree, keys: list[Any] = keys) -> None:
                for key in keys:
                    any_tree.get(snapshot, key)

            has_us, get_us = best_us(has, READS), best_us(get, READS)
            ratio = has_us / raw_us
            worst = max(worst, ratio)
            print(f"{tree.name:24} raw {raw_us:.2f} us, typed {has_us:.2f} us ({ratio:.2f}x), decoded {get_us:.2f} us")
    return worst


def measure_raw(engine: LmdbEngine, tree: Tree[Any, int], keys: list[Any]) -> float:
    raw_keys = [tree.key.encode(key) for key in keys]
    database = engine._trees[tree.name]
    with engine._env.begin() as transaction:

        def get() -> None:
            for raw_key in raw_keys:
                transaction.get(raw_key, db=database)

        return best_us(get, READS)


def example(part: KeyPart) -> Any:
    match part:
        case U8():
            return 3
        case I64():
            return -1_700_000_000_000_000
        case Fixed(width):
            return b"\xa5" * width
        case Text(bytes_max):
            return "@alice.liddell:matrix.example.org"[:bytes_max]
        case _:
            return 1_700_000_000_000_000


def measure_encoding() -> float:
    """Print what encoding a key costs in every tree, slowest last, and return the slowest."""
    found = []
    for tree in CATALOG:
        key, encode = tree.key.type(*map(example, tree.key.parts)), tree.key.encode

        def run(encode: Callable[[Any], bytes] = encode, key: Any = key) -> None:
            for _ in range(20_000):
                encode(key)

        found.append((best_us(run, 20_000), tree.name))
    for cost_us, name in sorted(found):
        print(f"{name:32} {cost_us:.2f} us")
    return max(found)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a budget is exceeded")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    encode_us = measure_encoding()
    names = [tree.name for tree in CATALOG]
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(LmdbEngine(Path(directory) / "db", names)) as engine,
    ):
        fill(engine, options.rows)
        ratio = measure_gets(engine, options.rows)
    print(f"slowest key {encode_us:.2f} us (budget {ENCODE_US_MAX}), typed get {ratio:.2f}x (budget {GET_RATIO_MAX})")
    if options.check and (encode_us > ENCODE_US_MAX or ratio > GET_RATIO_MAX):
        sys.exit("a budget is exceeded")


if __name__ == "__main__":
    main()
