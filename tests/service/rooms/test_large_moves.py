"""A room's current state becomes another one that differs in much: slice by slice comes to the same as all at once."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from conduit_py.data import members, short_ids, timeline
from conduit_py.data import users as accounts
from conduit_py.data.consistency import check_consistency
from conduit_py.data.state import StateChain, stage_whole
from conduit_py.matrix.ids import DeviceId, EventId, RoomId, UserId
from conduit_py.process import settle_memory
from conduit_py.service.federation.receive import state_told
from conduit_py.service.requester import Requester
from conduit_py.service.rooms import groundwork, write
from conduit_py.service.rooms.append import PREV_EVENTS_MAX, RoomAppend
from conduit_py.service.rooms.groundwork import Groundwork
from conduit_py.service.rooms.prepared import Spread, Way
from conduit_py.service.rooms.receive import Arrival, Receipt
from conduit_py.service.rooms.resolution import ENTRIES_MAX
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.batch import PUT, Write, WriteBatch
from kvschema.catalog import CATALOG
from kvschema.catalog.members import BAN, JOIN
from kvschema.catalog.rooms import StateId
from kvschema.catalog.users import Account
from kvschema.engine import Engine
from kvschema.engine.lmdb import LmdbEngine
from tests.rig.crowd import MEMBER, Crowd, Step, gather, limit_entries, require_room, take
from tests.rig.random_events import make_any, order_of
from tests.rig.rooms import RoomServer, with_rooms
from tests.rig.rooms import join as join_room
from tests.rig.server import load_test_config, open_server
from tests.service.rooms.test_resolution import begin, check_states

CREW = 12
LOOP_MS_MAX = 50
MOVED = 5_000
OURS = 2_000


async def tell_of_joins(crowd: Crowd) -> list[Step]:
    """Members come, are invited and go, as others tell; one of ours comes meanwhile, and is not told of."""
    bob = crowd.peer.user("bob")
    carol = await crowd.rooms.register("carol")
    await join_room(carol, crowd.peer.room_id)
    users = [crowd.user(number) for number in range(CREW)]
    joins = await crowd.store([crowd.loose(user, "join") for user in users[:8]])
    invites = await crowd.store([crowd.loose(user, "invite", sender=bob) for user in users[8:10]])
    names = await crowd.store([crowd.loose(user, "join", displayname="new") for user in users[:3]])
    bans = await crowd.store([crowd.loose(user, "ban", sender=bob) for user in users[3:6]])
    others = [crowd.event(bob, "org.example.x", {}, state_key=f"{number}") for number in range(4)]
    settings = await crowd.store(others)
    known = list(crowd.state.values())
    come = [*known, *joins, *invites, *settings[:2]]
    gone = [*known, *names, *bans, *settings[2:]]
    renamed = crowd.event(bob, MEMBER, {"membership": "join", "displayname": "Bob"}, state_key=bob)
    return [Step(crowd.say("many"), come), Step(crowd.say("others"), gone), Step(renamed, known)]


async def tell_of_ours(crowd: Crowd) -> list[Step]:
    """Users of ours are banned and invited, as another server tells; then all is as it was."""
    bob = crowd.peer.user("bob")
    ours = [await crowd.rooms.register(name) for name in ("carol", "dave", "erin", "frank")]
    for user in ours[:2]:
        await join_room(user, crowd.peer.room_id)
    crowd.peer.learn()
    known = dict(crowd.peer.resolve(crowd.peer.ends))
    kinds = ("ban", "leave", "invite", "ban")
    moves = [crowd.loose(UserId(user.user_id), kind, sender=bob) for user, kind in zip(ours, kinds, strict=True)]
    moves += [crowd.loose(crowd.user(number), "join") for number in range(CREW)]
    gone = [event for key, event in known.items() if key not in {(MEMBER, user.user_id) for user in ours}]
    told = [*gone, *await crowd.store(moves)]
    return [Step(crowd.say("moved"), told), Step(crowd.say("back"), list(known.values()))]


async def follow_everything(crowd: Crowd) -> list[Step]:
    """The event that tells of many follows what we hold too: it is the only end of the room afterwards."""
    joins = await crowd.store([crowd.loose(crowd.user(number), "join") for number in range(CREW)])
    told = [*crowd.state.values(), *joins]
    [end] = crowd.peer.ends
    return [Step(crowd.say("many", prev=(end, EventId("$missing"))), told)]


async def throw_out(crowd: Crowd) -> list[Step]:
    """Many have joined; on another branch the room was closed before that."""
    [fork] = crowd.peer.ends
    bob = crowd.peer.user("bob")
    steps, prev = [], fork
    for number in range(CREW):
        user = crowd.user(number)
        pdu = crowd.event(user, MEMBER, {"membership": "join"}, state_key=user, prev=(prev,))
        steps.append(Step(pdu))
        prev = pdu.event_id
    closed = crowd.event(bob, "m.room.join_rules", {"join_rule": "invite"}, state_key="", prev=(fork,))
    return [*steps, Step(closed)]


@asynccontextmanager
async def reopened(rows: dict[str, list[tuple[bytes, bytes]]], engine: Engine) -> AsyncIterator[RoomServer]:
    """Another server with the same rows, as after a restart."""
    batch = WriteBatch()
    batch.writes += [Write(PUT, tree, key, value) for tree, found in rows.items() for key, value in found]
    assert engine.apply([batch]) == [None]
    async with open_server(engine, load_test_config()) as server:
        yield await with_rooms(server)


@pytest.mark.parametrize("tell", [tell_of_joins, tell_of_ours, follow_everything, throw_out])
@pytest.mark.parametrize("most", [0, 4])
async def test_large_move_writes_the_same_rows(
    rooms: RoomServer,
    make_engine: Callable[[], Engine],
    tell: Callable[[Crowd], Any],
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = await gather(rooms)
    await crowd.know_users(CREW)
    steps, room_id = await tell(crowd), crowd.peer.room_id
    rows, done = rooms.dump(), list[type]()
    work = Groundwork.do

    async def note(groundwork: Groundwork, todo: Any) -> None:
        done.append(type(todo))
        await work(groundwork, todo)

    monkeypatch.setattr(Groundwork, "do", note)
    receipts = await take(rooms, limit_entries(rooms, most), room_id, steps)
    assert {Way, Spread} <= set(done)
    done.clear()
    async with reopened(rows, make_engine()) as other:
        await take(other, limit_entries(other, 1_000_000), room_id, steps, [receipt.event for receipt in receipts])
        assert not {Way, Spread} & set(done)
        before, after = other.dump(), rooms.dump()
        assert [tree.name for tree in CATALOG if before[tree.name] != after[tree.name]] == []
        with other.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []
    assert rooms.dump() != rows


def read_states(rooms: RoomServer, room_id: RoomId, receipts: Sequence[Receipt]) -> list[dict[Any, str]]:
    """The current state and that after each event, as the rules name them."""
    with rooms.store.snapshot() as snapshot:
        chain = StateChain(snapshot)
        after = [timeline.require_row(snapshot, receipt.event).state_after for receipt in receipts]
        return [
            {
                short_ids.get_state_key_record(snapshot, key): timeline.require_row(snapshot, event).event_id
                for key, event in chain.entries(state_id).items()
            }
            for state_id in (require_room(rooms, room_id).state_id, *after)
        ]


@pytest.mark.parametrize("tell", [tell_of_joins, follow_everything])
@pytest.mark.parametrize("most", [0, 4])
async def test_state_that_was_given_a_name_ahead_says_the_same(
    rooms: RoomServer,
    make_engine: Callable[[], Engine],
    tell: Callable[[Crowd], Any],
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = await gather(rooms)
    steps, room_id = await tell(crowd), crowd.peer.room_id
    rows, named = rooms.dump(), list[StateId]()

    def stage_named(turn: Turn, encoded: bytes) -> StateId:
        name = stage_whole(turn, encoded)
        named.append(name)
        return name

    for module in (write, groundwork):
        monkeypatch.setattr(module, "stage_whole", stage_named)
    for module in (state_told, groundwork):
        monkeypatch.setattr(module, "LOOSE_MAX", 2)
    receipts = await take(rooms, limit_entries(rooms, most), room_id, steps)
    assert named
    for module in (state_told, groundwork):
        monkeypatch.setattr(module, "LOOSE_MAX", 1000)
    async with reopened(rows, make_engine()) as other:
        expected = await take(other, limit_entries(other, 1_000_000), room_id, steps)
        assert read_states(rooms, room_id, receipts) == read_states(other, room_id, expected)
    with rooms.store.snapshot() as snapshot:
        assert list(check_consistency(snapshot)) == []


async def test_users_who_were_never_seen_come_in_a_large_move(rooms: RoomServer) -> None:
    crowd = await gather(rooms)
    [step] = await follow_everything(crowd)
    await take(rooms, limit_entries(rooms, 3), crowd.peer.room_id, [step])
    with rooms.store.snapshot() as snapshot:
        room = require_room(rooms, crowd.peer.room_id)
        joined = {short_ids.get_user_id(snapshot, user) for user, _ in members.scan_members(snapshot, room.short, JOIN)}
    assert joined >= {crowd.user(number) for number in range(CREW)}
    assert len(joined) == CREW + 2


@pytest.mark.slow
async def test_event_loop_goes_on_while_thousands_come_and_go(tmp_path: Path) -> None:
    """On LMDB, whose writer has a thread: what is measured is what the loop computes between two turns for others."""
    engine = LmdbEngine(tmp_path / "db", [tree.name for tree in CATALOG], reserve_bytes=0)
    async with open_server(engine, load_test_config(), threaded=True) as server:
        rooms = await with_rooms(server)
        crowd = await gather(rooms)
        joins = await crowd.store([crowd.loose(crowd.user(number), "join") for number in range(MOVED)])
        known = list(crowd.state.values())
        bans = await crowd.store(
            [crowd.loose(crowd.user(number), "ban", sender=crowd.peer.user("bob")) for number in range(MOVED)]
        )
        writes = limit_entries(rooms, ENTRIES_MAX)
        for text, told in (("come", [*known, *joins]), ("go", [*known, *bans])):
            step = Step(crowd.say(text), told)
            longest = await measure(partial(take, rooms, writes, crowd.peer.room_id, [step]))
            assert longest < LOOP_MS_MAX, (text, longest)
        with rooms.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []
    engine.close()


async def end_differently(crowd: Crowd, monkeypatch: pytest.MonkeyPatch, *, ends: int, size: int) -> RoomWrites:
    """The room has many ends, each of which leads to other members, and nobody ties them up."""
    monkeypatch.setattr(write, "TIED_FROM", ends)
    writes = limit_entries(crowd.rooms, size)
    joins = await crowd.store([crowd.loose(crowd.user(number), "join") for number in range(ends * size)])
    for number in range(ends):
        said = crowd.say(f"{number}", prev=(EventId(f"$missing{number}"),))
        told = [*crowd.state.values(), *joins[number * size : (number + 1) * size]]
        await take(crowd.rooms, writes, crowd.peer.room_id, [Step(said, told)])
    return writes


async def set_topic(writes: RoomWrites, room_id: RoomId, alice: UserId) -> EventId:
    def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> EventId:
        pdu = append.create_event(sender=alice, type="m.room.topic", content={"topic": "new"}, state_key="")
        append.append(pdu)
        return pdu.event_id

    return await writes.write(room_id, stage)


async def test_event_of_ours_does_not_wait_for_what_many_ends_resolve_to(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = await gather(rooms)
    room_id, alice = crowd.peer.room_id, UserId(f"@alice:{rooms.writes.append.server_name}")
    writes = await end_differently(crowd, monkeypatch, ends=25, size=2)
    before = require_room(rooms, room_id)
    topic = await set_topic(writes, room_id, alice)

    room = require_room(rooms, room_id)
    assert room.extremities[:-1] == before.extremities[:-PREV_EVENTS_MAX]
    with rooms.store.snapshot() as snapshot:
        chain = StateChain(snapshot)
        changed = chain.changes_between(before.state_id, room.state_id)
        assert [timeline.require_row(snapshot, event).event_id for event in changed.values()] == [topic]
        assert timeline.require_row(snapshot, room.extremities[-1]).state_after == room.state_id
        assert members.get_member_count(snapshot, room.short, JOIN) == 2 + 50
    [receipt] = await take(rooms, writes, room_id, [Step(crowd.say("tied", prev=(topic,)))])
    with rooms.store.snapshot() as snapshot:
        current, entries = require_room(rooms, room_id), StateChain(snapshot).entries(room.state_id)
        assert receipt.event in current.extremities
        assert StateChain(snapshot).entries(current.state_id) == entries
        assert list(check_consistency(snapshot)) == []


@pytest.mark.slow
async def test_event_loop_goes_on_while_a_room_with_many_ends_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LmdbEngine(tmp_path / "db", [tree.name for tree in CATALOG], reserve_bytes=0)
    async with open_server(engine, load_test_config(), threaded=True) as server:
        rooms = await with_rooms(server)
        crowd = await gather(rooms)
        alice = UserId(f"@alice:{rooms.writes.append.server_name}")
        writes = await end_differently(crowd, monkeypatch, ends=30, size=25)
        assert await measure(partial(set_topic, writes, crowd.peer.room_id, alice)) < LOOP_MS_MAX
    engine.close()


@pytest.mark.slow
async def test_event_loop_goes_on_while_thousands_of_ours_are_banned(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path / "db", [tree.name for tree in CATALOG], reserve_bytes=0)
    async with open_server(engine, load_test_config(), threaded=True) as server:
        rooms = await with_rooms(server)
        crowd, store = await gather(rooms), rooms.store
        users = [UserId(f"@user{number}:{rooms.writes.append.server_name}") for number in range(OURS)]
        async with store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                ours = [store.ids.intern_user(snapshot, turn, user_id) for user_id in users]
                for user in ours:
                    accounts.stage_account(turn, user, Account("", created_ms=0))
        for user_id, user in zip(users, ours, strict=True):
            requester = Requester(user_id=user_id, user=user, device_id=DeviceId("PHONE"))
            await rooms.membership.join(requester, crowd.peer.room_id)
        bob = crowd.peer.user("bob")
        bans = await crowd.store([crowd.loose(user_id, "ban", sender=bob) for user_id in users])
        step = Step(crowd.say("go"), [*crowd.state.values(), *bans])
        longest = await measure(partial(take, rooms, limit_entries(rooms, ENTRIES_MAX), crowd.peer.room_id, [step]))
        assert longest < LOOP_MS_MAX
        with store.snapshot() as snapshot:
            room = require_room(rooms, crowd.peer.room_id).short
            standings = [members.get_membership(snapshot, user, room) for user in ours]
        assert all(standing is not None and standing[0] == BAN for standing in standings)
    engine.close()


async def measure(run: Callable[[], Any]) -> float:
    """The longest step of the event loop meanwhile, in milliseconds of its thread."""
    longest = 0.0

    async def watch(task_status: trio.TaskStatus[None]) -> None:
        nonlocal longest
        task_status.started()
        while True:
            before = time.thread_time()
            try:
                await trio.lowlevel.checkpoint()
            finally:
                # The last step, after which this is cancelled, counts too.
                longest = max(longest, (time.thread_time() - before) * 1000)

    thresholds = gc.get_threshold()
    settle_memory()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(watch)
            await run()
            nursery.cancel_scope.cancel()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
    return longest


@pytest.mark.parametrize("version", ["1", "2", "11", "12"])
@pytest.mark.parametrize("most", [0, 2])
async def test_resolution_in_slices_is_the_same(rooms: RoomServer, version: str, most: int) -> None:
    """Events of all kinds on many branches, which come together and in any order."""
    chance = random.Random(most)
    peer = await begin(rooms, version)
    made = order_of([make_any(peer, chance) for _ in range(40)], chance)
    receipts = await limit_entries(rooms, most).receive(peer.room_id, [Arrival(pdu=pdu) for pdu in made])
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
    check_states(rooms, peer)
