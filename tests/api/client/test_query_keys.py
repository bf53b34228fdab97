"""``POST /_matrix/client/v3/keys/query``"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.outbound.errors import Unreachable
from conduit_py.service.e2ee.remote import fetch_all
from tests.rig.client import Client
from tests.rig.crypto import Keys, query
from tests.rig.whole import WholeServer


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice", device_id="PHONE", initial_device_display_name="My phone")


async def test_query_keys_tells_every_device_that_has_keys(whole: WholeServer, alice: Client) -> None:
    bob = await whole.register("bob")
    laptop = await whole.log_in(alice, device_id="LAPTOP")
    await whole.log_in(alice, device_id="WITHOUT")
    phone_keys, laptop_keys = await Keys(alice).upload_all(), await Keys(laptop).upload_all()
    assert (await query(bob, alice.user_id))["device_keys"] == {
        alice.user_id: {
            "PHONE": phone_keys | {"unsigned": {"device_display_name": "My phone"}},
            "LAPTOP": laptop_keys,
        }
    }


async def test_query_keys_tells_the_devices_that_were_asked_for(whole: WholeServer, alice: Client) -> None:
    laptop = await whole.log_in(alice, device_id="LAPTOP")
    await Keys(alice).upload_all()
    keys = await Keys(laptop).upload_all()
    response = await alice.post("/keys/query", {"device_keys": {alice.user_id: ["LAPTOP", "GONE"]}})
    assert response.json["device_keys"] == {alice.user_id: {"LAPTOP": keys}}


async def test_query_keys_passes_over_users_that_there_are_not(alice: Client) -> None:
    answer = await query(alice, "@nobody:one.test")
    assert (answer["device_keys"], answer["failures"]) == ({}, {})


async def test_query_keys_reports_servers_that_do_not_answer(alice: Client) -> None:
    keys = await Keys(alice).upload_all()
    answer = await query(alice, alice.user_id, "@bob:two.test")
    assert list(answer["failures"]) == ["two.test"]
    assert answer["device_keys"][alice.user_id]["PHONE"]["keys"] == keys["keys"]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"device_keys": []}, (400, "M_BAD_JSON")),
        ({"device_keys": {"@alice:one.test": "PHONE"}}, (400, "M_BAD_JSON")),
        ({"device_keys": {"@alice:one.test": [1]}}, (400, "M_BAD_JSON")),
        ({"device_keys": {"alice": []}}, (400, "M_INVALID_PARAM")),
        ({"device_keys": {}, "timeout": -1}, (400, "M_INVALID_PARAM")),
        ({"device_keys": {}, "timeout": "1"}, (400, "M_BAD_JSON")),
    ],
)
async def test_query_keys_refuses_what_it_cannot_read(
    alice: Client, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    assert (await alice.post("/keys/query", body)).outcome == outcome


async def test_query_keys_missing_token(whole: WholeServer) -> None:
    assert (await whole.client().post("/keys/query", {"device_keys": {}})).outcome == (401, "M_MISSING_TOKEN")


async def test_servers_are_asked_at_once_and_within_the_timeout(autojump_clock: trio.testing.MockClock) -> None:
    async def fetch(server_name: ServerName, asked: Any) -> Any:
        if server_name == "down.test":
            raise Unreachable("down")
        await trio.sleep(1 if server_name == "quick.test" else 60)
        return {"asked": asked}

    began = trio.current_time()
    servers = [ServerName(name) for name in ("slow.test", "down.test", "quick.test")]
    answers = await fetch_all(fetch, {server: {UserId("@of"): server} for server in servers}, timeout_ms=5000)
    assert trio.current_time() - began == pytest.approx(5)
    assert answers.answers == {"quick.test": {"asked": {"@of": "quick.test"}}}
    assert answers.failures == {
        "slow.test": {"errcode": "M_UNKNOWN", "error": "The server did not answer in time"},
        "down.test": {"errcode": "M_UNKNOWN", "error": "down"},
    }
