"""``POST /_matrix/client/v3/keys/upload``"""

from __future__ import annotations

from typing import Any

import pytest

from kvschema.catalog.e2ee import ONE_TIME_KEYS_PER_DEVICE_MAX
from tests.rig.auth import by_password
from tests.rig.client import Client
from tests.rig.crypto import ALGORITHM, Keys, claim, make_key, query, sync
from tests.rig.whole import WholeServer


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice", device_id="PHONE")


async def test_upload_keys_publishes_them(alice: Client) -> None:
    keys = Keys(alice)
    response = await keys.upload(device_keys=keys.device_keys(), one_time_keys=keys.one_time_keys(1, 2))
    assert response.json == {"one_time_key_counts": {ALGORITHM: 2}}
    assert (await query(alice, alice.user_id))["device_keys"] == {alice.user_id: {"PHONE": keys.device_keys()}}
    reply = await sync(alice)
    assert reply["device_one_time_keys_count"] == {ALGORITHM: 2}
    assert reply["device_unused_fallback_key_types"] == []


async def test_upload_keys_without_keys_tells_the_counts(alice: Client) -> None:
    assert (await Keys(alice).upload()).json == {"one_time_key_counts": {}}


async def test_upload_keys_adds_keys_later(alice: Client) -> None:
    keys = Keys(alice)
    await keys.upload_all(2)
    response = await keys.upload(one_time_keys={**keys.one_time_keys(7), "curve25519:A": "anything"})
    assert response.json == {"one_time_key_counts": {ALGORITHM: 3, "curve25519": 1}}


async def test_upload_keys_tells_unused_fallback_keys(alice: Client) -> None:
    await Keys(alice).upload_all()
    assert (await sync(alice))["device_unused_fallback_key_types"] == [ALGORITHM]


async def test_upload_keys_replaces_the_fallback_key(alice: Client) -> None:
    keys = Keys(alice)
    await keys.upload_all(0)
    assert (await claim(alice, alice.user_id, "PHONE"))["PHONE"] == keys.fallback_keys(1000)
    assert (await sync(alice))["device_unused_fallback_key_types"] == []
    await keys.upload(fallback_keys=keys.fallback_keys(1000))
    assert (await sync(alice))["device_unused_fallback_key_types"] == [], "the same key is as used as before"
    await keys.upload(fallback_keys=keys.fallback_keys(1001))
    assert (await sync(alice))["device_unused_fallback_key_types"] == [ALGORITHM]
    assert (await claim(alice, alice.user_id, "PHONE"))["PHONE"] == keys.fallback_keys(1001)


async def test_upload_keys_again_changes_nothing(whole: WholeServer, alice: Client) -> None:
    keys = Keys(alice)
    body = {"device_keys": keys.device_keys(), "one_time_keys": keys.one_time_keys(1, 2)}
    await keys.upload(**body)
    async with whole.leaves_no_trace():
        assert (await keys.upload(**body)).json == {"one_time_key_counts": {ALGORITHM: 2}}


async def test_upload_keys_does_not_bring_back_a_key_that_was_handed_out(alice: Client) -> None:
    keys = Keys(alice)
    await keys.upload(device_keys=keys.device_keys(), one_time_keys=keys.one_time_keys(1, 2))
    assert (await claim(alice, alice.user_id, "PHONE"))["PHONE"] == keys.one_time_keys(1)
    response = await keys.upload(one_time_keys=keys.one_time_keys(1, 2))
    assert response.json == {"one_time_key_counts": {ALGORITHM: 1}}
    assert (await claim(alice, alice.user_id, "PHONE"))["PHONE"] == keys.one_time_keys(2)


async def test_upload_keys_go_with_their_device(whole: WholeServer, alice: Client) -> None:
    laptop = await whole.log_in(alice, device_id="LAPTOP")
    keys = Keys(laptop)
    await keys.upload_all(3)
    await claim(alice, alice.user_id, "LAPTOP")
    await alice.put("/sendToDevice/a.b/1", {"messages": {alice.user_id: {"LAPTOP": {}}}})
    assert (await alice.delete("/devices/LAPTOP", {"auth": by_password(alice)})).status == 200
    assert (await query(alice, alice.user_id))["device_keys"] == {alice.user_id: {}}
    assert await claim(alice, alice.user_id, "LAPTOP") == {}
    again = await whole.log_in(alice, device_id="LAPTOP")
    reply = await sync(again)
    assert reply["device_one_time_keys_count"] == {ALGORITHM: 0}
    assert reply["device_unused_fallback_key_types"] == []
    assert reply["to_device"]["events"] == []


async def test_upload_keys_missing_token(whole: WholeServer) -> None:
    assert (await whole.client().post("/keys/upload", {})).outcome == (401, "M_MISSING_TOKEN")


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"user_id": "@bob:one.test"}, (400, "M_INVALID_PARAM")),
        ({"device_id": "LAPTOP"}, (400, "M_INVALID_PARAM")),
        ({"algorithms": "m.olm"}, (400, "M_INVALID_PARAM")),
        ({"keys": {"ed25519:PHONE": 1}}, (400, "M_INVALID_PARAM")),
        ({"signatures": {"ed25519:PHONE": "x"}}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_upload_keys_refuses_device_keys(
    whole: WholeServer, alice: Client, fields: dict[str, Any], outcome: tuple[int, str]
) -> None:
    keys = Keys(alice)
    async with whole.leaves_no_trace():
        assert (await keys.upload(device_keys=keys.device_keys() | fields)).outcome == outcome


async def test_upload_keys_leaves_signatures_to_who_reads_them(whole: WholeServer, alice: Client) -> None:
    """As those of other servers' devices are. What says only whose it is, is passed on too."""
    keys, other = Keys(alice), Keys(alice, "other")
    unsigned = keys.device_keys() | {"signatures": {alice.user_id: {"ed25519:PHONE": make_key("x").sign(b"")}}}
    bare = {"user_id": alice.user_id, "device_id": "PHONE"}
    for device_keys in (keys.device_keys(), unsigned, bare):
        assert (await keys.upload(device_keys=device_keys)).status == 200
        assert (await query(alice, alice.user_id))["device_keys"][alice.user_id]["PHONE"].items() >= device_keys.items()
    assert (await keys.upload(one_time_keys=other.one_time_keys(1))).json == {"one_time_key_counts": {ALGORITHM: 1}}
    assert (await claim(alice, alice.user_id, "PHONE"))["PHONE"] == other.one_time_keys(1)


async def test_upload_keys_takes_keys_of_a_device_before_its_identity(alice: Client) -> None:
    keys = Keys(alice)
    response = await keys.upload(one_time_keys=keys.one_time_keys(1))
    assert response.json == {"one_time_key_counts": {"signed_curve25519": 1}}
    assert (await keys.upload(device_keys=keys.device_keys())).status == 200
    wanted = {alice.user_id: {alice.device_id: "signed_curve25519"}}
    claimed = (await alice.post("/keys/claim", {"one_time_keys": wanted})).json["one_time_keys"]
    assert len(claimed[alice.user_id][alice.device_id]) == 1


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"device_keys": []}, (400, "M_BAD_JSON")),
        ({"one_time_keys": []}, (400, "M_BAD_JSON")),
        ({"fallback_keys": "x"}, (400, "M_BAD_JSON")),
        ({"one_time_keys": {"curve25519": "x"}}, (400, "M_INVALID_PARAM")),
        ({"one_time_keys": {"curve25519:A": 1}}, (400, "M_INVALID_PARAM")),
        ({"one_time_keys": {"signed_curve25519:A": "x"}}, (400, "M_INVALID_PARAM")),
        ({"one_time_keys": {"x" * 65 + ":A": "x"}}, (400, "M_INVALID_PARAM")),
        ({"one_time_keys": {"curve25519:A": "x" * 5000}}, (413, "M_TOO_LARGE")),
        ({"fallback_keys": {"a:A": "x", "a:B": "y"}}, (400, "M_INVALID_PARAM")),
        ({"fallback_keys": {f"a{number}:A": "x" for number in range(6)}}, (413, "M_TOO_LARGE")),
    ],
)
async def test_upload_keys_refuses_what_is_no_key(
    whole: WholeServer, alice: Client, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with whole.leaves_no_trace():
        assert (await Keys(alice).upload(**body)).outcome == outcome


async def test_upload_keys_refuses_another_key_under_the_same_id(whole: WholeServer, alice: Client) -> None:
    keys = Keys(alice)
    await keys.upload(one_time_keys={"curve25519:A": "one"})
    async with whole.leaves_no_trace():
        response = await keys.upload(one_time_keys={"curve25519:B": "new", "curve25519:A": "other"})
        assert response.outcome == (400, "M_INVALID_PARAM")


async def test_upload_keys_refuses_too_many(whole: WholeServer, alice: Client) -> None:
    many = {f"curve25519:{number}": "x" for number in range(ONE_TIME_KEYS_PER_DEVICE_MAX + 1)}
    async with whole.leaves_no_trace():
        assert (await Keys(alice).upload(one_time_keys=many)).outcome == (413, "M_TOO_LARGE")
    many.popitem()
    assert (await Keys(alice).upload(one_time_keys=many)).json == {"one_time_key_counts": {"curve25519": len(many)}}
