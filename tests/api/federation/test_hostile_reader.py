"""A server that asks for things in ways that may hurt: it is refused, and nothing is stored or crashes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.federation.reading import Shared
from tests.rig.rooms import send

LONG = "x" * 5000
IDS = (
    "",
    "$",
    "$" + LONG,
    "!" + LONG,
    "\0",
    "$\0",
    "!r:one.test\0",
    "$ü" * 100,
    "../..",
    "%00",
    "#a:one.test",
    "@a:one.test",
)
NUMBERS = ("-1", "1e9", "9" * 400, "0x10", "٣", " 1", "", "NaN")
CONTENTS: tuple[Any, ...] = (
    {"limit": 2**70},
    {"limit": -(2**70)},
    {"limit": 1.5},
    {"limit": True},
    {"min_depth": 2**70, "earliest_events": [], "latest_events": []},
    {"earliest_events": ["$" + LONG], "latest_events": []},
    {"earliest_events": [[]], "latest_events": {}},
    {"earliest_events": [], "latest_events": ["$e"] * 2000, "limit": 2**70},
    {"filter": {"room_types": [[]], "generic_search_term": {}}},
    {"filter": {"generic_search_term": LONG}},
    {"since": LONG},
    {"since": "bjk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5IHg"},
    {"third_party_instance_id": []},
)
REFUSALS = {400, 403, 404, 413}


@pytest.mark.parametrize(
    "operation",
    ["event", "state", "state_ids", "event_auth", "backfill", "timestamp_to_event", "hierarchy"],
)
async def test_any_id_in_a_path_or_query_is_refused(shared: Shared, operation: str) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")
    queries: dict[str, str] = {"event_id": event_id, "v": event_id, "limit": "1", "ts": "1", "dir": "f"}
    more = (event_id,) if operation == "event_auth" else ()
    async with shared.leaves_no_trace():
        for text in filter(None, IDS):
            reply = await shared.two.get(operation, text, *more, **queries)
            assert reply.status in REFUSALS, (text, reply.body)
        for text in IDS:
            for name in ("event_id", "v"):
                if operation in {"event_id": ("state", "state_ids"), "v": ("backfill",)}[name]:
                    reply = await shared.two.get(operation, shared.room_id, **{**queries, name: text})
                    assert reply.status in REFUSALS, (text, reply.body)


@pytest.mark.parametrize(
    ("operation", "name"), [("backfill", "limit"), ("timestamp_to_event", "ts"), ("publicRooms", "limit")]
)
async def test_any_number_is_refused(shared: Shared, operation: str, name: str) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")
    segments = () if operation == "publicRooms" else (shared.room_id,)
    queries: dict[str, str] = {"v": event_id, "limit": "1", "ts": "1", "dir": "f"}
    async with shared.leaves_no_trace():
        for number in NUMBERS:
            reply = await shared.two.get(operation, *segments, **{**queries, name: number})
            if (operation, number) == ("timestamp_to_event", "-1"):
                assert reply.status == 200  # a time before 1970 is one
            else:
                assert reply.status == 400, (number, reply.body)


async def test_any_content_is_answered_or_refused(shared: Shared) -> None:
    async with shared.leaves_no_trace():
        for content in CONTENTS:
            for segments in (("publicRooms",), ("get_missing_events", shared.room_id)):
                reply = await shared.two.post(content, *segments)
                assert reply.status in {200, *REFUSALS}, (content, reply.body)


async def test_content_that_is_too_large_is_refused(shared: Shared) -> None:
    content = {"earliest_events": ["$" + LONG] * 20, "latest_events": []}
    async with shared.leaves_no_trace():
        for segments in (("publicRooms",), ("get_missing_events", shared.room_id)):
            reply = await shared.two.post(content, *segments)
            assert reply.outcome == (413, "M_TOO_LARGE")


async def test_thousands_of_event_ids_cost_no_more_than_a_hundred(shared: Shared) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")
    many = [f"$unknown{number}" for number in range(1500)]
    reply = await shared.two.get("backfill", shared.room_id, v=[*many, event_id], limit="10")
    assert reply.json["pdus"] == []
