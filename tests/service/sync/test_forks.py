"""Rooms with several ends: what a client is told is what the ends resolve to."""

from __future__ import annotations

import random

import pytest

from conduit_py.data import rooms, short_ids, timeline
from conduit_py.data.state import StateChain
from conduit_py.service.rooms.receive import Arrival
from tests.rig.random_events import USERS, levels, make_any, order_of
from tests.rig.remote_room import RemoteRoom
from tests.service.sync.world import Follower, World

State = dict[tuple[str, str], str]


def current_state(world: World, peer: RemoteRoom) -> State:
    with world.store.snapshot() as snapshot:
        room = rooms.get_room(snapshot, peer.room_id)
        assert room is not None
        state: State = {}
        for key, event in StateChain(snapshot).entries(room.state_id).items():
            record = short_ids.get_state_key_record(snapshot, key)
            state[record.type, record.state_key] = timeline.require_row(snapshot, event).event_id
        return state


async def begin(world: World, version: str = "11") -> RemoteRoom:
    alice = await world.user("alice")
    peer = RemoteRoom(world, await world.room(alice, version=version))
    joins = [peer.join(user) for user in USERS]
    await world.writes.receive(peer.room_id, [Arrival(pdu=pdu) for pdu in joins])
    await world.set_state(alice, peer.room_id, "m.room.power_levels", levels(peer, version, bob=100, carol=50, dave=0))
    peer.learn()
    return peer


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("seed", range(12))
async def test_state_after_is_what_the_ends_resolve_to(world: World, seed: int, limit: int) -> None:
    chance = random.Random(seed)
    peer = await begin(world, chance.choice(("2", "11", "12")))
    filter_ = {"room": {"timeline": {"limit": limit}}}
    follower = Follower(world, await world.user("alice"), filter=filter_, state_after="state_after")
    await follower.sync()
    made = order_of([make_any(peer, chance) for _ in range(40)], chance)
    while made:
        count = chance.randrange(1, 6)
        batch, made = made[:count], made[count:]
        await world.writes.receive(peer.room_id, [Arrival(pdu=pdu) for pdu in batch])
        await follower.sync()
        known, current = follower.joined[peer.room_id].state, current_state(world, peer)
        # An entry that is gone cannot be told of.
        assert {key: known[key] for key in current} == current
        fresh = Follower(world, await world.user("alice"), filter=filter_, state_after="state_after")
        await fresh.sync()
        assert fresh.joined[peer.room_id].state == current


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("seed", range(12))
async def test_state_with_the_timeline_is_what_the_ends_resolve_to(world: World, seed: int, limit: int) -> None:
    """But for what the timeline itself says otherwise."""
    chance = random.Random(seed)
    peer = await begin(world, chance.choice(("2", "11", "12")))
    filter_ = {"room": {"timeline": {"limit": limit, "not_types": ["m.room.topic"]}}}
    follower = Follower(world, await world.user("alice"), filter=filter_)
    await follower.sync()
    made = order_of([make_any(peer, chance) for _ in range(40)], chance)
    misled: set[tuple[str, str]] = set()
    while made:
        count = chance.randrange(1, 6)
        batch, made = made[:count], made[count:]
        await world.writes.receive(peer.room_id, [Arrival(pdu=pdu) for pdu in batch])
        section = (await follower.sync())["rooms"]["join"].get(peer.room_id)
        events = [] if section is None else section["timeline"]["events"]
        misled |= {(event["type"], event["state_key"]) for event in events if "state_key" in event}
        known, current = follower.joined[peer.room_id].state, current_state(world, peer)
        told = {key: event_id for key, event_id in current.items() if key not in misled}
        assert {key: known[key] for key in told} == told


async def test_change_by_resolution_alone_wakes_and_is_told(world: World) -> None:
    """An event on one branch changes what the other branch had set."""
    peer = await begin(world)
    alice = await world.user("alice")
    fork = peer.ends
    await world.set_state(alice, peer.room_id, "m.room.topic", {"topic": "alice's"})
    since = (await world.sync(alice))["next_batch"]
    later = 1_900_000_000_000
    topic = peer.set("bob", "m.room.topic", {"topic": "bob's"}, prev=fork, ts=later)
    said = peer.say("bob", "hello", prev=[topic.event_id])
    await world.writes.receive(peer.room_id, [Arrival(pdu=topic), Arrival(pdu=said)])
    filter_ = {"room": {"timeline": {"limit": 1}}}
    section = (await world.sync(alice, since, filter=filter_))["rooms"]["join"][peer.room_id]
    current = current_state(world, peer)
    told = {(event["type"], event["state_key"]): event["event_id"] for event in section["state"]["events"]}
    expected = {} if current["m.room.topic", ""] != topic.event_id else {("m.room.topic", ""): topic.event_id}
    assert told == expected
    assert section["timeline"]["limited"] is True
