"""Events of users who asked to be erased."""

from __future__ import annotations

import pytest

from tests.rig.auth import by_password
from tests.rig.client import Client
from tests.rig.rooms import RoomServer, create, in_room, join, leave, send, set_state

TOPIC = "m.room.topic"


@pytest.fixture
async def alice(rooms: RoomServer) -> Client:
    """Keeps the room when bob goes."""
    return await rooms.register("alice")


@pytest.fixture
async def bob(rooms: RoomServer, alice: Client) -> Client:
    return await rooms.register("bob")


async def erase(user: Client) -> None:
    assert (await user.post("/account/deactivate", {"auth": by_password(user), "erase": True})).status == 200


async def body_of(reader: Client, room_id: str, event_id: str) -> str | None:
    response = await reader.get(in_room(room_id, "event", event_id))
    assert response.status == 200, response.body
    body: str | None = response.json["content"].get("body")
    return body


async def test_erased_events_are_redacted_for_who_joins_later(rooms: RoomServer, alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    by_alice, by_bob = await send(alice, room_id, "kept"), await send(bob, room_id, "erased")
    await erase(bob)
    carol = await rooms.register("carol")
    await join(carol, room_id)
    assert await body_of(carol, room_id, by_alice) == "kept"
    assert await body_of(carol, room_id, by_bob) is None
    chunk = (await carol.get(in_room(room_id, "messages"), dir="b", limit="50")).json["chunk"]
    assert [event["content"] for event in chunk if event["event_id"] == by_bob] == [{}]


async def test_erased_events_stay_for_who_was_there(rooms: RoomServer, alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(bob, room_id, "seen")
    carol = await rooms.register("carol")
    await join(carol, room_id)
    await erase(bob)
    assert await body_of(alice, room_id, event_id) == "seen"
    assert await body_of(carol, room_id, event_id) == "seen"
    await leave(alice, room_id)
    await join(alice, room_id)
    assert await body_of(alice, room_id, event_id) == "seen"


async def test_erased_state_is_redacted_for_who_joins_later(rooms: RoomServer, alice: Client, bob: Client) -> None:
    levels = {"users": {alice.user_id: 100, bob.user_id: 50}}
    room_id = await create(alice, power_level_content_override=levels)
    await join(bob, room_id)
    await set_state(bob, room_id, TOPIC, {"topic": "Bob's"})
    after = await set_state(alice, room_id, "org.example.note", {"note": 1})
    await erase(bob)
    carol = await rooms.register("carol")
    await join(carol, room_id)
    place = in_room(room_id, "state", TOPIC) + "/"
    assert (await alice.get(place)).json == {"topic": "Bob's"}
    assert (await carol.get(place)).json == {}
    assert (await carol.get(in_room(room_id, "event", after))).json["content"] == {"note": 1}
    newer = await set_state(alice, room_id, TOPIC, {"topic": "Alice's"})
    assert (await carol.get(in_room(room_id, "event", newer))).json["unsigned"]["prev_content"] == {}
    assert (await alice.get(in_room(room_id, "event", newer))).json["unsigned"]["prev_content"] == {"topic": "Bob's"}


async def test_events_stay_where_nothing_was_to_be_erased(rooms: RoomServer, alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(bob, room_id, "kept")
    assert (await bob.post("/account/deactivate", {"auth": by_password(bob)})).status == 200
    carol = await rooms.register("carol")
    await join(carol, room_id)
    assert await body_of(carol, room_id, event_id) == "kept"


async def test_erasure_changes_no_stored_event(rooms: RoomServer, alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(bob, room_id, "kept in the store")
    before = rooms.dump()["shorteventid_pdu"]
    await erase(bob)
    carol = await rooms.register("carol")
    await join(carol, room_id)
    assert await body_of(carol, room_id, event_id) is None
    assert set(before) <= set(rooms.dump()["shorteventid_pdu"])
