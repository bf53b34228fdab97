"""``PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}``"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.rig.client import Client, Response
from tests.rig.rooms import Json, create, in_room, join
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


@pytest.fixture
async def whole(server: Server) -> AsyncIterator[WholeServer]:
    async with open_whole(server) as whole:
        yield whole


async def set_typing(user: Client, room_id: str, body: Json, *, user_id: str | None = None) -> Response:
    return await user.put(in_room(room_id, "typing", user_id or user.user_id), body)


async def test_set_typing_is_told_to_the_room(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)

    assert (await set_typing(alice, room_id, {"typing": True, "timeout": 30_000})).json == {}

    ephemeral = (await bob.get("/sync")).json["rooms"]["join"][room_id]["ephemeral"]["events"]
    assert ephemeral == [{"type": "m.typing", "content": {"user_ids": [alice.user_id]}}]


@pytest.mark.parametrize(
    ("body", "errcode"),
    [({}, "M_MISSING_PARAM"), ({"typing": 1}, "M_BAD_JSON"), ({"typing": True, "timeout": "1"}, "M_BAD_JSON")],
)
async def test_set_typing_refuses_a_malformed_body(whole: WholeServer, body: Json, errcode: str) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)

    assert (await set_typing(alice, room_id, body)).outcome == (400, errcode)


async def test_set_typing_forbidden_for_others_and_outside_of_the_room(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)

    assert (await set_typing(bob, room_id, {"typing": True})).outcome == (403, "M_FORBIDDEN")
    forged = await set_typing(alice, room_id, {"typing": True}, user_id=bob.user_id)
    assert forged.outcome == (403, "M_FORBIDDEN")
