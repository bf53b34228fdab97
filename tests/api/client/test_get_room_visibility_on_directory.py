"""``GET /_matrix/client/v3/directory/list/room/{roomId}``"""

from __future__ import annotations

from tests.rig.client import path
from tests.rig.rooms import RoomServer, create


async def test_get_room_visibility_on_directory_answers_anybody(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    private = await create(alice)
    public = (await alice.post("/createRoom", {"visibility": "public"})).json["room_id"]
    for room_id, visibility in ((private, "private"), (public, "public")):
        response = await rooms.client().get(path("directory", "list", "room", room_id))
        assert response.json == {"visibility": visibility}


async def test_get_room_visibility_on_directory_not_found(rooms: RoomServer) -> None:
    await rooms.hear_of_room("!heard-of:one.test")
    for room_id in ("!nowhere:one.test", "!heard-of:one.test"):
        response = await rooms.client().get(path("directory", "list", "room", room_id))
        assert response.outcome == (404, "M_NOT_FOUND")
