"""``GET /_matrix/federation/v1/timestamp_to_event/{roomId}``"""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.api.federation.reading import BOB, Shared, open_shared, put_member
from tests.rig.network import Node
from tests.rig.rooms import send


async def find(shared: Shared, ts: int, direction: str) -> str:
    reply = await shared.two.get("timestamp_to_event", shared.room_id, ts=str(ts), dir=direction)
    assert reply.status == 200, reply.body
    event_id: str = reply.json["event_id"]
    return event_id


async def test_get_event_by_timestamp_finds_the_nearest_on_one_side(shared: Shared, autojump_clock: MockClock) -> None:
    sent, times = [], []
    for _ in range(3):
        await trio.sleep(10)
        times.append(shared.node.store.now_ms())
        sent.append(await send(shared.alice, shared.room_id, "hello"))
    assert [await find(shared, times[1], direction) for direction in ("f", "b")] == [sent[1], sent[1]]
    assert [await find(shared, times[1] + 1, direction) for direction in ("f", "b")] == [sent[2], sent[1]]
    reply = await shared.two.get("timestamp_to_event", shared.room_id, ts=str(times[1] - 1), dir="f")
    assert reply.json == {"event_id": sent[1], "origin_server_ts": times[1]}


async def test_get_event_by_timestamp_finds_nothing_that_the_server_may_not_see(
    server_one: Node, autojump_clock: MockClock
) -> None:
    shared = await open_shared(server_one, visibility="joined")
    await put_member(shared.node, shared.room_id, BOB, "leave")
    await trio.sleep(10)
    secret_ms = shared.node.store.now_ms()
    await send(shared.alice, shared.room_id, "secret")
    await trio.sleep(10)
    back = await put_member(shared.node, shared.room_id, BOB, "join")
    assert await find(shared, secret_ms, "f") == back


async def test_get_event_by_timestamp_not_found(shared: Shared) -> None:
    later_ms = shared.node.store.now_ms() + 1000
    async with shared.leaves_no_trace():
        for ts, direction in ((0, "b"), (later_ms, "f")):
            reply = await shared.two.get("timestamp_to_event", shared.room_id, ts=str(ts), dir=direction)
            assert reply.outcome == (404, "M_NOT_FOUND")


async def test_get_event_by_timestamp_forbidden(shared: Shared) -> None:
    async with shared.leaves_no_trace():
        for room_id in (shared.room_id, "!unknown:one.test"):
            reply = await shared.three.get("timestamp_to_event", room_id, ts="0", dir="f")
            assert reply.outcome == (403, "M_FORBIDDEN")


async def test_get_event_by_timestamp_refuses_what_it_cannot_read(shared: Shared) -> None:
    async def ask(**query: str) -> tuple[int, str | None]:
        return (await shared.two.get("timestamp_to_event", shared.room_id, **query)).outcome

    assert await ask(ts="0") == (400, "M_MISSING_PARAM")
    assert await ask(dir="f") == (400, "M_MISSING_PARAM")
    assert await ask(ts="soon", dir="f") == (400, "M_INVALID_PARAM")
    assert await ask(ts="0", dir="x") == (400, "M_INVALID_PARAM")
