"""``PUT /_matrix/federation/v1/send/{txnId}``

How events are judged, and what of them is fetched, is tested with the services: ``tests/service/federation``.
"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from tests.api.federation.scene import VERSIONS, Scene
from tests.rig.client import Response
from tests.rig.peer import FEDERATION
from tests.rig.rooms import bodies, create, in_room
from tests.rig.server import START_MS


async def send(scene: Scene, pdus: list[Any], edus: list[Any] | None = None, txn_id: str = "one") -> Response:
    content = {"origin": scene.two.name, "origin_server_ts": START_MS, "pdus": pdus}
    return await scene.two.request(
        "PUT", f"{FEDERATION}/v1/send/{txn_id}", content if edus is None else content | {"edus": edus}
    )


async def say(scene: Scene, room_id: str, version: str) -> Pdu:
    """Bob of two.test joins, and says something that is not sent yet."""
    joined = await scene.two.join(room_id, scene.two.user("bob"))
    rooms_version = ROOM_VERSIONS[version]
    state = [parse_pdu(event, rooms_version) for event in joined.json["state"]]
    join = parse_pdu(joined.json["event"], rooms_version)
    types = {"m.room.power_levels"} | ({"m.room.create"} if version != "12" else set())
    return scene.two.build(
        version,
        room_id,
        type="m.room.message",
        sender=scene.two.user("bob"),
        state_key=None,
        content={"msgtype": "m.text", "body": "hello"},
        prev_events=[join],
        auth_events=[*(pdu for pdu in state if pdu.type in types), join],
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_send_transaction_puts_events_into_the_timeline(scene: Scene, version: str) -> None:
    room_id = await create(scene.alice, room_version=version)
    said = await say(scene, room_id, version)
    response = await send(scene, [said.json], [])
    assert (response.status, response.json) == (200, {"pdus": {said.event_id: {}}})
    messages = await scene.alice.get(in_room(room_id, "messages"), dir="b")
    assert bodies(messages.json["chunk"]) == ["hello"]


async def test_send_transaction_again_is_answered_the_same(scene: Scene) -> None:
    room_id = await create(scene.alice, room_version="11")
    said = await say(scene, room_id, "11")
    first = await send(scene, [said.json])
    async with scene.leaves_no_trace():
        assert (await send(scene, [said.json])).json == first.json
        assert (await send(scene, [])).json == first.json


async def test_send_transaction_tells_of_events_that_are_dropped(scene: Scene) -> None:
    room_id = await create(scene.alice, room_version="11")
    said = await say(scene, room_id, "11")
    forged = {**said.json, "signatures": {}}
    response = await send(scene, [forged, {"room_id": room_id}, 7])
    assert response.status == 200
    assert said.event_id in response.json["pdus"]
    assert "no signature of two.test" in response.json["pdus"][said.event_id]["error"]
    assert (await scene.alice.get(in_room(room_id, "event", said.event_id))).status == 404


@pytest.mark.parametrize(
    ("pdus", "edus", "errcode"),
    [
        ([{}] * 51, [], "M_INVALID_PARAM"),
        ([], [{}] * 101, "M_INVALID_PARAM"),
        ({}, [], "M_BAD_JSON"),
        ([], "none", "M_BAD_JSON"),
    ],
)
async def test_send_transaction_of_the_wrong_shape(scene: Scene, pdus: Any, edus: Any, errcode: str) -> None:
    async with scene.leaves_no_trace():
        response = await send(scene, pdus, edus)
        assert response.outcome == (400, errcode)


async def test_send_transaction_of_a_server_with_another_key(scene: Scene) -> None:
    scene.two.key = type(scene.two.key).from_seed(scene.two.key.key_id, bytes(32))
    async with scene.leaves_no_trace():
        assert (await send(scene, [])).outcome == (401, "M_UNAUTHORIZED")
