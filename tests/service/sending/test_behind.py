"""Servers that are away for long, or for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from conduit_py.service.sending.destination import KEPT_MS
from kvschema.catalog import sending as trees
from kvschema.engine import Engine
from tests.rig.rooms import create, in_room, send
from tests.service.sending.world import BOB, CAROL, THREE, TWO, Post, open_world, say, texts


async def test_a_server_that_is_behind_is_sent_the_last_event_of_each_room(
    engine: Engine, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.service.sending.backlog.EVENTS_QUEUED_MAX", 10)
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        rooms = [await create(alice) for _ in range(60)]
        for room_id in rooms:
            await world.join(BOB, room_id)
        post.cut(TWO)
        await say(alice, rooms[0], 10)
        for turn in range(3):
            for number, room_id in enumerate(rooms):
                await send(alice, room_id, f"{number} {turn}")
        assert world.waiting(TWO) == (10, 0)
        assert world.senders.get_status(TWO).is_behind
        post.heal()
        await trio.sleep(24 * 3600)
        sent = post.sent_to(TWO)
        assert sent[:10] == texts(10)
        assert sorted(sent[10:]) == sorted(f"{number} 2" for number in range(60))
        assert world.has_nothing(TWO)
        await say(alice, rooms[0], 1, start=99)
        await world.settle()
        assert post.sent_to(TWO)[-1] == "99"


async def test_what_lies_behind_survives_a_restart(
    files: Callable[[], Engine], post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.service.sending.backlog.EVENTS_QUEUED_MAX", 2)
    post.cut(TWO)
    async with open_world(files(), post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        await say(alice, room_id, 5)
    post.heal()
    async with open_world(files(), post) as world:
        await trio.sleep(60)
        assert post.sent_to(TWO) == ["0", "1", "4"]
        assert world.has_nothing(TWO)


async def test_a_server_that_was_kicked_while_it_was_behind_learns_that_and_no_more(
    engine: Engine, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.service.sending.backlog.EVENTS_QUEUED_MAX", 1)
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        await say(alice, room_id, 2)
        await alice.post(in_room(room_id, "kick"), {"user_id": BOB})
        await send(alice, room_id, "among ourselves")
        post.heal()
        await trio.sleep(24 * 3600)
        assert post.sent_to(TWO) == ["0", "m.room.member"]


async def test_an_event_that_is_said_while_a_server_catches_up_is_not_lost(
    engine: Engine, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.service.sending.backlog.EVENTS_QUEUED_MAX", 1)

    async def wait(destination: str) -> None:
        await trio.sleep(1)

    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        await say(alice, room_id, 3)
        post.heal()
        post.wait = wait
        for number in range(3, 60):
            await say(alice, room_id, 1, start=number)
            await trio.sleep(0.7)
        await trio.sleep(60)
        assert post.sent_to(TWO)[-1] == "59"
        assert world.has_nothing(TWO)


async def test_a_queue_is_delivered_after_the_last_shared_room_was_left(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        await say(alice, room_id, 1)
        await world.leave(BOB, room_id)
        await trio.sleep(KEPT_MS / 1000 - 48 * 3600)
        post.heal()
        await trio.sleep(24 * 3600)
        assert post.sent_to(TWO) == ["0"]


async def test_a_queue_for_nobody_is_given_up_after_a_month(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id, other = await create(alice), await create(alice)
        await world.join(BOB, room_id)
        await world.join(CAROL, other)
        post.cut(TWO, THREE)
        await say(alice, room_id, 2)
        await say(alice, other, 2)
        await world.queue_edu({}, TWO)
        await world.leave(BOB, room_id)
        await trio.sleep(KEPT_MS / 1000 + 2 * 24 * 3600)
        assert world.has_nothing(TWO)
        assert world.waiting(THREE) == (2, 0)


async def test_nothing_grows_while_a_server_is_away(
    engine: Engine, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.service.sending.backlog.EVENTS_QUEUED_MAX", 5)
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        sizes = []
        for start in range(0, 60, 20):
            await say(alice, room_id, 20, start=start)
            await world.queue_edu({"number": start}, TWO, replaces=b"name")
            await trio.sleep(24 * 3600)
            with world.store.snapshot() as snapshot:
                sizes.append([snapshot.count(tree.name) for tree in trees.TREES])
            sizes[-1].append(len(world.senders._later))
        assert sizes[1:] == sizes[:1] * 2
