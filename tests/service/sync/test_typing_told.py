"""Typing as /sync tells it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from conduit_py.data import short_ids
from conduit_py.matrix.ids import RoomId
from conduit_py.service.errors import Forbidden
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.typing import USERS_PER_ROOM_MAX, TypingLimits, TypingService
from tests.rig.bridge import no_ephemeral
from tests.rig.sending import open_outbox
from tests.service.sync.world import SERVER_NAME, Json, World

LIMITS = TypingLimits(min_s=15, max_s=45, remote_s=30)


def set_typing(world: World, requester: Requester, room_id: RoomId, *, is_typing: bool, s: float | None = 30) -> None:
    timeout_ms = None if s is None else int(s * 1000)
    world.typing.set_typing(requester, room_id, requester.user_id, is_typing=is_typing, timeout_ms=timeout_ms)


def typing_in(reply: Json, room_id: str) -> list[str] | None:
    """The list that is told, None if none is."""
    section = reply["rooms"]["join"].get(room_id)
    events = [] if section is None else section["ephemeral"]["events"]
    told = [event["content"]["user_ids"] for event in events if event["type"] == "m.typing"]
    return told[0] if told else None


async def test_typing_is_told_once_and_so_is_its_end(world: World, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    first = await world.sync(alice)
    assert typing_in(first, room_id) is None

    set_typing(world, alice, room_id, is_typing=True)
    second = await world.sync(alice, first["next_batch"])
    assert typing_in(second, room_id) == [alice.user_id]
    third = await world.sync(alice, second["next_batch"])
    assert typing_in(third, room_id) is None

    set_typing(world, alice, room_id, is_typing=True)
    assert typing_in(await world.sync(alice, third["next_batch"]), room_id) is None
    set_typing(world, alice, room_id, is_typing=False)
    assert typing_in(await world.sync(alice, third["next_batch"]), room_id) == []
    assert typing_in(await world.sync(alice), room_id) is None


async def test_typing_ends_a_poll_when_it_begins_and_when_it_times_out(world: World, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    since = (await world.sync(alice))["next_batch"]
    began = trio.current_time()
    set_typing(world, alice, room_id, is_typing=True, s=20)
    since = (await world.sync(alice, since, timeout_ms=60_000))["next_batch"]
    assert trio.current_time() == began

    reply = await world.sync(alice, since, timeout_ms=60_000)

    assert typing_in(reply, room_id) == []
    assert trio.current_time() == began + 20


@pytest.mark.parametrize(("asked_s", "granted_s"), [(1, 15), (20, 20), (1000, 45), (None, 45)])
async def test_typing_lasts_within_limits(
    world: World, autojump_clock: MockClock, asked_s: float | None, granted_s: float
) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    began = trio.current_time()
    set_typing(world, alice, room_id, is_typing=True, s=asked_s)
    since = (await world.sync(alice))["next_batch"]

    await world.sync(alice, since, timeout_ms=90_000)

    assert trio.current_time() == began + granted_s


async def test_typing_on_lasts_longer(world: World, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    began = trio.current_time()
    set_typing(world, alice, room_id, is_typing=True, s=20)
    since = (await world.sync(alice))["next_batch"]
    await trio.sleep(10)
    set_typing(world, alice, room_id, is_typing=True, s=20)

    await world.sync(alice, since, timeout_ms=90_000)

    assert trio.current_time() == began + 30


async def test_a_token_of_another_run_is_told_typing_anew(world: World, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    set_typing(world, alice, room_id, is_typing=True)
    since = (await world.sync(alice))["next_batch"]
    assert typing_in(await world.sync(alice, since), room_id) is None

    assert typing_in(await world.sync(alice, since.replace("boot1", "boot0")), room_id) == [alice.user_id]


async def test_only_members_type_and_only_for_themselves(world: World, autojump_clock: MockClock) -> None:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id = await world.room(alice)

    with pytest.raises(Forbidden):
        set_typing(world, bob, room_id, is_typing=True)
    with pytest.raises(Forbidden):
        world.typing.set_typing(alice, room_id, bob.user_id, is_typing=True, timeout_ms=1000)


async def test_typing_of_ignored_users_is_not_told(world: World, autojump_clock: MockClock) -> None:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id = await world.room(alice)
    await world.membership.join(bob, room_id)
    await world.ignore(alice, bob.user_id)
    since = (await world.sync(alice))["next_batch"]
    set_typing(world, bob, room_id, is_typing=True)

    assert not typing_in(await world.sync(alice, since), room_id)


async def test_the_list_of_a_room_is_bounded(world: World, autojump_clock: MockClock) -> None:
    typing = TypingService(world.store.database, world.hub, open_outbox(SERVER_NAME), no_ephemeral(), LIMITS, boot="b")
    room_id = await world.room(await world.user("alice"))
    with world.store.snapshot() as snapshot:
        room = short_ids.get_room(snapshot, room_id)
    assert room is not None
    for number in range(USERS_PER_ROOM_MAX + 10):
        user = await world.user(f"user{number}")
        typing.start(room, user.user_id, 30)

    assert len(typing.get_typing(room)) == USERS_PER_ROOM_MAX


async def test_of_rooms_where_nobody_types_any_more_only_the_change_is_remembered(
    world: World, autojump_clock: MockClock
) -> None:
    alice = await world.user("alice")
    rooms = [await world.room(alice) for _ in range(4)]
    before = (await world.sync(alice))["next_batch"]
    for room_id in rooms:
        set_typing(world, alice, room_id, is_typing=True, s=20)
    during = (await world.sync(alice, before))["next_batch"]
    assert len(world.typing) == 4

    set_typing(world, alice, rooms[2], is_typing=False)
    early = await world.sync(alice, during)
    await trio.sleep(21)

    assert len(world.typing) == 0
    late = await world.sync(alice, early["next_batch"])
    assert [typing_in(early, room_id) for room_id in rooms] == [None, None, [], None]
    assert [typing_in(late, room_id) for room_id in rooms] == [[], [], None, []]
    assert [typing_in(await world.sync(alice, during), room_id) for room_id in rooms] == [[]] * 4
    assert [typing_in(await world.sync(alice, late["next_batch"]), room_id) for room_id in rooms] == [None] * 4
