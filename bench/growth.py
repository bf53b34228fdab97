"""How what is done often grows with what is stored: Python calls at three sizes.

    python -m bench.growth

Calls of functions, those in C among them, are the same on a busy machine and on an idle one. Each line is one operation
against one size: *constant* must not grow with it (by more than ``SLACK``), *linear* may, but no faster. Ends with 1 if
anything grows faster than it may.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from conduit_py.data import members
from conduit_py.data.members import MemberChange
from conduit_py.data.short_ids import get_room
from conduit_py.matrix.filters import parse_sync_filter
from conduit_py.matrix.ids import RoomId, ServerName, UserId
from conduit_py.matrix.sync_token import parse_sync_token
from conduit_py.service.requester import Requester
from conduit_py.service.sync.since import SyncRequest
from kvschema.catalog import CATALOG
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortEventId, StreamPos
from kvschema.engine.lmdb import LmdbEngine
from tests.service.sync.world import World, open_world

SLACK: Final = 1.15
"""Tables get deeper, and lists a little longer."""
WARM_UP: Final = 3
COUNTED: Final = 10
LAZY: Final = parse_sync_filter({"room": {"state": {"lazy_load_members": True}}})
LONG: Final = parse_sync_filter({"room": {"timeline": {"limit": 500}}})
MEMORY: Final = Path("/dev/shm")
"""Where there is such a thing: filling stores takes many commits, and no time is measured."""

Operation = Callable[[], Awaitable[object]]
Setting = Callable[[World, int], Awaitable[Operation]]


@dataclass(frozen=True, slots=True)
class Case:
    what: str
    against: str
    is_linear: bool
    sizes: tuple[int, int, int]
    begin: Setting

    def is_right(self, calls: list[float]) -> bool:
        """No faster than allowed, from each size to the next."""
        pairs = zip(self.sizes, self.sizes[1:], calls, calls[1:], strict=False)
        return all(
            after <= before * SLACK * (larger / size if self.is_linear else 1) for size, larger, before, after in pairs
        )


async def _people(world: World, count: int) -> tuple[list[Requester], RoomId]:
    """A room with so many members."""
    people = [await world.user(f"user{number}") for number in range(max(count, 2))]
    room_id = await world.room(people[0], name="The room")
    for user in people[1:]:
        await world.membership.join(user, room_id)
    return people, room_id


async def _talk(world: World, people: list[Requester], room_id: RoomId, count: int) -> None:
    for number in range(count):
        await world.send(people[number % len(people)], room_id, f"before {room_id} {number}")


def _sender(world: World, people: list[Requester], room_id: RoomId) -> Operation:
    sent = iter(range(10**6))

    async def send() -> None:
        await world.send(people[0], room_id, f"counted {next(sent)}")

    return send


async def send_by_events(world: World, size: int) -> Operation:
    people, room_id = await _people(world, 5)
    await _talk(world, people, room_id, size)
    return _sender(world, people, room_id)


async def send_by_rooms(world: World, size: int) -> Operation:
    people, room_id = await _people(world, 5)
    for number in range(size):
        await world.room(people[number % 5], name=f"room {number}")
    return _sender(world, people, room_id)


async def send_by_local_members(world: World, size: int) -> Operation:
    return _sender(world, *await _people(world, size))


async def send_by_remote_members(world: World, size: int) -> Operation:
    people, room_id = await _people(world, 5)
    async with world.store.writer.turn() as turn:
        with world.store.snapshot() as snapshot:
            room = get_room(snapshot, room_id)
            assert room is not None
            for number in range(size):
                user_id = UserId(f"@user{number}:two.test")
                change = MemberChange(
                    room=room,
                    user=world.store.ids.intern_user(snapshot, turn, user_id),
                    server_name=ServerName("two.test"),
                    is_local=False,
                    before=None,
                    after=JOIN,
                    event=ShortEventId(1),
                    pos=StreamPos(turn.take_pos()),
                    sender=user_id,
                )
                members.stage_member(turn, change, None)
    return _sender(world, people, room_id)


async def _token(world: World, reader: Requester) -> str:
    return str((await world.sync(reader))["next_batch"])


def _syncer(world: World, reader: Requester, since: str | None, **options: Any) -> Operation:
    token = None if since is None else parse_sync_token(since)

    async def sync() -> None:
        await world.syncs.sync(reader, SyncRequest(since=token, **options))

    return sync


async def idle_sync_by_events(world: World, size: int) -> Operation:
    people, room_id = await _people(world, 5)
    await _talk(world, people, room_id, size)
    return _syncer(world, people[1], await _token(world, people[1]))


async def idle_sync_by_members(world: World, size: int) -> Operation:
    people, _ = await _people(world, size)
    return _syncer(world, people[1], await _token(world, people[1]))


async def sync_by_news(world: World, size: int) -> Operation:
    people, room_id = await _people(world, 5)
    since = await _token(world, people[1])
    await _talk(world, people, room_id, size)
    return _syncer(world, people[1], since, filter=LONG)


async def sync_by_members(world: World, size: int) -> Operation:
    people, room_id = await _people(world, size)
    since = await _token(world, people[1])
    await _talk(world, people[:1], room_id, 5)
    return _syncer(world, people[1], since)


async def initial_by_events(world: World, size: int) -> Operation:
    people, room_id = await _people(world, 5)
    await _talk(world, people, room_id, size)
    return _syncer(world, people[1], None)


async def lazy_initial_by_members(world: World, size: int) -> Operation:
    people, room_id = await _people(world, size)
    await _talk(world, people[:3], room_id, 15)
    return _syncer(world, people[1], None, filter=LAZY)


async def lazy_initial_by_rooms(world: World, size: int) -> Operation:
    people = [await world.user(f"user{number}") for number in range(3)]
    for number in range(size):
        room_id = await world.room(people[0], name=f"room {number}")
        for user in people[1:]:
            await world.membership.join(user, room_id)
        await _talk(world, people, room_id, 12)
    return _syncer(world, people[1], None, filter=LAZY)


async def initial_by_members(world: World, size: int) -> Operation:
    people, room_id = await _people(world, size)
    await _talk(world, people[:3], room_id, 15)
    return _syncer(world, people[1], None)


MANY: Final = (100, 400, 1600)
SOME: Final = (10, 40, 160)
CASES: Final = (
    Case("send", "events in the room", False, MANY, send_by_events),
    Case("send", "rooms stored", False, SOME, send_by_rooms),
    Case("send", "members of other servers", False, MANY, send_by_remote_members),
    Case("send", "local members", True, SOME, send_by_local_members),
    Case("sync, nothing new", "events in the room", False, MANY, idle_sync_by_events),
    Case("sync, nothing new", "members", False, SOME, idle_sync_by_members),
    Case("sync, five messages new", "members", False, SOME, sync_by_members),
    Case("sync", "events that are new", True, SOME, sync_by_news),
    Case("initial sync", "events in the room", False, MANY, initial_by_events),
    Case("initial sync, lazy members", "members", False, SOME, lazy_initial_by_members),
    Case("initial sync, lazy members", "rooms", True, SOME, lazy_initial_by_rooms),
    Case("initial sync", "members", True, SOME, initial_by_members),
)


async def count_calls(operation: Operation) -> float:
    """Of one time, when what can be cached is."""
    for _ in range(WARM_UP):
        await operation()
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(COUNTED):
        await operation()
    profile.disable()
    return float(pstats.Stats(profile).total_calls) / COUNTED  # type: ignore[attr-defined]


async def measure(case: Case, size: int) -> float:
    """In a store of its own."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        engine = LmdbEngine(Path(folder), [tree.name for tree in CATALOG], reserve_bytes=0)
        try:
            async with open_world(engine) as world:
                return await count_calls(await case.begin(world, size))
        finally:
            engine.close()


def main() -> None:
    failed = False
    for case in CASES:
        calls = [trio.run(measure, case, size) for size in case.sizes]
        failed = failed or not case.is_right(calls)
        found = ", ".join(f"{number:.0f} at {size}" for number, size in zip(calls, case.sizes, strict=True))
        allowed = "linear" if case.is_linear else "constant"
        verdict = "ok" if case.is_right(calls) else "GROWS FASTER"
        print(f"{case.what:27} {case.against:25} {allowed:9} {verdict:13} {found}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
