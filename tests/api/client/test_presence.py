"""``/presence/{userId}/status``, and presence as /sync tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock

from kvschema.engine import Engine
from tests.rig.client import Client, path
from tests.rig.network import Node, open_network
from tests.rig.rooms import create, join, send
from tests.rig.server import PASSWORD

Json = dict[str, Any]


@pytest.fixture
async def one(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> AsyncIterator[Node]:
    async with open_network(make_engine, "one.test") as network:
        yield network["one.test"]


def status(user: Client) -> str:
    return path("presence", user.user_id, "status")


async def set_status(user: Client, presence: str, message: str | None = None) -> None:
    body = {"presence": presence} | ({} if message is None else {"status_msg": message})
    response = await user.put(status(user), body)
    assert (response.status, response.json) == (200, {})


async def get_status(asker: Client, user: Client) -> Json:
    response = await asker.get(status(user))
    assert response.status == 200, response.body
    content: Json = response.json
    return content


async def sync(user: Client, since: str | None = None, timeout_ms: int = 0, **query: str) -> Json:
    arguments = {"timeout": str(timeout_ms), "set_presence": "offline", **query}
    if since is not None:
        arguments["since"] = since
    response = await user.get("/sync", **arguments)
    assert response.status == 200, response.body
    reply: Json = response.json
    return reply


def told(reply: Json) -> dict[str, str]:
    return {event["sender"]: event["content"]["presence"] for event in reply["presence"]["events"]}


async def meet(one: Node) -> tuple[Client, Client, str]:
    """Two who share a room, neither of whom is around."""
    alice, bob = await one.register("alice"), await one.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    for user in (alice, bob):
        await set_status(user, "offline")
    return alice, bob, room_id


async def test_set_presence_is_told_to_who_shares_a_room(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, _ = await meet(one)
    carol = await one.register("carol")
    since = (await sync(alice))["next_batch"]
    elsewhere = (await sync(carol))["next_batch"]
    await set_status(bob, "unavailable", "in the garden")
    (event,) = (await sync(alice, since))["presence"]["events"]
    assert (event["type"], event["sender"]) == ("m.presence", bob.user_id)
    assert event["content"]["presence"] == "unavailable"
    assert event["content"]["status_msg"] == "in the garden"
    assert told(await sync(carol, elsewhere)) == told(await sync(carol)) == {}
    assert told(await sync(bob)) == {bob.user_id: "unavailable"}
    assert told(await sync(alice)) == {bob.user_id: "unavailable"}


async def test_presence_tells_names_and_avatars(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, _ = await meet(one)
    since = (await sync(alice))["next_batch"]
    await set_status(bob, "unavailable")
    reply = await sync(alice, since)
    (event,) = reply["presence"]["events"]
    assert event["content"]["displayname"] == "bob ⚡️"
    await bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob"})
    await bob.put(path("profile", bob.user_id, "avatar_url"), {"avatar_url": "mxc://one.test/bob"})
    (event,) = (await sync(alice, reply["next_batch"]))["presence"]["events"]
    assert event["content"]["displayname"] == "Bob"
    assert event["content"]["avatar_url"] == "mxc://one.test/bob"


async def test_a_new_name_of_who_is_not_around_is_no_presence(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, _ = await meet(one)
    since = (await sync(alice))["next_batch"]
    await bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob"})
    assert told(await sync(alice, since)) == {}


async def test_get_presence_tells_when_a_user_was_last_active(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, room_id = await meet(one)
    await send(bob, room_id, "here")
    await trio.sleep(90)
    found = await get_status(alice, bob)
    assert found["presence"] == "online"
    assert found["currently_active"] is False
    assert found["last_active_ago"] == pytest.approx(90_000, abs=2000)


async def test_get_presence_forbidden_without_a_shared_room(one: Node, autojump_clock: MockClock) -> None:
    _, bob, _ = await meet(one)
    carol = await one.register("carol")
    assert (await carol.get(status(bob))).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("user_id", ["@nobody:one.test", "@nobody:two.test", "nobody"])
async def test_get_presence_not_found(one: Node, autojump_clock: MockClock, user_id: str) -> None:
    alice, _, _ = await meet(one)
    assert (await alice.get(path("presence", user_id, "status"))).outcome == (404, "M_NOT_FOUND")


async def test_set_presence_forbidden_for_others(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, _ = await meet(one)
    async with one.leaves_no_trace():
        assert (await alice.put(status(bob), {"presence": "online"})).outcome == (403, "M_FORBIDDEN")
        assert (await get_status(alice, bob))["presence"] == "offline"


@pytest.mark.parametrize("body", [{}, {"presence": "busy"}, {"presence": "online", "status_msg": "x" * 1025}])
async def test_set_presence_invalid_param(one: Node, autojump_clock: MockClock, body: Json) -> None:
    alice, bob, _ = await meet(one)
    assert (await bob.put(status(bob), body)).outcome == (400, "M_INVALID_PARAM")
    assert (await get_status(alice, bob))["presence"] == "offline"


async def test_a_sync_makes_online_and_time_makes_idle_and_gone(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, _ = await meet(one)
    since = (await sync(alice))["next_batch"]
    began = trio.current_time()
    await sync(bob, set_presence="online")
    seen = []
    while trio.current_time() < began + 3600:
        reply = await sync(alice, since, timeout_ms=60_000)
        since = reply["next_batch"]
        for event in reply["presence"]["events"]:
            content = event["content"]
            seen.append((round(trio.current_time() - began), content["presence"], content["currently_active"]))
    assert seen == [
        (0, "online", True),
        (60, "online", False),
        (300, "unavailable", False),
        (1800, "offline", False),
    ]


async def test_who_does_something_is_online_again(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, room_id = await meet(one)
    await sync(bob, set_presence="online")
    await trio.sleep(400)
    await sync(bob, set_presence="online")
    assert (await get_status(alice, bob))["presence"] == "unavailable"
    await send(bob, room_id, "back")
    assert (await get_status(alice, bob))["presence"] == "online"


async def test_a_device_that_is_idle_makes_unavailable_unless_another_is_not(
    one: Node, autojump_clock: MockClock
) -> None:
    alice, bob, _ = await meet(one)
    phone = one.client()
    identifier = {"type": "m.id.user", "user": bob.user_id}
    login = await phone.post("/login", {"type": "m.login.password", "identifier": identifier, "password": PASSWORD})
    phone.use_session(login.json)
    await sync(bob, set_presence="online")
    await sync(phone, set_presence="unavailable")
    assert (await get_status(alice, bob))["presence"] == "online"
    await sync(phone, set_presence="offline")
    await sync(bob, set_presence="unavailable")
    assert (await get_status(alice, bob))["presence"] == "unavailable"
    await sync(bob, set_presence="online")
    assert (await get_status(alice, bob))["presence"] == "online"


async def test_a_sync_that_hides_changes_nothing(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, _ = await meet(one)
    await sync(bob)
    assert (await get_status(alice, bob))["presence"] == "offline"


async def test_presence_passes_the_filter(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, _ = await meet(one)
    await set_status(bob, "online")
    for filter_, expected in (
        ({"not_types": ["m.presence"]}, {}),
        ({"not_senders": [bob.user_id]}, {}),
        ({"senders": [bob.user_id]}, {bob.user_id: "online"}),
    ):
        assert told(await sync(alice, filter=orjson.dumps({"presence": filter_}).decode())) == expected


async def test_who_comes_to_a_room_is_told_who_is_around(one: Node, autojump_clock: MockClock) -> None:
    _, bob, room_id = await meet(one)
    await set_status(bob, "online")
    carol = await one.register("carol")
    since = (await sync(carol))["next_batch"]
    await join(carol, room_id)
    assert told(await sync(carol, since)) == {bob.user_id: "online", carol.user_id: "online"}


async def test_a_restart_keeps_the_message_and_tells_who_is_gone(one: Node, autojump_clock: MockClock) -> None:
    alice, bob, _ = await meet(one)
    await set_status(bob, "online", "in the garden")
    since = (await sync(alice))["next_batch"]
    await trio.sleep(10)
    await one.restart()
    found = await get_status(alice, bob)
    assert (found["presence"], found["status_msg"]) == ("offline", "in the garden")
    assert found["last_active_ago"] == pytest.approx(10_000, abs=100)
    assert told(await sync(alice, since)) == {bob.user_id: "offline"}


async def test_syncs_write_nothing(one: Node, autojump_clock: MockClock) -> None:
    _, bob, _ = await meet(one)
    since = (await sync(bob, set_presence="online"))["next_batch"]
    async with one.leaves_no_trace():
        for state in ("online", "unavailable", "online"):
            since = (await sync(bob, since, set_presence=state))["next_batch"]


async def test_presence_can_be_switched_off(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> None:
    async with open_network(make_engine, "one.test", ALLOW_LOCAL_PRESENCE="false") as network:
        one = network["one.test"]
        alice, bob = await one.register("alice"), await one.register("bob")
        await join(bob, await create(alice))
        assert (await bob.put(status(bob), {"presence": "online"})).outcome == (403, "M_FORBIDDEN")
        await sync(bob, set_presence="online")
        assert told(await sync(alice)) == {}
        assert (await alice.get(status(bob))).outcome == (404, "M_NOT_FOUND")
