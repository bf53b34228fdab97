"""``GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}``"""

from __future__ import annotations

import pytest

from tests.rig.client import Client
from tests.rig.rooms import Json, RoomServer, bodies, create, in_room, join, leave, send, set_state


async def context(user: Client, room_id: str, event_id: str, **query: str) -> Json:
    response = await user.get(in_room(room_id, "context", event_id), **query)
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def test_get_event_context_shows_what_is_around(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_ids = [await send(alice, room_id, str(number)) for number in range(20)]
    answer = await context(alice, room_id, event_ids[10])
    assert answer["event"]["event_id"] == event_ids[10]
    assert bodies(answer["events_before"]) == ["9", "8", "7", "6", "5"]
    assert bodies(answer["events_after"]) == ["11", "12", "13", "14", "15"]


async def test_get_event_context_limit_is_of_both_sides_together(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_ids = [await send(alice, room_id, str(number)) for number in range(9)]
    for limit in (0, 1, 2, 5):
        answer = await context(alice, room_id, event_ids[4], limit=str(limit))
        assert len(answer["events_before"]) + len(answer["events_after"]) == limit
        assert answer["event"]["event_id"] == event_ids[4]


async def test_get_event_context_tokens_lead_on(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_ids = [await send(alice, room_id, str(number)) for number in range(9)]
    answer = await context(alice, room_id, event_ids[4], limit="2")
    path = in_room(room_id, "messages")
    before = (await alice.get(path, dir="b", limit="2", **{"from": answer["start"]})).json
    after = (await alice.get(path, dir="f", limit="2", **{"from": answer["end"]})).json
    assert bodies(before["chunk"]) == ["2", "1"]
    assert bodies(after["chunk"]) == ["6", "7"]


async def test_get_event_context_state_is_that_of_the_last_event(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, name="first")
    event_id = await send(alice, room_id, "here")
    await set_state(alice, room_id, "m.room.name", {"name": "second"})
    await set_state(alice, room_id, "m.room.name", {"name": "third"})

    def name(answer: Json) -> str:
        (event,) = [event for event in answer["state"] if event["type"] == "m.room.name"]
        text: str = event["content"]["name"]
        return text

    assert name(await context(alice, room_id, event_id, limit="0")) == "first"
    assert name(await context(alice, room_id, event_id, limit="1")) == "second"
    assert name(await context(alice, room_id, event_id)) == "third"


async def test_get_event_context_filters_all_but_the_event(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, name="filtered")
    await send(alice, room_id, "before")
    event_id = await set_state(alice, room_id, "m.room.topic", {"topic": "about"})
    await send(alice, room_id, "after")
    answer = await context(alice, room_id, event_id, filter='{"types": ["m.room.message"]}')
    assert answer["event"]["event_id"] == event_id
    assert (bodies(answer["events_before"]), bodies(answer["events_after"])) == (["before"], ["after"])
    assert answer["state"] == []


async def test_get_event_context_lazy_loads_members(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(alice, room_id, "alone")

    async def members(**query: str) -> set[str]:
        state = (await context(alice, room_id, event_id, limit="0", **query))["state"]
        assert any(event["type"] == "m.room.create" for event in state)
        return {event["state_key"] for event in state if event["type"] == "m.room.member"}

    assert await members() == {alice.user_id, bob.user_id}
    assert await members(filter='{"lazy_load_members": true}') == {alice.user_id}


async def test_get_event_context_not_found(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id, other = await create(alice), await create(alice)
    await join(bob, room_id)
    await leave(bob, room_id)
    event_id = await send(alice, room_id, "after bob")
    for user, room, event in ((bob, room_id, event_id), (alice, other, event_id), (alice, room_id, "$nothing")):
        response = await user.get(in_room(room, "context", event))
        assert response.outcome == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("query", [{"limit": "-1"}, {"limit": "many"}])
async def test_get_event_context_invalid_param(rooms: RoomServer, query: dict[str, str]) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "here")
    response = await alice.get(in_room(room_id, "context", event_id), **query)
    assert response.outcome == (400, "M_INVALID_PARAM")
