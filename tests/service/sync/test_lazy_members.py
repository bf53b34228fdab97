"""Which members a lazy-loading client is told."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.service.requester import Requester
from conduit_py.service.sync import lazy
from conduit_py.service.sync.lazy import DEVICES_MAX, SentMembers, SentMembersByDevice
from kvschema.catalog.rooms import ShortEventId, ShortUserId
from tests.service.sync.world import Json, World

LAZY: Json = {"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": True}}}
REDUNDANT: Json = {
    "room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": True, "include_redundant_members": True}}
}
NAMES = ("bob", "carol", "dave", "erin", "frank", "grace", "heidi")


class Club:
    """A named room with many members; Alice syncs."""

    def __init__(self, world: World, users: dict[str, Requester], room_id: RoomId) -> None:
        self.world, self.users, self.room_id = world, users, room_id
        self.alice = users["alice"]
        self.since: str | None = None

    async def says(self, *names: str) -> None:
        for name in names:
            await self.world.send(self.users[name], self.room_id, f"{name} at {self.since}")

    async def members(self, since: str | None = None, filter_: Json = LAZY, **options: Any) -> set[str]:
        """Whose membership events are told in the state; goes on from the reply's token."""
        reply = await self.world.sync(self.alice, since, filter=filter_, **options)
        self.since = reply["next_batch"]
        section = reply["rooms"]["join"].get(self.room_id)
        events = [] if section is None else section[options.get("state_after") or "state"]["events"]
        return {event["state_key"][1:].partition(":")[0] for event in events if event["type"] == "m.room.member"}


@pytest.fixture
async def club(world: World) -> Club:
    users = {name: await world.user(name) for name in ("alice", *NAMES)}
    room_id = await world.room(users["alice"], name="Club")
    for name in NAMES:
        await world.membership.join(users[name], room_id)
    return Club(world, users, room_id)


async def test_initial_sync_tells_the_senders_and_the_user(club: Club) -> None:
    await club.says("bob")

    assert await club.members() == {"alice", "bob"}


async def test_a_member_that_is_known_is_not_told_again(club: Club) -> None:
    await club.says("bob")
    await club.members()
    await club.says("bob")
    assert await club.members(club.since) == set()
    await club.says("carol")
    assert await club.members(club.since) == {"carol"}
    await club.says("bob", "carol")
    assert await club.members(club.since) == set()


async def test_a_member_is_told_again_where_redundant_members_are_wanted(club: Club) -> None:
    await club.says("bob")
    await club.members()
    await club.says("bob")

    assert await club.members(club.since, REDUNDANT) == {"bob"}


async def test_a_member_is_told_again_to_who_asks_again_from_an_older_token(club: Club) -> None:
    """The reply may have been lost on its way."""
    await club.members()
    since = club.since
    await club.says("bob")
    assert await club.members(since) == {"bob"}
    assert await club.members(since) == {"bob"}
    await club.says("carol", "bob")
    assert await club.members(club.since) == set()
    assert await club.members(since) == {"bob"}


async def test_another_device_is_told_for_itself(club: Club) -> None:
    await club.says("bob")
    await club.members()
    since = club.since
    await club.says("bob")
    assert await club.members(since) == set()

    club.alice = await club.world.user("alice", "LAPTOP")
    assert await club.members(since) == {"bob"}


async def test_a_gap_tells_every_member_that_changed_in_it(club: Club) -> None:
    await club.says("carol")
    await club.members()
    await club.world.membership.leave(club.users["carol"], club.room_id)
    await club.world.membership.leave(club.users["dave"], club.room_id)
    await club.says("bob")

    assert await club.members(club.since) == {"carol", "dave", "bob"}


async def test_heroes_of_a_room_without_a_name_are_told(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    for name in NAMES:
        await world.membership.join(await world.user(name), room_id)
    club = Club(world, {"alice": alice}, room_id)

    reply = await world.sync(alice, filter=LAZY)

    heroes = reply["rooms"]["join"][room_id]["summary"]["m.heroes"]
    assert heroes == [f"@{name}:one.test" for name in NAMES[:5]]
    # The one event of the timeline is the join of the last, who is no member yet where it begins.
    assert await club.members() == {"alice", *NAMES[:5]}


async def test_heroes_are_told_when_a_redaction_takes_the_name_away(world: World) -> None:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id = await world.room(alice)
    await world.membership.join(bob, room_id)
    name = await world.set_state(alice, room_id, "m.room.name", {"name": "Kitchen"})
    since = (await world.sync(alice))["next_batch"]
    await world.messages.redact_event(alice, room_id, name, txn_id="1", content={})

    summary = (await world.sync(alice, since))["rooms"]["join"][room_id]["summary"]

    assert summary["m.heroes"] == [bob.user_id]


async def test_heroes_of_a_deserted_room_are_those_who_left(world: World) -> None:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id = await world.room(alice)
    await world.membership.join(bob, room_id)
    await world.membership.leave(bob, room_id)

    summary = (await world.sync(alice))["rooms"]["join"][room_id]["summary"]

    assert summary == {"m.heroes": [bob.user_id], "m.joined_member_count": 1, "m.invited_member_count": 0}


async def test_members_come_with_state_after_too(club: Club) -> None:
    await club.says("bob")

    assert await club.members(state_after="state_after") == {"alice", "bob"}


async def test_a_state_filter_without_members_gets_none(club: Club) -> None:
    await club.says("bob")
    filter_: Json = {"room": {"state": {"lazy_load_members": True, "types": ["m.room.name"]}}}

    assert await club.members(filter_=filter_) == set()


def test_sent_members_are_known_once_the_device_goes_on() -> None:
    sent, event = SentMembers(), ShortEventId(7)
    sent.go_on(None)
    sent.tell(100, {event})
    assert event not in sent
    sent.go_on(100)
    assert event in sent
    sent.tell(200, set())
    sent.go_on(100)
    assert event in sent
    sent.go_on(99)
    assert event not in sent


def requesters_of(count: int) -> list[Requester]:
    return [
        Requester(user_id=UserId(f"@{number}:one.test"), user=ShortUserId(number), device_id=None)
        for number in range(count)
    ]


def test_sent_members_are_kept_for_few_devices() -> None:
    by_device = SentMembersByDevice()
    requesters = requesters_of(DEVICES_MAX + 1)
    for requester in requesters:
        by_device.go_on(requester, None).tell(1, {ShortEventId(5)})

    assert ShortEventId(5) not in by_device.go_on(requesters[0], 1)
    assert ShortEventId(5) in by_device.go_on(requesters[-1], 1)


def test_sent_members_of_all_devices_together_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "EVENTS_MAX", 30)
    by_device = SentMembersByDevice()
    alice, bob, carol, dora = requesters_of(4)
    events = {ShortEventId(number) for number in range(10)}

    def confirm(requester: Requester) -> None:
        by_device.go_on(requester, None).tell(1, events)
        by_device.go_on(requester, 1).tell(2, set())

    for requester in (alice, bob, carol, alice, bob, alice, carol):
        confirm(requester)
    assert [by_device.go_on(it, 1).known_count for it in (bob, alice, carol)] == [10, 10, 10]
    confirm(dora)
    assert [by_device.go_on(it, 1).known_count for it in (dora, carol, alice, bob)] == [10, 10, 10, 0]
