"""``GET /_matrix/client/v3/rooms/{roomId}/initialSync``"""

from __future__ import annotations

from tests.rig.client import Client
from tests.rig.rooms import Json, bodies, create, in_room, join, leave, send, set_state
from tests.rig.whole import WholeServer


async def room_initial_sync(user: Client, room_id: str) -> Json:
    response = await user.get(in_room(room_id, "initialSync"))
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def test_room_initial_sync_tells_the_room(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice, name="name", visibility="shared")
    for number in range(30):
        await send(alice, room_id, str(number))
    told = await room_initial_sync(alice, room_id)
    assert (told["room_id"], told["membership"], told["visibility"]) == (room_id, "join", "private")
    assert bodies(told["messages"]["chunk"]) == [str(number) for number in range(10, 30)]
    assert any(event["content"] == {"name": "name"} for event in told["state"])


async def test_room_initial_sync_of_a_room_that_was_left_ends_there(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, name="before")
    await join(bob, room_id)
    await send(alice, room_id, "seen")
    await leave(bob, room_id)
    await send(alice, room_id, "unseen")
    await set_state(alice, room_id, "m.room.name", {"name": "after"})
    told = await room_initial_sync(bob, room_id)
    assert (told["membership"], bodies(told["messages"]["chunk"])) == ("leave", ["seen"])
    assert [event["content"] for event in told["state"] if event["type"] == "m.room.name"] == [{"name": "before"}]


async def test_room_initial_sync_for_who_looks_in(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, visibility="world_readable")
    await send(alice, room_id, "open")
    told = await room_initial_sync(bob, room_id)
    assert "membership" not in told
    assert bodies(told["messages"]["chunk"]) == ["open"]


async def test_room_initial_sync_forbidden(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    for room in (room_id, "!nothing:one.test"):
        assert (await bob.get(in_room(room, "initialSync"))).outcome == (403, "M_FORBIDDEN")
