"""``POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}``"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.rig.client import Client, Response
from tests.rig.rooms import Json, create, in_room, join, send
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


@pytest.fixture
async def whole(server: Server) -> AsyncIterator[WholeServer]:
    async with open_whole(server) as whole:
        yield whole


async def post(user: Client, room_id: str, type_: str, event_id: str, body: Json | None = None) -> Response:
    return await user.post(in_room(room_id, "receipt", type_, event_id), {} if body is None else body)


async def test_post_receipt_is_told_and_clears_the_count(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    sent = await send(alice, room_id, "hello")

    assert (await post(bob, room_id, "m.read", sent)).json == {}

    section = (await bob.get("/sync")).json["rooms"]["join"][room_id]
    (event,) = section["ephemeral"]["events"]
    assert event["content"][sent]["m.read"][bob.user_id]["ts"] > 0
    assert section["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}


@pytest.mark.parametrize(
    ("type_", "body"),
    [
        ("m.read", {"thread_id": ""}),
        ("m.read", {"thread_id": None}),
        ("m.read", {"thread_id": 1}),
        ("m.fully_read", {"thread_id": "main"}),
        ("m.read", {"thread_id": "$other"}),
    ],
)
async def test_post_receipt_refuses_a_thread_that_does_not_fit(whole: WholeServer, type_: str, body: Json) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    sent = await send(alice, room_id, "hello")

    async with whole.leaves_no_trace():
        assert (await post(alice, room_id, type_, sent, body)).outcome == (400, "M_INVALID_PARAM")


async def test_post_receipt_refuses_an_unknown_event_and_strangers(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    sent = await send(alice, room_id, "hello")

    assert (await post(alice, room_id, "m.read", "$nothing")).outcome == (404, "M_NOT_FOUND")
    assert (await post(bob, room_id, "m.read", sent)).outcome == (403, "M_FORBIDDEN")
