"""``POST /_matrix/client/v3/rooms/{roomId}/read_markers``"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.rig.rooms import create, in_room, send
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


@pytest.fixture
async def whole(server: Server) -> AsyncIterator[WholeServer]:
    async with open_whole(server) as whole:
        yield whole


async def test_set_read_marker_sets_all_that_are_named(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    first, second = await send(alice, room_id, "one"), await send(alice, room_id, "two")

    body = {"m.fully_read": first, "m.read": second, "m.read.private": second}
    assert (await alice.post(in_room(room_id, "read_markers"), body)).json == {}

    section = (await alice.get("/sync")).json["rooms"]["join"][room_id]
    assert section["account_data"]["events"] == [{"type": "m.fully_read", "content": {"event_id": first}}]
    (event,) = section["ephemeral"]["events"]
    assert event["content"][second].keys() == {"m.read", "m.read.private"}


async def test_set_read_marker_sets_nothing_if_one_event_is_unknown(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    sent = await send(alice, room_id, "one")

    async with whole.leaves_no_trace():
        body = {"m.fully_read": sent, "m.read": "$nothing"}
        assert (await alice.post(in_room(room_id, "read_markers"), body)).outcome == (404, "M_NOT_FOUND")


async def test_set_read_marker_without_any_is_no_error(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)

    assert (await alice.post(in_room(room_id, "read_markers"), {})).json == {}
    assert (await alice.post(in_room(room_id, "read_markers"), {"m.read": 5})).outcome == (400, "M_BAD_JSON")
