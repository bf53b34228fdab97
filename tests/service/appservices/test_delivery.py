"""What application services are told: all that concerns them, in order, once, however often it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from conduit_py.data.consistency import check_consistency
from conduit_py.outbound.errors import Unreachable
from conduit_py.service.appservices import delivery, queue
from kvschema.catalog import appservices
from tests.contract import check_event
from tests.rig.asking import ask_member
from tests.rig.bridge import (
    HS_TOKEN,
    SENDER,
    Asked,
    Wires,
    bridge_of,
    register_ghost,
    registration,
    write_registrations,
)
from tests.rig.client import Client
from tests.rig.rooms import create, in_room, invite, leave, send
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole

GHOST = "@_irc_bob:one.test"
Open = Callable[..., AbstractAsyncContextManager[WholeServer]]


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
def open_bridged(server: Server, wires: Wires, tmp_path: Path) -> Open:
    """A server with one bridge. Opening it again on the same store is a restart."""

    @asynccontextmanager
    async def open_(**changes: Any) -> AsyncIterator[WholeServer]:
        files = write_registrations(tmp_path, registration(**changes))
        async with open_whole(server, wires, **files) as whole:
            yield whole
            await wait_all_tasks_blocked()
            with whole.store.snapshot() as snapshot:
                assert list(check_consistency(snapshot)) == []

    return open_


@pytest.fixture
async def bridged(open_bridged: Open) -> AsyncIterator[WholeServer]:
    async with open_bridged() as whole:
        yield whole


def told(wires: Wires) -> list[dict[str, Any]]:
    """Every event of every transaction that was acknowledged or not."""
    return [event for asked in wires.transactions() for event in asked.content["events"]]


def down(asked: Asked) -> tuple[int, Any]:
    raise Unreachable("nobody is there")


async def bring_in(whole: WholeServer, alice: Client) -> str:
    """A room of Alice's with a ghost in it."""
    bridge = bridge_of(whole)
    await register_ghost(bridge, "_irc_bob")
    room_id = await create(alice)
    response = await bridge.post(in_room(room_id, "join"), {}, user_id=GHOST)
    assert response.status == 200
    return room_id


async def test_events_of_rooms_with_its_users_are_sent(bridged: WholeServer, wires: Wires) -> None:
    alice = await bridged.register("alice")
    room_id = await bring_in(bridged, alice)
    said = [await send(alice, room_id, text) for text in ("one", "two", "three")]
    await wait_all_tasks_blocked()
    events = told(wires)
    assert [event["event_id"] for event in events if event["type"] == "m.room.message"] == said
    assert events[0]["state_key"] == GHOST, "it begins with the one that brings them in"
    assert {event["room_id"] for event in events} == {room_id}
    assert all(check_event(event) or True for event in events)
    assert {(asked.method, asked.token) for asked in wires.asked} == {("PUT", HS_TOKEN)}
    assert all(target.is_exempt for target in wires.targets)
    assert len({asked.txn_id for asked in wires.transactions()}) == len(wires.transactions())
    with bridged.store.snapshot() as snapshot:
        assert list(appservices.APPSERVICEIDPOS_EVENT.scan(snapshot)) == []
        assert list(appservices.APPSERVICEID_SENDING.scan(snapshot)) == []


async def test_rooms_that_are_none_of_its_business_are_not_sent(bridged: WholeServer, wires: Wires) -> None:
    alice = await bridged.register("alice")
    await register_ghost(bridge_of(bridged), "_irc_bob")
    await send(alice, await create(alice), "private")
    await wait_all_tasks_blocked()
    assert wires.asked == []


async def test_invites_of_its_users_are_sent_and_what_follows_their_leaving_is_not(
    bridged: WholeServer, wires: Wires
) -> None:
    alice = await bridged.register("alice")
    room_id = await create(alice)
    await ask_member(alice, room_id, "invite", SENDER)
    bridge = bridge_of(bridged)
    assert (await bridge.post(in_room(room_id, "join"), {})).status == 200
    assert (await bridge.post(in_room(room_id, "leave"), {})).status == 200
    await send(alice, room_id, "gone?")
    await wait_all_tasks_blocked()
    assert [event["content"]["membership"] for event in told(wires)] == ["invite", "join", "leave"]
    assert [event.get("unsigned", {}).get("prev_content", {}).get("membership") for event in told(wires)] == [
        None,
        "invite",
        "join",
    ]


@pytest.mark.parametrize("kind", ["rooms", "aliases"])
async def test_rooms_of_its_namespaces_are_sent(open_bridged: Open, wires: Wires, kind: str) -> None:
    patterns = {"users": [], "aliases": [], "rooms": [], kind: [{"regex": "[!#].*", "exclusive": False}]}
    async with open_bridged(namespaces=patterns) as whole:
        alice = await whole.register("alice")
        other, named = await create(alice), await create(alice, room_alias_name="tea")
        said = [await send(alice, room_id, "hello") for room_id in (other, named)]
        await wait_all_tasks_blocked()
        messages = [event["event_id"] for event in told(wires) if event["type"] == "m.room.message"]
        assert messages == (said if kind == "rooms" else said[1:])


async def test_service_that_is_down_is_tried_again_with_the_same(
    bridged: WholeServer, wires: Wires, autojump_clock: MockClock
) -> None:
    alice = await bridged.register("alice")
    room_id = await bring_in(bridged, alice)
    await wait_all_tasks_blocked()
    wires.asked.clear()
    wires.answer = down
    first = await send(alice, room_id, "first")
    await wait_all_tasks_blocked()
    later = [await send(alice, room_id, text) for text in ("second", "third")]
    await trio.sleep(100)
    attempts = wires.transactions()
    assert len(attempts) == 7, "after 0, 1, 3, 7, 15, 31 and 63 seconds"
    assert {asked.txn_id for asked in attempts} == {attempts[0].txn_id}
    assert {tuple(asked.event_ids) for asked in attempts} == {(first,)}
    wires.asked.clear()
    wires.answer = lambda asked: (200, {})
    await trio.sleep(100)
    again, rest = wires.transactions()
    assert (again.txn_id, again.event_ids) == (attempts[0].txn_id, [first])
    assert rest.event_ids == later
    assert rest.txn_id != again.txn_id


async def test_pauses_have_an_end(bridged: WholeServer, wires: Wires, autojump_clock: MockClock) -> None:
    alice = await bridged.register("alice")
    room_id = await bring_in(bridged, alice)
    wires.answer = lambda asked: (500, {"errcode": "M_UNKNOWN", "error": "broken"})
    await send(alice, room_id, "hello")
    await trio.sleep(3 * 3600)
    before = len(wires.transactions())
    await trio.sleep(delivery.LONGEST_RETRY_MS / 1000 + 1)
    assert len(wires.transactions()) in (before + 1, before + 2)
    wires.answer = lambda asked: (200, {})
    await trio.sleep(delivery.LONGEST_RETRY_MS / 1000 + 1)


async def test_restart_goes_on_with_the_transaction_that_nobody_acknowledged(
    open_bridged: Open, wires: Wires, autojump_clock: MockClock
) -> None:
    async with open_bridged() as whole:
        alice = await whole.register("alice")
        room_id = await bring_in(whole, alice)
        await wait_all_tasks_blocked()
        wires.answer = down
        first = await send(alice, room_id, "first")
        await wait_all_tasks_blocked()
        second = await send(alice, room_id, "second")
        (attempt,) = wires.transactions()[-1:]
        assert attempt.event_ids == [first]
    wires.asked.clear()
    wires.answer = lambda asked: (200, {})
    async with open_bridged():
        await trio.sleep(10)
        again, rest = wires.transactions()
        assert (again.txn_id, again.event_ids) == (attempt.txn_id, [first])
        assert rest.event_ids == [second]


async def test_older_software_is_sent_to_by_the_older_path(bridged: WholeServer, wires: Wires) -> None:
    wires.answer = lambda asked: (404, {}) if asked.path.startswith("/_matrix") else (200, {})
    alice = await bridged.register("alice")
    await bring_in(bridged, alice)
    await wait_all_tasks_blocked()
    new, old = wires.asked
    assert old.path == new.path.removeprefix("/_matrix/app/v1")
    assert old.content == new.content


async def test_address_with_a_path(open_bridged: Open, wires: Wires) -> None:
    async with open_bridged(url="https://bridge.test:8443/irc/") as whole:
        await bring_in(whole, await whole.register("alice"))
        await wait_all_tasks_blocked()
        assert wires.asked[0].path.startswith("/irc/_matrix/app/v1/transactions/")
        target = wires.targets[0]
        assert (target.scheme, target.host, target.port) == ("https", "bridge.test", 8443)


async def test_service_without_an_address_is_sent_nothing(open_bridged: Open, wires: Wires) -> None:
    async with open_bridged(url=None) as whole:
        await bring_in(whole, await whole.register("alice"))
        await wait_all_tasks_blocked()
        assert wires.asked == []
        with whole.store.snapshot() as snapshot:
            assert list(appservices.APPSERVICEIDPOS_EVENT.scan(snapshot)) == []


async def test_transactions_are_bounded(
    open_bridged: Open, wires: Wires, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(delivery, "EVENTS_MAX", 4)
    wires.answer = down
    async with open_bridged() as whole:
        alice = await whole.register("alice")
        room_id = await bring_in(whole, alice)
        said = [await send(alice, room_id, str(number)) for number in range(10)]
        wires.asked.clear()
        wires.answer = lambda asked: (200, {})
        await trio.sleep(30)
        sizes = [len(asked.event_ids) for asked in wires.transactions()]
        assert max(sizes) == 4
        assert [event_id for asked in wires.transactions() for event_id in asked.event_ids][-10:] == said


async def test_queue_is_bounded_and_gives_up_the_oldest(
    open_bridged: Open, wires: Wires, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(queue, "EVENTS_QUEUED_MAX", 5)
    monkeypatch.setattr(queue, "GIVEN_UP", 2)
    wires.answer = down
    async with open_bridged() as whole:
        alice = await whole.register("alice")
        room_id = await bring_in(whole, alice)
        await wait_all_tasks_blocked()
        said = [await send(alice, room_id, str(number)) for number in range(12)]
        wires.asked.clear()
        wires.answer = lambda asked: (200, {})
        await trio.sleep(30)
        sent = [event_id for asked in wires.transactions() for event_id in asked.event_ids]
        messages = [event_id for event_id in sent if event_id in said]
        assert messages == said[-len(messages) :]
        assert 3 <= len(messages) <= 5
        assert sent[0] not in said, "what was on its way is sent as it was"


async def test_ghosts_leave_one_by_one(bridged: WholeServer, wires: Wires) -> None:
    alice = await bridged.register("alice")
    room_id = await bring_in(bridged, alice)
    carol = await bridged.register("carol")
    await invite(alice, room_id, carol)
    await wait_all_tasks_blocked()
    assert told(wires)[-1]["state_key"] == carol.user_id, "others in the room concern it too"
    assert (await bridge_of(bridged).post(in_room(room_id, "leave"), {}, user_id=GHOST)).status == 200
    await leave(carol, room_id)
    await wait_all_tasks_blocked()
    assert told(wires)[-1]["state_key"] == GHOST
