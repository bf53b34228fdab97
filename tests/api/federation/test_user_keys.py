"""``POST /_matrix/federation/v1/user/keys/query`` and ``claim``, ``GET .../user/devices/{userId}``"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from trio.testing import MockClock

from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.errors import Refused
from conduit_py.outbound.federation import build_path
from kvschema.engine import Engine
from tests.contract import check_response
from tests.rig.client import Client
from tests.rig.crypto import ALGORITHM, CrossSigning, Json, Keys, claim, query, without_signatures
from tests.rig.network import Network, open_network

BASE = ("_matrix", "federation", "v1", "user")


@pytest.fixture
async def pair(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> AsyncIterator[Network]:
    async with open_network(make_engine, "one.test", "two.test") as network:
        yield network


@pytest.fixture
async def alice(pair: Network) -> Client:
    return await pair["one.test"].register("alice", device_id="PHONE", initial_device_display_name="My phone")


@pytest.fixture
async def bob(pair: Network) -> Client:
    return await pair["two.test"].register("bob", device_id="BOX")


async def ask(pair: Network, method: str, *segments: str, **content: Any) -> Json:
    """What one.test answers two.test, which the specification must know."""
    path = build_path(*BASE, *segments)
    client = pair["two.test"].built.federation.client
    answer = await client.fetch(method, ServerName("one.test"), path, content=content or None)
    check_response(method, path, 200, answer, "application/json")
    return answer


async def refused(pair: Network, method: str, *segments: str, **content: Any) -> tuple[int, str]:
    async with pair["one.test"].leaves_no_trace(but={"server_signingkeys", "server_keyresponse"}):
        with pytest.raises(Refused) as caught:
            await ask(pair, method, *segments, **content)
    return caught.value.status, caught.value.errcode


async def test_query_user_encryption_keys_tells_devices_and_cross_signing_keys(pair: Network, alice: Client) -> None:
    keys, crossed = await Keys(alice).upload_all(), CrossSigning(alice.user_id)
    assert (await alice.post("/keys/device_signing/upload", crossed.body())).status == 200
    carol = await pair["one.test"].register("carol")
    hers = CrossSigning(carol.user_id)
    assert (await carol.post("/keys/device_signing/upload", hers.body())).status == 200
    signed = hers.sign("user_signing", without_signatures(crossed.key("master")))
    body = {alice.user_id: {crossed.public("master"): signed}}
    assert (await carol.post("/keys/signatures/upload", body)).json == {"failures": {}}
    nobody = "@nobody:one.test"
    assert await ask(pair, "POST", "keys", "query", device_keys={alice.user_id: [], nobody: []}) == {
        "device_keys": {alice.user_id: {"PHONE": keys | {"unsigned": {"device_display_name": "My phone"}}}},
        "master_keys": {alice.user_id: crossed.key("master")},
        "self_signing_keys": {alice.user_id: crossed.key("self_signing")},
    }


async def test_query_user_encryption_keys_tells_the_devices_that_were_asked_for(pair: Network, alice: Client) -> None:
    await Keys(alice).upload_all()
    answer = await ask(pair, "POST", "keys", "query", device_keys={alice.user_id: ["GONE"]})
    assert answer["device_keys"] == {alice.user_id: {}}


async def test_get_user_devices_tells_those_that_have_keys(pair: Network, alice: Client) -> None:
    keys, crossed = await Keys(alice).upload_all(), CrossSigning(alice.user_id)
    assert (await alice.post("/keys/device_signing/upload", crossed.body())).status == 200
    other = await pair["one.test"].register("other", device_id="WITHOUT")
    answer = await ask(pair, "GET", "devices", alice.user_id)
    assert isinstance(answer.pop("stream_id"), int)
    assert answer == {
        "user_id": alice.user_id,
        "devices": [{"device_id": "PHONE", "keys": keys, "device_display_name": "My phone"}],
        "master_key": crossed.key("master"),
        "self_signing_key": crossed.key("self_signing"),
    }
    assert (await ask(pair, "GET", "devices", other.user_id))["devices"] == []


async def test_claim_user_encryption_keys_hands_each_out_once(pair: Network, alice: Client) -> None:
    keys = Keys(alice)
    await keys.upload_all(2)
    wanted = {alice.user_id: {"PHONE": ALGORITHM, "GONE": ALGORITHM}}
    answers = [await ask(pair, "POST", "keys", "claim", one_time_keys=wanted) for _ in range(3)]
    expected = [keys.one_time_keys(0), keys.one_time_keys(1), keys.fallback_keys(1000)]
    assert [answer["one_time_keys"] for answer in answers] == [{alice.user_id: {"PHONE": key}} for key in expected]
    assert await claim(alice, alice.user_id, "PHONE") == {"PHONE": keys.fallback_keys(1000)}


@pytest.mark.parametrize(
    ("segments", "content", "outcome"),
    [
        (("keys", "query"), {"device_keys": {"@bob:two.test": []}}, (400, "M_INVALID_PARAM")),
        (("keys", "query"), {"device_keys": {"alice": []}}, (400, "M_INVALID_PARAM")),
        (("keys", "query"), {"device_keys": {"@alice:one.test": "PHONE"}}, (400, "M_BAD_JSON")),
        (("keys", "query"), {"other": 1}, (400, "M_MISSING_PARAM")),
        (("keys", "claim"), {"one_time_keys": {"@bob:two.test": {}}}, (400, "M_INVALID_PARAM")),
        (("keys", "claim"), {"one_time_keys": {"@alice:one.test": {"PHONE": 1}}}, (400, "M_BAD_JSON")),
        (("keys", "claim"), {"other": 1}, (400, "M_MISSING_PARAM")),
    ],
)
async def test_user_encryption_keys_refuse_what_they_cannot_read(
    pair: Network, alice: Client, segments: tuple[str, ...], content: Json, outcome: tuple[int, str]
) -> None:
    await Keys(alice).upload_all()
    assert await refused(pair, "POST", *segments, **content) == outcome


async def test_get_user_devices_not_found(pair: Network) -> None:
    assert await refused(pair, "GET", "devices", "@nobody:one.test") == (404, "M_NOT_FOUND")
    assert await refused(pair, "GET", "devices", "@bob:two.test") == (400, "M_INVALID_PARAM")


async def test_who_is_no_server_is_told_nothing(pair: Network, alice: Client) -> None:
    await Keys(alice).upload_all()
    async with pair["one.test"].leaves_no_trace():
        wanted = {"one_time_keys": {alice.user_id: {"PHONE": ALGORITHM}}, "device_keys": {alice.user_id: []}}
        for segments in (("keys", "query"), ("keys", "claim")):
            response = await pair["one.test"].client().post(build_path(*BASE, *segments), wanted)
            assert response.outcome == (401, "M_UNAUTHORIZED")
        response = await pair["one.test"].client().get(build_path(*BASE, "devices", alice.user_id))
        assert response.outcome == (401, "M_UNAUTHORIZED")


async def test_clients_get_keys_of_another_server(pair: Network, alice: Client, bob: Client) -> None:
    keys = Keys(alice)
    uploaded = await keys.upload_all(1)
    answer = await query(bob, alice.user_id, bob.user_id)
    assert answer["device_keys"][alice.user_id]["PHONE"]["keys"] == uploaded["keys"]
    assert answer["failures"] == {}
    assert await claim(bob, alice.user_id, "PHONE") == {"PHONE": keys.one_time_keys(0)}


async def test_clients_are_told_which_servers_cannot_be_asked(pair: Network, alice: Client, bob: Client) -> None:
    await Keys(alice).upload_all()
    pair.cut("one.test", "two.test")
    assert list((await query(bob, alice.user_id))["failures"]) == ["one.test"]
    wanted = {alice.user_id: {"PHONE": ALGORITHM}}
    response = await bob.post("/keys/claim", {"one_time_keys": wanted})
    assert (list(response.json["failures"]), response.json["one_time_keys"]) == (["one.test"], {})
    pair.heal()
    assert (await query(bob, alice.user_id))["failures"] == {}
