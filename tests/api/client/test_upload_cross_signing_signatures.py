"""``POST /_matrix/client/v3/keys/signatures/upload``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.client import Client
from tests.rig.crypto import CrossSigning, Json, Keys, query, sync, without_signatures
from tests.rig.whole import WholeServer

URL = "/keys/signatures/upload"


class Person:
    """A user with a device and cross-signing keys, all of them uploaded."""

    def __init__(self, client: Client) -> None:
        self.client, self.user_id = client, client.user_id
        self.device, self.signing = Keys(client), CrossSigning(client.user_id)

    async def set_up(self) -> None:
        await self.device.upload_all()
        response = await self.client.post("/keys/device_signing/upload", self.signing.body())
        assert response.status == 200, response.body

    async def upload(self, owner_id: str, target: str, json: Json) -> Json:
        response = await self.client.post(URL, {owner_id: {target: json}})
        assert response.status == 200, response.body
        failures: Json = response.json["failures"]
        return failures


@pytest.fixture
async def alice(whole: WholeServer) -> Person:
    person = Person(await whole.register("alice", device_id="PHONE"))
    await person.set_up()
    return person


@pytest.fixture
async def bob(whole: WholeServer) -> Person:
    person = Person(await whole.register("bob", device_id="BOX"))
    await person.set_up()
    return person


def errcode(failures: Json, owner_id: str, target: str) -> Any:
    return failures[owner_id][target]["errcode"]


async def test_upload_cross_signing_signatures_of_ones_device_is_seen_by_others(alice: Person, bob: Person) -> None:
    signed = alice.signing.sign("self_signing", alice.device.device_keys())
    since = (await sync(alice.client))["next_batch"]
    assert await alice.upload(alice.user_id, "PHONE", signed) == {}
    for asker in (alice, bob):
        assert (await query(asker.client, alice.user_id))["device_keys"][alice.user_id]["PHONE"] == signed
    assert (await sync(alice.client, since))["device_lists"]["changed"] == [alice.user_id]


async def test_upload_cross_signing_signatures_by_a_device_of_ones_master_key(alice: Person, bob: Person) -> None:
    master = alice.signing.key("master")
    signed = alice.device.sign(master)
    assert await alice.upload(alice.user_id, alice.signing.public("master"), signed) == {}
    for asker in (alice, bob):
        assert (await query(asker.client, alice.user_id))["master_keys"][alice.user_id] == signed


async def test_upload_cross_signing_signatures_of_others_are_ones_own_to_see(
    whole: WholeServer, alice: Person, bob: Person
) -> None:
    carol, laptop = await whole.register("carol"), await whole.log_in(alice.client, device_id="LAPTOP")
    since = (await sync(laptop))["next_batch"]
    master = bob.signing.key("master")
    signed = alice.signing.sign("user_signing", master)
    assert await alice.upload(bob.user_id, bob.signing.public("master"), signed) == {}
    assert (await query(alice.client, bob.user_id))["master_keys"][bob.user_id] == signed
    for asker in (bob.client, carol):
        assert (await query(asker, bob.user_id))["master_keys"][bob.user_id] == master
    assert (await sync(laptop, since))["device_lists"]["changed"] == [bob.user_id]


async def test_upload_cross_signing_signatures_again_changes_nothing(
    whole: WholeServer, alice: Person, bob: Person
) -> None:
    signed = alice.signing.sign("user_signing", without_signatures(bob.signing.key("master")))
    await alice.upload(bob.user_id, bob.signing.public("master"), signed)
    async with whole.leaves_no_trace():
        assert await alice.upload(bob.user_id, bob.signing.public("master"), signed) == {}


async def test_upload_cross_signing_signatures_stores_the_right_and_reports_the_wrong(
    alice: Person, bob: Person
) -> None:
    right = alice.signing.sign("self_signing", alice.device.device_keys())
    wrong = alice.signing.sign("self_signing", bob.signing.key("master"))
    public = bob.signing.public("master")
    body = {alice.user_id: {"PHONE": right}, bob.user_id: {public: wrong}}
    failures = (await alice.client.post(URL, body)).json["failures"]
    assert list(failures) == [bob.user_id]
    assert errcode(failures, bob.user_id, public) == "M_INVALID_SIGNATURE"
    assert (await query(alice.client, alice.user_id))["device_keys"][alice.user_id]["PHONE"] == right


async def test_upload_cross_signing_signatures_reports_what_is_not_there(whole: WholeServer, alice: Person) -> None:
    async with whole.leaves_no_trace():
        for owner_id, target in ((alice.user_id, "GONE"), ("@nobody:one.test", "X"), (alice.user_id, "x" * 300)):
            failures = await alice.upload(owner_id, target, {})
            assert errcode(failures, owner_id, target) == "M_NOT_FOUND"


async def test_upload_cross_signing_signatures_reports_another_key_than_the_uploaded(
    whole: WholeServer, alice: Person
) -> None:
    signed = alice.signing.sign("self_signing", alice.device.device_keys() | {"more": 1})
    async with whole.leaves_no_trace():
        failures = await alice.upload(alice.user_id, "PHONE", signed)
    assert errcode(failures, alice.user_id, "PHONE") == "M_INVALID_PARAM"


@pytest.mark.parametrize("signature", [1, "", "AAAA", "A" * 86, "A" * 300])
async def test_upload_cross_signing_signatures_reports_wrong_signatures(
    whole: WholeServer, alice: Person, signature: Any
) -> None:
    by = f"ed25519:{alice.signing.public('self_signing')}"
    json = without_signatures(alice.device.device_keys()) | {"signatures": {alice.user_id: {by: signature}}}
    async with whole.leaves_no_trace():
        failures = await alice.upload(alice.user_id, "PHONE", json)
    assert errcode(failures, alice.user_id, "PHONE") == "M_INVALID_SIGNATURE"


async def test_upload_cross_signing_signatures_by_somebody_else_are_not_taken(
    whole: WholeServer, alice: Person, bob: Person
) -> None:
    signed = bob.signing.sign("user_signing", without_signatures(alice.signing.key("master")))
    async with whole.leaves_no_trace():
        failures = await alice.upload(alice.user_id, alice.signing.public("master"), signed)
    assert errcode(failures, alice.user_id, alice.signing.public("master")) == "M_INVALID_SIGNATURE"


async def test_upload_cross_signing_signatures_of_a_device_that_goes_are_gone(
    whole: WholeServer, alice: Person
) -> None:
    laptop = Keys(await whole.log_in(alice.client, device_id="LAPTOP"))
    device_keys = await laptop.upload_all()
    await alice.upload(alice.user_id, "LAPTOP", alice.signing.sign("self_signing", device_keys))
    await laptop.client.post("/logout")
    again = Keys(await whole.log_in(alice.client, device_id="LAPTOP"))
    device_keys = await again.upload_all()
    assert (await query(alice.client, alice.user_id))["device_keys"][alice.user_id]["LAPTOP"] == device_keys


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"@alice:one.test": []}, (400, "M_BAD_JSON")),
        ({"@alice:one.test": {"PHONE": 1}}, (400, "M_BAD_JSON")),
        ({"alice": {}}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_upload_cross_signing_signatures_refuses_what_it_cannot_read(
    alice: Person, body: Any, outcome: tuple[int, str]
) -> None:
    assert (await alice.client.post(URL, body)).outcome == outcome


async def test_upload_cross_signing_signatures_missing_token(whole: WholeServer) -> None:
    assert (await whole.client().post(URL, {})).outcome == (401, "M_MISSING_TOKEN")
