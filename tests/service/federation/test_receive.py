"""Transactions of other servers, from those that are in order to those that are made to hurt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing

from conduit_py.data import gaps, received, timeline
from conduit_py.data import rooms as room_data
from conduit_py.matrix.ids import EventId, ServerName
from conduit_py.service.errors import InvalidParam, LimitExceeded
from conduit_py.service.federation.receive import receiver
from conduit_py.service.federation.receive.receiver import TRANSACTIONS_PER_SERVER_MAX
from tests.rig.asking import VERSIONS
from tests.rig.remote_room import RemoteRoom
from tests.rig.rooms import RoomServer, create, in_room, send, set_state
from tests.service.federation.receiving import (
    PREV_EVENTS_MAX,
    Receiving,
    begin,
    count_waiting,
    hold_back,
    open_receiving,
    row_of,
    shown,
)


def gaps_of(rooms: RoomServer, peer: RemoteRoom) -> list[list[str]]:
    with rooms.store.snapshot() as snapshot:
        room = room_data.get_room(snapshot, peer.room_id)
        assert room is not None
        return [gap.missing for _, gap in gaps.scan_gaps(snapshot, room.short)]


# In order.


@pytest.mark.parametrize("version", VERSIONS)
async def test_events_are_received_in_order_whatever_their_order(receiving: Receiving, version: str) -> None:
    alice, peer = await begin(receiving, version)
    said = [peer.say("bob", str(number)) for number in range(20)]
    results = await receiving.send(peer, *reversed(said))
    assert results == {pdu.event_id: {} for pdu in said}
    assert await shown(alice, peer) == [str(number) for number in range(20)]
    assert receiving.asked == []


async def test_rejected_events_are_answered_like_others(receiving: Receiving) -> None:
    _, peer = await begin(receiving)
    topic = peer.set("bob", "m.room.topic", {"topic": "mine"})
    assert await receiving.send(peer, topic) == {topic.event_id: {}}


async def test_transaction_is_done_once(receiving: Receiving) -> None:
    alice, peer = await begin(receiving)
    said = peer.say("bob", "once")
    first = await receiving.send(peer, said, txn_id="same")
    async with receiving.rooms.leaves_no_trace():
        again = await receiving.send(peer, peer.say("bob", "never looked at"), txn_id="same")
    assert first == again
    assert await shown(alice, peer) == ["once"]


async def test_transaction_that_is_being_done_is_waited_for(receiving: Receiving) -> None:
    alice, peer = await begin(receiving)
    lost = peer.say("bob", "lost")
    last = peer.say("bob", "last")
    answers: list[Any] = []

    async def send_it() -> None:
        answers.append(await receiving.send(peer, last, txn_id="same"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_it)
        nursery.start_soon(send_it)
    assert answers == [{last.event_id: {}}] * 2
    assert receiving.asked == ["get_missing_events"]
    assert await shown(alice, peer) == ["lost", "last"]
    assert lost.event_id in peer.pdus


async def test_transaction_goes_on_when_its_request_is_given_up(receiving: Receiving) -> None:
    alice, peer = await begin(receiving)
    peer.say("bob", "lost")
    last = peer.say("bob", "last")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receiving.send, peer, last)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert await shown(alice, peer) == ["lost", "last"]


async def test_transaction_that_is_too_long_is_refused(receiving: Receiving) -> None:
    _, peer = await begin(receiving)
    async with receiving.rooms.leaves_no_trace():
        with pytest.raises(InvalidParam):
            await receiving.send(peer, *({} for _ in range(51)))
        with pytest.raises(InvalidParam):
            await receiving.send(peer, edus=[{}] * 101)


async def test_too_many_transactions_at_a_time_are_put_off(receiving: Receiving) -> None:
    _, peer = await begin(receiving)
    wait = trio.Event()

    async def block(origin: ServerName, content: Mapping[str, Any]) -> None:
        await wait.wait()

    receiving.receiver._edu_handlers = {"m.typing": block}
    edu = {"edu_type": "m.typing", "content": {"room_id": peer.room_id}}
    async with trio.open_nursery() as nursery:
        for number in range(TRANSACTIONS_PER_SERVER_MAX):
            nursery.start_soon(lambda txn_id: receiving.send(peer, edus=[edu], txn_id=txn_id), f"held{number}")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LimitExceeded):
            await receiving.send(peer, edus=[edu])
        wait.set()


async def test_transactions_that_are_too_large_together_are_held_off(
    receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, peer = await begin(receiving)
    wait = trio.Event()

    async def block(origin: ServerName, content: Mapping[str, Any]) -> None:
        await wait.wait()

    monkeypatch.setattr(receiver, "HELD_BYTES_MAX", 3000)
    receiving.receiver._edu_handlers = {"m.typing": block}
    edu = {"edu_type": "m.typing", "content": {"room_id": peer.room_id, "text": "x" * 2000}}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: receiving.send(peer, edus=[edu]))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LimitExceeded):
            await receiving.send(peer, edus=[edu])
        wait.set()
    assert await receiving.send(peer, edus=[edu]) == {}


async def test_slow_room_keeps_neither_others_nor_the_transaction(
    receiving: Receiving, autojump_clock: trio.testing.MockClock
) -> None:
    alice, peer = await begin(receiving)
    other = RemoteRoom(receiving.rooms, await create(alice))
    assert len(await receiving.send(other, other.join("bob"))) == 1
    peer.say("bob", "lost")
    last, heard = peer.say("bob", "last"), other.say("bob", "heard")
    release = hold_back(receiving)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiving.send, peer, last, heard)
        await trio.sleep(1)
        assert await shown(alice, other) == ["heard"]
        assert await shown(alice, peer) == []
    assert trio.current_time() < 30
    later = peer.say("bob", "later")
    assert await receiving.send(peer, later) == {later.event_id: {}}
    assert count_waiting(receiving) == 2
    assert await shown(alice, peer) == []
    release.set()
    await trio.sleep(1)
    assert count_waiting(receiving) == 0
    assert await shown(alice, peer) == ["lost", "last", "later"]
    after = peer.say("bob", "after")
    assert await receiving.send(peer, after) == {after.event_id: {}}
    assert (await shown(alice, peer))[-1] == "after"


async def test_events_that_wait_are_received_after_a_restart(
    rooms: RoomServer, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_receiving(rooms, {}) as receiving:
        alice, peer = await begin(receiving)
        peer.say("bob", "lost")
        last = peer.say("bob", "last")
        release = hold_back(receiving)
        assert await receiving.send(peer, last) == {last.event_id: {}}
        assert await shown(alice, peer) == []
    release.set()
    async with open_receiving(rooms, {}) as receiving:
        await receiving.know(peer)
        await trio.sleep(1)
        assert count_waiting(receiving) == 0
        assert await shown(alice, peer) == ["lost", "last"]


async def test_only_so_many_events_of_a_room_wait(
    receiving: Receiving, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, peer = await begin(receiving)
    monkeypatch.setattr(received, "WAITING_PER_ROOM_MAX", 2)
    peer.say("bob", "lost")
    said = [peer.say("bob", str(number)) for number in range(4)]
    release = hold_back(receiving)
    results = [await receiving.send(peer, pdu) for pdu in said]
    assert results[:2] == [{pdu.event_id: {}} for pdu in said[:2]]
    assert all("error" in result for [result] in (result.values() for result in results[2:]))
    assert count_waiting(receiving) == 2
    release.set()
    await trio.sleep(1)
    assert count_waiting(receiving) == 0


# What is missing.


@pytest.mark.parametrize("version", VERSIONS)
async def test_missing_events_are_fetched(receiving: Receiving, version: str) -> None:
    alice, peer = await begin(receiving, version)
    for number in range(10):
        peer.say("bob", str(number))
    last = peer.say("bob", "last")
    assert await receiving.send(peer, last) == {last.event_id: {}}
    assert await shown(alice, peer) == [*map(str, range(10)), "last"]
    assert gaps_of(receiving.rooms, peer) == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_missing_history_that_is_too_long_leaves_a_gap(receiving: Receiving, version: str) -> None:
    alice, peer = await begin(receiving, version)
    early = [peer.say("bob", f"early {number}") for number in range(5)]
    carol = peer.join("carol")
    late = [peer.say("carol", str(number)) for number in range(PREV_EVENTS_MAX)]
    last = peer.say("carol", "last")
    assert await receiving.send(peer, last) == {last.event_id: {}}
    assert receiving.asked == ["get_missing_events", "event_auth", "state_ids"]
    assert await shown(alice, peer) == [*map(str, range(PREV_EVENTS_MAX)), "last"]
    assert gaps_of(receiving.rooms, peer) == [[carol.event_id]]
    row, first = row_of(receiving.rooms, carol.event_id), row_of(receiving.rooms, late[0].event_id)
    assert row is not None
    assert first is not None
    assert row.pos == 0
    assert row_of(receiving.rooms, early[0].event_id) is None
    # The one that was missed comes after all: nothing is before it any more that is known to be missing.
    assert await receiving.send(peer, *early, carol) == {pdu.event_id: {} for pdu in (*early, carol)}
    assert gaps_of(receiving.rooms, peer) == []
    answer = await send(alice, peer.room_id, "answer")
    with receiving.rooms.store.snapshot() as snapshot:
        found = timeline.find_row(snapshot, EventId(answer))
        assert found is not None
        assert timeline.get_pdu(snapshot, found[0]).prev_events == (last.event_id,)


async def test_missing_state_is_fetched_with_what_allowed_it(receiving: Receiving) -> None:
    alice, peer = await begin(receiving)
    levels = {"users": {"@alice:one.test": 100, peer.user("bob"): 100}}
    await set_state(alice, peer.room_id, "m.room.power_levels", levels)
    peer.learn()
    for number in range(5):
        peer.set("bob", "m.room.topic", {"topic": str(number)})
        peer.set("bob", "m.room.power_levels", {"users": {**levels["users"], "@nobody:two.test": number}})
    peer.join("carol")
    for number in range(PREV_EVENTS_MAX):
        peer.say("bob", str(number))
    last = peer.say("carol", "last")
    assert await receiving.send(peer, last) == {last.event_id: {}}
    response = await alice.get(in_room(peer.room_id, "state", "m.room.topic", ""))
    assert response.json == {"topic": "4"}
    joined = (await alice.get(in_room(peer.room_id, "joined_members"))).json["joined"]
    assert set(joined) == {"@alice:one.test", peer.user("bob"), peer.user("carol")}


async def test_missing_auth_events_are_fetched(receiving: Receiving) -> None:
    alice, peer = await begin(receiving)
    fork = peer.ends
    renamed = peer.set("bob", "m.room.member", {"membership": "join", "displayname": "B"}, peer.user("bob"), prev=fork)
    auth = [*peer.pdus[renamed.event_id].auth_events[:2], renamed.event_id]
    said = peer.say("bob", "hello", prev=fork, auth=auth)
    assert await receiving.send(peer, said) == {said.event_id: {}}
    assert receiving.asked == ["event_auth"]
    row = row_of(receiving.rooms, renamed.event_id)
    assert row is not None
    assert row.pos == 0
    assert await shown(alice, peer) == ["hello"]
    # It becomes an ordinary event when it comes itself.
    assert await receiving.send(peer, renamed) == {renamed.event_id: {}}
    row = row_of(receiving.rooms, renamed.event_id)
    assert row is not None
    assert row.pos > 0


async def test_what_cannot_be_had_is_an_error_and_left_alone(receiving: Receiving) -> None:
    _, peer = await begin(receiving)
    lost = peer.say("bob", "lost")
    said = [peer.say("bob", str(number), prev=[lost.event_id]) for number in range(5)]
    receiving.cut()
    [result] = (await receiving.send(peer, said[0])).values()
    assert row_of(receiving.rooms, said[0].event_id) is None
    assert "error" in result
    asked = len(receiving.asked)
    await receiving.send(peer, *said[1:])
    assert receiving.asked[asked:] == ["state_ids"] * 4


async def test_one_event_that_cannot_be_judged_keeps_none_back(receiving: Receiving) -> None:
    alice, peer = await begin(receiving)
    fork = peer.ends
    lost = peer.say("bob", "lost", prev=fork)
    orphan = peer.say("bob", "orphan", prev=[lost.event_id])
    said = peer.say("bob", "heard", prev=fork)
    receiving.cut()
    before = Counter(receiving.receiver.received)
    results = await receiving.send(peer, orphan, said)
    assert results[said.event_id] == {}
    assert "error" in results[orphan.event_id]
    assert receiving.receiver.received - before == {"taken": 1, "dropped": 1}
    assert await shown(alice, peer) == ["heard"]
