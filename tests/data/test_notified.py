"""What is unread is the same however it is read: at once, or bit by bit with what is known from before."""

from __future__ import annotations

import random
import sys
from contextlib import nullcontext

import pytest

from conduit_py.data import notified, short_ids
from conduit_py.data.notified import (
    Group,
    Unread,
    UnreadInRoom,
    find_group,
    get_unread,
    pack_users,
    scan_unread,
    to_bytes,
    unpack_users,
)
from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.service import pruning
from conduit_py.service.pruning import Place, sweep_notified
from conduit_py.service.requester import Requester
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Snapshot
from kvschema.catalog.receipts import Notified
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId
from tests.service.sync.world import World, open_world

STEPS = 60


def test_find_group_looks_at_whole_ids() -> None:
    users = [ShortUserId(1), ShortUserId(256), ShortUserId(1 << 56), ShortUserId(0x0100_0000_0000_0001)]
    row = Notified(ShortEventId(0), ShortUserId(0), [[True, ["notify"], pack_users(users)]])
    assert unpack_users(row.groups[0][2]) == tuple(sorted(users))
    assert [find_group(row, to_bytes(user)) for user in users] == [(True, ["notify"])] * 4
    for other in (0, 2, 1 << 48, 0x0100_0000_0000_0000 + 256, 65536):
        assert find_group(row, to_bytes(ShortUserId(other))) is None


def counted(snapshot: Snapshot, user: ShortUserId, room: ShortRoomId) -> tuple[object, list[Unread]] | None:
    """How much is unread, of which thread, and what it is."""
    unread = get_unread(snapshot, user, room)
    if unread is None:
        return None
    entries = list(scan_unread(snapshot, user, room))[::-1]
    assert unread.all == (len(entries), sum(entry.is_highlight for entry in entries))
    assert unread.newest == tuple(entries[len(entries) - unread.known :])
    assert unread.known >= min(len(entries), notified.ENTRIES_MAX // 2)
    return unread.by_thread, entries


class Talk:
    """Three people in one room, who do one thing after another."""

    def __init__(self, world: World, room_id: RoomId, people: list[Requester], random_: random.Random) -> None:
        self.world, self.room_id, self.people, self.random = world, room_id, people, random_
        self.sent: list[EventId] = []
        self.roots: list[EventId] = []

    async def step(self, number: int) -> None:
        who = self.random.choice(self.people[1:])
        what = self.random.choice(
            ("say", "say", "say", "reply", "read", "read", "read_thread", "redact", "go", "rename", "sweep")
        )
        if what == "go":
            await self.world.membership.leave(who, self.room_id)
            await self.world.membership.join(who, self.room_id)
        elif what == "sweep":
            await self._sweep()
        elif what == "rename":
            content = {"membership": "join", "displayname": f"name {number}"}
            await self.world.set_state(who, self.room_id, "m.room.member", content, who.user_id)
        elif what == "say" or not self.sent:
            mentions = {"m.mentions": {"user_ids": [self.random.choice(self.people).user_id]}}
            sender = self.random.choice(self.people)
            self.sent.append(await self.world.send(sender, self.room_id, f"{number}", **mentions))
            self.roots.append(self.sent[-1])
        elif what == "reply":
            relation = {"rel_type": "m.thread", "event_id": self.random.choice(self.roots)}
            sender = self.random.choice(self.people)
            self.sent.append(await self.world.send(sender, self.room_id, f"{number}", **{"m.relates_to": relation}))
        elif what == "redact":
            target = self.random.choice(self.sent)
            txn_id = f"redact {number}"
            await self.world.messages.redact_event(self.people[0], self.room_id, target, txn_id=txn_id, content={})
        else:
            await self._read(who, is_in_thread=what == "read_thread")

    async def _read(self, who: Requester, *, is_in_thread: bool) -> None:
        type_ = self.random.choice(("m.read", "m.read.private"))
        event_id, thread_id = self.random.choice(self.sent), None
        if is_in_thread:
            event_id = self.random.choice(self.roots)
            thread_id = self.random.choice(("main", event_id))
        await self.world.receipts.post_receipt(who, self.room_id, type_, event_id, thread_id=thread_id)

    async def _sweep(self) -> None:
        """A few rows at a time, and nothing that was read becomes unread in between."""
        place: Place | None = ()
        while place is not None:
            before = self._unread_places()
            async with self.world.store.writer.turn() as turn:
                with self.world.store.database.snapshot() as snapshot:
                    place = sweep_notified(snapshot, turn, place, 0)
            assert self._unread_places() <= before
            self.check()

    def _unread_places(self) -> set[tuple[int, int]]:
        with self.world.store.database.snapshot() as snapshot:
            room = short_ids.get_room(snapshot, self.room_id)
            assert room is not None
            users = [person.user for person in self.people]
            return {(user, entry.pos) for user in users for entry in scan_unread(snapshot, user, room)}

    def check(self) -> int:
        """Compares with what a server without a cache reads. Returns how much is unread."""
        total = 0
        with self.world.store.database.snapshot() as snapshot:
            room = short_ids.get_room(snapshot, self.room_id)
            assert room is not None
            with Snapshot(nullcontext(snapshot), ObjectCache(1_000_000)) as fresh:
                for person in self.people:
                    known = counted(snapshot, person.user, room)
                    assert known == counted(fresh, person.user, room)
                    total += 0 if known is None else len(known[1])
        return total


@pytest.mark.parametrize("entries_max", [2, 6, notified.ENTRIES_MAX])
@pytest.mark.parametrize("seed", range(8))
async def test_get_unread_goes_on_from_what_is_known(
    seed: int, entries_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notified, "ENTRIES_MAX", entries_max)
    monkeypatch.setattr(pruning, "NOTIFIED_PER_ROOM_MAX", 8)
    monkeypatch.setattr(pruning, "REMOVED_MAX", 2)
    async with open_world() as world:
        people = [await world.user(name) for name in ("alice", "bob", "carol")]
        room_id = await world.room(people[0])
        for person in people[1:]:
            await world.membership.join(person, room_id)
        talk = Talk(world, room_id, people, random.Random(seed))
        totals = []
        for number in range(STEPS):
            await talk.step(number)
            if talk.random.random() < 0.7:
                totals.append(talk.check())
        assert max(totals) > 5


async def test_get_unread_reads_only_what_came_since(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world() as world:
        alice, bob = await world.user("alice"), await world.user("bob")
        room_id = await world.room(alice)
        await world.membership.join(bob, room_id)
        for number in range(5):
            await world.send(alice, room_id, f"{number}")
        with world.store.database.snapshot() as snapshot:
            room = short_ids.get_room(snapshot, room_id)
            assert room is not None
            get_unread(snapshot, bob.user, room)
        await world.send(alice, room_id, "news")
        looked_at: list[Notified] = []
        find = notified.find_group

        def look(row: Notified, user: bytes) -> Group | None:
            looked_at.append(row)
            return find(row, user)

        monkeypatch.setattr(notified, "find_group", look)
        with world.store.database.snapshot() as snapshot:
            unread = get_unread(snapshot, bob.user, room)
        assert unread is not None
        assert (unread.all.notifications, len(looked_at)) == (6, 1)


async def test_get_unread_keeps_as_much_however_long_somebody_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notified, "ENTRIES_MAX", 4)
    async with open_world() as world:
        alice, bob = await world.user("alice"), await world.user("bob")
        room_id = await world.room(alice)
        await world.membership.join(bob, room_id)

        def unread_by_bob() -> UnreadInRoom:
            with world.store.database.snapshot() as snapshot:
                room = short_ids.get_room(snapshot, room_id)
                assert room is not None
                unread = get_unread(snapshot, bob.user, room)
            assert unread is not None
            return unread

        sent, known = [], []
        for number in range(40):
            sent.append(await world.send(alice, room_id, f"{number}"))
            known.append(unread_by_bob())
        assert [unread.all.notifications for unread in known] == list(range(1, 41))
        bytes_taken = [unread.size + sys.getsizeof(unread.log) for unread in known]
        assert max(bytes_taken[20:]) == max(bytes_taken[:20])

        await world.receipts.post_receipt(bob, room_id, "m.read", sent[9], thread_id=None)
        assert unread_by_bob().all.notifications == 30
        await world.receipts.post_receipt(bob, room_id, "m.read", sent[38], thread_id=None)
        assert unread_by_bob().all.notifications == 1
