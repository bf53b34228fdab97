"""Transactions that are made to hurt, and those of servers that may not send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from conduit_py.matrix.ids import EventId, ServerName
from conduit_py.matrix.signing import SigningKey, sign_event
from tests.rig.asking import VERSIONS
from tests.rig.rooms import send, set_state
from tests.service.federation.receiving import PREV_EVENTS_MAX, Edus, Receiving, begin, row_of, shown, signed

# Hostile.


@pytest.mark.parametrize("version", VERSIONS)
async def test_event_that_is_not_signed_by_its_server_is_dropped(receiving: Receiving, version: str) -> None:
    alice, peer = await begin(receiving, version)
    said = peer.say("bob", "hello")
    other = SigningKey.from_seed(peer.key.key_id, bytes(32))
    forged = sign_event(said.json, peer.version, server_name=peer.name, signing_key=other)
    results = await receiving.send(peer, forged)
    assert list(results) == [said.event_id]
    assert "error" in results[said.event_id]
    assert row_of(receiving.rooms, said.event_id) is None
    assert await shown(alice, peer) == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_event_of_somebody_elses_user_is_dropped(receiving: Receiving, version: str) -> None:
    alice, peer = await begin(receiving, version)
    said = peer.sign({**peer.say("bob", "hello").json, "sender": "@alice:one.test"})
    results = await receiving.send(peer, said)
    assert "error" in results[said.event_id]
    assert await shown(alice, peer) == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_event_with_another_content_is_redacted(receiving: Receiving, version: str) -> None:
    alice, peer = await begin(receiving, version)
    said = peer.say("bob", "hello")
    tampered = {**said.json, "content": {"body": "tampered"}}
    assert await receiving.send(peer, tampered) == {said.event_id: {}}
    row = row_of(receiving.rooms, said.event_id)
    assert row is not None
    assert b"tampered" not in row.client
    assert await shown(alice, peer) == []


@pytest.mark.parametrize(
    "broken",
    [
        None,
        1,
        "text",
        [],
        {},
        {"room_id": 1},
        {"room_id": "!x"},
        {"room_id": "{room}"},
        {"room_id": "{room}", "type": []},
        {"room_id": "{room}", "type": "m.room.message", "content": [], "prev_events": {}, "signatures": [1]},
        {"room_id": "{room}", "hashes": 3, "auth_events": [[]], "origin_server_ts": 1.5, "depth": -1},
    ],
)
async def test_what_is_no_event_is_dropped(receiving: Receiving, broken: Any) -> None:
    alice, peer = await begin(receiving)
    broken = json.loads(json.dumps(broken).replace("{room}", peer.room_id))
    said = peer.say("bob", "hello")
    results = await receiving.send(peer, broken, said)
    assert results[said.event_id] == {}
    assert await shown(alice, peer) == ["hello"]


@pytest.mark.parametrize("changes", [{"depth": 2**53 - 1}, {"depth": 0}, {"origin_server_ts": 2**53 - 1}])
async def test_events_that_lie_about_their_age_change_no_order(receiving: Receiving, changes: dict[str, int]) -> None:
    alice, peer = await begin(receiving)
    odd = peer.say("bob", "odd", **changes)
    after = peer.say("bob", "after")
    results = await receiving.send(peer, after, odd)
    if "origin_server_ts" in changes:  # No key is known to be valid for so long.
        assert "error" in results[odd.event_id]
        return
    assert results == {odd.event_id: {}, after.event_id: {}}
    assert await shown(alice, peer) == ["odd", "after"]
    assert await send(alice, peer.room_id, "mine")


async def test_events_that_come_before_themselves_are_dropped(receiving: Receiving) -> None:
    """Only possible where events name their ids themselves."""
    alice, peer = await begin(receiving, "2")
    first = peer.say("bob", "first")
    circle = {**first.json, "prev_events": [[f"$second:{peer.name}", {}]], "event_id": f"$one:{peer.name}"}
    other = {**first.json, "prev_events": [[f"$one:{peer.name}", {}]], "event_id": f"$second:{peer.name}"}
    sent = [signed(peer, pdu) for pdu in (circle, other)]
    results = await receiving.send(peer, *sent, first)
    assert results[first.event_id] == {}
    assert "error" in results[f"$one:{peer.name}"]
    assert await shown(alice, peer) == ["first"]


async def test_server_that_answers_with_other_events_gets_nothing_in(receiving: Receiving) -> None:
    alice, peer = await begin(receiving)
    fork = peer.ends
    lost = peer.say("bob", "lost", prev=fork)
    last = peer.say("bob", "last", prev=[lost.event_id])
    unasked = peer.say("bob", "unasked", prev=fork)

    def answer(question: Any) -> dict[str, Any]:
        if question.segments[2] == "get_missing_events":
            return {"events": [unasked.json, {**lost.json, "content": {"body": "x"}, "type": "other"}, lost.json]}
        return peer.answer(question)

    receiving.rooms.remotes.servers[peer.name] = answer
    assert await receiving.send(peer, last) == {last.event_id: {}}
    assert await shown(alice, peer) == ["lost", "last"]
    assert row_of(receiving.rooms, unasked.event_id) is None


async def test_state_with_events_that_are_not_allowed_has_none_of_them(receiving: Receiving) -> None:
    """A server that makes up state cannot give its users power with it."""
    _, peer = await begin(receiving)
    fork = peer.ends
    fake = peer.set("bob", "m.room.power_levels", {"users": {peer.user("bob"): 100}}, prev=fork)
    hidden = peer.say("bob", "hidden", prev=fork)
    for _ in range(PREV_EVENTS_MAX + 1):
        hidden = peer.say("bob", "more", prev=[hidden.event_id])
    auth = list(peer.pdus[hidden.event_id].auth_events)
    topic = peer.set("bob", "m.room.topic", {"topic": "mine"}, prev=[hidden.event_id])

    def answer(question: Any) -> dict[str, Any]:
        told = peer.answer(question)
        if question.segments[2] == "state_ids":
            levels = {pdu.event_id for pdu in peer.pdus.values() if pdu.type == "m.room.power_levels"}
            told["pdu_ids"] = [event_id for event_id in told["pdu_ids"] if event_id not in levels] + [fake.event_id]
        return told

    receiving.rooms.remotes.servers[peer.name] = answer
    await receiving.send(peer, topic)
    row = row_of(receiving.rooms, topic.event_id)
    assert row is None or row.pos == 0
    assert auth


async def test_flood_of_events_with_unknown_predecessors_is_stopped(receiving: Receiving) -> None:
    """One question for what is missing, and none again for the same."""
    _, peer = await begin(receiving)
    [end] = peer.ends
    peer.pdus[EventId("$nowhere")] = peer.pdus[end]
    peer.states[EventId("$nowhere")] = peer.states[end]
    flood = [peer.say("bob", str(number), prev=["$nowhere"]) for number in range(150)]
    peer.withheld.update(pdu.event_id for pdu in flood)
    receiving.cut()
    for start in range(0, 150, 50):
        results = await receiving.send(peer, *flood[start : start + 50])
        assert all("error" in result for result in results.values())
    assert receiving.asked.count("get_missing_events") == 1
    assert receiving.asked.count("state_ids") <= 150


# Who may send.


async def test_server_that_is_shut_out_gets_nothing_in(receiving: Receiving, edus: Edus) -> None:
    alice, peer = await begin(receiving)
    said = peer.say("bob", "hello")
    await set_state(alice, peer.room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["two.test"]})
    typing = {"edu_type": "m.typing", "content": {"room_id": peer.room_id, "user_id": peer.user("bob"), "typing": True}}
    receipts = {"edu_type": "m.receipt", "content": {peer.room_id: {}, "!other:one.test": {}}}
    results = await receiving.send(peer, said, edus=[typing, receipts])
    assert "error" in results[said.event_id]
    assert row_of(receiving.rooms, said.event_id) is None
    assert edus.taken == [("two.test", {"!other:one.test": {}})]


async def test_events_of_rooms_that_we_are_not_in_are_ignored(receiving: Receiving) -> None:
    _, peer = await begin(receiving)
    said = peer.say("bob", "hello")
    results = await receiving.send(peer, {**said.json, "room_id": "!elsewhere:two.test"})
    assert results == {}


async def test_edus_are_handed_on_by_type(receiving: Receiving, edus: Edus) -> None:
    _, peer = await begin(receiving)
    broken = [
        None,
        1,
        {},
        {"edu_type": 1},
        {"edu_type": "m.direct_to_device"},
        {"edu_type": "org.other", "content": {}},
    ]
    good = {"edu_type": "m.direct_to_device", "content": {"sender": "x"}}
    assert await receiving.send(peer, edus=[*broken, good]) == {}
    assert edus.taken == [("two.test", {"sender": "x"})]


async def test_mistake_about_one_edu_loses_no_other(receiving: Receiving, edus: Edus, expect_errors: list[Any]) -> None:
    _, peer = await begin(receiving)

    async def fail(origin: ServerName, content: Mapping[str, Any]) -> None:
        raise KeyError("a mistake of ours")

    receiving.receiver._edu_handlers = {"m.typing": fail, "m.direct_to_device": edus.take}
    typing = {"edu_type": "m.typing", "content": {"room_id": peer.room_id}}
    assert await receiving.send(peer, edus=[typing, {"edu_type": "m.direct_to_device", "content": {"a": 1}}]) == {}
    assert edus.taken == [("two.test", {"a": 1})]
    assert expect_errors


async def test_mistake_about_one_event_loses_no_other(
    receiving: Receiving, expect_errors: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, peer = await begin(receiving)
    fork = peer.ends
    poison, said = peer.say("bob", "poison", prev=fork), peer.say("bob", "hello", prev=fork)
    receive = receiving.receiver._room_events.receive

    async def fail(origin: ServerName, room: Any, raws: Any) -> Any:
        if any(raw["content"].get("body") == "poison" for raw in raws):
            raise ValueError("a mistake of ours")
        return await receive(origin, room, raws)

    monkeypatch.setattr(receiving.receiver._room_events, "receive", fail)
    results = await receiving.send(peer, poison, said)
    assert results[said.event_id] == {}
    assert expect_errors
    assert await shown(alice, peer) == ["hello"]
