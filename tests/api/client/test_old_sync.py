"""``GET /_matrix/client/v3/events``, ``/events/{eventId}`` and ``/initialSync``"""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from conduit_py.service.rooms import event_stream
from tests.rig.client import Client, Response, path
from tests.rig.rooms import Json, bodies, create, in_room, invite, join, leave, send
from tests.rig.whole import WholeServer


async def events(user: Client, **query: str) -> Json:
    response = await user.get("/events", **query)
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def initial_sync(user: Client, **query: str) -> Json:
    response = await user.get("/initialSync", **query)
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def test_get_events_tells_what_comes_after_a_token(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id, other = await create(alice), await create(alice)
    await join(bob, room_id)
    start = (await events(bob))["end"]
    await send(alice, room_id, "one")
    await send(alice, other, "elsewhere")
    await send(alice, room_id, "two")
    told = await events(bob, **{"from": start})
    assert bodies(told["chunk"]) == ["one", "two"]
    assert {event["room_id"] for event in told["chunk"]} == {room_id}
    assert told["start"] == start
    assert (await events(bob, **{"from": told["end"]}))["chunk"] == []


async def test_get_events_of_several_rooms_come_in_order(whole: WholeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await whole.register("alice")
    rooms = [await create(alice) for _ in range(2)]
    at = (await events(alice))["end"]
    for number in range(6):
        await send(alice, rooms[number % 2], str(number))
    monkeypatch.setattr(event_stream, "EVENTS_MAX", 4)
    told = []
    for _ in range(2):
        page = await events(alice, **{"from": at})
        told += bodies(page["chunk"])
        at = page["end"]
    assert told == ["0", "1", "2", "3", "4", "5"]


async def test_get_events_waits_for_the_first(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    start = (await events(bob))["end"]
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            told = await events(bob, timeout="30000", **{"from": start})
            assert bodies(told["chunk"]) == ["news"]

        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        await send(alice, room_id, "news")


async def test_get_events_gives_up_in_time(whole: WholeServer, autojump_clock: MockClock) -> None:
    alice = await whole.register("alice")
    await create(alice)
    before = trio.current_time()
    assert (await events(alice, timeout="30000"))["chunk"] == []
    assert trio.current_time() == pytest.approx(before + 30)


async def test_peek_events_looks_into_a_room(whole: WholeServer, autojump_clock: MockClock) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, visibility="world_readable")
    start = (await events(bob, room_id=room_id))["end"]
    async with trio.open_nursery() as nursery:

        async def peek() -> None:
            told = await events(bob, timeout="30000", room_id=room_id, **{"from": start})
            assert bodies(told["chunk"]) == ["news"]

        nursery.start_soon(peek)
        await wait_all_tasks_blocked()
        await send(alice, room_id, "news")


async def test_peek_events_forbidden(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    for room in (room_id, "!nothing:one.test"):
        assert (await bob.get("/events", room_id=room)).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("query", [{"from": "nothing"}, {"timeout": "-1"}, {"room_id": "room"}])
async def test_get_events_invalid_param(whole: WholeServer, query: dict[str, str]) -> None:
    alice = await whole.register("alice")
    assert (await alice.get("/events", **query)).outcome == (400, "M_INVALID_PARAM")


async def one_event(user: Client, event_id: str) -> Response:
    return await user.get(path("events", event_id))


async def test_get_one_event(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "hello")
    event = (await one_event(alice, event_id)).json
    assert (event["event_id"], event["room_id"], event["content"]["body"]) == (event_id, room_id, "hello")
    for user, wanted in ((bob, event_id), (alice, "$nothing")):
        assert (await one_event(user, wanted)).outcome == (404, "M_NOT_FOUND")


async def test_initial_sync_tells_every_room(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    joined, invited, left = [await create(alice, name=name) for name in ("joined", "invited", "left")]
    await join(bob, joined)
    await join(bob, left)
    await leave(bob, left)
    await invite(alice, invited, bob)
    await send(alice, joined, "one")
    await send(alice, joined, "two")
    await bob.put(bob.user_path("account_data", "org.example"), {"global": True})
    await bob.put(bob.user_path("rooms", joined, "account_data", "org.example"), {"of": "room"})

    told = await initial_sync(bob, limit="2")

    rooms = {room["room_id"]: room for room in told["rooms"]}
    assert {room_id: room["membership"] for room_id, room in rooms.items()} == {joined: "join", invited: "invite"}
    assert rooms[invited]["invite"]["content"]["membership"] == "invite"
    assert bodies(rooms[joined]["messages"]["chunk"]) == ["one", "two"]
    assert any(event["content"] == {"name": "joined"} for event in rooms[joined]["state"])
    assert rooms[joined]["account_data"] == [{"type": "org.example", "content": {"of": "room"}}]
    assert {"type": "org.example", "content": {"global": True}} in told["account_data"]
    before = await bob.get(
        in_room(joined, "messages"), dir="b", limit="1", **{"from": rooms[joined]["messages"]["start"]}
    )
    assert before.json["chunk"][0]["type"] == "m.room.member"

    await send(alice, joined, "three")
    assert bodies((await events(bob, **{"from": told["end"]}))["chunk"]) == ["three"]
    archived = {room["room_id"]: room["membership"] for room in (await initial_sync(bob, archived="true"))["rooms"]}
    assert archived == {joined: "join", invited: "invite", left: "leave"}
    await bob.put(bob.user_path("account_data", "m.invite_permission_config"), {"default_action": "block"})
    assert {room["room_id"] for room in (await initial_sync(bob))["rooms"]} == {joined}


@pytest.mark.parametrize("query", [{"limit": "-1"}, {"archived": "maybe"}])
async def test_initial_sync_invalid_param(whole: WholeServer, query: dict[str, str]) -> None:
    alice = await whole.register("alice")
    assert (await alice.get("/initialSync", **query)).outcome == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("operation", ["/events", "/events/$event", "/initialSync"])
async def test_old_sync_missing_token(whole: WholeServer, operation: str) -> None:
    assert (await whole.client().get(operation)).outcome == (401, "M_MISSING_TOKEN")
