"""What the server that sent an event does not give is had from others in the room."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from conduit_py.outbound.errors import Refused
from conduit_py.service.federation.receive.sources import OTHERS_MAX, PAUSE_MS
from tests.rig.asking import VERSIONS
from tests.rig.client import Client
from tests.rig.remote import Question
from tests.rig.remote_room import RemoteRoom
from tests.rig.rooms import in_room, set_state
from tests.service.federation.receiving import PREV_EVENTS_MAX, Receiving, begin, row_of, shown


async def join_from(receiving: Receiving, peer: RemoteRoom, name: str) -> RemoteRoom:
    """One more server in the room, which holds what ``peer`` holds."""
    other = RemoteRoom(receiving.rooms, peer.room_id, name)
    await receiving.know(other)
    join = other.join("carol")
    assert await receiving.send(other, join) == {join.event_id: {}}
    peer.add(join)
    return other


async def begin_three(receiving: Receiving, version: str = "11") -> tuple[Client, RemoteRoom, RemoteRoom]:
    alice, two = await begin(receiving, version)
    return alice, two, await join_from(receiving, two, "three.test")


def gives_nothing(question: Question) -> dict[str, Any]:
    raise Refused(404, "M_NOT_FOUND", "no")


def asked(receiving: Receiving) -> list[tuple[str, str]]:
    return [(question.destination, question.segments[2]) for question in receiving.rooms.remotes.asked]


@pytest.mark.parametrize("version", VERSIONS)
async def test_events_before_are_had_from_another_server(receiving: Receiving, version: str) -> None:
    alice, two, three = await begin_three(receiving, version)
    for number in range(5):
        three.add(two.say("bob", str(number)))
    # Three has not got the last one itself yet.
    last = two.say("bob", "last")
    receiving.rooms.remotes.servers[two.name] = gives_nothing
    assert await receiving.send(two, last) == {last.event_id: {}}
    assert await shown(alice, two) == [*map(str, range(5)), "last"]
    assert asked(receiving) == [(two.name, "get_missing_events"), (three.name, "backfill")]


async def test_nobody_else_is_asked_where_the_sender_helps(receiving: Receiving) -> None:
    alice, two, _ = await begin_three(receiving)
    two.say("bob", "lost")
    last = two.say("bob", "last")
    assert await receiving.send(two, last) == {last.event_id: {}}
    assert await shown(alice, two) == ["lost", "last"]
    assert {destination for destination, _ in asked(receiving)} == {two.name}


async def test_state_before_is_had_from_another_server(receiving: Receiving) -> None:
    alice, two, three = await begin_three(receiving)
    levels = {"users": {"@alice:one.test": 100, two.user("bob"): 100}}
    await set_state(alice, two.room_id, "m.room.power_levels", levels)
    two.learn()
    three.learn()
    three.add(two.set("bob", "m.room.topic", {"topic": "news"}))
    for number in range(PREV_EVENTS_MAX + 1):
        three.add(two.say("bob", str(number)))
    last = three.add(two.say("bob", "last"))
    receiving.rooms.remotes.servers[two.name] = gives_nothing
    assert await receiving.send(two, last) == {last.event_id: {}}
    response = await alice.get(in_room(two.room_id, "state", "m.room.topic", ""))
    assert response.json == {"topic": "news"}
    assert (three.name, "state_ids") in asked(receiving)


async def test_auth_events_are_had_from_another_server(receiving: Receiving) -> None:
    alice, two, three = await begin_three(receiving)
    fork = two.ends
    again = two.set("bob", "m.room.member", {"membership": "join", "displayname": "B"}, two.user("bob"), prev=fork)
    three.add(again)
    said = two.say("bob", "hello", prev=fork, auth=[*again.auth_events[:2], again.event_id])
    two.withheld.add(again.event_id)
    assert await receiving.send(two, said) == {said.event_id: {}}
    assert await shown(alice, two) == ["hello"]
    assert asked(receiving) == [(two.name, "event_auth"), (two.name, "event"), (three.name, "event")]


async def test_only_some_others_are_asked_and_for_a_while_not_again(
    receiving: Receiving, autojump_clock: MockClock
) -> None:
    _, two, _ = await begin_three(receiving)
    for number in range(OTHERS_MAX + 2):
        await join_from(receiving, two, f"more{number}.test")
    lost = two.say("bob", "lost")
    two.withheld.add(lost.event_id)
    receiving.rooms.remotes.servers = dict.fromkeys(receiving.rooms.remotes.servers, gives_nothing)
    said = [two.say("bob", str(number), prev=[lost.event_id]) for number in range(3)]
    [result] = (await receiving.send(two, said[0])).values()
    assert "error" in result
    assert row_of(receiving.rooms, said[0].event_id) is None
    others = {destination for destination, _ in asked(receiving)} - {two.name}
    assert len(others) == OTHERS_MAX
    # What the same server sends next refers to what nobody has again: the others hear nothing of that.
    before = len(receiving.rooms.remotes.asked)
    await receiving.send(two, said[1])
    assert {destination for destination, _ in asked(receiving)[before:]} == {two.name}
    await trio.sleep(PAUSE_MS / 1000)
    for name in others:
        receiving.rooms.remotes.servers[name] = two.answer
    two.withheld.clear()
    assert await receiving.send(two, said[2]) == {said[2].event_id: {}}


async def test_others_are_not_asked_for_every_event_that_has_its_state_but_not_what_it_follows(
    receiving: Receiving,
) -> None:
    _, two, three = await begin_three(receiving)
    lost = [two.say("bob", f"lost {number}") for number in range(5)]
    two.withheld.update(pdu.event_id for pdu in lost)
    receiving.rooms.remotes.servers[three.name] = gives_nothing
    said = [two.say("bob", str(number), prev=[pdu.event_id]) for number, pdu in enumerate(lost)]
    assert await receiving.send(two, *said) == {pdu.event_id: {} for pdu in said}
    assert [kind for name, kind in asked(receiving) if name == three.name] == ["backfill"]


async def test_server_that_does_not_answer_is_let_be(receiving: Receiving) -> None:
    alice, two, three = await begin_three(receiving)
    lost = two.say("bob", "lost")
    said = [two.say("bob", str(number), prev=[lost.event_id]) for number in range(2)]
    receiving.rooms.remotes.servers[two.name] = gives_nothing
    del receiving.rooms.remotes.servers[three.name]
    await receiving.send(two, *said)
    assert asked(receiving) == [
        (two.name, "get_missing_events"),
        (three.name, "backfill"),
        (two.name, "state_ids"),
        (two.name, "state_ids"),
    ]
    assert await shown(alice, two) == []


async def test_server_that_takes_nothing_is_asked_nothing(receiving: Receiving) -> None:
    _, two, three = await begin_three(receiving)
    lost = three.add(two.say("bob", "lost"))
    last = two.say("bob", "last", prev=[lost.event_id])
    backlog = receiving.rooms.writes.append.tools.outbox._backlogs.open(three.name)
    backlog.state = backlog.state._replace(failures=1)
    receiving.rooms.remotes.servers[two.name] = gives_nothing
    await receiving.send(two, last)
    assert {destination for destination, _ in asked(receiving)} == {two.name}
