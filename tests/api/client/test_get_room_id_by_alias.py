"""``GET /_matrix/client/v3/directory/room/{roomAlias}``"""

from __future__ import annotations

from tests.rig.client import path
from tests.rig.rooms import RoomServer, create


async def test_get_room_id_by_alias_answers_anybody(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_alias_name="lounge")
    response = await rooms.client().get(path("directory", "room", "#lounge:one.test"))
    assert response.json == {"room_id": room_id, "servers": ["one.test"]}


async def test_get_room_id_by_alias_not_found(rooms: RoomServer) -> None:
    for alias in ("#nothing:one.test", "#lounge:two.test", f"#{'x' * 240}:one.test"):
        assert (await rooms.client().get(path("directory", "room", alias))).outcome == (404, "M_NOT_FOUND")


async def test_get_room_id_by_alias_invalid_param(rooms: RoomServer) -> None:
    for alias in ("lounge", "#lounge", f"#{'x' * 255}:one.test"):
        assert (await rooms.client().get(path("directory", "room", alias))).outcome == (400, "M_INVALID_PARAM")
