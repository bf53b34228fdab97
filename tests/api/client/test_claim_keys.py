"""``POST /_matrix/client/v3/keys/claim``"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from conduit_py.service.e2ee.keys import drop_one_time_keys
from tests.rig.client import Client
from tests.rig.crypto import ALGORITHM, Json, Keys, claim, sync
from tests.rig.whole import WholeServer


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice", device_id="PHONE")


async def test_claim_keys_hands_keys_out_in_the_order_of_upload(whole: WholeServer, alice: Client) -> None:
    bob, keys = await whole.register("bob"), Keys(alice)
    await keys.upload(device_keys=keys.device_keys(), one_time_keys=keys.one_time_keys(9))
    await keys.upload(one_time_keys=keys.one_time_keys(5))
    await keys.upload(one_time_keys=keys.one_time_keys(7))
    claimed = [(await claim(bob, alice.user_id, "PHONE"))["PHONE"] for _ in range(3)]
    assert claimed == [keys.one_time_keys(number) for number in (9, 5, 7)]
    assert await claim(bob, alice.user_id, "PHONE") == {}


async def test_claim_keys_of_several_devices_and_users(whole: WholeServer, alice: Client) -> None:
    bob, laptop = await whole.register("bob", device_id="B"), await whole.log_in(alice, device_id="LAPTOP")
    for client in (alice, laptop, bob):
        await Keys(client).upload_all()
    wanted = {alice.user_id: {"PHONE": ALGORITHM, "LAPTOP": ALGORITHM, "GONE": ALGORITHM}, bob.user_id: {"B": "other"}}
    response = await bob.post("/keys/claim", {"one_time_keys": wanted})
    assert {user_id: set(by_device) for user_id, by_device in response.json["one_time_keys"].items()} == {
        alice.user_id: {"PHONE", "LAPTOP"}
    }
    assert response.json["failures"] == {}


async def test_claim_keys_reports_servers_that_do_not_answer(alice: Client) -> None:
    response = await alice.post("/keys/claim", {"one_time_keys": {"@bob:two.test": {"B": ALGORITHM}}})
    assert (response.json["one_time_keys"], list(response.json["failures"])) == ({}, ["two.test"])


async def test_claim_keys_falls_back_to_the_fallback_key(alice: Client) -> None:
    keys = Keys(alice)
    await keys.upload_all(1)
    assert (await claim(alice, alice.user_id, "PHONE"))["PHONE"] == keys.one_time_keys(0)
    for _ in range(2):
        assert (await claim(alice, alice.user_id, "PHONE"))["PHONE"] == keys.fallback_keys(1000)
    reply = await sync(alice)
    assert reply["device_one_time_keys_count"] == {ALGORITHM: 0}
    assert reply["device_unused_fallback_key_types"] == []


async def test_claim_keys_wakes_the_device(
    whole: WholeServer, alice: Client, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bob = await whole.register("bob")
    await Keys(alice).upload_all(2)
    since = (await sync(alice))["next_batch"]
    replies: list[Json] = []

    async def wait() -> None:
        replies.append(await sync(alice, since, timeout="30000"))

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    began = trio.current_time()
    await claim(bob, alice.user_id, "PHONE")
    await wait_all_tasks_blocked()
    assert trio.current_time() - began < 1
    assert replies[0]["device_one_time_keys_count"] == {ALGORITHM: 1}
    assert (await sync(alice, replies[0]["next_batch"]))["device_one_time_keys_count"] == {ALGORITHM: 1}


async def test_claim_keys_at_the_same_time_never_get_the_same_key(whole: WholeServer, alice: Client) -> None:
    bob, keys = await whole.register("bob"), Keys(alice)
    await keys.upload_all(100)
    claimed: list[str] = []

    async def claim_one() -> None:
        claimed.extend((await claim(bob, alice.user_id, "PHONE"))["PHONE"])

    async with trio.open_nursery() as claims:
        for _ in range(1000):
            claims.start_soon(claim_one)

    counts = Counter(claimed)
    assert counts.pop(f"{ALGORITHM}:F1000") == 900
    assert counts == dict.fromkeys(keys.one_time_keys(*range(100)), 1)


async def test_one_time_keys_are_dropped_after_a_restore(whole: WholeServer, alice: Client) -> None:
    keys = Keys(alice)
    await keys.upload_all(5)
    await drop_one_time_keys(whole.store)
    reply = await sync(alice)
    assert reply["device_one_time_keys_count"] == {ALGORITHM: 0}
    assert reply["device_unused_fallback_key_types"] == []
    assert (await claim(alice, alice.user_id, "PHONE"))["PHONE"] == keys.fallback_keys(1000)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"one_time_keys": []}, (400, "M_BAD_JSON")),
        ({"one_time_keys": {"@alice:one.test": ["PHONE"]}}, (400, "M_BAD_JSON")),
        ({"one_time_keys": {"@alice:one.test": {"PHONE": 1}}}, (400, "M_BAD_JSON")),
        ({"one_time_keys": {"alice": {}}}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_claim_keys_refuses_what_it_cannot_read(
    whole: WholeServer, alice: Client, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with whole.leaves_no_trace():
        assert (await alice.post("/keys/claim", body)).outcome == outcome


async def test_claim_keys_missing_token(whole: WholeServer) -> None:
    assert (await whole.client().post("/keys/claim", {"one_time_keys": {}})).outcome == (401, "M_MISSING_TOKEN")
