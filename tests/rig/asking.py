"""Operations that write to rooms, asked for so that a test sees the reply."""

from __future__ import annotations

import secrets
from typing import Any

from conduit_py.matrix.room_versions import ROOM_VERSIONS
from tests.rig.client import Client, Response
from tests.rig.rooms import Json, RoomServer, create, in_room, join

VERSIONS = tuple(ROOM_VERSIONS)


async def get_state(user: Client, room_id: str) -> dict[tuple[str, str], Json]:
    """The state of a room by type and state key."""
    response = await user.get(in_room(room_id, "state"))
    assert response.status == 200, response.body
    return {(event["type"], event["state_key"]): event for event in response.json}


async def get_content(user: Client, room_id: str, type: str, state_key: str = "") -> Json:
    content: Json = (await get_state(user, room_id))[type, state_key]["content"]
    return content


async def membership_of(reader: Client, room_id: str, user_id: str) -> str | None:
    event = (await get_state(reader, room_id)).get(("m.room.member", user_id))
    return None if event is None else event["content"]["membership"]


async def timeline_of(user: Client, room_id: str) -> list[Json]:
    """The last hundred events of a room, oldest first."""
    response = await user.get(in_room(room_id, "messages"), dir="b", limit="100")
    assert response.status == 200, response.body
    events: list[Json] = response.json["chunk"][::-1]
    return events


async def ask_member(asker: Client, room_id: str, operation: str, user_id: str, **more: Any) -> Response:
    """``invite``, ``kick``, ``ban`` or ``unban``."""
    return await asker.post(in_room(room_id, operation), {"user_id": user_id, **more})


async def ask_send(
    sender: Client, room_id: str, content: Json, type: str = "m.room.message", txn_id: str | None = None
) -> Response:
    return await sender.put(in_room(room_id, "send", type, txn_id or secrets.token_hex(8)), content)


async def ask_state(sender: Client, room_id: str, type: str, content: Json, state_key: str = "") -> Response:
    return await sender.put(in_room(room_id, "state", type, state_key), content)


async def ask_redact(sender: Client, room_id: str, event_id: str, txn_id: str | None = None, **body: Any) -> Response:
    return await sender.put(in_room(room_id, "redact", event_id, txn_id or secrets.token_hex(8)), body)


async def set_levels(admin: Client, room_id: str, **changes: Any) -> None:
    """Change some of the power levels."""
    levels = await get_content(admin, room_id, "m.room.power_levels")
    response = await ask_state(admin, room_id, "m.room.power_levels", levels | changes)
    assert response.status == 200, response.body


async def crowd(rooms: RoomServer, version: str = "11") -> tuple[str, Client, Client, Client]:
    """A room with its creator, a moderator at 50, and a member."""
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice, room_version=version)
    await join(bob, room_id)
    await join(carol, room_id)
    levels = {bob.user_id: 50} | ({} if version == "12" else {alice.user_id: 100})
    await set_levels(alice, room_id, users=levels)
    return room_id, alice, bob, carol
