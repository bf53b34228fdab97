"""``POST /_matrix/federation/v1/get_missing_events/{roomId}``"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service.federation.reading import events
from tests.api.federation.reading import Shared, send_many
from tests.rig.rooms import create, send


async def missing(shared: Shared, earliest: list[str], latest: list[str], **more: Any) -> list[str | None]:
    content = {"earliest_events": earliest, "latest_events": latest, **more}
    reply = await shared.two.post(content, "get_missing_events", shared.room_id)
    assert reply.status == 200, reply.body
    return [pdu["content"].get("body") for pdu in reply.json["events"]]


async def test_get_missing_previous_events_gives_what_lies_between_oldest_first(shared: Shared) -> None:
    sent = await send_many(shared, 6)
    assert await missing(shared, [sent[1]], [sent[4]]) == ["message 2", "message 3"]
    assert await missing(shared, [sent[3]], [sent[4]]) == []
    assert await missing(shared, ["$unknown"], ["$other"]) == []


async def test_get_missing_previous_events_gives_the_nearest_if_there_are_too_many(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await send_many(shared, 15)
    assert await missing(shared, [], [sent[14]], limit=2) == ["message 12", "message 13"]
    assert await missing(shared, [], [sent[14]]) == [f"message {number}" for number in range(4, 14)]
    monkeypatch.setattr(events, "MISSING_EVENTS_MAX", 3)
    assert await missing(shared, [], [sent[14]], limit=100) == ["message 11", "message 12", "message 13"]


async def test_get_missing_previous_events_stops_at_a_depth(shared: Shared) -> None:
    sent = await send_many(shared, 6)
    (event,) = (await shared.two.get("event", sent[3])).json["pdus"]
    assert await missing(shared, [], [sent[5]], min_depth=event["depth"]) == ["message 3", "message 4"]


async def test_get_missing_previous_events_gives_no_event_of_another_room(shared: Shared) -> None:
    elsewhere = await create(shared.alice)
    await send(shared.alice, elsewhere, "secret")
    assert await missing(shared, [], [await send(shared.alice, elsewhere, "latest")]) == []


async def test_get_missing_previous_events_forbidden(shared: Shared) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")
    content = {"earliest_events": [], "latest_events": [event_id]}
    async with shared.leaves_no_trace():
        reply = await shared.three.post(content, "get_missing_events", shared.room_id)
        assert reply.outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("content", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"earliest_events": []}, "M_MISSING_PARAM"),
        ({"earliest_events": [], "latest_events": ["e"]}, "M_INVALID_PARAM"),
        ({"earliest_events": [], "latest_events": [1]}, "M_BAD_JSON"),
        ({"earliest_events": {}, "latest_events": []}, "M_BAD_JSON"),
        ({"earliest_events": [], "latest_events": [], "limit": -1}, "M_INVALID_PARAM"),
        ({"earliest_events": [], "latest_events": [], "min_depth": "1"}, "M_BAD_JSON"),
    ],
)
async def test_get_missing_previous_events_refuses_what_it_cannot_read(
    shared: Shared, content: Any, errcode: str
) -> None:
    assert (await shared.two.post(content, "get_missing_events", shared.room_id)).outcome == (400, errcode)
