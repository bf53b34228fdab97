"""Long answers about a room's state: read in slices, and of one moment all the same."""

from __future__ import annotations

import pytest
import trio

from conduit_py.service.rooms import state_reads
from tests.rig.client import Client
from tests.rig.rooms import RoomServer, create, in_room, join, leave, send

MEMBERS = 8


async def full_room(rooms: RoomServer) -> tuple[Client, list[Client], str]:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    others = [await rooms.register(f"user{number}") for number in range(MEMBERS)]
    for user in others:
        await join(user, room_id)
    return alice, others, room_id


@pytest.mark.parametrize("operation", ["members", "state", "joined_members", "context"])
async def test_others_get_their_turn_while_a_long_answer_is_read(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(state_reads, "EVENTS_PER_SLICE", 1)
    alice, _, room_id = await full_room(rooms)
    event_id = await send(alice, room_id, "here")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    parts = (operation, event_id) if operation == "context" else (operation,)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        assert (await alice.get(in_room(room_id, *parts))).status == 200
        nursery.cancel_scope.cancel()
    assert turns >= MEMBERS


async def test_slices_of_one_answer_speak_of_one_state(rooms: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_reads, "EVENTS_PER_SLICE", 1)
    alice, others, room_id = await full_room(rooms)
    possible = [frozenset([alice, *others[gone:]]) for gone in range(MEMBERS + 1)]
    answers: list[frozenset[str]] = []

    async def empty_the_room() -> None:
        for user in others:
            await leave(user, room_id)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(empty_the_room)
        while len(answers) < 3 or answers[-1] != frozenset([alice.user_id]):
            chunk = (await alice.get(in_room(room_id, "members"), membership="join")).json["chunk"]
            answers.append(frozenset(event["state_key"] for event in chunk))
    moments = {frozenset(user.user_id for user in users) for users in possible}
    assert set(answers) <= moments
