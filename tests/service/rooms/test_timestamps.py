"""Finding an event by its time where history is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from trio.testing import MockClock

from conduit_py.data import users
from conduit_py.matrix.ids import RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.timestamps import TimestampService
from tests.rig.client import Client
from tests.rig.remote import Question
from tests.rig.remote_room import RemoteRoom
from tests.rig.rooms import create, with_rooms
from tests.rig.server import START_MS, Server
from tests.service.federation.receiving import PREV_EVENTS_MAX, Receiving, open_receiving

STEP_MS = 600_000
FIRST_HELD = -PREV_EVENTS_MAX - 1
"""Of what was said, the first that came with the last: the rest lies in the gap."""


@pytest.fixture
async def receiving(server: Server) -> AsyncIterator[Receiving]:
    """Tests have a clock that stands still at ``START_MS``: what was made here is older than what others say."""
    async with open_receiving(await with_rooms(server), {}) as receiving:
        yield receiving


async def open_gap(receiving: Receiving, missed: int = 60) -> tuple[Client, RemoteRoom, list[Pdu]]:
    """A room in which a message was missed every ten minutes, up to the last, which came."""
    alice = await receiving.rooms.register("alice")
    peer = RemoteRoom(receiving.rooms, await create(alice, room_version="11"))
    await receiving.know(peer)
    join = peer.join("bob")
    assert await receiving.send(peer, join) == {join.event_id: {}}
    said = [say(peer, step) for step in range(1, missed + 2)]
    assert await receiving.send(peer, said[-1]) == {said[-1].event_id: {}}
    receiving.rooms.remotes.asked.clear()
    return alice, peer, said


def say(peer: RemoteRoom, step: int) -> Pdu:
    content = {"msgtype": "m.text", "body": str(step)}
    return peer.make("bob", "m.room.message", content, ts=START_MS + step * STEP_MS)


async def find(receiving: Receiving, alice: Client, peer: RemoteRoom, step: float, *, is_backwards: bool) -> str:
    rooms = receiving.rooms
    with rooms.store.snapshot() as snapshot:
        found = users.get_local(snapshot, UserId(alice.user_id))
    assert found is not None
    requester = Requester(user_id=UserId(alice.user_id), user=found[0], device_id=None)
    service = TimestampService(
        rooms.store.database, rooms.remotes.history, rooms.remotes, server_name=ServerName("one.test")
    )
    ts_ms = START_MS + int(step * STEP_MS)
    event_id, _ = await service.find_event(requester, RoomId(peer.room_id), ts_ms, is_backwards=is_backwards)
    return event_id


@pytest.mark.parametrize("is_backwards", [False, True])
async def test_event_that_only_others_hold_is_fetched(
    receiving: Receiving, mock_clock: MockClock, is_backwards: bool
) -> None:
    alice, peer, said = await open_gap(receiving)
    step = 20.4 if is_backwards else 19.6
    assert await find(receiving, alice, peer, step, is_backwards=is_backwards) == said[19].event_id
    assert receiving.asked[:2] == ["timestamp_to_event", "backfill"]
    response = await alice.get(f"/rooms/{peer.room_id}/event/{said[19].event_id}")
    assert response.json["content"]["body"] == "20"
    receiving.rooms.remotes.asked.clear()
    assert await find(receiving, alice, peer, step, is_backwards=is_backwards) == said[19].event_id
    assert receiving.asked == []


async def test_nobody_is_asked_for_what_lies_beside_no_gap(receiving: Receiving, mock_clock: MockClock) -> None:
    alice, peer, said = await open_gap(receiving)
    assert await find(receiving, alice, peer, 100, is_backwards=True) == said[-1].event_id
    assert receiving.asked == []


def silent(question: Question) -> dict[str, Any]:
    return {}


def on_the_wrong_side(question: Question) -> dict[str, Any]:
    return {"event_id": "$wrong", "origin_server_ts": START_MS}


def further_away(question: Question) -> dict[str, Any]:
    return {"event_id": "$far", "origin_server_ts": START_MS + 1000 * STEP_MS}


@pytest.mark.parametrize("answer", [silent, on_the_wrong_side, further_away])
async def test_what_is_held_is_told_where_others_have_nothing_nearer(
    receiving: Receiving, mock_clock: MockClock, answer: Any
) -> None:
    alice, peer, said = await open_gap(receiving)
    receiving.rooms.remotes.servers[peer.name] = answer
    assert await find(receiving, alice, peer, 20, is_backwards=False) == said[FIRST_HELD].event_id
    assert receiving.asked == ["timestamp_to_event"]


async def test_server_that_knows_an_event_and_does_not_give_it_is_not_believed_for_long(
    receiving: Receiving, mock_clock: MockClock
) -> None:
    alice, peer, said = await open_gap(receiving)

    def lie(question: Question) -> dict[str, Any]:
        if question.segments[2] == "timestamp_to_event":
            return {"event_id": "$lie", "origin_server_ts": START_MS + 20 * STEP_MS}
        return {"pdus": []}

    receiving.rooms.remotes.servers[peer.name] = lie
    assert await find(receiving, alice, peer, 20, is_backwards=False) == said[FIRST_HELD].event_id
    assert receiving.asked == ["timestamp_to_event", "backfill"]
