"""``GET /_matrix/federation/v1/backfill/{roomId}``"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service.federation.reading import events
from tests.api.federation.reading import BOB, Shared, put_member, send_many
from tests.rig.rooms import create, send, set_state


async def backfill(shared: Shared, *event_ids: str, limit: str = "100") -> list[dict[str, Any]]:
    reply = await shared.two.get("backfill", shared.room_id, v=list(event_ids), limit=limit)
    assert reply.status == 200, reply.body
    pdus: list[dict[str, Any]] = reply.json["pdus"]
    return pdus


def bodies(pdus: list[dict[str, Any]]) -> list[str | None]:
    return [pdu["content"].get("body") for pdu in pdus]


async def test_backfill_room_gives_the_events_named_and_those_before_them(shared: Shared) -> None:
    sent = await send_many(shared, 5)
    assert bodies(await backfill(shared, sent[3], limit="3")) == ["message 3", "message 2", "message 1"]


async def test_backfill_room_goes_back_to_the_beginning(shared: Shared) -> None:
    sent = await send_many(shared, 2)
    pdus = await backfill(shared, sent[-1])
    assert pdus[-1]["type"] == "m.room.create"
    assert [pdu["depth"] for pdu in pdus] == list(range(len(pdus), 0, -1))


async def test_backfill_room_from_several_events_tells_each_once(shared: Shared) -> None:
    sent = await send_many(shared, 5)
    pdus = await backfill(shared, sent[1], sent[3], sent[1], "$unknown", limit="4")
    assert bodies(pdus) == ["message 3", "message 2", "message 1", "message 0"]
    assert await backfill(shared, "$unknown") == []
    assert await backfill(shared, sent[0], limit="0") == []


async def test_backfill_room_gives_no_event_of_another_room(shared: Shared) -> None:
    elsewhere = await create(shared.alice)
    assert await backfill(shared, await send(shared.alice, elsewhere, "secret")) == []


async def test_backfill_room_gives_so_many_events_at_the_most(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = await send_many(shared, 5)
    monkeypatch.setattr(events, "ANSWER_BYTES_MAX", 1000)
    monkeypatch.setattr(events, "EVENTS_PER_SLICE", 1)
    assert bodies(await backfill(shared, sent[4])) == ["message 4", "message 3"]
    monkeypatch.setattr(events, "BACKFILL_EVENTS_MAX", 1)
    assert bodies(await backfill(shared, sent[4])) == ["message 4"]
    monkeypatch.setattr(events, "NAMED_MAX", 1)
    assert bodies(await backfill(shared, "$unknown", sent[4])) == []


async def test_backfill_room_forbidden(shared: Shared) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")
    query = {"v": event_id, "limit": "1"}
    async with shared.leaves_no_trace():
        refused = await shared.three.get("backfill", shared.room_id, **query)
        unknown = await shared.three.get("backfill", "!unknown:one.test", **query)
    assert refused.outcome == unknown.outcome == (403, "M_FORBIDDEN")
    assert refused.json["error"].replace(shared.room_id, "") == unknown.json["error"].replace("!unknown:one.test", "")
    await set_state(shared.alice, shared.room_id, "m.room.server_acl", {"allow": ["one.test"]})
    assert (await shared.two.get("backfill", shared.room_id, **query)).outcome == (403, "M_FORBIDDEN")
    await set_state(shared.alice, shared.room_id, "m.room.server_acl", {"allow": ["*"]})
    await put_member(shared.node, shared.room_id, BOB, "ban", sender=shared.alice.user_id)
    assert (await shared.two.get("backfill", shared.room_id, **query)).outcome == (403, "M_FORBIDDEN")


async def test_backfill_room_refuses_what_it_cannot_read(shared: Shared) -> None:
    get = shared.two.get
    assert (await get("backfill", shared.room_id, v="$e")).outcome == (400, "M_MISSING_PARAM")
    assert (await get("backfill", shared.room_id, limit="1")).outcome == (400, "M_MISSING_PARAM")
    assert (await get("backfill", shared.room_id, v="e", limit="1")).outcome == (400, "M_INVALID_PARAM")
    assert (await get("backfill", shared.room_id, v="$e", limit="-1")).outcome == (400, "M_INVALID_PARAM")
    assert (await get("backfill", "room", v="$e", limit="1")).outcome == (400, "M_INVALID_PARAM")
