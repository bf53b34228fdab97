"""No tree grows from reading, however often."""

from __future__ import annotations

from tests.rig.rooms import create, in_room, join
from tests.rig.whole import WholeServer

READ_TWICE = (
    "/sync",
    "/sync?full_state=true&timeout=0",
    "/account/whoami",
    "/joined_rooms",
    "/pushrules/",
    "/devices",
    "/publicRooms",
)
OF_A_ROOM = ("messages?dir=b", "state", "members", "joined_members", "threads", "aliases", "initialSync")


async def test_reading_stores_nothing(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, name="A room")
    await join(bob, room_id)
    for number in range(3):
        await alice.put(in_room(room_id, f"send/m.room.message/{number}"), {"msgtype": "m.text", "body": "hello"})
    paths = [*READ_TWICE, *(in_room(room_id, "") + path for path in OF_A_ROOM)]
    since = (await bob.get("/sync")).json["next_batch"]
    paths.append(f"/sync?since={since}&timeout=0")
    for path in paths:
        await bob.get(path)
    before = {name: len(rows) for name, rows in whole.dump().items()}

    for path in paths * 3:
        assert (await bob.get(path)).status == 200, path

    assert {name: len(rows) for name, rows in whole.dump().items()} == before
