"""``POST /_matrix/client/v3/keys/device_signing/upload``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.client import Client
from tests.rig.crypto import CrossSigning, Json, Keys, query
from tests.rig.crypto import public as public_half
from tests.rig.server import PASSWORD
from tests.rig.whole import WholeServer

URL = "/keys/device_signing/upload"


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice", device_id="PHONE")


def auth(user: Client) -> Json:
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": PASSWORD,
    }


async def keys_of(asker: Client, user_id: str) -> dict[str, Any]:
    answer = await query(asker, user_id)
    return {name: answer[name].get(user_id) for name in ("master_keys", "self_signing_keys", "user_signing_keys")}


async def test_upload_cross_signing_keys_for_the_first_time_is_free(whole: WholeServer, alice: Client) -> None:
    bob, signing = await whole.register("bob"), CrossSigning(alice.user_id)
    assert (await alice.post(URL, signing.body())).json == {}
    public = {"master_keys": signing.key("master"), "self_signing_keys": signing.key("self_signing")}
    assert await keys_of(alice, alice.user_id) == public | {"user_signing_keys": signing.key("user_signing")}
    assert await keys_of(bob, alice.user_id) == public | {"user_signing_keys": None}, "its owner's alone to see"


async def test_upload_cross_signing_keys_one_by_one(alice: Client) -> None:
    signing = CrossSigning(alice.user_id)
    assert (await alice.post(URL, signing.body("master"))).json == {}
    assert (await alice.post(URL, signing.body("self_signing"))).status == 401
    assert (await alice.post(URL, signing.body("self_signing") | {"auth": auth(alice)})).json == {}
    assert (await keys_of(alice, alice.user_id))["self_signing_keys"] == signing.key("self_signing")


async def test_upload_cross_signing_keys_again_is_free(whole: WholeServer, alice: Client) -> None:
    signing = CrossSigning(alice.user_id)
    await alice.post(URL, signing.body())
    for body in (signing.body(), signing.body("master"), signing.body("master", "user_signing")):
        async with whole.leaves_no_trace():
            assert (await alice.post(URL, body)).json == {}


async def test_upload_cross_signing_keys_that_replace_others_asks_for_the_password(
    whole: WholeServer, alice: Client
) -> None:
    old, new = CrossSigning(alice.user_id), CrossSigning(alice.user_id, "new")
    await alice.post(URL, old.body())
    response = await alice.post(URL, new.body())
    assert response.status == 401
    assert response.json["flows"] == [{"stages": ["m.login.password"]}]
    assert (await keys_of(alice, alice.user_id))["master_keys"] == old.key("master")
    answer = auth(alice) | {"session": response.json["session"]}
    assert (await alice.post(URL, new.body() | {"auth": answer})).json == {}
    assert await keys_of(alice, alice.user_id) == {
        "master_keys": new.key("master"),
        "self_signing_keys": new.key("self_signing"),
        "user_signing_keys": new.key("user_signing"),
    }


async def test_upload_cross_signing_keys_proven_for_other_keys_is_refused(whole: WholeServer, alice: Client) -> None:
    await alice.post(URL, CrossSigning(alice.user_id).body())
    session = (await alice.post(URL, CrossSigning(alice.user_id, "new").body())).json["session"]
    body = CrossSigning(alice.user_id, "other").body() | {"auth": auth(alice) | {"session": session}}
    async with whole.leaves_no_trace():
        assert (await alice.post(URL, body)).outcome == (403, "M_FORBIDDEN")


async def test_upload_cross_signing_keys_with_a_new_master_key_drops_what_it_has_not_signed(alice: Client) -> None:
    await alice.post(URL, CrossSigning(alice.user_id).body())
    new = CrossSigning(alice.user_id, "new")
    assert (await alice.post(URL, new.body("master") | {"auth": auth(alice)})).json == {}
    assert await keys_of(alice, alice.user_id) == {
        "master_keys": new.key("master"),
        "self_signing_keys": None,
        "user_signing_keys": None,
    }


async def test_upload_cross_signing_keys_signed_anew_are_kept(alice: Client) -> None:
    signing = CrossSigning(alice.user_id)
    await alice.post(URL, signing.body())
    signing.use("master", "new")
    assert (await alice.post(URL, signing.body() | {"auth": auth(alice)})).json == {}
    assert (await keys_of(alice, alice.user_id))["self_signing_keys"] == signing.key("self_signing")


async def test_upload_cross_signing_keys_drops_the_signatures_of_the_old(alice: Client) -> None:
    signing, keys = CrossSigning(alice.user_id), Keys(alice)
    device_keys = await keys.upload_all()
    await alice.post(URL, signing.body())
    signed = signing.sign("self_signing", device_keys)
    await alice.post("/keys/signatures/upload", {alice.user_id: {"PHONE": signed}})
    assert (await query(alice, alice.user_id))["device_keys"][alice.user_id]["PHONE"] == signed
    signing.use("self_signing", "new")
    await alice.post(URL, signing.body("self_signing") | {"auth": auth(alice)})
    assert (await query(alice, alice.user_id))["device_keys"][alice.user_id]["PHONE"] == device_keys


async def test_upload_cross_signing_keys_missing_param_without_a_master_key(whole: WholeServer, alice: Client) -> None:
    async with whole.leaves_no_trace():
        for body in ({}, CrossSigning(alice.user_id).body("self_signing")):
            assert (await alice.post(URL, body)).outcome == (400, "M_MISSING_PARAM")


async def test_upload_cross_signing_keys_invalid_signature(whole: WholeServer, alice: Client) -> None:
    signing, other = CrossSigning(alice.user_id), CrossSigning(alice.user_id, "other")
    async with whole.leaves_no_trace():
        for usage in ("self_signing", "user_signing"):
            body = signing.body("master") | other.body(usage)
            assert (await alice.post(URL, body)).outcome == (400, "M_INVALID_SIGNATURE")


async def test_upload_cross_signing_keys_forbidden_for_the_id_of_a_device(whole: WholeServer, alice: Client) -> None:
    signing = CrossSigning(alice.user_id)
    await whole.log_in(alice, device_id=signing.public("self_signing"))
    async with whole.leaves_no_trace():
        assert (await alice.post(URL, signing.body())).outcome == (403, "M_FORBIDDEN")


async def test_login_refuses_the_id_of_a_cross_signing_key(whole: WholeServer, alice: Client) -> None:
    signing = CrossSigning(alice.user_id)
    await alice.post(URL, signing.body())
    body = auth(alice) | {"device_id": public_half(signing.keys["master"])}
    async with whole.leaves_no_trace():
        assert (await whole.client().post("/login", body)).outcome == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": "@bob:one.test"},
        {"usage": ["self_signing"]},
        {"usage": "master"},
        {"keys": {}},
        {"keys": {"ed25519:A": "A"}},
        {"keys": {"ed25519:A": "A" * 43, "ed25519:B": "B" * 43}},
    ],
)
async def test_upload_cross_signing_keys_refuses_what_is_no_key(
    whole: WholeServer, alice: Client, fields: dict[str, Any]
) -> None:
    body = {"master_key": CrossSigning(alice.user_id).key("master") | fields}
    async with whole.leaves_no_trace():
        assert (await alice.post(URL, body)).outcome == (400, "M_INVALID_PARAM")


async def test_upload_cross_signing_keys_missing_token(whole: WholeServer) -> None:
    assert (await whole.client().post(URL, {})).outcome == (401, "M_MISSING_TOKEN")
