"""Bytes on the disk for each message that is stored, tree by tree.

    python -m bench.disk [--messages 10000]

Messages of a few to thirty words, sent by twenty members of each of eight rooms. Counted are the pages of every tree,
those included that are forgotten after a while (what a device sent, for an hour or so). Free pages are not.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path
from typing import Final

import trio

from bench.growth import MEMORY
from bench.trees import tree_bytes
from kvschema.catalog import CATALOG
from kvschema.catalog.search import TOKENIDS
from kvschema.engine.lmdb import LmdbEngine
from tests.service.sync.world import World, open_world

ROOMS: Final = 8
MEMBERS: Final = 20
VOCABULARY: Final = 5000
TARGET_BYTES: Final = 2048
TARGET_WITH_SEARCH_BYTES: Final = 3584


def _texts(count: int) -> list[str]:
    """Few words are frequent and many are rare, as in any language."""
    chosen = random.Random(1)
    words = ["".join(chosen.choices("etaoinshrdlu", k=chosen.randint(2, 9))) for _ in range(VOCABULARY)]
    weights = [1 / rank for rank in range(1, VOCABULARY + 1)]
    return [" ".join(chosen.choices(words, weights, k=chosen.randint(3, 30))) for _ in range(count)]


async def _send_all(world: World, engine: LmdbEngine, count: int) -> dict[str, int]:
    """By how many bytes each tree has grown."""
    people = [await world.user(f"user{number}") for number in range(MEMBERS)]
    rooms = [await world.room(people[0], name=f"room {number}") for number in range(ROOMS)]
    for room_id in rooms:
        for user in people[1:]:
            await world.membership.join(user, room_id)
    before = tree_bytes(engine)
    for number, text in enumerate(_texts(count)):
        await world.send(people[number % MEMBERS], rooms[number % ROOMS], f"{number} {text}")
    return {name: size - before[name] for name, size in tree_bytes(engine).items() if size > before[name]}


async def _run(count: int) -> dict[str, int]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        engine = LmdbEngine(Path(folder), [tree.name for tree in CATALOG], reserve_bytes=0)
        try:
            async with open_world(engine) as world:
                return await _send_all(world, engine, count)
        finally:
            engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Bytes on the disk for each message that is stored.")
    parser.add_argument("--messages", type=int, default=10_000)
    count = parser.parse_args().messages
    grown = trio.run(_run, count)
    for name, size in sorted(grown.items(), key=lambda item: -item[1]):
        print(f"{size / count:8.0f} bytes  {name}")
    whole = sum(grown.values()) / count
    print(f"{whole:8.0f} bytes  with the search index (target {TARGET_WITH_SEARCH_BYTES})")
    print(f"{whole - grown.get(TOKENIDS.name, 0) / count:8.0f} bytes  without it (target {TARGET_BYTES})")


if __name__ == "__main__":
    main()
