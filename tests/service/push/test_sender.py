"""What push gateways are told, and what happens when they do not listen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from conduit_py.data.consistency import check_consistency
from conduit_py.service.push import pending, sender
from conduit_py.service.push.lanes import REQUESTS_PER_HOST_MAX
from kvschema.engine import Engine
from tests.rig.client import Client
from tests.rig.push import Gateways, Json, get_pushkeys, pusher, set_pusher
from tests.rig.rooms import create, in_room, invite, join, leave, redact, send, set_state
from tests.rig.server import load_test_config, open_server
from tests.rig.whole import WholeServer, open_whole


@asynccontextmanager
async def running(engine: Engine, gateways: Gateways) -> AsyncIterator[WholeServer]:
    """One run of the server. Another one on the same engine is a restart."""
    async with open_server(engine, load_test_config()) as server, open_whole(server, gateways) as whole:
        yield whole
        with whole.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


@pytest.fixture
def gateways() -> Gateways:
    return Gateways()


@pytest.fixture
async def whole(make_engine: Callable[[], Engine], gateways: Gateways) -> AsyncIterator[WholeServer]:
    async with running(make_engine(), gateways) as whole:
        yield whole


async def meet(whole: WholeServer) -> tuple[Client, Client, str]:
    """Alice, Bob, and a room that both are in and that a third person is in, so that nothing makes a sound."""
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice, name="Garden", room_alias_name="garden")
    await join(bob, room_id)
    await join(carol, room_id)
    return alice, bob, room_id


def event_ids(told: list[Json]) -> list[str | None]:
    return [it.get("event_id") for it in told]


async def test_an_event_is_pushed_by_its_id(autojump_clock: MockClock, whole: WholeServer, gateways: Gateways) -> None:
    alice, bob, room_id = await meet(whole)
    pushkey_ts = whole.store.now_ms() // 1000
    await set_pusher(bob)
    event_id = await send(alice, room_id, "hello")
    (told,) = await gateways.take()
    assert told == {
        "event_id": event_id,
        "room_id": room_id,
        "prio": "low",
        "counts": {"unread": 1},
        "devices": [
            {
                "app_id": "test.app",
                "pushkey": "key",
                "pushkey_ts": pushkey_ts,
                "data": {"format": "event_id_only"},
            }
        ],
    }


async def test_an_event_is_pushed_with_all_there_is_to_say(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    await alice.put(alice.user_path().replace("/user/", "/profile/") + "/displayname", {"displayname": "Alice"})
    body = pusher(format=None)
    body["data"]["custom"] = {"a": 1}
    assert (await bob.post("/pushers/set", body)).status == 200
    event_id = await send(alice, room_id, "hello", **{"m.mentions": {"user_ids": [bob.user_id]}})
    (told,) = await gateways.take()
    (device,) = told.pop("devices")
    assert told == {
        "event_id": event_id,
        "room_id": room_id,
        "type": "m.room.message",
        "sender": alice.user_id,
        "sender_display_name": "Alice",
        "room_name": "Garden",
        "room_alias": "#garden:one.test",
        "prio": "high",
        "counts": {"unread": 1},
        "content": {"msgtype": "m.text", "body": "hello", "m.mentions": {"user_ids": [bob.user_id]}},
    }
    assert device["data"] == {"custom": {"a": 1}}
    assert device["tweaks"] == {"highlight": True, "sound": "default"}


async def test_an_invite_is_pushed(autojump_clock: MockClock, whole: WholeServer, gateways: Gateways) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    await set_pusher(bob, format=None)
    room_id = await create(alice)
    await invite(alice, room_id, bob)
    (told,) = await gateways.take()
    assert (told["room_id"], told["type"], told["user_is_target"]) == (room_id, "m.room.member", True)
    assert (told["counts"], told["prio"]) == ({}, "high")


async def test_only_what_notifies_is_pushed(autojump_clock: MockClock, whole: WholeServer, gateways: Gateways) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(alice, "alices")
    await set_pusher(bob)
    await send(alice, room_id, "a notice", msgtype="m.notice")
    await set_state(alice, room_id, "m.room.topic", {"topic": "roses"})
    assert await gateways.take() == []
    event_id = await send(bob, room_id, "hello")
    (told,) = await gateways.take()
    assert (told["event_id"], told["devices"][0]["pushkey"]) == (event_id, "alices")


async def test_every_pusher_is_told_and_none_that_is_new_of_what_was_before(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    await send(alice, room_id, "before")
    await set_pusher(bob, "one")
    await set_pusher(bob, "two", url="https://other.test/_matrix/push/v1/notify")
    assert [it["counts"] for it in await gateways.take()] == [{"unread": 1}] * 2
    event_id = await send(alice, room_id, "hello")
    await trio.testing.wait_all_tasks_blocked()
    told = sorted((host, it["event_id"], it["devices"][0]["pushkey"]) for host, it in gateways.told)
    assert told == [("other.test", event_id, "two"), ("push.test", event_id, "one")]


async def test_reading_elsewhere_takes_the_number_down(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    sent = [await send(alice, room_id, str(number)) for number in range(3)]
    assert [it["counts"]["unread"] for it in await gateways.take()][-1] == 3
    await bob.post(in_room(room_id, "receipt", "m.read", sent[1]), {})
    (told,) = await gateways.take()
    assert (told.get("event_id"), told["counts"], told["devices"][0]["pushkey"]) == (None, {"unread": 1}, "key")
    await send(bob, room_id, "my own")
    assert [it["counts"] for it in await gateways.take()] == [{"unread": 0}]
    await send(bob, room_id, "nothing new in this")
    assert await gateways.take() == []


async def test_what_is_redacted_or_left_takes_the_number_down(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    oops, _ = await send(alice, room_id, "oops"), await send(alice, room_id, "hello")
    assert len(await gateways.take()) == 2
    await redact(alice, room_id, oops)
    assert [it["counts"] for it in await gateways.take()] == [{"unread": 1}]
    await leave(bob, room_id)
    assert [it["counts"] for it in await gateways.take()] == [{"unread": 0}]


async def test_nothing_is_lost_while_a_gateway_is_down(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    gateways.down.add("push.test")
    sent = [await send(alice, room_id, str(number)) for number in range(3)]
    await trio.sleep(600)
    assert await gateways.take() == []
    pauses = [after - before for before, after in zip(gateways.times, gateways.times[1:], strict=False)]
    assert len(pauses) > 3
    for number, pause in enumerate(pauses):
        assert 1 <= pause / (sender.PAUSE_FIRST_S * 2**number) <= 1 + sender.JITTER + 0.01
    gateways.down.clear()
    await trio.sleep(700)
    told = await gateways.take()
    assert event_ids(told) == sent
    assert [it["counts"]["unread"] for it in told] == [3, 3, 3]
    tried = gateways.tried
    await trio.sleep(24 * 3600)
    assert gateways.tried == tried


async def test_a_restart_goes_on_where_the_last_run_ended(
    make_engine: Callable[[], Engine], gateways: Gateways, autojump_clock: MockClock
) -> None:
    engine = make_engine()
    async with running(engine, gateways) as whole:
        alice, bob, room_id = await meet(whole)
        await set_pusher(bob)
        first = await send(alice, room_id, "one")
        assert event_ids(await gateways.take()) == [first]
        gateways.down.add("push.test")
        second = await send(alice, room_id, "two")
        await trio.sleep(28)
        assert gateways.tried == 3
    async with running(engine, gateways):
        await trio.testing.wait_all_tasks_blocked()
        assert gateways.tried == 3, "the pause was forgotten"
        gateways.down.clear()
        await trio.sleep(12)
        assert event_ids(await gateways.take()) == [second]
    async with running(engine, gateways):
        await trio.sleep(50)
        assert await gateways.take() == []


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500])
async def test_only_a_success_counts_as_taken(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways, status: int
) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    gateways.status = status
    event_id = await send(alice, room_id, "hello")
    assert await gateways.take() == []
    gateways.status = 200
    await trio.sleep(15)
    assert event_ids(await gateways.take()) == [event_id]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"rejected": 5}'])
async def test_an_answer_of_something_else_does_not_count_as_taken(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways, body: bytes
) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    gateways.body = body
    event_id = await send(alice, room_id, "hello")
    await trio.testing.wait_all_tasks_blocked()
    assert gateways.tried == 1
    gateways.body = None
    await trio.sleep(15)
    assert event_ids(await gateways.take()) == [event_id]


async def test_a_gateway_says_when_to_come_again(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    gateways.status, gateways.headers = 429, {"retry-after": "300"}
    await send(alice, room_id, "hello")
    await trio.sleep(290)
    assert gateways.tried == 1
    await trio.sleep(100)
    assert gateways.tried == 2


async def test_a_rejected_pushkey_is_removed(autojump_clock: MockClock, whole: WholeServer, gateways: Gateways) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob, "one")
    await set_pusher(bob, "two")
    gateways.rejected = {"two", "of somebody else"}
    await send(alice, room_id, "hello")
    await gateways.take()
    assert await get_pushkeys(bob) == ["one"]
    gateways.rejected.clear()
    await send(alice, room_id, "again")
    assert [it["devices"][0]["pushkey"] for it in await gateways.take()] == ["one"]


async def test_a_pusher_that_is_gone_is_told_nothing(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    gateways.down.add("push.test")
    await send(alice, room_id, "hello")
    await gateways.take()
    gateways.down.clear()
    await bob.post("/pushers/set", {"kind": None, "app_id": "test.app", "pushkey": "key"})
    await trio.sleep(3600)
    assert (await gateways.take(), gateways.tried) == ([], 1)


async def test_a_pusher_that_is_set_again_is_not_kept_waiting(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    gateways.down.add("push.test")
    event_id = await send(alice, room_id, "hello")
    await trio.sleep(300)
    gateways.down.clear()
    await set_pusher(bob)
    assert event_ids(await gateways.take()) == [event_id]


async def test_what_was_read_or_redacted_meanwhile_is_not_pushed(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    other = await create(alice)
    await join(bob, other)
    await set_pusher(bob)
    gateways.down.add("push.test")
    read, redacted, kept = [await send(alice, room_id, text) for text in ("read", "redacted", "kept")]
    await send(alice, other, "left")
    await bob.post(in_room(room_id, "receipt", "m.read", read), {})
    await redact(alice, room_id, redacted)
    await leave(bob, other)
    gateways.down.clear()
    await trio.sleep(60)
    told = await gateways.take()
    assert (event_ids(told), told[0]["counts"]) == ([kept], {"unread": 1})


async def test_too_many_and_too_old_are_not_pushed(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "PENDING_MAX", 2)
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    gateways.down.add("push.test")
    sent = [await send(alice, room_id, str(number)) for number in range(4)]
    await trio.sleep(30)
    gateways.down.clear()
    await trio.sleep(60)
    assert event_ids(await gateways.take()) == sent[2:]
    gateways.down.add("push.test")
    await send(alice, room_id, "old")
    await trio.sleep(sender.PENDING_AGE_MAX_MS / 1000)
    gateways.down.clear()
    await trio.sleep(2 * sender.PAUSE_MAX_S)
    (told,) = await gateways.take()
    assert (told.get("event_id"), told["counts"]) == (None, {"unread": 5})


async def test_a_gateway_that_is_gone_for_good_is_left_alone(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    gateways.down.add("push.test")
    await send(alice, room_id, "hello")
    await trio.sleep(10 * 24 * 3600)
    assert gateways.tried == sender.FAILURES_MAX
    await send(alice, room_id, "anybody?")
    await trio.testing.wait_all_tasks_blocked()
    assert gateways.tried == sender.FAILURES_MAX + 1


async def test_requests_are_counted(autojump_clock: MockClock, whole: WholeServer, gateways: Gateways) -> None:
    alice, bob, room_id = await meet(whole)
    await set_pusher(bob)
    await send(alice, room_id, "hello")
    await trio.testing.wait_all_tasks_blocked()
    gateways.down.add("push.test")
    await send(alice, room_id, "and again")
    await trio.testing.wait_all_tasks_blocked()
    gateways.down.clear()
    gateways.rejected = {"key"}
    await trio.sleep(15)
    outcomes = ("failed", "rejected", "taken")
    page = whole.metrics.render()
    assert all(f'conduit_py_pushes_total{{outcome="{outcome}"}} 1\n' in page for outcome in outcomes)


async def test_a_slow_gateway_holds_up_no_other(
    autojump_clock: MockClock, whole: WholeServer, gateways: Gateways
) -> None:
    alice, bob, room_id = await meet(whole)
    for number in range(REQUESTS_PER_HOST_MAX + 4):
        await set_pusher(bob, f"slow {number}")
    await trio.sleep(1)
    gateways.delay_s = 5
    await send(alice, room_id, "hello")
    await trio.sleep(1)
    assert gateways.asking == REQUESTS_PER_HOST_MAX
    gateways.delay_s = 0
    await set_pusher(bob, "quick", url="https://other.test/_matrix/push/v1/notify")
    await trio.testing.wait_all_tasks_blocked()
    assert "other.test" in [host for host, _ in gateways.told]
    await trio.sleep(30)
    assert gateways.asking_most == REQUESTS_PER_HOST_MAX + 1
