"""Scrolling back through what happened while we were not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from conduit_py.data import gaps, timeline
from conduit_py.data import rooms as room_data
from conduit_py.data.consistency import check_consistency
from conduit_py.data.state import get_pdu_at
from conduit_py.matrix.ids import EventId
from kvschema.catalog.receipts import ROOMPOS_NOTIFIED
from kvschema.catalog.timeline import EventRow
from tests.rig.asking import VERSIONS
from tests.rig.client import Client
from tests.rig.remote_room import RemoteRoom
from tests.rig.rooms import RoomServer, create, in_room, send, set_state, with_rooms
from tests.rig.server import Server
from tests.service.federation.receiving import PREV_EVENTS_MAX, Receiving, open_receiving


@pytest.fixture
async def rooms(server: Server) -> AsyncIterator[RoomServer]:
    rooms = await with_rooms(server)
    yield rooms
    with rooms.store.snapshot() as snapshot:
        assert list(check_consistency(snapshot)) == []


@pytest.fixture
async def receiving(rooms: RoomServer) -> AsyncIterator[Receiving]:
    async with open_receiving(rooms, {}) as receiving:
        yield receiving


async def begin(receiving: Receiving, missed: int, version: str = "11") -> tuple[Client, RemoteRoom]:
    """A room in which so many messages were missed, and those that came since then."""
    alice = await receiving.rooms.register("alice")
    peer = RemoteRoom(receiving.rooms, await create(alice, room_version=version))
    await receiving.know(peer)
    join = peer.join("bob")
    assert await receiving.send(peer, join) == {join.event_id: {}}
    for number in range(missed):
        peer.say("bob", str(number))
    last = peer.say("bob", "last")
    assert await receiving.send(peer, last) == {last.event_id: {}}
    return alice, peer


async def scroll(reader: Client, peer: RemoteRoom, *, limit: int = 30) -> list[str]:
    """All texts, the oldest first, page by page; no event may come twice."""
    texts: list[str] = []
    seen: list[str] = []
    token: dict[str, str] = {}
    for _ in range(200):
        response = await reader.get(in_room(peer.room_id, "messages"), dir="b", limit=str(limit), **token)
        assert response.status == 200
        seen += [event["event_id"] for event in response.json["chunk"]]
        texts += [event["content"]["body"] for event in response.json["chunk"] if "body" in event["content"]]
        if "end" not in response.json:
            break
        token = {"from": response.json["end"]}
    else:
        raise AssertionError("the timeline has no beginning")
    assert len(seen) == len(set(seen))
    return texts[::-1]


def row_of(rooms: RoomServer, event_id: str) -> EventRow | None:
    with rooms.store.snapshot() as snapshot:
        found = timeline.find_row(snapshot, EventId(event_id))
        return None if found is None else found[1]


def count_gaps(rooms: RoomServer, peer: RemoteRoom) -> int:
    with rooms.store.snapshot() as snapshot:
        room = room_data.get_room(snapshot, peer.room_id)
        assert room is not None
        return len(list(gaps.scan_gaps(snapshot, room.short)))


@pytest.mark.parametrize("version", VERSIONS)
async def test_gap_is_filled_when_somebody_scrolls_to_it(receiving: Receiving, version: str) -> None:
    alice, peer = await begin(receiving, 60, version)
    assert count_gaps(receiving.rooms, peer) == 1
    assert await scroll(alice, peer) == [*map(str, range(60)), "last"]
    assert count_gaps(receiving.rooms, peer) == 0
    with receiving.rooms.store.snapshot() as snapshot:
        room = room_data.get_room(snapshot, peer.room_id)
        assert room is not None
        ends = [timeline.require_row(snapshot, end).event_id for end in room.extremities]
    assert ends == list(peer.ends)


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_thousand_events_are_scrolled_through_each_once_and_in_order(receiving: Receiving, limit: int) -> None:
    missed = {1: 60, 7: 250, 1000: 1000}[limit]
    alice, peer = await begin(receiving, missed)
    if limit == 1:
        texts = (await scroll(alice, peer, limit=limit))[-missed - 1 :]
    else:
        texts = await scroll(alice, peer, limit=limit)
    assert texts == [*map(str, range(missed)), "last"]


async def test_history_notifies_nobody(receiving: Receiving) -> None:
    alice, peer = await begin(receiving, 60)
    with receiving.rooms.store.snapshot() as snapshot:
        before = list(ROOMPOS_NOTIFIED.scan(snapshot))
    await scroll(alice, peer)
    with receiving.rooms.store.snapshot() as snapshot:
        assert list(ROOMPOS_NOTIFIED.scan(snapshot)) == before


async def test_state_of_history_is_that_of_its_time(receiving: Receiving) -> None:
    alice = await receiving.rooms.register("alice")
    peer = RemoteRoom(receiving.rooms, await create(alice))
    await receiving.know(peer)
    await receiving.send(peer, peer.join("bob"))
    await set_state(
        alice, peer.room_id, "m.room.power_levels", {"users": {"@alice:one.test": 100, peer.user("bob"): 100}}
    )
    peer.learn()
    made = []
    for number in range(50):
        made.append(peer.set("bob", "m.room.topic", {"topic": str(number)}))
        made.append(peer.say("bob", str(number)))
    last = peer.say("bob", "last")
    await receiving.send(peer, last)
    await scroll(alice, peer)
    with receiving.rooms.store.snapshot() as snapshot:
        for pdu in made:
            row = row_of(receiving.rooms, pdu.event_id)
            assert row is not None
            assert row.pos
            topic = get_pdu_at(snapshot, row.state_after, "m.room.topic", "")
            assert topic is not None
            assert topic.event_id == peer.states[pdu.event_id]["m.room.topic", ""]


async def test_gap_that_cannot_be_filled_ends_the_page_and_is_tried_again(
    receiving: Receiving, autojump_clock: Any
) -> None:
    alice, peer = await begin(receiving, 60)
    receiving.cut()
    page = (await alice.get(in_room(peer.room_id, "messages"), dir="b", limit="100")).json
    assert page["chunk"][0]["content"]["body"] == "last"
    assert len(page["chunk"]) == PREV_EVENTS_MAX + 1
    # Nothing is there to be shown before it can be asked again: the page goes on behind the gap.
    after = (await alice.get(in_room(peer.room_id, "messages"), dir="b", limit="100", **{"from": page["end"]})).json
    assert after["chunk"][0]["type"] == "m.room.member"
    receiving.rooms.remotes.servers[peer.name] = peer.answer
    await trio.sleep(3600)
    again = (await alice.get(in_room(peer.room_id, "messages"), dir="b", limit="100", **{"from": page["end"]})).json
    texts = [event["content"]["body"] for event in again["chunk"] if "body" in event["content"]]
    assert texts == [str(number) for number in range(60 - PREV_EVENTS_MAX - 1, -1, -1)]


async def begin_reading(reader: Client, peer: RemoteRoom) -> str:
    """The token right behind the first event of a room."""
    page = await reader.get(in_room(peer.room_id, "messages"), dir="f", limit="1")
    token: str = page.json["end"]
    return token


@pytest.mark.parametrize("limit", [7, 1000])
async def test_gap_is_filled_when_somebody_reads_on_to_it(receiving: Receiving, limit: int) -> None:
    alice, peer = await begin(receiving, 250)
    token: str | None = await begin_reading(alice, peer)
    texts: list[str] = []
    while token is not None:
        where = {"dir": "f", "limit": str(limit), "from": token}
        page = (await alice.get(in_room(peer.room_id, "messages"), **where)).json
        texts += [event["content"]["body"] for event in page["chunk"] if "body" in event["content"]]
        token = page.get("end")
    assert texts == [*map(str, range(250)), "last"]
    assert count_gaps(receiving.rooms, peer) == 0


async def test_gap_that_cannot_be_filled_ends_the_page_going_on_too(receiving: Receiving) -> None:
    alice, peer = await begin(receiving, 60)
    token = await begin_reading(alice, peer)
    receiving.cut()
    where = {"dir": "f", "limit": "100"}
    page = (await alice.get(in_room(peer.room_id, "messages"), **where, **{"from": token})).json
    assert page["chunk"][-1]["state_key"] == peer.user("bob")
    # It is passed only by who asks for what lies right behind it.
    after = (await alice.get(in_room(peer.room_id, "messages"), **where, **{"from": page["end"]})).json
    texts = [event["content"]["body"] for event in after["chunk"]]
    assert texts == [*map(str, range(60 - PREV_EVENTS_MAX, 60)), "last"]
    assert "end" not in after


async def test_what_lies_behind_a_gap_is_read_on_from_without_it(receiving: Receiving) -> None:
    alice, peer = await begin(receiving, 60)
    newest = {"dir": "b", "limit": str(PREV_EVENTS_MAX + 1)}
    page = (await alice.get(in_room(peer.room_id, "messages"), **newest)).json
    asked = len(receiving.asked)
    where = {"dir": "f", "limit": "100", "from": page["end"]}
    again = (await alice.get(in_room(peer.room_id, "messages"), **where)).json
    shown = [[event["event_id"] for event in it["chunk"]] for it in (page, again)]
    assert shown[1] == shown[0][::-1]
    assert len(receiving.asked) == asked


async def test_server_that_answers_with_events_of_elsewhere_gets_nothing_in(receiving: Receiving) -> None:
    alice, peer = await begin(receiving, 60)
    other = peer.say("bob", "unasked", prev=peer.ends[:1])

    def answer(question: Any) -> Any:
        if question.segments[2] == "backfill":
            return {"pdus": [other.json, {"nothing": 1}]}
        return peer.answer(question)

    receiving.rooms.remotes.servers[peer.name] = answer
    page = (await alice.get(in_room(peer.room_id, "messages"), dir="b", limit="100")).json
    assert len(page["chunk"]) == PREV_EVENTS_MAX + 1
    assert row_of(receiving.rooms, other.event_id) is None


async def test_local_events_after_a_gap_end_it_when_it_is_filled(receiving: Receiving) -> None:
    """Both sides of a gap are ends of the room, until what lies between them is here."""
    alice, peer = await begin(receiving, 60)
    assert await send(alice, peer.room_id, "mine")
    peer.learn()
    assert await scroll(alice, peer) == [*map(str, range(60)), "last", "mine"]
