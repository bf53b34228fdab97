"""``/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device``"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service.e2ee.news import MESSAGES_MAX
from tests.rig.client import Client, path
from tests.rig.crypto import ALGORITHM, DEHYDRATED, claim, dehydrate, query, sync
from tests.rig.rooms import create, join
from tests.rig.whole import WholeServer


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice", device_id="PHONE")


@pytest.fixture
async def bob(whole: WholeServer) -> Client:
    return await whole.register("bob", device_id="BOX")


async def put(client: Client, device_id: str = "ASLEEP+/=", **changes: Any) -> Client:
    body = {**dehydrate(client, device_id), **changes}
    response = await client.put(DEHYDRATED, body)
    assert (response.status, response.json) == (200, {"device_id": device_id})
    return client


async def tell(sender: Client, receiver: Client, *numbers: int, device_id: str = "ASLEEP+/=") -> None:
    for number in numbers:
        messages = {receiver.user_id: {device_id: {"number": number}}}
        await sender.put(path("sendToDevice", "a.b", f"{device_id} {number}"), {"messages": messages})


async def read(client: Client, since: str | None = None, device_id: str = "ASLEEP+/=") -> tuple[list[int], str]:
    body = {} if since is None else {"next_batch": since}
    response = await client.post(DEHYDRATED + path(device_id, "events"), body)
    assert response.status == 200, response.body
    return [event["content"]["number"] for event in response.json["events"]], response.json["next_batch"]


async def test_dehydrated_device_is_kept_and_told_to_others(alice: Client, bob: Client) -> None:
    await join(bob, await create(alice))
    since = (await sync(bob))["next_batch"]
    body = dehydrate(alice, "ASLEEP+/=")
    await put(alice)
    response = await alice.get(DEHYDRATED)
    assert response.json == {"device_id": "ASLEEP+/=", "device_data": body["device_data"]}
    assert (await sync(bob, since))["device_lists"]["changed"] == [alice.user_id]
    keys = (await query(bob, alice.user_id))["device_keys"][alice.user_id]["ASLEEP+/="]
    assert (keys["dehydrated"], keys["keys"]) == (True, body["device_keys"]["keys"])
    assert keys["unsigned"] == {"device_display_name": "Dehydrated device"}
    claimed = [(await claim(bob, alice.user_id, "ASLEEP+/="))["ASLEEP+/="] for _ in range(3)]
    assert [name for key in claimed for name in key] == [f"{ALGORITHM}:{it}" for it in ("0001", "0002", "F3")]


async def test_dehydrated_device_takes_messages_until_it_goes(alice: Client, bob: Client) -> None:
    await put(alice)
    await tell(bob, alice, *range(MESSAGES_MAX + 5))
    first, token = await read(alice)
    rest, end = await read(alice, token)
    assert (first, rest) == (list(range(MESSAGES_MAX)), list(range(MESSAGES_MAX, MESSAGES_MAX + 5)))
    assert await read(alice, end) == ([], end)
    assert (await read(alice))[0] == first
    assert (await sync(alice))["to_device"]["events"] == []
    assert (await alice.delete(DEHYDRATED)).json == {"device_id": "ASLEEP+/="}
    assert (await alice.get(DEHYDRATED)).outcome == (404, "M_NOT_FOUND")
    assert (await query(bob, alice.user_id))["device_keys"] == {alice.user_id: {}}


async def test_dehydrated_device_takes_the_place_of_the_one_before(alice: Client, bob: Client) -> None:
    await put(alice)
    await tell(bob, alice, 1)
    await put(alice, "SECOND")
    assert (await alice.get(DEHYDRATED)).json["device_id"] == "SECOND"
    assert list((await query(bob, alice.user_id))["device_keys"][alice.user_id]) == ["SECOND"]
    assert (await read(alice, device_id="SECOND"))[0] == []


async def test_dehydrated_device_goes_when_it_is_deleted_as_any_other(whole: WholeServer, alice: Client) -> None:
    await put(alice)
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}}
    body = {"devices": ["ASLEEP+/="], "auth": {**auth, "password": alice.password}}
    assert (await alice.post("/delete_devices", body)).status == 200
    assert (await alice.get(DEHYDRATED)).outcome == (404, "M_NOT_FOUND")


async def test_versions_tells_of_dehydrated_devices(alice: Client) -> None:
    versions = (await alice.get("/_matrix/client/versions")).json
    assert versions["unstable_features"]["org.matrix.msc3814"] is True


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"device_id": "PHONE"}, (400, "M_INVALID_PARAM")),
        ({"device_id": ""}, (400, "M_INVALID_PARAM")),
        ({"device_id": "OTHER"}, (400, "M_INVALID_PARAM")),
        ({"device_id": None}, (400, "M_MISSING_PARAM")),
        ({"device_data": None}, (400, "M_MISSING_PARAM")),
        ({"device_data": []}, (400, "M_BAD_JSON")),
        ({"device_data": {"x": "y" * 70_000}}, (413, "M_TOO_LARGE")),
        ({"device_keys": None}, (400, "M_MISSING_PARAM")),
        ({"one_time_keys": {"signed_curve25519:A": "bare"}}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_dehydrated_device_refuses_what_it_cannot_keep(
    whole: WholeServer, alice: Client, changes: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with whole.leaves_no_trace():
        response = await alice.put(DEHYDRATED, {**dehydrate(alice, "ASLEEP"), **changes})
    assert response.outcome == outcome


async def test_dehydrated_device_events_are_the_users_own(whole: WholeServer, alice: Client, bob: Client) -> None:
    url = DEHYDRATED + path("ASLEEP+/=", "events")
    assert (await alice.post(url, {})).outcome == (404, "M_NOT_FOUND")
    assert (await alice.delete(DEHYDRATED)).outcome == (404, "M_NOT_FOUND")
    await put(alice)
    await put(bob, "OTHER")
    assert (await bob.post(url, {})).outcome == (403, "M_FORBIDDEN")
    assert (await alice.post(url, {"next_batch": "soon"})).outcome == (400, "M_INVALID_PARAM")
    for method in ("GET", "PUT", "DELETE"):
        assert (await whole.client().request(method, DEHYDRATED, {})).outcome == (401, "M_MISSING_TOKEN")
