"""``PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}``, and what /sync tells of it"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from conduit_py.data import to_device
from conduit_py.matrix.sync_token import parse_sync_token
from conduit_py.service.e2ee.news import MESSAGES_MAX
from kvschema.catalog import e2ee
from tests.rig.client import Client, Response, path
from tests.rig.crypto import Json, sync
from tests.rig.whole import WholeServer


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice", device_id="PHONE")


@pytest.fixture
async def bob(whole: WholeServer) -> Client:
    return await whole.register("bob", device_id="BOX")


async def tell(
    sender: Client, receiver: Client, content: Any, *, device_id: str | None = None, txn_id: str = "1"
) -> Response:
    messages = {receiver.user_id: {device_id or receiver.device_id: content}}
    return await sender.put(path("sendToDevice", "org.example.type", txn_id), {"messages": messages})


async def tell_numbers(sender: Client, receiver: Client, *numbers: int) -> None:
    for number in numbers:
        response = await tell(sender, receiver, {"number": number}, txn_id=f"number {number}")
        assert response.json == {}


def numbers_of(reply: Json) -> list[int]:
    return [event["content"]["number"] for event in reply["to_device"]["events"]]


async def test_send_to_device_reaches_the_device(alice: Client, bob: Client) -> None:
    assert (await tell(bob, alice, {"hello": "there"})).json == {}
    event = {"sender": bob.user_id, "type": "org.example.type", "content": {"hello": "there"}}
    assert (await sync(alice))["to_device"] == {"events": [event]}


async def test_send_to_device_reaches_no_other_device(whole: WholeServer, alice: Client, bob: Client) -> None:
    laptop = await whole.log_in(alice, device_id="LAPTOP")
    await tell(bob, alice, {"number": 1})
    assert numbers_of(await sync(laptop)) == []
    assert numbers_of(await sync(bob)) == []


async def test_send_to_device_with_a_star_reaches_every_device(whole: WholeServer, alice: Client, bob: Client) -> None:
    laptop = await whole.log_in(alice, device_id="LAPTOP")
    await tell(bob, alice, {"number": 1}, device_id="*")
    assert [numbers_of(await sync(device)) for device in (alice, laptop)] == [[1], [1]]


async def test_send_to_device_is_told_until_it_is_acknowledged(whole: WholeServer, alice: Client, bob: Client) -> None:
    since = (await sync(alice))["next_batch"]
    await tell_numbers(bob, alice, 1, 2)
    first = await sync(alice, since)
    assert numbers_of(first) == [1, 2]
    await tell_numbers(bob, alice, 3)
    assert numbers_of(await sync(alice, since)) == [1, 2, 3], "the reply may have been lost"
    assert numbers_of(await sync(alice)) == [1, 2, 3], "a client that begins anew has none of them"
    assert numbers_of(await sync(alice, first["next_batch"])) == [3]
    assert numbers_of(await sync(alice)) == [3], "what was acknowledged is gone"
    assert len(whole.dump()[e2ee.TO_DEVICE.name]) == 1


async def test_send_to_device_is_kept_by_a_token_from_a_lost_future(alice: Client, bob: Client) -> None:
    reply = await sync(alice)
    await tell_numbers(bob, alice, 1)
    token = parse_sync_token(reply["next_batch"])
    lost = f"s{token.pos + 10**9}_{token.boot}_0"
    for _ in range(2):
        assert numbers_of(await sync(alice, lost)) == [1]


async def test_send_to_device_is_told_in_parts(whole: WholeServer, alice: Client, bob: Client) -> None:
    since = (await sync(alice))["next_batch"]
    count = 2 * MESSAGES_MAX + 5
    await tell_numbers(bob, alice, *range(count))
    told: list[int] = []
    sizes = []
    for _ in range(4):
        reply = await sync(alice, since)
        told += numbers_of(reply)
        sizes.append(len(numbers_of(reply)))
        since = reply["next_batch"]
    assert told == list(range(count))
    assert sizes == [MESSAGES_MAX, MESSAGES_MAX, 5, 0]
    assert whole.dump()[e2ee.TO_DEVICE.name] == []


async def test_send_to_device_wakes_the_device(
    whole: WholeServer, alice: Client, bob: Client, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    since = (await sync(alice))["next_batch"]
    replies: list[Json] = []

    async def wait() -> None:
        replies.append(await sync(alice, since, timeout="30000"))

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    began = trio.current_time()
    await tell_numbers(bob, alice, 1)
    await wait_all_tasks_blocked()
    assert trio.current_time() - began < 1
    assert numbers_of(replies[0]) == [1]


async def test_send_to_device_does_a_transaction_once(whole: WholeServer, alice: Client, bob: Client) -> None:
    await tell(bob, alice, {"number": 1}, txn_id="same")
    async with whole.leaves_no_trace():
        assert (await tell(bob, alice, {"number": 1}, txn_id="same")).json == {}
    other = await whole.log_in(bob, device_id="OTHER")
    await tell(other, alice, {"number": 2}, txn_id="same")
    assert numbers_of(await sync(alice)) == [1, 2]


async def test_send_to_device_of_a_transaction_sent_twice_at_once_is_done_once(alice: Client, bob: Client) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(tell, bob, alice, {"number": 1})
    assert numbers_of(await sync(alice)) == [1]


async def test_send_to_device_passes_over_who_is_not_there(whole: WholeServer, alice: Client) -> None:
    messages: Json = {"@nobody:one.test": {"*": {}}, alice.user_id: {"GONE": {}}}
    response = await alice.put(path("sendToDevice", "a.b", "1"), {"messages": messages})
    assert response.json == {}
    assert whole.dump()[e2ee.TO_DEVICE.name] == []


async def test_send_to_device_drops_the_oldest_of_a_full_queue(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.service.e2ee.to_device.TO_DEVICE_PER_DEVICE_MAX", 3)
    await tell_numbers(bob, alice, *range(6))
    first = await sync(alice)
    assert numbers_of(first) == [3, 4, 5]
    await sync(alice, first["next_batch"])
    await tell_numbers(bob, alice, 6, 7, 8)
    assert numbers_of(await sync(alice)) == [6, 7, 8]


async def test_send_to_device_looks_for_the_oldest_of_a_full_queue_only_now_and_then(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.service.e2ee.to_device.TO_DEVICE_PER_DEVICE_MAX", 8)
    monkeypatch.setattr("conduit_py.service.e2ee.to_device.DROPPED_PART", 2)
    looked: list[int] = []
    remove = to_device.stage_oldest_removed

    def count(*args: Any, kept: int) -> int:
        looked.append(kept)
        return remove(*args, kept=kept)

    monkeypatch.setattr(to_device, "stage_oldest_removed", count)
    await tell_numbers(bob, alice, *range(16))
    assert looked == [4, 4]
    assert numbers_of(await sync(alice)) == list(range(8, 16))


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"messages": []}, (400, "M_BAD_JSON")),
        ({"messages": {"@alice:one.test": []}}, (400, "M_BAD_JSON")),
        ({"messages": {"@alice:one.test": {"PHONE": "x"}}}, (400, "M_BAD_JSON")),
        ({"messages": {"alice": {"PHONE": {}}}}, (400, "M_INVALID_PARAM")),
        ({"messages": {"@alice:one.test": {"PHONE": {"x": "x" * 65536}}}}, (413, "M_TOO_LARGE")),
    ],
)
async def test_send_to_device_refuses_what_it_cannot_send(
    whole: WholeServer, alice: Client, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with whole.leaves_no_trace():
        assert (await alice.put("/sendToDevice/a.b/1", body)).outcome == outcome


async def test_send_to_device_refuses_a_type_that_is_too_long(whole: WholeServer, alice: Client) -> None:
    async with whole.leaves_no_trace():
        response = await alice.put(path("sendToDevice", "x" * 256, "1"), {"messages": {}})
        assert response.outcome == (413, "M_TOO_LARGE")


async def test_send_to_device_missing_token(whole: WholeServer) -> None:
    response = await whole.client().put("/sendToDevice/a.b/1", {"messages": {}})
    assert response.outcome == (401, "M_MISSING_TOKEN")
