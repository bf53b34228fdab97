"""What application services are told of what passes by: typing, receipts, presence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from conduit_py.data.consistency import check_consistency
from conduit_py.outbound.errors import Unreachable
from conduit_py.service.appservices import ephemeral
from kvschema.catalog import appservices
from tests.rig.bridge import Asked, Wires, bridge_of, register_ghost, registration, write_registrations
from tests.rig.client import Client, path
from tests.rig.rooms import create, in_room, join, send
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole

GHOST = "@_irc_bob:one.test"


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
async def bridged(server: Server, wires: Wires, tmp_path: Path) -> AsyncIterator[WholeServer]:
    files = write_registrations(tmp_path, registration(receive_ephemeral=True))
    async with open_whole(server, wires, **files) as whole:
        yield whole
        await wait_all_tasks_blocked()
        with whole.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []
            assert list(appservices.APPSERVICEID_SENDING.scan(snapshot)) == []


@pytest.fixture
async def alice(bridged: WholeServer) -> Client:
    await register_ghost(bridge_of(bridged), "_irc_bob")
    return await bridged.register("alice")


@pytest.fixture
async def room_id(bridged: WholeServer, alice: Client) -> str:
    """A room of Alice's with a ghost in it."""
    made = await create(alice, preset="public_chat")
    assert (await bridge_of(bridged).post(in_room(made, "join"), {}, user_id=GHOST)).status == 200
    await wait_all_tasks_blocked()
    return made


def told(wires: Wires, event_type: str) -> list[dict[str, Any]]:
    """Of every transaction that was acknowledged or not."""
    events = [event for asked in wires.transactions() for event in asked.content.get("ephemeral", ())]
    return [event for event in events if event["type"] == event_type]


async def ask_typing(user: Client, room_id: str, *, typing: bool) -> None:
    response = await user.put(in_room(room_id, "typing", user.user_id), {"typing": typing, "timeout": 20_000})
    assert response.status == 200
    await wait_all_tasks_blocked()


async def read(user: Client, room_id: str, event_id: str, receipt_type: str = "m.read", **body: Any) -> None:
    assert (await user.post(in_room(room_id, "receipt", receipt_type, event_id), body)).status == 200
    await wait_all_tasks_blocked()


async def test_typing_and_its_end_are_told(
    wires: Wires, alice: Client, room_id: str, autojump_clock: MockClock
) -> None:
    await ask_typing(alice, room_id, typing=True)
    await ask_typing(alice, room_id, typing=False)
    contents = [{"user_ids": [alice.user_id]}, {"user_ids": []}]
    assert told(wires, "m.typing") == [{"type": "m.typing", "room_id": room_id, "content": it} for it in contents]


async def test_receipts_are_told_by_thread(wires: Wires, alice: Client, room_id: str) -> None:
    said = await send(alice, room_id, "hello")
    await read(alice, room_id, said)
    await read(alice, room_id, said, thread_id="main")
    events = told(wires, "m.receipt")
    assert [event["room_id"] for event in events] == [room_id, room_id]
    receipts = [event["content"][said]["m.read"][alice.user_id] for event in events]
    assert [receipt.get("thread_id") for receipt in receipts] == [None, "main"]
    assert all(receipt["ts"] > 0 for receipt in receipts)


async def test_private_receipts_are_told_of_its_own_users_alone(
    bridged: WholeServer, wires: Wires, alice: Client, room_id: str
) -> None:
    said = await send(alice, room_id, "hello")
    await read(alice, room_id, said, "m.read.private")
    target = in_room(room_id, "receipt", "m.read.private", said)
    assert (await bridge_of(bridged).post(target, {}, user_id=GHOST)).status == 200
    await wait_all_tasks_blocked()
    assert [event["content"][said]["m.read.private"].keys() for event in told(wires, "m.receipt")] == [{GHOST}]


async def test_presence_of_who_shares_a_room_is_told(
    bridged: WholeServer, wires: Wires, alice: Client, room_id: str
) -> None:
    carol = await bridged.register("carol")
    for user in (alice, carol):
        body = {"presence": "unavailable", "status_msg": "tea"}
        assert (await user.put(path("presence", user.user_id, "status"), body)).status == 200
    await wait_all_tasks_blocked()
    last = told(wires, "m.presence")[-1]
    assert (last["sender"], last["content"]["presence"], last["content"]["status_msg"]) == (
        alice.user_id,
        "unavailable",
        "tea",
    )
    assert carol.user_id not in {event["sender"] for event in told(wires, "m.presence")}


async def test_rooms_that_are_none_of_its_business_are_not_told(
    bridged: WholeServer, wires: Wires, alice: Client, autojump_clock: MockClock
) -> None:
    carol = await bridged.register("carol")
    elsewhere = await create(alice, preset="public_chat")
    await join(carol, elsewhere)
    await read(carol, elsewhere, await send(alice, elsewhere, "private"))
    await ask_typing(carol, elsewhere, typing=True)
    assert wires.transactions() == []


async def test_who_does_not_ask_for_it_is_told_events_alone(server: Server, wires: Wires, tmp_path: Path) -> None:
    async with open_whole(server, wires, **write_registrations(tmp_path, registration())) as whole:
        alice = await whole.register("alice")
        await register_ghost(bridge_of(whole), "_irc_bob")
        room_id = await create(alice, preset="public_chat")
        assert (await bridge_of(whole).post(in_room(room_id, "join"), {}, user_id=GHOST)).status == 200
        await read(alice, room_id, await send(alice, room_id, "hello"))
        assert wires.transactions() != []
        assert [asked for asked in wires.transactions() if asked.content.keys() != {"events"}] == []


async def test_a_transaction_that_is_sent_again_does_not_change(
    wires: Wires, alice: Client, room_id: str, autojump_clock: MockClock
) -> None:
    said = [await send(alice, room_id, text) for text in ("one", "two")]
    await wait_all_tasks_blocked()

    def down(asked: Asked) -> tuple[int, Any]:
        raise Unreachable("nobody is there")

    before = len(wires.transactions())
    wires.answer = down
    await alice.post(in_room(room_id, "receipt", "m.read", said[0]), {})
    await trio.sleep(0.5)
    await alice.post(in_room(room_id, "receipt", "m.read", said[1]), {})
    await trio.sleep(2)
    wires.answer = lambda asked: (200, {})
    await trio.sleep(60)
    tried = wires.transactions()[before:]
    first = [asked for asked in tried if asked.txn_id == tried[0].txn_id]
    assert len(first) > 1
    assert [list(event["content"]) for event in first[0].content["ephemeral"]] == [[said[0]]]
    assert all(asked.content == first[0].content for asked in first)
    later = [event for asked in tried[len(first) :] for event in asked.content["ephemeral"]]
    assert [list(event["content"]) for event in later if event["type"] == "m.receipt"] == [[said[1]]]


async def test_what_waits_is_bounded(
    bridged: WholeServer,
    wires: Wires,
    alice: Client,
    room_id: str,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ephemeral, "EPHEMERAL_WAITING_MAX", 2)
    said = [await send(alice, room_id, str(number)) for number in range(4)]
    await wait_all_tasks_blocked()
    before = len(wires.transactions())
    is_open = trio.Event()

    async def hold(asked: Asked) -> None:
        await is_open.wait()

    wires.on_asked = hold
    for number, root in enumerate(said):
        body = {"thread_id": root} if number else {}
        await read(alice, room_id, root, **body)
    is_open.set()
    await wait_all_tasks_blocked()
    read_ = [
        event_id
        for asked in wires.transactions()[before:]
        for event in asked.content.get("ephemeral", ())
        if event["type"] == "m.receipt"
        for event_id in event["content"]
    ]
    assert read_ == [said[0], said[2], said[3]]
