"""``GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event``"""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from conduit_py.service.rooms import timestamps
from tests.rig.client import Client, Response, path
from tests.rig.rooms import create, join, leave, send
from tests.rig.server import START_MS
from tests.rig.whole import WholeServer

MINUTE_MS = 60_000


async def at(user: Client, room_id: str, ts_ms: int, dir: str) -> Response:
    return await user.get("/_matrix/client/v1/rooms" + path(room_id, "timestamp_to_event"), ts=str(ts_ms), dir=dir)


async def send_each_minute(clock: MockClock, user: Client, room_id: str, count: int) -> list[tuple[str, int]]:
    """(event id, ms), beginning a minute from now."""
    sent = []
    for _ in range(count):
        clock.jump(60)
        sent.append((await send(user, room_id, "now"), START_MS + round(trio.current_time() * 1000)))
    return sent


async def test_get_event_by_timestamp_finds_the_closest(whole: WholeServer, autojump_clock: MockClock) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    sent = await send_each_minute(autojump_clock, alice, room_id, 3)
    (first, first_ms), (second, second_ms), (third, third_ms) = sent
    for ts_ms, side, event_id, found_ms in (
        (second_ms, "f", second, second_ms),
        (second_ms, "b", second, second_ms),
        (second_ms + 1, "f", third, third_ms),
        (second_ms + 1, "b", second, second_ms),
        (second_ms - 1, "b", first, first_ms),
        (first_ms - 1, "f", first, first_ms),
        (third_ms + MINUTE_MS, "b", third, third_ms),
    ):
        response = await at(alice, room_id, ts_ms, side)
        assert response.json == {"event_id": event_id, "origin_server_ts": found_ms}


async def test_get_event_by_timestamp_passes_over_what_may_not_be_seen(
    whole: WholeServer, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, visibility="joined")
    (_, early_ms), *_ = await send_each_minute(autojump_clock, alice, room_id, 3)
    await join(bob, room_id)
    ((seen, seen_ms),) = await send_each_minute(autojump_clock, alice, room_id, 1)
    await leave(bob, room_id)
    await send_each_minute(autojump_clock, alice, room_id, 3)
    assert (await at(bob, room_id, early_ms, "f")).json["origin_server_ts"] == seen_ms - MINUTE_MS
    assert (await at(bob, room_id, seen_ms, "f")).json["event_id"] == seen
    assert (await at(bob, room_id, seen_ms + 1, "f")).outcome == (404, "M_NOT_FOUND")
    monkeypatch.setattr(timestamps, "SCANNED_MAX", 2)
    assert (await at(bob, room_id, early_ms, "f")).outcome == (404, "M_NOT_FOUND")


async def test_get_event_by_timestamp_not_found(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    assert (await at(alice, room_id, START_MS * 2, "f")).outcome == (404, "M_NOT_FOUND")
    assert (await at(alice, room_id, -1, "b")).outcome == (404, "M_NOT_FOUND")


async def test_get_event_by_timestamp_forbidden(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    for room in (room_id, "!nothing:one.test"):
        assert (await at(bob, room, START_MS, "f")).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({"dir": "f"}, "M_MISSING_PARAM"),
        ({"ts": "1"}, "M_MISSING_PARAM"),
        ({"ts": "now", "dir": "f"}, "M_INVALID_PARAM"),
        ({"ts": "1", "dir": "up"}, "M_INVALID_PARAM"),
    ],
)
async def test_get_event_by_timestamp_of_a_wrong_form(whole: WholeServer, query: dict[str, str], errcode: str) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    response = await alice.get("/_matrix/client/v1/rooms" + path(room_id, "timestamp_to_event"), **query)
    assert response.outcome == (400, errcode)
