"""``getRoomState``, ``getRoomStateIds`` and ``getEventAuth``: the state at an event, and what it was allowed by."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from conduit_py.matrix.ids import EventId, RoomId, ServerName
from conduit_py.matrix.pdu import parse_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.service.errors import LimitExceeded
from conduit_py.service.federation.reading import states
from conduit_py.service.federation.reading.states import StateReads
from tests.api.federation.reading import BOB, Shared, open_shared, put_member
from tests.rig.asking import ask_member, get_content, get_state
from tests.rig.network import Node
from tests.rig.rooms import create, send, set_state

OPERATIONS = ("state", "state_ids")


def ids_of(pdus: list[dict[str, Any]], version: str = "12") -> list[str]:
    return [parse_pdu(pdu, ROOM_VERSIONS[version]).event_id for pdu in pdus]


async def state_at(shared: Shared, event_id: str) -> dict[tuple[str, str], dict[str, Any]]:
    """By both operations, which must agree."""
    whole = await shared.two.get("state", shared.room_id, event_id=event_id)
    ids = await shared.two.get("state_ids", shared.room_id, event_id=event_id)
    assert (whole.status, ids.status) == (200, 200)
    assert ids_of(whole.json["pdus"]) == ids.json["pdu_ids"]
    assert ids_of(whole.json["auth_chain"]) == ids.json["auth_chain_ids"]
    return {(pdu["type"], pdu["state_key"]): pdu for pdu in whole.json["pdus"]}


async def test_get_room_state_is_that_before_the_event(shared: Shared) -> None:
    await set_state(shared.alice, shared.room_id, "m.room.topic", {"topic": "first"})
    between = await send(shared.alice, shared.room_id, "hello")
    second = await set_state(shared.alice, shared.room_id, "m.room.topic", {"topic": "second"})
    after = await send(shared.alice, shared.room_id, "hello")
    name = await set_state(shared.alice, shared.room_id, "m.room.name", {"name": "new"})

    topics = [(await state_at(shared, event))["m.room.topic", ""]["content"] for event in (between, second, after)]
    assert topics == [{"topic": "first"}, {"topic": "first"}, {"topic": "second"}]
    assert ("m.room.name", "") not in await state_at(shared, name)


async def test_get_room_state_before_the_first_event_is_empty(shared: Shared) -> None:
    assert await state_at(shared, "$" + shared.room_id[1:]) == {}


async def test_get_room_state_has_the_auth_chain_of_the_state(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = (await shared.alice.get(f"/rooms/{shared.room_id}/state/m.room.power_levels")).json
    await set_state(shared.alice, shared.room_id, "m.room.power_levels", {**levels, "events_default": 0, "invite": 1})
    event_id = await send(shared.alice, shared.room_id, "hello")
    reply = (await shared.two.get("state", shared.room_id, event_id=event_id)).json
    every = dict(zip(ids_of(reply["pdus"]), reply["pdus"], strict=True))
    chain = dict(zip(ids_of(reply["auth_chain"]), reply["auth_chain"], strict=True))
    for pdu in (*every.values(), *chain.values()):
        assert set(pdu["auth_events"]) <= chain.keys()
    # The power levels that were replaced, by which the new ones were allowed, are in the chain and not in the state.
    assert [pdu["type"] for event, pdu in chain.items() if event not in every] == ["m.room.power_levels"]

    monkeypatch.setattr(states, "EVENTS_PER_SLICE", 1)
    monkeypatch.setattr(states, "CHAIN_PER_SLICE", 1)
    assert (await shared.two.get("state", shared.room_id, event_id=event_id)).json == reply


@pytest.mark.parametrize("version", ["11", "12"])
async def test_get_event_auth_gives_the_chain_each_event_before_those_that_it_allows(
    server_one: Node, version: str
) -> None:
    shared = await open_shared(server_one, room_version=version)
    reply = await shared.two.get("event_auth", shared.room_id, await send(shared.alice, shared.room_id, "hello"))
    chain = reply.json["auth_chain"]
    assert [pdu["type"] for pdu in chain] == ["m.room.create", "m.room.member", "m.room.power_levels"]
    seen: set[str] = set()
    for event_id, pdu in zip(ids_of(chain, version), chain, strict=True):
        assert set(pdu["auth_events"]) <= seen
        seen.add(event_id)


async def test_get_room_state_not_found(shared: Shared) -> None:
    elsewhere = await create(shared.alice)
    other = await send(shared.alice, elsewhere, "hello")
    async with shared.leaves_no_trace():
        for event_id in (other, "$unknown"):
            for operation in OPERATIONS:
                reply = await shared.two.get(operation, shared.room_id, event_id=event_id)
                assert reply.outcome == (404, "M_NOT_FOUND")
            assert (await shared.two.get("event_auth", shared.room_id, event_id)).outcome == (404, "M_NOT_FOUND")


async def test_get_room_state_forbidden(shared: Shared) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")

    async def ask_all(room_id: str) -> list[tuple[int, str | None]]:
        replies = [await shared.two.get(operation, room_id, event_id=event_id) for operation in OPERATIONS]
        return [reply.outcome for reply in (*replies, await shared.two.get("event_auth", room_id, event_id))]

    forbidden = [(403, "M_FORBIDDEN")] * 3
    assert await ask_all("!unknown:one.test") == forbidden
    await set_state(shared.alice, shared.room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["two.*"]})
    async with shared.leaves_no_trace():
        assert await ask_all(shared.room_id) == forbidden
    await set_state(shared.alice, shared.room_id, "m.room.server_acl", {"allow": ["*"]})
    await put_member(shared.node, shared.room_id, BOB, "leave")
    assert await ask_all(shared.room_id) == forbidden


async def test_get_room_state_refuses_what_it_cannot_read(shared: Shared) -> None:
    for operation in OPERATIONS:
        assert (await shared.two.get(operation, shared.room_id)).outcome == (400, "M_MISSING_PARAM")
        assert (await shared.two.get(operation, shared.room_id, event_id="x")).outcome == (400, "M_INVALID_PARAM")
    assert (await shared.two.get("event_auth", shared.room_id, "x")).outcome == (400, "M_INVALID_PARAM")


async def test_state_reads_sends_one_server_few_states_at_once(shared: Shared) -> None:
    reads = StateReads(shared.node.store.database)
    room_id, event_id = RoomId(shared.room_id), EventId(await send(shared.alice, shared.room_id, "hello"))
    two = ServerName("two.test")
    running = [reads.get_state_ids(two, room_id, event_id) for _ in range(states.STREAMS_PER_SERVER_MAX)]
    for pieces in running:
        assert await anext(pieces) == b"{"
    with pytest.raises(LimitExceeded):
        reads.get_state_ids(two, room_id, event_id)
    rest = b"".join([piece async for piece in running.pop()])
    assert rest.startswith(b'"pdu_ids":[')
    more = reads.get_state_ids(two, room_id, event_id)
    for pieces in (*running, more):
        await trio.lowlevel.checkpoint()
        async for _ in pieces:
            pass


async def test_get_event_auth_is_open_to_who_was_removed_for_what_did_it(shared: Shared) -> None:
    said = await send(shared.alice, shared.room_id, "hello")
    before = await get_content(shared.alice, shared.room_id, "m.room.power_levels")
    await set_state(shared.alice, shared.room_id, "m.room.power_levels", {**before, "events_default": 1})
    levels = (await get_state(shared.alice, shared.room_id))["m.room.power_levels", ""]["event_id"]
    assert (await ask_member(shared.alice, shared.room_id, "ban", BOB)).status == 200
    banned = (await get_state(shared.alice, shared.room_id))["m.room.member", BOB]["event_id"]
    reply = await shared.two.get("event_auth", shared.room_id, banned)
    assert reply.status == 200
    assert levels in ids_of(reply.json["auth_chain"])
    async with shared.leaves_no_trace():
        assert (await shared.two.get("event_auth", shared.room_id, said)).outcome == (403, "M_FORBIDDEN")
        assert (await shared.three.get("event_auth", shared.room_id, banned)).outcome == (403, "M_FORBIDDEN")
        for operation in OPERATIONS:
            reply = await shared.two.get(operation, shared.room_id, event_id=banned)
            assert reply.outcome == (403, "M_FORBIDDEN")
    await set_state(shared.alice, shared.room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["two.*"]})
    assert (await shared.two.get("event_auth", shared.room_id, banned)).outcome == (403, "M_FORBIDDEN")
