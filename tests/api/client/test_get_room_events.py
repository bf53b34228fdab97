"""``GET /_matrix/client/v3/rooms/{roomId}/messages``"""

from __future__ import annotations

import orjson
import pytest

from tests.rig.client import Client, Response
from tests.rig.rooms import Json, RoomServer, bodies, create, forget, in_room, invite, join, leave, redact, send


async def messages(user: Client, room_id: str, direction: str = "b", **query: str) -> Response:
    return await user.get(in_room(room_id, "messages"), dir=direction, **query)


async def page(user: Client, room_id: str, direction: str = "b", **query: str) -> Json:
    response = await messages(user, room_id, direction, **query)
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def test_get_room_events_backwards_begins_at_the_newest(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    for number in range(15):
        await send(alice, room_id, str(number))
    first = await page(alice, room_id)
    assert bodies(first["chunk"]) == [str(number) for number in range(14, 4, -1)]
    assert len(first["chunk"]) == 10
    second = await page(alice, room_id, **{"from": first["end"], "limit": "5"})
    assert bodies(second["chunk"]) == ["4", "3", "2", "1", "0"]
    assert second["start"] == first["end"]
    assert {event["room_id"] for event in second["chunk"]} == {room_id}


async def test_get_room_events_forwards_begins_at_the_oldest(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    answer = await page(alice, room_id, "f", limit="1")
    assert [event["type"] for event in answer["chunk"]] == ["m.room.create"]
    rest = await page(alice, room_id, "f", limit="100", **{"from": answer["end"]})
    assert rest["chunk"][0]["type"] == "m.room.member"
    assert "end" not in rest


async def test_get_room_events_has_no_end_at_the_beginning_of_the_room(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    answer = await page(alice, room_id, limit="1000")
    assert answer["chunk"][-1]["type"] == "m.room.create"
    assert "end" not in answer
    exact = await page(alice, room_id, limit=str(len(answer["chunk"])))
    assert "end" not in exact


async def test_get_room_events_stops_at_to(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    await send(alice, room_id, "old")
    marker = (await page(alice, room_id, limit="0"))["start"]
    for text in ("one", "two"):
        await send(alice, room_id, text)
    backwards = await page(alice, room_id, to=marker)
    assert bodies(backwards["chunk"]) == ["two", "one"]
    assert bodies((await page(alice, room_id, **{"from": backwards["end"]}))["chunk"]) == ["old"]
    forwards = await page(alice, room_id, "f", to=marker, limit="100")
    assert bodies(forwards["chunk"]) == ["old"]
    assert bodies((await page(alice, room_id, "f", **{"from": forwards["end"]}))["chunk"]) == ["one", "two"]


async def test_get_room_events_takes_a_sync_token(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    await send(alice, room_id, "before")
    place = (await page(alice, room_id, limit="0"))["start"].removeprefix("t")
    await send(alice, room_id, "after")
    token = f"s{place}_boot1_0"
    assert bodies((await page(alice, room_id, **{"from": token}))["chunk"]) == ["before"]
    assert bodies((await page(alice, room_id, "f", **{"from": token}))["chunk"]) == ["after"]


async def test_get_room_events_limit_0_shows_nothing_and_where_to_go_on(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    answer = await page(alice, await create(alice), limit="0")
    assert answer["chunk"] == []
    assert answer["start"] == answer["end"]


async def test_get_room_events_filters(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await send(alice, room_id, "hers")
    await send(bob, room_id, "his")
    await send(bob, room_id, "picture", url="mxc://one.test/picture")

    async def filtered(**condition: object) -> list[str]:
        filter_ = orjson.dumps({"types": ["m.room.message"], **condition}).decode()
        return bodies((await page(alice, room_id, filter=filter_))["chunk"])

    assert await filtered() == ["picture", "his", "hers"]
    assert await filtered(senders=[bob.user_id]) == ["picture", "his"]
    assert await filtered(not_senders=[bob.user_id]) == ["hers"]
    assert await filtered(contains_url=True) == ["picture"]
    assert await filtered(contains_url=False) == ["his", "hers"]
    assert await filtered(limit=1) == ["picture"]
    assert await filtered(rooms=["!other:one.test"]) == []


async def test_get_room_events_filters_by_what_relates_to_events(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    threaded, edited, _ = [await send(alice, room_id, text) for text in ("threaded", "edited", "alone")]
    await send(bob, room_id, "reply", **{"m.relates_to": {"rel_type": "m.thread", "event_id": threaded}})
    new = {"m.new_content": {"msgtype": "m.text", "body": "new"}}
    relation = {"rel_type": "m.replace", "event_id": edited}
    await send(alice, room_id, "edit", **{"m.relates_to": relation, **new})

    async def related(**condition: list[str]) -> set[str]:
        answer = await page(alice, room_id, filter=orjson.dumps(condition).decode())
        return {event["event_id"] for event in answer["chunk"]}

    assert await related(related_by_rel_types=["m.thread"]) == {threaded}
    assert await related(related_by_rel_types=["m.thread", "m.replace"]) == {threaded, edited}
    assert await related(related_by_senders=[bob.user_id]) == {threaded}
    assert await related(related_by_rel_types=["m.replace"], related_by_senders=[bob.user_id]) == set()


async def test_get_room_events_lazy_loads_the_members_who_sent(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    for user in (bob, carol):
        await join(user, room_id)
    await send(bob, room_id, "hello")
    lazy = '{"lazy_load_members": true}'
    answer = await page(alice, room_id, limit="1", filter=lazy)
    assert [(event["type"], event["state_key"]) for event in answer["state"]] == [("m.room.member", bob.user_id)]
    assert "state" not in await page(alice, room_id, limit="1")


async def test_get_room_events_shows_redacted_events_without_their_content(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "regretted")
    redaction_id = await redact(alice, room_id, event_id)
    redaction, event = (await page(alice, room_id, limit="2"))["chunk"]
    assert redaction["event_id"] == redaction_id
    assert redaction["redacts"] == event_id
    assert event["content"] == {}
    assert event["unsigned"]["redacted_because"]["event_id"] == redaction_id


async def test_get_room_events_leaves_out_messages_of_ignored_users(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await send(bob, room_id, "boo")
    ignored: Json = {"ignored_users": {bob.user_id: {}}}
    assert (await alice.put(alice.user_path("account_data", "m.ignored_user_list"), ignored)).status == 200
    chunk = (await page(alice, room_id))["chunk"]
    assert bodies(chunk) == []
    assert chunk[0]["state_key"] == bob.user_id


async def test_get_room_events_left_user_reads_up_to_the_leave(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await send(alice, room_id, "seen")
    await leave(bob, room_id)
    await send(alice, room_id, "unseen")
    backwards = await page(bob, room_id, limit="3")
    assert bodies(backwards["chunk"]) == ["seen"]
    assert backwards["chunk"][0]["content"]["membership"] == "leave"
    assert bodies((await page(bob, room_id, "f", limit="100"))["chunk"]) == ["seen"]


async def test_get_room_events_world_readable_for_strangers(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="world_readable")
    await send(alice, room_id, "for all")
    assert bodies((await page(bob, room_id))["chunk"]) == ["for all"]


async def test_get_room_events_forbidden_for_who_is_not_in_the_room(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    assert (await messages(bob, room_id)).outcome == (403, "M_FORBIDDEN")
    await invite(alice, room_id, bob)
    assert (await messages(bob, room_id)).outcome == (403, "M_FORBIDDEN")
    await leave(bob, room_id)
    assert (await messages(bob, room_id)).outcome == (403, "M_FORBIDDEN")
    await join(carol, room_id)
    await leave(carol, room_id)
    await forget(carol, room_id)
    assert (await messages(carol, room_id)).outcome == (403, "M_FORBIDDEN")
    assert (await messages(bob, "!nowhere:one.test")).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ({"dir": "b", "from": "nonsense"}, (400, "M_INVALID_PARAM")),
        ({"dir": "b", "to": "t1x"}, (400, "M_INVALID_PARAM")),
        ({"dir": "b", "limit": "-1"}, (400, "M_INVALID_PARAM")),
        ({"dir": "b", "limit": "ten"}, (400, "M_INVALID_PARAM")),
        ({"dir": "x"}, (400, "M_INVALID_PARAM")),
        ({}, (400, "M_MISSING_PARAM")),
        ({"dir": "b", "filter": "{"}, (400, "M_NOT_JSON")),
        ({"dir": "b", "filter": "[]"}, (400, "M_BAD_JSON")),
        ({"dir": "b", "filter": '{"types": 1}'}, (400, "M_BAD_JSON")),
    ],
    ids=str,
)
async def test_get_room_events_refuses_parameters(
    rooms: RoomServer, query: dict[str, str], outcome: tuple[int, str]
) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    assert (await alice.get(in_room(room_id, "messages"), **query)).outcome == outcome


async def test_get_room_events_missing_token(rooms: RoomServer) -> None:
    assert (await messages(rooms.client(), "!any:one.test")).outcome == (401, "M_MISSING_TOKEN")
