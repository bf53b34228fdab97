"""What one accepted event causes in the store, and whom it wakes."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pytest

from conduit_py.data import members, short_ids, state, timeline, transactions
from conduit_py.data import rooms as room_data
from conduit_py.data.notified import scan_unread
from conduit_py.data.rooms import Room
from conduit_py.data.state import StateChain
from conduit_py.matrix.ids import EventId, RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.redaction import redact as redact_json
from conduit_py.service.rooms.append import PREV_EVENTS_MAX
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import BAN, INVITE, JOIN, LEAVE
from kvschema.catalog.rooms import ShortEventId, ShortUserId
from kvschema.catalog.timeline import EventRow
from tests.rig.asking import VERSIONS, ask_member, ask_redact, ask_send, ask_state, get_content
from tests.rig.client import Client, path
from tests.rig.relating import ignore, react, relation, reply
from tests.rig.rooms import RoomServer, ban, create, forget, invite, join, kick, leave, redact, send, set_state

NAME = "m.room.name"


def room_of(snapshot: Snapshot, room_id: str) -> Room:
    room = room_data.get_room(snapshot, RoomId(room_id))
    assert room is not None
    return room


def event_of(snapshot: Snapshot, event_id: str) -> tuple[ShortEventId, EventRow, Pdu]:
    found = timeline.find_row(snapshot, EventId(event_id))
    assert found is not None
    return *found, timeline.get_pdu(snapshot, found[0])


def short_of(snapshot: Snapshot, user: Client) -> ShortUserId:
    short = short_ids.get_user(snapshot, UserId(user.user_id))
    assert short is not None
    return short


def pdu_of(rooms: RoomServer, event_id: str) -> Pdu:
    with rooms.store.snapshot() as snapshot:
        return event_of(snapshot, event_id)[2]


# State.


async def test_append_names_the_state_after_each_event(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    sent: list[tuple[str, str | None]] = []
    name = None
    for number in range(40):
        if number % 3 == 0:
            name = f"name {number}"
            sent.append((await set_state(alice, room_id, NAME, {"name": name}), name))
        else:
            sent.append((await send(alice, room_id, "text"), name))
    with rooms.store.snapshot() as snapshot:
        key = short_ids.get_state_key(snapshot, NAME, "")
        assert key is not None
        for event_id, name in sent:
            after = event_of(snapshot, event_id)[1].state_after
            found = StateChain(snapshot).get(after, key)
            assert (None if found is None else timeline.get_pdu(snapshot, found).content["name"]) == name
        room = room_of(snapshot, room_id)
        entries = StateChain(snapshot).entries(room.state_id)
        assert dict(state.scan_current(snapshot, room.short)) == entries


async def test_append_notes_what_a_state_event_replaces(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    first = await set_state(alice, room_id, NAME, {"name": "one"})
    second = await set_state(alice, room_id, NAME, {"name": "two"})
    message = await send(alice, room_id, "text")
    with rooms.store.snapshot() as snapshot:
        one, first_row, _ = event_of(snapshot, first)
        assert first_row.replaces == 0
        assert event_of(snapshot, second)[1].replaces == one
        assert event_of(snapshot, message)[1].replaces == 0


# The graph.


@pytest.mark.parametrize("version", VERSIONS)
async def test_append_follows_the_event_before(rooms: RoomServer, version: str) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version=version)
    first = await send(alice, room_id, "one")
    second = await set_state(alice, room_id, NAME, {"name": "two"})
    third = await send(alice, room_id, "three")
    one, two, three = (pdu_of(rooms, event_id) for event_id in (first, second, third))
    assert (two.prev_events, three.prev_events) == ((first,), (second,))
    assert (two.depth, three.depth) == (one.depth + 1, one.depth + 2)
    with rooms.store.snapshot() as snapshot:
        assert room_of(snapshot, room_id).extremities == (event_of(snapshot, third)[0],)
        types = {event_of(snapshot, event_id)[2].type for event_id in three.auth_events}
    assert types == {"m.room.create", "m.room.power_levels", "m.room.member"} - (
        {"m.room.create"} if version == "12" else set()
    )


async def test_append_ties_up_few_of_many_loose_ends_at_a_time(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    sent = [await send(alice, room_id, str(number)) for number in range(100)]
    async with rooms.store.writer.turn() as turn:
        with rooms.store.snapshot() as snapshot:
            room = room_of(snapshot, room_id)
            loose = tuple(event_of(snapshot, event_id)[0] for event_id in sent)
            room_data.stage_extremities(turn, room.short, room.extremities, loose)
    referred: set[str] = set()
    left = len(sent)
    while left > 1:
        event = pdu_of(rooms, await send(alice, room_id, "knot"))
        assert len(event.prev_events) == min(PREV_EVENTS_MAX, left)
        left -= len(event.prev_events) - 1
        referred.update(event.prev_events)
        with rooms.store.snapshot() as snapshot:
            assert len(room_of(snapshot, room_id).extremities) == left
    assert set(sent) <= referred


# Members.


def counts(rooms: RoomServer, room_id: str) -> tuple[int, int]:
    """Joined and invited."""
    with rooms.store.snapshot() as snapshot:
        room = room_of(snapshot, room_id).short
        joined, invited = (members.get_member_count(snapshot, room, kind) for kind in (JOIN, INVITE))
        listed = [sum(1 for _ in members.scan_members(snapshot, room, kind)) for kind in (JOIN, INVITE)]
        assert listed == [joined, invited]
        servers = list(members.scan_servers(snapshot, room))
    assert servers == ([ServerName("one.test")] if joined else [])
    return joined, invited


async def test_append_counts_members(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice, invite=[bob.user_id])
    assert counts(rooms, room_id) == (1, 1)
    await join(bob, room_id)
    await invite(alice, room_id, carol)
    assert counts(rooms, room_id) == (2, 1)
    await leave(carol, room_id)
    await ban(alice, room_id, bob)
    assert counts(rooms, room_id) == (1, 0)
    await leave(alice, room_id)
    assert counts(rooms, room_id) == (0, 0)


async def test_append_keeps_each_users_standing(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)

    def standing() -> tuple[int, str, bool, bool] | None:
        with rooms.store.snapshot() as snapshot:
            found = members.get_membership(snapshot, short_of(snapshot, bob), room_of(snapshot, room_id).short)
        if found is None:
            return None
        kind, row = found
        return kind, row.sender, row.stripped_state is not None, row.forgotten

    assert standing() is None
    await invite(alice, room_id, bob)
    assert standing() == (INVITE, alice.user_id, True, False)
    await join(bob, room_id)
    assert standing() == (JOIN, bob.user_id, False, False)
    await kick(alice, room_id, bob)
    assert standing() == (LEAVE, alice.user_id, False, False)
    await forget(bob, room_id)
    await ban(alice, room_id, bob)
    assert standing() == (BAN, alice.user_id, False, True)


async def test_append_tells_a_forgotten_rooms_events_to_nobody_again(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await leave(bob, room_id)
    await forget(bob, room_id)
    with rooms.store.snapshot() as snapshot:
        since, user = snapshot.pos, short_of(snapshot, bob)
    await ban(alice, room_id, bob)
    with rooms.store.snapshot() as snapshot:
        assert list(members.scan_changes(snapshot, user, after=since, until=snapshot.pos)) == []
    assert (await ask_member(alice, room_id, "unban", bob.user_id)).status == 200
    await invite(alice, room_id, bob)
    with rooms.store.snapshot() as snapshot:
        assert len(list(members.scan_changes(snapshot, user, after=since, until=snapshot.pos))) == 1


# What is unread.


def unread(rooms: RoomServer, user: Client, room_id: str) -> list[tuple[str, str | None, bool]]:
    """Event, root of its thread, and whether it is a highlight."""

    def event_id(snapshot: Snapshot, event: ShortEventId) -> str:
        return timeline.require_row(snapshot, event).event_id

    with rooms.store.snapshot() as snapshot:
        room = room_of(snapshot, room_id).short
        places = dict(timeline.scan_timeline(snapshot, room))
        found = list(scan_unread(snapshot, short_of(snapshot, user), room))
        return [
            (
                event_id(snapshot, places[entry.pos]),
                event_id(snapshot, entry.thread) if entry.thread else None,
                entry.is_highlight,
            )
            for entry in reversed(found)
        ]


async def three_members(rooms: RoomServer) -> tuple[str, Client, Client, Client]:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await join(bob, room_id)
    await join(carol, room_id)
    return room_id, alice, bob, carol


async def test_append_counts_a_message_for_everybody_but_its_sender(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await three_members(rooms)
    first = await send(alice, room_id, "hello")
    assert unread(rooms, bob, room_id) == unread(rooms, carol, room_id) == [(first, None, False)]
    assert unread(rooms, alice, room_id) == []
    second = await send(bob, room_id, "hello yourself", **{"m.mentions": {"user_ids": [alice.user_id]}})
    assert unread(rooms, bob, room_id) == []
    assert unread(rooms, alice, room_id) == [(second, None, True)]
    assert unread(rooms, carol, room_id) == [(first, None, False), (second, None, False)]


async def test_append_forgets_what_was_unread_when_the_user_goes(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await three_members(rooms)
    await send(alice, room_id, "hello")
    await leave(bob, room_id)
    await ban(alice, room_id, carol)
    await send(alice, room_id, "bye")
    await join(bob, room_id)
    assert unread(rooms, bob, room_id) == unread(rooms, carol, room_id) == []


async def test_append_counts_a_redacted_message_for_nobody(rooms: RoomServer) -> None:
    room_id, alice, bob, _ = await three_members(rooms)
    oops, kept = await send(alice, room_id, "oops"), await send(alice, room_id, "hello")
    await redact(alice, room_id, oops)
    assert unread(rooms, bob, room_id) == [(kept, None, False)]


async def test_append_counts_threads_apart_with_what_belongs_to_them(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await three_members(rooms)
    root = await send(bob, room_id, "root")
    first = await reply(bob, room_id, root)
    about = await send(bob, room_id, "about", **relation("m.reference", first))
    main = await send(bob, room_id, "main", **relation("m.reference", root))
    assert unread(rooms, carol, room_id) == [
        (root, None, False),
        (first, root, False),
        (about, root, False),
        (main, None, False),
    ]
    elsewhere = await create(alice)
    await join(bob, elsewhere)
    other = await send(alice, elsewhere, "astray", **relation("m.thread", root))
    assert unread(rooms, bob, elsewhere) == [(other, None, False)]
    await react(carol, room_id, first)
    assert unread(rooms, carol, room_id) == []


async def test_append_counts_nothing_of_who_is_ignored(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await three_members(rooms)
    await ignore(bob, alice)
    await send(alice, room_id, "hello")
    heard = await send(carol, room_id, "hello")
    assert unread(rooms, bob, room_id) == [(heard, None, False)]


# Redactions.


@pytest.mark.parametrize("version", VERSIONS)
async def test_append_stores_a_redacted_event_stripped(rooms: RoomServer, version: str) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version=version)
    event_id = await send(alice, room_id, "oops", secret="hunter2")
    before = pdu_of(rooms, event_id)
    redaction = await redact(alice, room_id, event_id)
    with rooms.store.snapshot() as snapshot:
        _, row, pdu = event_of(snapshot, event_id)
        assert row.redacted_by == event_of(snapshot, redaction)[0]
        version_rules = room_of(snapshot, room_id).version
    assert b"hunter2" not in row.client + row.federation
    assert pdu.json == redact_json(before.json, version_rules)
    assert (pdu.signatures, pdu.hashes) == (before.signatures, before.hashes)


# Transactions.


async def test_append_remembers_the_transaction_with_the_event(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    sent = (await ask_send(alice, room_id, {"msgtype": "m.text", "body": "hi"}, txn_id="one")).json["event_id"]
    redacted = (await ask_redact(alice, room_id, sent, "two")).json["event_id"]
    named = (await ask_state(alice, room_id, NAME, {"name": "x"})).json["event_id"]
    with rooms.store.snapshot() as snapshot:
        found = [transactions.get_of_event(snapshot, event_of(snapshot, it)[0]) for it in (sent, redacted, named)]
        user = short_of(snapshot, alice)
    assert found == [(user, alice.device_id, "one"), (user, alice.device_id, "two"), None]


# Whom it wakes.


def watch(rooms: RoomServer, monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    woken: list[set[str]] = []

    def publish(users: Iterable[ShortUserId], news: object = None) -> None:
        with rooms.store.snapshot() as snapshot:
            woken.append({short_ids.get_user_id(snapshot, user) for user in users})

    monkeypatch.setattr(rooms.hub, "publish", publish)
    return woken


async def test_append_wakes_local_members_and_who_is_concerned(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, carol, dave = [await rooms.register(name) for name in ("alice", "bob", "carol", "dave")]
    room_id = await create(alice)
    woken = watch(rooms, monkeypatch)
    a, b, c = alice.user_id, bob.user_id, carol.user_id
    await invite(alice, room_id, bob)
    await send(alice, room_id, "not for who is only invited")
    await join(bob, room_id)
    await send(bob, room_id, "hello")
    await invite(alice, room_id, carol)
    await leave(carol, room_id)
    await kick(alice, room_id, bob)
    await ban(alice, room_id, carol)
    await leave(alice, room_id)
    assert woken == [{a, b}, {a}, {a, b}, {a, b}, {a, b, c}, {a, b, c}, {a, b}, {a, c}, {a}]
    woken.clear()
    await create(dave, invite=[a])
    assert woken == [{dave.user_id, a}]


async def test_append_wakes_nobody_for_what_is_refused(rooms: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    woken = watch(rooms, monkeypatch)
    assert (await ask_send(bob, room_id, {"msgtype": "m.text", "body": "hi"})).status == 403
    assert (await ask_member(bob, room_id, "kick", alice.user_id)).status == 403
    assert woken == []


# Profiles.


async def rename(rooms: RoomServer, user: Client, name: str) -> None:
    """As the server does it: the rig's accounts do not reach into rooms."""
    assert (await user.put(path("profile", user.user_id, "displayname"), {"displayname": name})).status == 200
    with rooms.store.snapshot() as snapshot:
        short = short_of(snapshot, user)
    await rooms.membership.propagate_profile(short, UserId(user.user_id))


async def test_propagate_profile_writes_it_into_joined_rooms_and_keeps_the_rest(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id, other, left = [await create(alice) for _ in range(3)]
    for each in (room_id, other, left):
        await join(bob, each)
    await leave(bob, left)
    content = {"membership": "join", "org.example": 1, "reason": "chairs"}
    assert (await ask_state(bob, room_id, "m.room.member", content, bob.user_id)).status == 200
    message = await send(alice, room_id, "hello")
    await rename(rooms, bob, "Robert")
    expected = {"membership": "join", "displayname": "Robert"}
    assert await get_content(alice, room_id, "m.room.member", bob.user_id) == expected | {"org.example": 1}
    assert await get_content(alice, other, "m.room.member", bob.user_id) == expected
    assert (await get_content(alice, left, "m.room.member", bob.user_id))["membership"] == "leave"
    assert unread(rooms, bob, room_id) == [(message, None, False)]
    async with rooms.leaves_no_trace():
        await rename(rooms, bob, "Robert")


async def test_propagate_profile_does_not_vouch_again(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    hall = await create(alice)
    await join(bob, hall)
    allow = [{"type": "m.room_membership", "room_id": hall}]
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    room_id = await create(alice, initial_state=[rules])
    await join(bob, room_id)
    await rename(rooms, bob, "Robert")
    assert await get_content(alice, room_id, "m.room.member", bob.user_id) == {
        "membership": "join",
        "displayname": "Robert",
    }


async def test_propagate_profile_goes_on_after_a_room_that_refuses(
    rooms: RoomServer, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    # Nobody ever joins by such a rule, and nobody changes their name under it either.
    stubborn, room_id = await create(alice), await create(alice)
    for each in (stubborn, room_id):
        await join(bob, each)
    await set_state(alice, stubborn, "m.room.join_rules", {"join_rule": "private"})
    with caplog.at_level(logging.WARNING):
        await rename(rooms, bob, "Robert")
    assert f"was not written into {stubborn}" in caplog.text
    assert (await get_content(alice, room_id, "m.room.member", bob.user_id))["displayname"] == "Robert"
    assert (await get_content(alice, stubborn, "m.room.member", bob.user_id))["displayname"] != "Robert"
