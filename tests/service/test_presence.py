"""What it costs when many are around, and when many go at once."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from conduit_py.service.presence import PresenceService
from conduit_py.service.requester import Requester
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import USERROOMID_MEMBERSHIP
from tests.rig.sending import make_presence
from tests.service.sync.world import SERVER_NAME, World, open_world

PEOPLE = 6


async def meet(world: World) -> tuple[PresenceService, list[Requester]]:
    """People who share a room."""
    people = [await world.user(f"user{number}") for number in range(PEOPLE)]
    room_id = await world.room(people[0])
    for person in people[1:]:
        await world.membership.join(person, room_id)
    return make_presence(world.store, world.hub, SERVER_NAME, world.typing, is_local=True), people


async def test_everybody_has_a_turn_between_two_who_go(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        service, people = await meet(world)
        for person in people:
            service.note_activity(person)
        told: list[str] = []
        monkeypatch.setattr(service, "_note_change", lambda known: told.append(known.user_id))
        in_a_turn: list[int] = []

        async def others() -> None:
            while sum(in_a_turn) < PEOPLE:
                await trio.lowlevel.checkpoint()
                in_a_turn.append(len(told) - sum(in_a_turn))

        await trio.sleep(61)  # nobody is currently active any more
        nursery.start_soon(others)
        nursery.start_soon(service.run)
        while sum(in_a_turn) < PEOPLE:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert set(told) == {person.user_id for person in people}
    assert max(in_a_turn) <= 2


async def test_a_change_reads_the_rooms_of_its_user_only(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with open_world() as world:
        service, people = await meet(world)
        for number in range(10):
            await world.room(people[1], name=f"elsewhere {number}")
        read: list[str] = []
        enter = Snapshot.__enter__

        def watched(snapshot: Snapshot) -> Snapshot:
            entered = enter(snapshot)
            get, scan = entered.get, entered.scan

            def counted_get(tree: str, key: bytes) -> bytes | None:
                read.append(tree)
                return get(tree, key)

            def counted_scan(tree: str, *bounds: object) -> object:
                read.append(tree)
                return scan(tree, *bounds)  # type: ignore[arg-type]

            monkeypatch.setattr(entered, "get", counted_get)
            monkeypatch.setattr(entered, "scan", counted_scan)
            return entered

        monkeypatch.setattr(Snapshot, "__enter__", watched)
        service.note_activity(people[0])
    assert read.count(USERROOMID_MEMBERSHIP.name) == 1
    assert len(read) < 10
