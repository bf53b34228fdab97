"""Typing and receipts between servers: what ours tells another, and what it takes from one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from conduit_py.http.in_process import ClientReply
from kvschema.engine import Engine
from tests.rig.client import Client, path
from tests.rig.network import Network, Node, open_network
from tests.rig.peer import FEDERATION, Peer, open_peer
from tests.rig.rooms import create, in_room, send
from tests.rig.server import START_MS

Json = dict[str, Any]


@dataclass
class Mailbox:
    """Stands where two.test is reached."""

    transactions: list[Json] = field(default_factory=list)

    async def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> ClientReply:
        await trio.lowlevel.checkpoint()
        if method == "PUT" and path.startswith(f"{FEDERATION}/v1/send/"):
            self.transactions.append(orjson.loads(body))
            return ClientReply(200, {}, b'{"pdus":{}}')
        return ClientReply(404, {}, b"{}")

    def take_edus(self, edu_type: str) -> list[Json]:
        """Contents, oldest first; what is not asked for is gone too."""
        edus = [edu for transaction in self.transactions for edu in transaction["edus"]]
        self.transactions.clear()
        return [edu["content"] for edu in edus if edu["edu_type"] == edu_type]


@dataclass
class Exchange:
    """Alice on one.test in a room with Bob on two.test."""

    one: Node
    two: Peer
    mailbox: Mailbox
    network: Network
    alice: Client
    room_id: str
    bob: str = "@bob:two.test"
    _sent: int = 0

    async def tell(self, edu_type: str, content: Json) -> None:
        """two.test sends an EDU."""
        self._sent += 1
        body = {
            "origin": "two.test",
            "origin_server_ts": START_MS,
            "pdus": [],
            "edus": [{"edu_type": edu_type, "content": content}],
        }
        response = await self.two.request("PUT", f"{FEDERATION}/v1/send/{self._sent}", body)
        assert (response.status, response.json) == (200, {"pdus": {}})

    async def ephemeral(self, since: str | None = None) -> list[Json]:
        """What Alice's client is told of the room beside its events."""
        where = "/sync?timeout=0" if since is None else f"/sync?timeout=0&since={since}"
        reply = (await self.alice.get(where)).json
        events: list[Json] = reply["rooms"].get("join", {}).get(self.room_id, {}).get("ephemeral", {}).get("events", [])
        return events

    async def set_typing(self, *, typing: bool) -> None:
        body = {"typing": typing, "timeout": 30_000} if typing else {"typing": False}
        response = await self.alice.put(in_room(self.room_id, "typing", self.alice.user_id), body)
        assert response.status == 200

    async def read(self, event_id: str, type: str = "m.read", **body: str) -> None:
        response = await self.alice.post(in_room(self.room_id, "receipt", type, event_id), body)
        assert response.status == 200, response.body
        await trio.testing.wait_all_tasks_blocked()

    def receipt(self, event_id: str, user_id: str | None = None, **data: Any) -> Json:
        entry = {"event_ids": [event_id], "data": {"ts": 5, **data}}
        return {self.room_id: {"m.read": {user_id or self.bob: entry}}}


@pytest.fixture
async def exchange(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> AsyncIterator[Exchange]:
    async with open_exchange(make_engine) as exchange:
        yield exchange


@asynccontextmanager
async def open_exchange(make_engine: Callable[[], Engine], **overrides: str) -> AsyncIterator[Exchange]:
    async with open_network(make_engine, "one.test", chance=None, **overrides) as network:
        one = network["one.test"]
        alice, two = await one.register("alice"), await open_peer(one)
        room_id = await create(alice)
        await two.join(room_id, "@bob:two.test")
        mailbox = network.played["two.test"] = Mailbox()
        yield Exchange(one, two, mailbox, network, alice, room_id)


def typing_of(events: list[Json]) -> list[str] | None:
    return next((event["content"]["user_ids"] for event in events if event["type"] == "m.typing"), None)


def receipts_of(events: list[Json]) -> Json:
    return next((event["content"] for event in events if event["type"] == "m.receipt"), {})


async def test_typing_is_told_when_it_begins_and_ends(exchange: Exchange, autojump_clock: MockClock) -> None:
    content = {"room_id": exchange.room_id, "user_id": exchange.alice.user_id}
    await exchange.set_typing(typing=True)
    await trio.testing.wait_all_tasks_blocked()
    assert exchange.mailbox.take_edus("m.typing") == [{**content, "typing": True}]
    await exchange.set_typing(typing=False)
    await exchange.set_typing(typing=False)
    await trio.testing.wait_all_tasks_blocked()
    assert exchange.mailbox.take_edus("m.typing") == [{**content, "typing": False}]


async def test_typing_is_told_again_while_it_lasts_and_its_end_when_it_times_out(
    exchange: Exchange, autojump_clock: MockClock
) -> None:
    for _ in range(8):
        await exchange.set_typing(typing=True)
        await trio.sleep(5)
    assert [content["typing"] for content in exchange.mailbox.take_edus("m.typing")] == [True] * 4
    await trio.sleep(60)
    assert [content["typing"] for content in exchange.mailbox.take_edus("m.typing")] == [False]


async def test_typing_that_could_not_be_told_is_not_told_late(exchange: Exchange, autojump_clock: MockClock) -> None:
    exchange.network.cut("one.test", "two.test")
    await exchange.set_typing(typing=True)
    await trio.sleep(120)
    exchange.network.heal()
    await trio.sleep(24 * 3600)
    assert exchange.mailbox.take_edus("m.typing") == []


async def test_typing_of_another_server_is_shown_until_it_ends_or_times_out(
    exchange: Exchange, autojump_clock: MockClock
) -> None:
    since = (await exchange.alice.get("/sync")).json["next_batch"]
    typing = {"room_id": exchange.room_id, "user_id": exchange.bob, "typing": True}
    await exchange.tell("m.typing", typing)
    assert typing_of(await exchange.ephemeral(since)) == [exchange.bob]
    await exchange.tell("m.typing", {**typing, "typing": False})
    assert typing_of(await exchange.ephemeral(since)) == []
    await exchange.tell("m.typing", typing)
    assert typing_of(await exchange.ephemeral(since)) == [exchange.bob]
    await trio.sleep(31)
    assert typing_of(await exchange.ephemeral(since)) == []
    await trio.testing.wait_all_tasks_blocked()
    assert exchange.mailbox.take_edus("m.typing") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "@alice:one.test"},
        {"user_id": "@carol:three.test"},
        {"user_id": "@nobody:two.test"},
        {"room_id": "!elsewhere:two.test"},
        {"typing": "yes"},
    ],
)
async def test_typing_of_who_has_no_business_here_is_dropped(
    exchange: Exchange, autojump_clock: MockClock, changes: Json
) -> None:
    typing = {"room_id": exchange.room_id, "user_id": exchange.bob, "typing": True, **changes}
    async with exchange.one.leaves_no_trace(but=RECEIVED):
        await exchange.tell("m.typing", typing)
        assert typing_of(await exchange.ephemeral()) is None


RECEIVED = {"servertxnid_response", "txnage_servertxnid", "userdeviceid_metadata"}
"""What a transaction leaves behind that had nothing in it."""


async def test_public_receipts_are_told_and_private_ones_are_not(exchange: Exchange, autojump_clock: MockClock) -> None:
    first, second = [await send(exchange.alice, exchange.room_id, text) for text in ("one", "two")]
    await exchange.read(first)
    await exchange.read(second, "m.read.private")
    (content,) = exchange.mailbox.take_edus("m.receipt")
    (entry,) = [content[exchange.room_id]["m.read"].pop(exchange.alice.user_id)]
    assert content == {exchange.room_id: {"m.read": {}}}
    assert entry == {"event_ids": [first], "data": {"ts": exchange.one.store.now_ms()}}


async def test_receipts_that_wait_are_replaced_and_share_an_edu(exchange: Exchange, autojump_clock: MockClock) -> None:
    bob_too = await exchange.one.register("dave")
    assert (await bob_too.post(path("join", exchange.room_id), {})).status == 200
    await trio.testing.wait_all_tasks_blocked()
    exchange.mailbox.take_edus("")
    exchange.network.cut("one.test", "two.test")
    events = [await send(exchange.alice, exchange.room_id, str(number)) for number in range(4)]
    for event_id in events:
        await exchange.read(event_id)
        await exchange.read(event_id, thread_id="main")
    response = await bob_too.post(in_room(exchange.room_id, "receipt", "m.read", events[0]), {})
    assert response.status == 200
    exchange.network.heal()
    await trio.sleep(60)
    contents = exchange.mailbox.take_edus("m.receipt")
    told = [
        (user_id, entry["event_ids"][0], entry["data"].get("thread_id"))
        for content in contents
        for user_id, entry in content[exchange.room_id]["m.read"].items()
    ]
    alice = exchange.alice.user_id
    assert sorted(told, key=str) == sorted(
        [(alice, events[3], None), (alice, events[3], "main"), (bob_too.user_id, events[0], None)], key=str
    )
    assert len(contents) == 2


async def test_receipts_of_another_server_are_shown_and_kept(exchange: Exchange, autojump_clock: MockClock) -> None:
    first, second = [await send(exchange.alice, exchange.room_id, text) for text in ("one", "two")]
    since = (await exchange.alice.get("/sync")).json["next_batch"]
    await exchange.tell("m.receipt", exchange.receipt(second))
    entry = {second: {"m.read": {exchange.bob: {"ts": 5}}}}
    assert receipts_of(await exchange.ephemeral(since)) == entry
    await exchange.tell("m.receipt", exchange.receipt(first))
    await exchange.one.restart()
    assert receipts_of(await exchange.ephemeral()) == entry
    await exchange.tell("m.receipt", exchange.receipt(second, thread_id="main"))
    contents = [event["content"] for event in await exchange.ephemeral() if event["type"] == "m.receipt"]
    data = [content[second]["m.read"][exchange.bob] for content in contents]
    assert sorted(data, key=len) == [{"ts": 5}, {"ts": 5, "thread_id": "main"}]
    assert exchange.mailbox.take_edus("m.receipt") == []


@pytest.mark.parametrize("user_id", ["@alice:one.test", "@carol:three.test", "@nobody:two.test"])
async def test_receipts_of_who_is_not_in_the_room_are_dropped(
    exchange: Exchange, autojump_clock: MockClock, user_id: str
) -> None:
    event_id = await send(exchange.alice, exchange.room_id, "one")
    await exchange.tell("m.receipt", exchange.receipt(event_id, user_id))
    assert receipts_of(await exchange.ephemeral()) == {}


async def test_a_receipt_for_an_event_that_is_not_here_is_dropped(
    exchange: Exchange, autojump_clock: MockClock
) -> None:
    other = await create(exchange.alice)
    elsewhere = await send(exchange.alice, other, "one")
    for event_id in ("$nowhere", elsewhere):
        await exchange.tell("m.receipt", exchange.receipt(event_id))
    assert receipts_of(await exchange.ephemeral()) == {}


async def test_a_receipt_for_a_thread_that_is_not_here_is_dropped(
    exchange: Exchange, autojump_clock: MockClock
) -> None:
    other = await create(exchange.alice)
    elsewhere = await send(exchange.alice, other, "one")
    root, event_id = [await send(exchange.alice, exchange.room_id, text) for text in ("one", "two")]
    for thread_id in ("$nowhere", elsewhere):
        await exchange.tell("m.receipt", exchange.receipt(event_id, thread_id=thread_id))
    assert receipts_of(await exchange.ephemeral()) == {}
    await exchange.tell("m.receipt", exchange.receipt(event_id, thread_id=root))
    entry = {"ts": 5, "thread_id": root}
    assert receipts_of(await exchange.ephemeral()) == {event_id: {"m.read": {exchange.bob: entry}}}


def presence(user_id: str, state: str = "online", **more: Any) -> Json:
    return {"push": [{"user_id": user_id, "presence": state, "last_active_ago": 1000, **more}]}


async def presence_told(exchange: Exchange) -> list[tuple[str, str]]:
    reply = (await exchange.alice.get("/sync?timeout=0&set_presence=offline")).json
    told = [(event["sender"], event["content"]["presence"]) for event in reply["presence"]["events"]]
    return [(sender, presence) for sender, presence in told if sender != exchange.alice.user_id]


async def test_presence_goes_both_ways_where_the_operator_wants_it(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    switches = {"ALLOW_INCOMING_PRESENCE": "true", "ALLOW_OUTGOING_PRESENCE": "true"}
    async with open_exchange(make_engine, **switches) as exchange:
        await trio.testing.wait_all_tasks_blocked()
        exchange.mailbox.take_edus("")
        body = {"presence": "unavailable", "status_msg": "in the garden"}
        status = path("presence", exchange.alice.user_id, "status")
        assert (await exchange.alice.put(status, body)).status == 200
        await trio.testing.wait_all_tasks_blocked()
        (content,) = exchange.mailbox.take_edus("m.presence")
        (update,) = content["push"]
        assert update.items() >= {"user_id": exchange.alice.user_id, **body}.items()

        await exchange.tell("m.presence", presence(exchange.bob, currently_active=True))
        assert await presence_told(exchange) == [(exchange.bob, "online")]
        for other in ("@carol:three.test", exchange.alice.user_id, "@nobody:two.test"):
            await exchange.tell("m.presence", presence(other))
        assert await presence_told(exchange) == [(exchange.bob, "online")]
        await trio.sleep(1801)
        assert await presence_told(exchange) == []
        (content,) = exchange.mailbox.take_edus("m.presence")
        assert [(it["user_id"], it["presence"]) for it in content["push"]] == [(exchange.alice.user_id, "offline")]


async def test_presence_stays_at_home_unless_the_operator_wants_it(
    exchange: Exchange, autojump_clock: MockClock
) -> None:
    await exchange.tell("m.presence", presence(exchange.bob))
    assert await presence_told(exchange) == []
    status = path("presence", exchange.alice.user_id, "status")
    assert (await exchange.alice.put(status, {"presence": "online"})).status == 200
    await trio.testing.wait_all_tasks_blocked()
    assert exchange.mailbox.take_edus("m.presence") == []
