"""``GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}``"""

from __future__ import annotations

from tests.rig.rooms import Json, RoomServer, create, in_room, invite, join, leave, redact, send


async def test_get_one_room_event_shows_the_event(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "hello")
    response = await alice.get(in_room(room_id, "event", event_id))
    assert response.status == 200
    event = response.json
    assert (event["event_id"], event["room_id"], event["sender"]) == (event_id, room_id, alice.user_id)
    assert event["content"] == {"msgtype": "m.text", "body": "hello"}


async def test_get_one_room_event_shows_a_redacted_one_without_content(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "regretted")
    await redact(alice, room_id, event_id)
    event = (await alice.get(in_room(room_id, "event", event_id))).json
    assert event["content"] == {}
    assert event["unsigned"]["redacted_because"]["sender"] == alice.user_id


async def test_get_one_room_event_from_the_invite_on_where_the_invited_may_see(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="invited")
    before = await send(alice, room_id, "before")
    await invite(alice, room_id, bob)
    after = await send(alice, room_id, "after")
    assert (await bob.get(in_room(room_id, "event", before))).outcome == (404, "M_NOT_FOUND")
    assert (await bob.get(in_room(room_id, "event", after))).status == 200


async def test_get_one_room_event_not_found(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id, other = await create(alice), await create(alice)
    seen = await send(alice, room_id, "seen")
    assert (await bob.get(in_room(room_id, "event", seen))).outcome == (404, "M_NOT_FOUND")
    await join(bob, room_id)
    assert (await bob.get(in_room(room_id, "event", seen))).status == 200
    await leave(bob, room_id)
    unseen = await send(alice, room_id, "unseen")
    assert (await bob.get(in_room(room_id, "event", unseen))).outcome == (404, "M_NOT_FOUND")
    assert (await alice.get(in_room(other, "event", seen))).outcome == (404, "M_NOT_FOUND")
    assert (await alice.get(in_room(room_id, "event", "$nothing"))).outcome == (404, "M_NOT_FOUND")


async def test_get_one_room_event_not_found_when_its_sender_is_ignored(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(bob, room_id, "boo")
    ignored: Json = {"ignored_users": {bob.user_id: {}}}
    assert (await alice.put(alice.user_path("account_data", "m.ignored_user_list"), ignored)).status == 200
    assert (await alice.get(in_room(room_id, "event", event_id))).outcome == (404, "M_NOT_FOUND")
