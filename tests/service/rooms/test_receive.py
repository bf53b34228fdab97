"""What an event of another server comes to: accepted, rejected or soft-failed, and the state it leads to."""

from __future__ import annotations

import random

import pytest

from conduit_py.data import members, short_ids, state, timeline
from conduit_py.data import rooms as room_data
from conduit_py.data.auth_chain import scan_auth_chain
from conduit_py.data.rooms import Room
from conduit_py.data.row_fields import DUMMY
from conduit_py.data.state import LooseState, StateChain
from conduit_py.data.state_at import get_state_id_at
from conduit_py.matrix.event_builder import build_event
from conduit_py.matrix.ids import EventId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.rooms.receive import Arrival, MissingEvents, Receipt, Standing
from conduit_py.service.rooms.write import TIED_FROM
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import BAN, JOIN
from kvschema.catalog.rooms import StateId
from kvschema.catalog.timeline import EventRow
from tests.rig.asking import VERSIONS
from tests.rig.client import Client
from tests.rig.random_events import USERS, levels, make_any, order_of
from tests.rig.remote_room import RemoteRoom, State
from tests.rig.rooms import RoomServer, ban, create, in_room, redact, send, set_state

TOPIC = "m.room.topic"


async def receive(rooms: RoomServer, peer: RemoteRoom, *pdus: Pdu) -> list[Receipt | MissingEvents]:
    return await rooms.writes.receive(peer.room_id, [Arrival(pdu=pdu) for pdu in pdus])


async def standings(rooms: RoomServer, peer: RemoteRoom, *pdus: Pdu) -> list[Standing]:
    receipts = await receive(rooms, peer, *pdus)
    return [receipt.standing for receipt in receipts if isinstance(receipt, Receipt)]


def get_room(snapshot: Snapshot, peer: RemoteRoom) -> Room:
    room = room_data.get_room(snapshot, peer.room_id)
    assert room is not None
    return room


def row_of(rooms: RoomServer, pdu: Pdu | str) -> EventRow:
    with rooms.store.snapshot() as snapshot:
        found = timeline.find_row(snapshot, EventId(pdu if isinstance(pdu, str) else pdu.event_id))
        assert found is not None
        return found[1]


def lay_out(snapshot: Snapshot, state_id: StateId) -> State:
    laid_out = {}
    for key, event in StateChain(snapshot).entries(state_id).items():
        record = short_ids.get_state_key_record(snapshot, key)
        laid_out[record.type, record.state_key] = EventId(timeline.require_row(snapshot, event).event_id)
    return laid_out


def current_state(rooms: RoomServer, peer: RemoteRoom) -> State:
    with rooms.store.snapshot() as snapshot:
        return lay_out(snapshot, get_room(snapshot, peer).state_id)


async def shown(reader: Client, peer: RemoteRoom) -> list[str]:
    response = await reader.get(in_room(peer.room_id, "messages"), dir="b", limit="100")
    assert response.status == 200
    return [event["content"].get("body", event["type"]) for event in response.json["chunk"]]


async def begin(rooms: RoomServer, version: str = "11", *users: str) -> tuple[Client, RemoteRoom]:
    """A room of alice's, and a peer whose users (bob alone, unless named) have joined."""
    alice = await rooms.register("alice")
    peer = RemoteRoom(rooms, await create(alice, room_version=version))
    for user in users or ("bob",):
        assert await standings(rooms, peer, peer.join(user)) == [Standing.ACCEPTED]
    return alice, peer


# Accepted.


@pytest.mark.parametrize("version", VERSIONS)
async def test_receive_accepts_what_follows(rooms: RoomServer, version: str) -> None:
    alice, peer = await begin(rooms, version)
    said, topic = peer.say("bob", "hello"), peer.say("bob", "again")
    assert await standings(rooms, peer, said, topic) == [Standing.ACCEPTED, Standing.ACCEPTED]
    assert (await shown(alice, peer))[:3] == ["again", "hello", "m.room.member"]
    with rooms.store.snapshot() as snapshot:
        room, bob = get_room(snapshot, peer), short_ids.get_user(snapshot, peer.user("bob"))
        assert bob is not None
        assert members.is_remote_joined(snapshot, bob, room.short)
        assert set(members.scan_servers(snapshot, room.short)) == {"one.test", "two.test"}
        assert [EventId(timeline.require_row(snapshot, end).event_id) for end in room.extremities] == [topic.event_id]


async def test_receive_twice_changes_nothing(rooms: RoomServer) -> None:
    _, peer = await begin(rooms)
    said = peer.say("bob", "hello")
    await receive(rooms, peer, said)
    async with rooms.leaves_no_trace():
        [receipt] = await receive(rooms, peer, said)
    assert isinstance(receipt, Receipt)
    assert (receipt.event_id, receipt.standing, receipt.is_new) == (said.event_id, Standing.ACCEPTED, False)


async def test_receive_is_followed_by_what_users_here_send(rooms: RoomServer) -> None:
    alice, peer = await begin(rooms)
    said = [peer.say("bob", text, prev=peer.ends) for text in ("one",)]
    await receive(rooms, peer, *said)
    sent = await send(alice, peer.room_id, "two")
    with rooms.store.snapshot() as snapshot:
        found = timeline.find_row(snapshot, EventId(sent))
        assert found is not None
        assert timeline.get_pdu(snapshot, found[0]).prev_events == (said[0].event_id,)


async def test_receive_without_predecessors_stores_nothing(rooms: RoomServer) -> None:
    _, peer = await begin(rooms)
    lost = peer.say("bob", "lost")
    last = peer.say("bob", "last")
    async with rooms.leaves_no_trace():
        [missing] = await receive(rooms, peer, last)
    assert isinstance(missing, MissingEvents)
    assert missing.event_ids == [lost.event_id]


async def test_receive_without_auth_events_stores_nothing(rooms: RoomServer) -> None:
    _, peer = await begin(rooms)
    ends = peer.ends
    lost = peer.set("bob", "m.room.member", {"membership": "join", "displayname": "Bob"}, peer.user("bob"))
    last = peer.say("bob", "last", prev=ends, auth=[*peer.pdus[ends[0]].auth_events[:1], lost.event_id])
    async with rooms.leaves_no_trace():
        [missing] = await receive(rooms, peer, last)
    assert isinstance(missing, MissingEvents)
    assert missing.event_ids == [lost.event_id]


# Refused.


@pytest.mark.parametrize("version", VERSIONS)
async def test_receive_rejects_what_its_auth_events_do_not_allow(rooms: RoomServer, version: str) -> None:
    alice, peer = await begin(rooms, version)
    topic = peer.set("bob", TOPIC, {"topic": "mine"})
    assert await standings(rooms, peer, topic) == [Standing.REJECTED]
    row = row_of(rooms, topic)
    assert (row.pos, row.state_after) == (0, row_of(rooms, peer.ends[0]).state_after)
    assert (TOPIC, "") not in current_state(rooms, peer)
    assert TOPIC not in await shown(alice, peer)


async def test_receive_rejects_what_the_state_before_does_not_allow(rooms: RoomServer) -> None:
    alice, peer = await begin(rooms)
    [join] = peer.ends
    await ban(alice, peer.room_id, _client_of(peer, "bob"))
    peer.learn()
    said = peer.say("bob", "still here", auth=[*peer.pdus[join].auth_events[:2], join])
    assert await standings(rooms, peer, said) == [Standing.REJECTED]
    assert "still here" not in await shown(alice, peer)


async def test_receive_follows_rejected_events_as_if_they_changed_nothing(rooms: RoomServer) -> None:
    alice, peer = await begin(rooms)
    before = peer.ends
    topic = peer.set("bob", TOPIC, {"topic": "mine"})
    said = peer.say("bob", "after", prev=[topic.event_id])
    assert await standings(rooms, peer, topic, said) == [Standing.REJECTED, Standing.ACCEPTED]
    assert row_of(rooms, said).state_after == row_of(rooms, before[0]).state_after
    assert (await shown(alice, peer))[0] == "after"


@pytest.mark.parametrize("version", ["1", "6", "11"])
async def test_receive_rejects_a_second_beginning(rooms: RoomServer, version: str) -> None:
    """By the server that made the room, for which the rules would allow it."""
    _, peer = await begin(rooms, version)
    before = current_state(rooms, peer)
    proto = build_event(
        room_version=peer.version,
        room_id=peer.room_id,
        type="m.room.create",
        sender=UserId("@alice:one.test"),
        state_key="",
        content={"room_version": version, "creator": "@alice:one.test"},
        prev_events=[],
        auth_events=[],
        depth=1,
        origin_server_ts=1,
    )
    assert await standings(rooms, peer, peer.sign(proto)) == [Standing.REJECTED]
    assert current_state(rooms, peer) == before
    rooms.is_planted = True  # Nobody has signed it as alice's server does.


async def test_receive_rejects_what_was_allowed_by_a_rejected_event(rooms: RoomServer) -> None:
    _, peer = await begin(rooms)
    levels = peer.set("bob", "m.room.power_levels", {"users": {"@alice:one.test": 100, peer.user("bob"): 100}})
    auth = [*peer.pdus[levels.event_id].auth_events]
    [create_id, member_id] = [auth[0], auth[-1]]
    topic = peer.set("bob", TOPIC, {}, prev=levels.prev_events, auth=[create_id, levels.event_id, member_id])
    assert await standings(rooms, peer, levels, topic) == [Standing.REJECTED, Standing.REJECTED]


def _client_of(peer: RemoteRoom, name: str) -> Client:
    class Named:
        user_id = peer.user(name)

    return Named()  # type: ignore[return-value]


async def test_receive_soft_fails_what_evades_a_ban(rooms: RoomServer) -> None:
    alice, peer = await begin(rooms)
    before = peer.ends
    evading = peer.say("bob", "evading", prev=before)
    await ban(alice, peer.room_id, _client_of(peer, "bob"))
    with rooms.store.snapshot() as snapshot:
        ends = get_room(snapshot, peer).extremities
    assert await standings(rooms, peer, evading) == [Standing.SOFT_FAILED]
    assert row_of(rooms, evading).pos == 0
    assert "evading" not in await shown(alice, peer)
    with rooms.store.snapshot() as snapshot:
        assert get_room(snapshot, peer).extremities == ends


async def test_receive_follows_soft_failed_events(rooms: RoomServer) -> None:
    """Spec: server-server-api/#soft-failure, events B, C and D."""
    alice, peer = await begin(rooms, "11", "bob", "carol")
    before = peer.ends
    evading = peer.say("bob", "evading", prev=before)
    await ban(alice, peer.room_id, _client_of(peer, "bob"))
    peer.learn()
    after = peer.say("carol", "after")
    assert set(after.prev_events) == {evading.event_id, peer.pdus[after.event_id].prev_events[-1]}
    assert await standings(rooms, peer, evading, after) == [Standing.SOFT_FAILED, Standing.ACCEPTED]
    assert (await shown(alice, peer))[0] == "after"
    assert "evading" not in await shown(alice, peer)


# Forks.


@pytest.mark.parametrize("version", VERSIONS)
async def test_receive_resolves_the_ends_of_a_fork(rooms: RoomServer, version: str) -> None:
    alice, peer = await begin(rooms, version)
    await set_state(alice, peer.room_id, "m.room.power_levels", levels(peer, version))
    peer.learn()
    fork = peer.ends
    here = await set_state(alice, peer.room_id, TOPIC, {"topic": "alice's"})
    there = peer.set("bob", TOPIC, {"topic": "bob's"}, prev=fork)
    name = peer.set("bob", "m.room.name", {"name": "bob's"}, prev=[there.event_id])
    assert await standings(rooms, peer, there, name) == [Standing.ACCEPTED, Standing.ACCEPTED]
    peer.learn()
    expected = peer.resolve([EventId(here), name.event_id])
    assert current_state(rooms, peer) == expected
    with rooms.store.snapshot() as snapshot:
        room = get_room(snapshot, peer)
        assert len(room.extremities) == 2
        last = timeline.get_last_pos(snapshot, room.short)
        assert get_state_id_at(snapshot, room.short, last) == room.state_id
    knot = await send(alice, peer.room_id, "knot")
    with rooms.store.snapshot() as snapshot:
        assert lay_out(snapshot, row_of(rooms, knot).state_after) == expected
        assert len(get_room(snapshot, peer).extremities) == 1


@pytest.mark.parametrize("version", VERSIONS)
async def test_receive_changes_members_when_the_resolution_does(rooms: RoomServer, version: str) -> None:
    """A ban that comes in late undoes what the banned user did meanwhile."""
    alice, peer = await begin(rooms, version, "bob", "carol")
    await set_state(alice, peer.room_id, "m.room.power_levels", levels(peer, version, bob=50, carol=50))
    peer.learn()
    fork = peer.ends
    renamed = peer.set(
        "carol", "m.room.member", {"membership": "join", "displayname": "C"}, peer.user("carol"), prev=fork
    )
    kicked = peer.set("bob", "m.room.member", {"membership": "ban"}, peer.user("carol"), prev=fork)
    await receive(rooms, peer, renamed, kicked)
    assert current_state(rooms, peer) == peer.resolve(peer.ends)
    with rooms.store.snapshot() as snapshot:
        room, carol = get_room(snapshot, peer), short_ids.get_user(snapshot, peer.user("carol"))
        assert carol is not None
        pdu = state.get_current_pdu(snapshot, room.short, "m.room.member", peer.user("carol"))
        assert pdu is not None
        is_joined = pdu.content["membership"] == "join"
        assert members.is_remote_joined(snapshot, carol, room.short) == is_joined


async def test_receive_tells_local_users_that_a_resolution_removes_them(rooms: RoomServer) -> None:
    alice, peer = await begin(rooms)
    dora = await rooms.register("dora")
    assert (await dora.post(in_room(peer.room_id, "join"), {})).status == 200
    await set_state(alice, peer.room_id, "m.room.power_levels", levels(peer, "11", bob=60))
    peer.learn()
    fork = peer.ends
    banned = peer.set("bob", "m.room.member", {"membership": "ban"}, dora.user_id, prev=fork)
    await send(dora, peer.room_id, "not yet banned")
    assert await standings(rooms, peer, banned) == [Standing.ACCEPTED]
    with rooms.store.snapshot() as snapshot:
        user = short_ids.get_user(snapshot, UserId(dora.user_id))
        assert user is not None
        standing = members.get_membership(snapshot, user, get_room(snapshot, peer).short)
        assert standing is not None
        assert standing[0] == BAN
    assert (
        await dora.put(in_room(peer.room_id, "send", "m.room.message", "t"), {"msgtype": "m.text", "body": "?"})
    ).status == 403


async def test_receive_keeps_the_ends_of_a_room_few(rooms: RoomServer) -> None:
    """Every event of a flood follows the same one."""
    alice, peer = await begin(rooms)
    fork = peer.ends
    flood = [peer.say("bob", str(number), prev=fork) for number in range(80)]
    assert set(await standings(rooms, peer, *flood)) == {Standing.ACCEPTED}
    with rooms.store.snapshot() as snapshot:
        ends = get_room(snapshot, peer).extremities
    assert len(ends) <= TIED_FROM
    assert {str(number) for number in range(80)} <= set(await shown(alice, peer))
    page = (await alice.get(in_room(peer.room_id, "messages"), dir="b", limit="200")).json["chunk"]
    assert DUMMY not in {event["type"] for event in page}


async def test_receive_gives_up_the_oldest_of_too_many_ends(rooms: RoomServer) -> None:
    """Nobody here may send what would tie them up."""
    alice, peer = await begin(rooms)
    users = {"@alice:one.test": 100, peer.user("bob"): 100}
    await set_state(alice, peer.room_id, "m.room.power_levels", {"users": users, "events": {DUMMY: 100}})
    users["@alice:one.test"] = 50
    await set_state(alice, peer.room_id, "m.room.power_levels", {"users": users, "events": {DUMMY: 100}})
    peer.learn()
    locked = peer.say("bob", "locked")
    fork = (locked.event_id,)
    flood = [peer.say("bob", str(number), prev=fork) for number in range(room_data.EXTREMITIES_MAX + 20)]
    assert set(await standings(rooms, peer, locked, *flood)) == {Standing.ACCEPTED}
    with rooms.store.snapshot() as snapshot:
        ends = get_room(snapshot, peer).extremities
        named = [timeline.require_row(snapshot, end).event_id for end in ends]
    assert named == [pdu.event_id for pdu in flood[-room_data.EXTREMITIES_MAX :]]


# Redactions.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_early", [False, True])
async def test_receive_redacts_in_either_order(rooms: RoomServer, version: str, is_early: bool) -> None:
    alice, peer = await begin(rooms, version)
    fork = peer.ends
    said = peer.say("bob", "regretted", prev=fork)
    redaction = peer.make("bob", "m.room.redaction", {}, prev=fork, redacts=said.event_id)
    order = (redaction, said) if is_early else (said, redaction)
    for pdu in order:
        assert await standings(rooms, peer, pdu) == [Standing.ACCEPTED]
    row = row_of(rooms, said)
    assert row.redacted_by
    assert b"regretted" not in row.client
    assert "regretted" not in await shown(alice, peer)


async def test_receive_does_not_redact_what_the_sender_may_not(rooms: RoomServer) -> None:
    alice, peer = await begin(rooms)
    sent = await send(alice, peer.room_id, "mine")
    peer.learn()
    fork = peer.ends
    lost = peer.make("bob", "m.room.redaction", {}, redacts=sent)
    early = peer.make("bob", "m.room.redaction", {}, prev=fork, redacts="$nothing-yet")
    assert await standings(rooms, peer, lost, early) == [Standing.ACCEPTED, Standing.ACCEPTED]
    assert not row_of(rooms, sent).redacted_by
    await redact(alice, peer.room_id, sent)
    assert row_of(rooms, sent).redacted_by


async def test_receive_leaves_an_event_in_its_room(rooms: RoomServer) -> None:
    """Where servers name their events, one may give two events of two rooms one name."""
    alice, peer = await begin(rooms, "1")
    other = RemoteRoom(rooms, await create(alice, room_version="1"))
    join = other.join("bob")
    assert join.event_id in peer.pdus
    async with rooms.leaves_no_trace():
        assert await standings(rooms, other, join) == [Standing.REJECTED]
        [stored] = await rooms.writes.store_outliers(other.room_id, [join])
        assert isinstance(stored, Receipt)
        assert (stored.standing, stored.is_new) == (Standing.REJECTED, False)


# The state before it as others tell it.


async def test_receive_follows_what_is_held_and_not_what_is_told(rooms: RoomServer) -> None:
    """Its predecessor came while another server was asked for the state before it, and had another state to tell."""
    alice, peer = await begin(rooms)
    await set_state(alice, peer.room_id, "m.room.power_levels", levels(peer, "11", bob=100))
    peer.learn()
    topic = peer.set("bob", TOPIC, {"topic": "elsewhere"})
    said = peer.say("bob", "here", prev=topic.prev_events)
    await receive(rooms, peer, said, topic)
    told = LooseState(row_of(rooms, topic).state_after)
    name = peer.set("bob", "m.room.name", {"name": "here"}, prev=[said.event_id])
    [receipt] = await rooms.writes.receive(peer.room_id, [Arrival(pdu=name, told=told)])
    assert isinstance(receipt, Receipt)
    assert receipt.standing is Standing.ACCEPTED
    with rooms.store.snapshot() as snapshot:
        assert lay_out(snapshot, row_of(rooms, name).state_after) == peer.states[name.event_id]
        assert (TOPIC, "") not in peer.states[name.event_id]
        assert lay_out(snapshot, get_room(snapshot, peer).state_id)[TOPIC, ""] == topic.event_id


# Any order.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(6))
async def test_receive_leads_to_the_same_states_in_any_order(rooms: RoomServer, version: str, seed: int) -> None:
    """The states after events do not depend on the order they come in, and neither does the room's, if all are ends."""
    chance = random.Random(seed)
    alice, peer = await begin(rooms, version, *USERS)
    power = levels(peer, version, bob=100, carol=50, dave=0)
    await set_state(alice, peer.room_id, "m.room.power_levels", power)
    peer.learn()
    made = [make_any(peer, chance) for _ in range(40)]
    receipts = await receive(rooms, peer, *order_of(made, chance))
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    soft_failed = set()
    for receipt in receipts:
        assert isinstance(receipt, Receipt)
        rejects = receipt.event_id in peer.rejected or _names_rejected(peer, receipt.event_id)
        assert (receipt.standing is Standing.REJECTED) == rejects, receipt
        if receipt.standing is Standing.SOFT_FAILED:
            soft_failed.add(receipt.event_id)
    with rooms.store.snapshot() as snapshot:
        for pdu in made:
            found = timeline.find_row(snapshot, pdu.event_id)
            assert found is not None
            if not _depends_on_rejected(peer, pdu):
                assert lay_out(snapshot, found[1].state_after) == peer.states[pdu.event_id]
        room = get_room(snapshot, peer)
        peer.learn()  # There may be an event that ties up ends.
        ends = [EventId(timeline.require_row(snapshot, end).event_id) for end in room.extremities]
        assert lay_out(snapshot, room.state_id) == peer.resolve(ends)
        assert {user for user, _ in members.scan_members(snapshot, room.short, JOIN)}
        entries = StateChain(snapshot).entries(room.state_id).values()
        chain = set(scan_auth_chain(snapshot, entries))
        assert len(chain) == len({EventId(timeline.require_row(snapshot, event).event_id) for event in chain})


def _names_rejected(peer: RemoteRoom, event_id: EventId) -> bool:
    return any(auth_event in peer.rejected for auth_event in peer.pdus[event_id].auth_events)


def _depends_on_rejected(peer: RemoteRoom, pdu: Pdu) -> bool:
    return _names_rejected(peer, pdu.event_id)
