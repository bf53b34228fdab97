"""Waiting: what wakes a long-poll, what ends it, and what it keeps meanwhile."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from conduit_py.service.requester import Requester
from tests.service.sync.world import Json, World

IDLE_POLLS = 2000
IDLE_POLL_BYTES = 60 * 1024


class Poll:
    """A long-poll in the background."""

    def __init__(self, world: World, nursery: trio.Nursery, requester: Requester, since: str, **options: Any) -> None:
        self._world, self._requester, self._since = world, requester, since
        self._options = {"timeout_ms": 30_000, **options}
        self.reply: Json | None = None
        self.ended_at: float | None = None
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        self.reply = await self._world.sync(self._requester, self._since, **self._options)
        self.ended_at = trio.current_time()


async def test_a_poll_ends_when_something_lands(world: World, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    since = (await world.sync(alice))["next_batch"]
    began = trio.current_time()
    poll = Poll(world, nursery, alice, since)
    await trio.sleep(5)

    sent = await world.send(alice, room_id, "hello")
    await wait_all_tasks_blocked()

    assert poll.reply is not None
    assert [event["event_id"] for event in poll.reply["rooms"]["join"][room_id]["timeline"]["events"]] == [sent]
    assert poll.ended_at == began + 5


async def test_a_poll_ends_empty_at_its_timeout(world: World, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    await world.room(alice)
    since = (await world.sync(alice))["next_batch"]
    began = trio.current_time()

    reply = await world.sync(alice, since, timeout_ms=30_000)

    assert trio.current_time() == began + 30
    assert reply["rooms"]["join"] == {}
    assert reply["next_batch"] == since


async def test_a_poll_waits_no_longer_than_the_server_allows(world: World, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    since = (await world.sync(alice))["next_batch"]
    began = trio.current_time()

    await world.sync(alice, since, timeout_ms=10**9)

    assert trio.current_time() == began + 90


@pytest.mark.parametrize("options", [{}, {"timeout_ms": 0}, {"timeout_ms": 30_000, "full_state": True}])
async def test_a_sync_that_must_not_wait_answers_at_once(
    world: World, autojump_clock: MockClock, options: Json
) -> None:
    alice = await world.user("alice")
    since = (await world.sync(alice))["next_batch"]
    began = trio.current_time()

    await world.sync(alice, since, **options)

    assert trio.current_time() == began


async def test_initial_sync_never_waits(world: World, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    began = trio.current_time()

    await world.sync(alice, timeout_ms=30_000)

    assert trio.current_time() == began


async def test_what_others_do_elsewhere_wakes_nobody(
    world: World, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    alice, bob = await world.user("alice"), await world.user("bob")
    elsewhere = await world.room(bob)
    since = (await world.sync(alice))["next_batch"]
    poll = Poll(world, nursery, alice, since)
    await wait_all_tasks_blocked()

    await world.send(bob, elsewhere, "hello")
    await wait_all_tasks_blocked()

    assert poll.reply is None
    await trio.sleep(30)
    await wait_all_tasks_blocked()
    assert poll.reply is not None


async def test_an_event_that_the_filter_leaves_out_does_not_end_a_poll(
    world: World, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    since = (await world.sync(alice))["next_batch"]
    poll = Poll(world, nursery, alice, since, filter={"room": {"timeline": {"not_types": ["m.room.message"]}}})
    await wait_all_tasks_blocked()

    await world.send(alice, room_id, "hello")
    await wait_all_tasks_blocked()

    assert poll.reply is None


async def test_being_invited_ends_a_poll(world: World, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id = await world.room(alice)
    poll = Poll(world, nursery, bob, (await world.sync(bob))["next_batch"])
    await wait_all_tasks_blocked()

    await world.membership.invite(alice, room_id, bob.user_id)
    await wait_all_tasks_blocked()

    assert poll.reply is not None
    assert poll.reply["rooms"]["invite"].keys() == {room_id}


async def test_account_data_ends_a_poll(world: World, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    poll = Poll(world, nursery, alice, (await world.sync(alice))["next_batch"])
    await wait_all_tasks_blocked()

    await world.account_data.set_content(alice, alice.user_id, None, "org.example", {"a": 1})
    await wait_all_tasks_blocked()

    assert poll.reply is not None
    assert poll.reply["account_data"]["events"] == [{"type": "org.example", "content": {"a": 1}}]


async def test_polls_end_when_the_server_stops(world: World, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    since = (await world.sync(alice))["next_batch"]
    poll = Poll(world, nursery, alice, since)
    await wait_all_tasks_blocked()

    world.hub.stop()
    await wait_all_tasks_blocked()

    assert poll.reply is not None
    assert poll.reply["next_batch"] == since
    assert (await world.sync(alice, since, timeout_ms=30_000))["next_batch"] == since


async def test_a_client_that_hangs_up_leaves_nothing_behind(world: World, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    since = (await world.sync(alice))["next_batch"]

    with trio.move_on_after(1):
        await world.sync(alice, since, timeout_ms=30_000)

    assert world.hub.waiting == 0


async def test_many_polls_are_all_woken(world: World, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    since = (await world.sync(alice))["next_batch"]
    polls = [Poll(world, nursery, alice, since) for _ in range(100)]
    await wait_all_tasks_blocked()

    await world.send(alice, room_id, "hello")
    await trio.sleep(1)

    assert all(poll.reply is not None and room_id in poll.reply["rooms"]["join"] for poll in polls)


async def test_idle_polls_are_small(world: World, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    for _ in range(5):
        await world.room(alice)
    since = (await world.sync(alice))["next_batch"]
    gc.collect()
    tracemalloc.start()
    try:
        polls = [Poll(world, nursery, alice, since, timeout_ms=60_000) for _ in range(IDLE_POLLS)]
        await wait_all_tasks_blocked()
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert world.hub.waiting == len(polls)
    assert used < IDLE_POLLS * IDLE_POLL_BYTES
    nursery.cancel_scope.cancel()
