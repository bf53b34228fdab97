"""``GET /_matrix/client/v3/sync``. Every reply is held against the specification by the client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.rig.client import Client, Response
from tests.rig.rooms import Json, bodies, create, in_room, invite, join, leave, redact, send, set_state
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


@pytest.fixture
async def whole(server: Server) -> AsyncIterator[WholeServer]:
    async with open_whole(server) as whole:
        yield whole


async def sync(user: Client, since: str | None = None, **query: str) -> Json:
    if since is not None:
        query["since"] = since
    response = await user.get("/sync", **query)
    assert response.status == 200, response.body
    reply: Json = response.json
    return reply


async def test_sync_tells_rooms_of_every_kind(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    joined, invited, left = [await create(alice, name=name) for name in ("joined", "invited", "left")]
    await join(bob, joined)
    await join(bob, left)
    since = (await sync(bob))["next_batch"]
    await invite(alice, invited, bob)
    await leave(bob, left)
    await send(alice, joined, "hello")

    reply = await sync(bob, since)

    assert {name: list(rooms) for name, rooms in reply["rooms"].items()} == {
        "join": [joined],
        "invite": [invited],
        "knock": [],
        "leave": [left],
    }
    assert bodies(reply["rooms"]["join"][joined]["timeline"]["events"]) == ["hello"]


async def test_sync_continues_from_its_own_token(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    since = (await sync(alice))["next_batch"]
    for number in range(3):
        await send(alice, room_id, f"{number}")
        reply = await sync(alice, since)
        assert bodies(reply["rooms"]["join"][room_id]["timeline"]["events"]) == [f"{number}"]
        since = reply["next_batch"]


async def test_sync_gap_is_filled_by_messages_between_its_tokens(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    since = (await sync(alice))["next_batch"]
    for number in range(25):
        await send(alice, room_id, f"{number}")
    timeline = (await sync(alice, since))["rooms"]["join"][room_id]["timeline"]
    assert timeline["limited"] is True

    query = {"dir": "b", "from": timeline["prev_batch"], "to": since, "limit": "100"}
    page = (await alice.get(in_room(room_id, "messages"), **query)).json

    assert bodies([*reversed(page["chunk"]), *timeline["events"]]) == [f"{number}" for number in range(25)]


WITHOUT_PRESENCE = '{"presence":{"not_types":["m.presence"]}}'


async def test_sync_waits_for_news(whole: WholeServer, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    since = (await sync(bob))["next_batch"]
    replies: list[Json] = []

    async def poll() -> None:
        replies.append(await sync(bob, since, timeout="30000", filter=WITHOUT_PRESENCE))

    nursery.start_soon(poll)
    await wait_all_tasks_blocked()
    assert replies == []
    await send(alice, room_id, "hello")
    await wait_all_tasks_blocked()

    assert bodies(replies[0]["rooms"]["join"][room_id]["timeline"]["events"]) == ["hello"]


@pytest.mark.parametrize("errcode", ["M_UNKNOWN_TOKEN", "M_USER_LOCKED"])
async def test_sync_ends_once_the_device_is_logged_out_or_the_account_locked(
    whole: WholeServer, nursery: trio.Nursery, autojump_clock: MockClock, errcode: str
) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    since = (await sync(bob))["next_batch"]
    replies: list[Response] = []

    async def poll() -> None:
        replies.append(await bob.get("/sync", since=since, timeout="30000", filter=WITHOUT_PRESENCE))

    nursery.start_soon(poll)
    await wait_all_tasks_blocked()
    if errcode == "M_USER_LOCKED":
        locked = await alice.put(f"/_matrix/client/v1/admin/lock/{bob.user_id}", {"locked": True})
        assert locked.status == 200
    else:
        assert (await bob.post("/logout/all")).status == 200
    await send(alice, room_id, "hello")
    await wait_all_tasks_blocked()

    assert [reply.outcome for reply in replies] == [(401, errcode)]


async def test_sync_without_news_ends_at_its_timeout(whole: WholeServer, autojump_clock: MockClock) -> None:
    alice = await whole.register("alice")
    since = (await sync(alice))["next_batch"]
    began = trio.current_time()

    await sync(alice, since, timeout="5000")

    assert trio.current_time() == began + 5


async def test_sync_takes_a_stored_or_an_inline_filter(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    for text in ("one", "two"):
        await send(alice, room_id, text)
    filter_ = {"room": {"timeline": {"limit": 1}}}
    filter_id = (await alice.post(alice.user_path("filter"), filter_)).json["filter_id"]

    for wanted in (filter_id, orjson.dumps(filter_).decode()):
        timeline = (await sync(alice, filter=wanted))["rooms"]["join"][room_id]["timeline"]
        assert bodies(timeline["events"]) == ["two"]


async def test_sync_shows_the_transaction_id_to_the_device_that_sent(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    laptop, bob = await whole.log_in(alice), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await alice.put(in_room(room_id, "send", "m.room.message", "txn1"), {"msgtype": "m.text", "body": "hello"})

    shown = [
        (await sync(reader))["rooms"]["join"][room_id]["timeline"]["events"][-1]["unsigned"].get("transaction_id")
        for reader in (alice, laptop, bob)
    ]

    assert shown == ["txn1", None, None]


async def test_sync_shows_what_a_state_event_replaced(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    first = await set_state(alice, room_id, "m.room.topic", {"topic": "old"})
    await set_state(alice, room_id, "m.room.topic", {"topic": "new"})

    event = (await sync(alice))["rooms"]["join"][room_id]["timeline"]["events"][-1]

    assert event["content"] == {"topic": "new"}
    assert event["unsigned"]["prev_content"] == {"topic": "old"}
    assert event["unsigned"]["replaces_state"] == first


@pytest.mark.parametrize("version", ["10", "11"])
async def test_sync_shows_redactions_the_old_and_the_new_way(whole: WholeServer, version: str) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice, room_version=version)
    sent = await send(alice, room_id, "oops")
    redaction = await redact(alice, room_id, sent)

    *_, redacted, event = (await sync(alice))["rooms"]["join"][room_id]["timeline"]["events"]

    assert redacted["content"] == {}
    assert redacted["unsigned"]["redacted_because"]["event_id"] == redaction
    assert redacted["unsigned"]["redacted_because"]["content"]["redacts"] == sent
    assert event["redacts"] == event["content"]["redacts"] == sent


async def test_sync_tells_account_data_and_push_rules_in_force(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    await alice.put(alice.user_path("account_data", "org.example"), {"a": 1})
    await alice.put(alice.user_path("rooms", room_id, "account_data", "org.example"), {"b": 2})

    reply = await sync(alice)

    told = {event["type"]: event["content"] for event in reply["account_data"]["events"]}
    assert told["org.example"] == {"a": 1}
    assert {"override", "content", "room", "sender", "underride"} <= told["m.push_rules"]["global"].keys()
    in_the_room = reply["rooms"]["join"][room_id]["account_data"]["events"]
    assert in_the_room == [{"type": "org.example", "content": {"b": 2}}]
    rule = "/pushrules/global/override/.m.rule.master/enabled"
    assert (await alice.put(rule, {"enabled": True})).status == 200
    changed = await sync(alice, reply["next_batch"])
    (event,) = changed["account_data"]["events"]
    (master,) = [rule for rule in event["content"]["global"]["override"] if rule["rule_id"] == ".m.rule.master"]
    assert master["enabled"] is True


@pytest.mark.parametrize(
    ("parameter", "key"),
    [
        ("use_state_after", "state_after"),
        ("org.matrix.msc4222.use_state_after", "org.matrix.msc4222.state_after"),
    ],
)
async def test_sync_state_after_is_told_under_the_name_it_was_asked_by(
    whole: WholeServer, parameter: str, key: str
) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)

    section = (await sync(alice, **{parameter: "true"}))["rooms"]["join"][room_id]

    assert "state" not in section
    assert "m.room.create" in [event["type"] for event in section[key]["events"]]


@pytest.mark.parametrize(
    "query",
    [
        {"since": "nonsense"},
        {"since": "t5"},
        {"timeout": "-1"},
        {"timeout": "soon"},
        {"full_state": "maybe"},
        {"set_presence": "asleep"},
    ],
)
async def test_sync_refuses_malformed_parameters(whole: WholeServer, query: dict[str, str]) -> None:
    alice = await whole.register("alice")

    assert (await alice.get("/sync", **query)).outcome == (400, "M_INVALID_PARAM")


async def test_sync_refuses_filters_that_are_none(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    filter_id = (await bob.post(bob.user_path("filter"), {"room": {}})).json["filter_id"]

    assert (await alice.get("/sync", filter="{")).outcome == (400, "M_NOT_JSON")
    assert (await alice.get("/sync", filter='{"room": 5}')).outcome == (400, "M_BAD_JSON")
    assert (await alice.get("/sync", filter=filter_id)).status == 404


async def test_sync_needs_an_access_token(whole: WholeServer) -> None:
    assert (await whole.client().get("/sync")).outcome == (401, "M_MISSING_TOKEN")
