"""A server that wants a room, or this server, for itself: whatever it sends, the room stays what it was.

Single events that are forged or malformed, and answers that lie, are in ``test_receive_hostile``.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import trio
import trio.testing

from conduit_py.matrix.ids import EventId, Malformed
from tests.rig.asking import VERSIONS
from tests.rig.client import Client
from tests.rig.remote_room import RemoteRoom
from tests.rig.rooms import in_room, send
from tests.service.federation.receiving import (
    Edus,
    Receiving,
    begin,
    count_waiting,
    hold_back,
    row_of,
    shown,
    signed,
)

# Taking over a room.


async def test_members_and_power_of_others_are_not_taken(receiving: Receiving) -> None:
    """Each of these would give the peer the room, or take somebody's place in it."""
    alice, peer = await begin(receiving)
    alice_id, bob = alice.user_id, peer.user("bob")
    fork, before = peer.ends, await state_of(alice, peer)
    attempts = [
        peer.set("bob", "m.room.power_levels", {"users": {bob: 100}}, prev=fork),
        peer.set("bob", "m.room.power_levels", {"users": {bob: 100}}, state_key="x", prev=fork),
        peer.set("bob", "m.room.member", {"membership": "leave"}, alice_id, prev=fork),
        peer.set("bob", "m.room.member", {"membership": "ban"}, alice_id, prev=fork),
        peer.set("bob", "m.room.member", {"membership": "join"}, alice_id, prev=fork),
        peer.set("bob", "m.room.member", {"membership": "join"}, peer.user("carol"), prev=fork),
        peer.set("bob", "m.room.join_rules", {"join_rule": "invite"}, prev=fork),
        peer.set("bob", "m.room.server_acl", {"allow": []}, prev=fork),
        peer.set("bob", "m.room.tombstone", {"body": "", "replacement_room": "!a:two.test"}, prev=fork),
        peer.set("bob", "m.room.create", {"creator": bob}, prev=fork),
        peer.set("bob", "org.own", {}, alice_id, prev=fork),
        peer.say("carol", "I am not in here", prev=fork),
    ]
    beginning = {**attempts[-4].json, "type": "m.room.create", "state_key": "", "prev_events": [], "auth_events": []}
    results = await receiving.send(peer, *attempts, signed(peer, beginning))
    assert {pdu.event_id for pdu in attempts} < results.keys()
    assert await state_of(alice, peer) == before
    assert all(row is None or row.pos == 0 for row in (row_of(receiving.rooms, it.event_id) for it in attempts))
    assert await shown(alice, peer) == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_power_is_not_taken_by_chosen_auth_events(receiving: Receiving, version: str) -> None:
    """The auth events of an event are what its server says. Each set of these says that bob may."""
    alice, peer = await begin(receiving, version)
    fork, before = peer.ends, await state_of(alice, peer)
    state = peer.resolve(fork)
    bob = peer.user("bob")
    create, join = state["m.room.create", ""], state["m.room.member", bob]
    levels = peer.set("bob", "m.room.power_levels", {"users": {bob: 100}}, prev=fork, auth=[create, join])
    attempts = [
        levels,
        peer.set("bob", "m.room.topic", {"topic": "a"}, prev=fork, auth=[create, join, levels.event_id]),
        peer.set("bob", "m.room.topic", {"topic": "b"}, prev=fork, auth=[create, join]),
        peer.set("bob", "m.room.topic", {"topic": "c"}, prev=fork, auth=[]),
        peer.set("bob", "m.room.topic", {"topic": "d"}, prev=[levels.event_id], auth=[create, join, levels.event_id]),
    ]
    await receiving.send(peer, *attempts)
    assert await state_of(alice, peer) == before


async def test_fork_from_before_a_ban_brings_nobody_back(receiving: Receiving) -> None:
    alice, peer = await begin(receiving)
    fork = peer.ends
    response = await alice.post(in_room(peer.room_id, "ban"), {"user_id": peer.user("bob")})
    assert response.status == 200
    before = await state_of(alice, peer)
    again = peer.join("bob", prev=fork)
    said = peer.say("bob", "I was here before", prev=fork)
    more = peer.say("bob", "and go on", prev=[said.event_id])
    assert await receiving.send(peer, again, said, more) == {it.event_id: {} for it in (again, said, more)}
    assert await state_of(alice, peer) == before
    assert await shown(alice, peer) == []
    mine = await send(alice, peer.room_id, "gone")
    peer.learn()
    assert not {again.event_id, said.event_id, more.event_id} & set(peer.pdus[EventId(mine)].prev_events)


@pytest.mark.parametrize("version", VERSIONS)
async def test_numbers_at_their_limits_change_no_order(receiving: Receiving, version: str) -> None:
    """The room goes on, whatever depths and times are claimed."""
    alice, peer = await begin(receiving, version)
    numbers = [2**63, 2**63 - 1, 2**53, 2**53 - 1, -1, -(2**53), -(2**63), 1.5, True, "1", None]
    fork = peer.ends
    for number in numbers:
        for name in ("depth", "origin_server_ts"):
            odd = {**peer.say("bob", "odd", prev=fork).json, name: number}
            if peer.version.event_format.event_id_format == "random":
                odd["event_id"] = f"${name}{numbers.index(number)}:{peer.name}"
            try:
                sent = signed(peer, odd)
            except Malformed:
                sent = odd  # Not even a hostile server can sign it.
            await receiving.send(peer, sent)
            after = peer.say("bob", f"after {number}", prev=fork)
            assert (await receiving.send(peer, after))[after.event_id] == {}
    answer = await send(alice, peer.room_id, "mine")
    assert (await shown(alice, peer))[-1] == "mine"
    peer.learn()
    assert peer.pdus[EventId(answer)].depth <= peer.version.event_format.depth_max


HUGE = "x" * 70_000


@pytest.mark.parametrize(
    "room_id",
    ["", "!", "!" + "x" * 600, "!" + HUGE, "!\0", "!ü:one.test" * 60, "!a:" + "b" * 600, "\ud7ff", "!r:one.test\0"],
)
async def test_room_ids_of_any_form_are_no_rooms(receiving: Receiving, edus: Edus, room_id: str) -> None:
    _, peer = await begin(receiving)
    said = peer.say("bob", "hello")
    typing = {"edu_type": "m.typing", "content": {"room_id": room_id, "user_id": peer.user("bob"), "typing": True}}
    receipts = {"edu_type": "m.receipt", "content": {room_id: {"m.read": {peer.user("bob"): {}}}}}
    assert await receiving.send(peer, {**said.json, "room_id": room_id}, edus=[typing, receipts]) == {}
    assert row_of(receiving.rooms, said.event_id) is None


@pytest.mark.parametrize("version", ["2", "11"])
@pytest.mark.parametrize(
    "changes",
    [
        {"content": {"body": HUGE}},
        {"content": {"body": "\0"}},
        {"type": "x" * 300},
        {"type": ""},
        {"state_key": "ü" * 200},
        {"state_key": None},
        {"sender": "@bob:two.test" + "x" * 300},
        {"sender": "@:two.test"},
        {"sender": "bob"},
        {"prev_events": ["$" + "x" * 300]},
        {"prev_events": ["$e"] * 21},
        {"auth_events": ["$e"] * 11},
        {"auth_events": ["$" + HUGE]},
        {"prev_events": ["$\0"]},
        {"hashes": {}},
        {"hashes": {"sha256": "é"}},
        {"signatures": {}},
        {"signatures": {"two.test": {}}},
        {"signatures": {"two.test": {"ed25519:1": "AA"}}},
        {"signatures": {"two.test": {"ed25519:1": 5}}},
        {"signatures": {"two.test": {f"ed25519:{number}": "AA" for number in range(1000)}}},
        {"signatures": {f"s{number}.test": {"ed25519:1": "AA"} for number in range(1000)}},
        {"signatures": {"two.test": {"rot13:1": "AA"}}},
        {"unsigned": HUGE},
        {"redacts": ["$e"], "type": "m.room.redaction"},
        {"redacts": "$" + HUGE, "type": "m.room.redaction"},
    ],
    ids=lambda changes: json.dumps(changes)[:40] if isinstance(changes, dict) else None,
)
async def test_malformed_parts_of_an_event_hurt_nobody(
    receiving: Receiving, version: str, changes: dict[str, Any]
) -> None:
    alice, peer = await begin(receiving, version)
    before = await state_of(alice, peer)
    raw = {**peer.say("bob", "broken").json, **changes}
    if "signatures" not in changes:
        with contextlib.suppress(Malformed):  # Where not even a hostile server can sign it.
            raw = {**signed(peer, raw, own_hash=changes.get("hashes")), "unsigned": changes.get("unsigned")}
    said = peer.say("bob", "hello", prev=[list(peer.pdus)[-2]])
    results = await receiving.send(peer, raw, said)
    assert results[said.event_id] == {}
    assert "hello" in await shown(alice, peer)
    assert await state_of(alice, peer) == before


@pytest.mark.parametrize("name", ["content", "unsigned", "prev_events"])
async def test_event_of_more_values_than_an_event_has_bytes_is_dropped(receiving: Receiving, name: str) -> None:
    alice, peer = await begin(receiving)
    said = peer.say("bob", "hello")
    many: list[Any] = [[]] * 70_000
    results = await receiving.send(peer, {**said.json, name: many if name == "prev_events" else {"many": many}})
    assert name == "unsigned" or all("error" in result for result in results.values())
    assert await shown(alice, peer) == (["hello"] if name == "unsigned" else [])


# Waiting.


async def test_malformed_events_that_wait_hurt_nobody(
    receiving: Receiving, autojump_clock: trio.testing.MockClock
) -> None:
    """What is written down while a room is slow has not been checked."""
    alice, peer = await begin(receiving)
    peer.say("bob", "lost")
    last = peer.say("bob", "last")
    odd = [
        {"room_id": peer.room_id},
        {"room_id": peer.room_id, "depth": 1e300, "n": 10**40, "deep": json.loads("[" * 190 + "]" * 190)},
        {"room_id": peer.room_id, "content": {"body": HUGE * 2}},
        {"room_id": peer.room_id, "\ud7ff\0": "\uffff"},
    ]
    many: list[Any] = [[]] * 300_000
    large = [{"room_id": peer.room_id, "values": values} for values in (["x" * 300_000], many)]
    release = hold_back(receiving)
    assert await receiving.send(peer, last) == {last.event_id: {}}
    assert all("error" in result for result in (await receiving.send(peer, *large)).values())
    assert all(result == {} for result in (await receiving.send(peer, *odd)).values())
    assert count_waiting(receiving) == 5
    release.set()
    await trio.sleep(1)
    assert count_waiting(receiving) == 0
    assert await shown(alice, peer) == ["lost", "last"]


async def test_server_that_is_slow_holds_up_nobody_else(
    receiving: Receiving, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever is asked for what is missing may take all the time there is. Others go on talking in the room."""
    alice, peer = await begin(receiving)
    other = RemoteRoom(receiving.rooms, peer.room_id, "three.test")
    await receiving.know(other)
    join = other.join("carol")
    assert await receiving.send(other, join) == {join.event_id: {}}
    fork = peer.ends
    lost = peer.say("bob", "lost", prev=fork)
    last = peer.say("bob", "last", prev=[lost.event_id])
    release = hold_back(receiving)
    assert await receiving.send(peer, last) == {last.event_id: {}}
    began = trio.current_time()
    said = other.say("carol", "hello")
    assert await receiving.send(other, said) == {said.event_id: {}}
    assert await shown(alice, peer) == ["hello"]
    assert trio.current_time() - began < 1
    assert count_waiting(receiving) == 1
    release.set()
    await trio.sleep(1)
    assert count_waiting(receiving) == 0
    assert await shown(alice, peer) == ["hello", "lost", "last"]


async def state_of(reader: Client, peer: RemoteRoom) -> dict[tuple[str, str], str]:
    response = await reader.get(in_room(peer.room_id, "state"))
    assert response.status == 200
    return {(event["type"], event["state_key"]): event["event_id"] for event in response.json}
