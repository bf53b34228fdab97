"""What happens when a transaction does not arrive."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from conduit_py.outbound.errors import Refused
from conduit_py.service.sending.destination import FIRST_RETRY_MS, LONGEST_RETRY_MS, REFUSALS_MAX
from conduit_py.service.sending.senders import CONTACT_PAUSE_MS
from kvschema.engine import Engine
from tests.rig.rooms import create
from tests.service.sending.world import BOB, CAROL, THREE, TWO, Post, open_world, say, texts


async def wait_for_ever(destination: str) -> None:
    await trio.sleep_forever()


async def test_a_transaction_keeps_its_id_and_its_events_until_it_arrives(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        await say(alice, room_id, 1)
        await world.settle()
        await say(alice, room_id, 2, start=1)
        await trio.sleep(300)
        await say(alice, room_id, 1, start=3)
        post.heal()
        await trio.sleep(3600)
        tried = [txn_id for _, txn_id, _ in post.attempts]
        assert len(tried) > 5
        assert len(set(tried)) == 2
        assert [(arrived.txn_id, arrived.event_ids) for arrived in post.arrived] == [
            (tried[0], ["0"]),
            (tried[-1], ["1", "2", "3"]),
        ]


async def test_attempts_grow_rarer_up_to_once_a_day(engine: Engine, post: Post, autojump_clock: MockClock) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        await say(alice, room_id, 1)
        await trio.sleep(7 * 24 * 3600)
        times = [at for _, _, at in post.attempts]
        pauses = [round(after - before) for before, after in pairwise(times)]
        first, longest = FIRST_RETRY_MS // 1000, LONGEST_RETRY_MS // 1000
        assert pauses[:4] == [first, 2 * first, 4 * first, 8 * first]
        assert pauses[-3:] == [longest, longest, longest]
        status = world.senders.get_status(TWO)
        assert (status.failures, status.events, status.failing_since_ms) == (
            len(times),
            1,
            world.store.now_ms() - 7 * 86_400_000,
        )


async def test_an_answer_that_asks_for_patience_is_heeded(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.fails[TWO] = Refused(429, "M_LIMIT_EXCEEDED", "slowly", retry_after_ms=600_000)
        await say(alice, room_id, 1)
        await trio.sleep(900)
        (_, _, first), (_, _, second) = post.attempts
        assert second - first == pytest.approx(600, abs=1)


async def test_a_refused_transaction_is_given_up_in_the_end(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.fails[TWO] = Refused(413, "M_TOO_LARGE", "no")
        await say(alice, room_id, 1)
        await world.settle()
        while len(post.attempts) < REFUSALS_MAX:
            assert world.waiting(TWO) == (1, 0)
            await trio.sleep(5)
        assert len(post.attempts) == REFUSALS_MAX
        assert world.has_nothing(TWO)
        post.heal()
        await say(alice, room_id, 1, start=1)
        await world.settle()
        assert post.sent_to(TWO) == ["1"]


@pytest.mark.parametrize("status", [401, 403, 404, 500, 502])
async def test_other_refusals_lose_nothing(engine: Engine, post: Post, autojump_clock: MockClock, status: int) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.fails[TWO] = Refused(status, "M_UNKNOWN", "no")
        await say(alice, room_id, 1)
        await trio.sleep(30 * 24 * 3600)
        post.heal()
        await trio.sleep(24 * 3600)
        assert post.sent_to(TWO) == ["0"]


async def test_events_that_the_other_server_refuses_are_logged_and_done_with(
    engine: Engine, post: Post, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    post.answer = {"pdus": {"$one": {"error": "you are not in the room"}, "$two": {}, "$three": "?"}}
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        with caplog.at_level("INFO"):
            await say(alice, room_id, 1)
            await world.settle()
        assert "a server refuses events of ours" in caplog.text
        assert world.has_nothing(TWO)


async def test_a_restart_sends_the_same_transaction_again(
    files: Callable[[], Engine], post: Post, autojump_clock: MockClock
) -> None:
    post.wait = wait_for_ever
    async with open_world(files(), post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        await say(alice, room_id, 1)
        await world.settle()
        await world.queue_edu({"number": 0}, TWO)
        await say(alice, room_id, 2, start=1)
        await world.queue_edu({"number": 1}, TWO)
    assert len(post.attempts) == 1
    post.wait = None
    async with open_world(files(), post) as world:
        await world.settle()
        first, second = post.arrived
        assert first.txn_id == post.attempts[0][1] != second.txn_id
        assert (first.event_ids, first.edus) == (["0"], [])
        assert second.event_ids == ["1", "2"]
        assert [edu["content"]["number"] for edu in second.edus] == [0, 1]
        assert world.has_nothing(TWO)


async def test_a_restart_does_not_try_at_once_who_failed(
    files: Callable[[], Engine], post: Post, autojump_clock: MockClock
) -> None:
    post.cut(TWO)
    async with open_world(files(), post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        await world.join(CAROL, room_id)
        await say(alice, room_id, 2)
        await trio.sleep(3600)
    post.attempts = [attempt for attempt in post.attempts if attempt[0] == TWO]
    tried = len(post.attempts)
    async with open_world(files(), post) as world:
        await world.settle()
        assert len(post.attempts) == tried
        status = world.senders.get_status(TWO)
        assert (status.failures, status.events) == (tried, 2)
        await trio.sleep(2 * 3600)
        assert post.attempts[tried][2] - post.attempts[tried - 1][2] > 2000


async def test_a_server_that_shows_itself_is_tried_at_once(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        await say(alice, room_id, 2)
        await trio.sleep(24 * 3600)
        post.heal()
        world.senders.heard_from(TWO)
        world.senders.heard_from(THREE)
        await world.settle()
        assert post.sent_to(TWO) == texts(2)
        assert world.has_nothing(TWO)


async def test_a_server_that_only_talks_is_not_tried_all_the_time(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        await say(alice, room_id, 1)
        await trio.sleep(24 * 3600)
        tried = len(post.attempts)
        for _ in range(600):
            world.senders.heard_from(TWO)
            await trio.sleep(1)
        assert 600_000 // CONTACT_PAUSE_MS <= len(post.attempts) - tried <= 600_000 // FIRST_RETRY_MS


async def test_a_server_that_is_away_delays_no_other(engine: Engine, post: Post, autojump_clock: MockClock) -> None:
    """Hundreds that hang take the places of failing servers, and no more."""

    async def wait(destination: str) -> None:
        if destination.startswith("dead"):
            await trio.sleep(60)

    post.wait = wait
    names = [f"dead{number}.test" for number in range(200)]
    post.cut(*names)
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.queue_edu({}, *names)
        await trio.sleep(24 * 3600)
        assert len({destination for destination, _, _ in post.attempts}) == 200
        await world.join(BOB, room_id)
        for number in range(24):
            before = trio.current_time()
            await say(alice, room_id, 1, start=number)
            await world.settle()
            assert post.sent_to(TWO)[-1] == str(number)
            assert post.arrived[-1].at_s == before
            await trio.sleep(1800)
