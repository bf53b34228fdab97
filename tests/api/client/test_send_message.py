"""``PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}``"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from conduit_py.matrix.canonical_json import JSON_DEPTH_MAX
from kvschema.engine import Engine
from tests.rig.asking import VERSIONS, ask_send, set_levels, timeline_of
from tests.rig.client import Client
from tests.rig.relating import relation
from tests.rig.rooms import Json, RoomServer, bodies, create, in_room, invite, join, kick, send, set_state, with_rooms
from tests.rig.server import load_test_config, open_server

TEXT = {"msgtype": "m.text", "body": "hello"}
BYTES_MAX = 65536


@pytest.mark.parametrize("version", VERSIONS)
async def test_send_message_puts_the_event_last(rooms: RoomServer, version: str) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version=version)
    response = await ask_send(alice, room_id, TEXT)
    event = (await timeline_of(alice, room_id))[-1]
    assert event["event_id"] == response.json["event_id"]
    assert (event["type"], event["sender"], event["content"]) == ("m.room.message", alice.user_id, TEXT)
    assert "state_key" not in event


async def test_send_message_sends_any_type_and_content(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    odd: Json = {"a": [None, True, 2**53 - 1, {"": "\0"}]}
    for event_type, content in (("org.example/ä b", odd), ("m.room.name", {"name": "x"})):
        response = await ask_send(alice, room_id, content, event_type)
        assert response.status == 200
        event = (await alice.get(in_room(room_id, "event", response.json["event_id"]))).json
        assert (event["type"], event["content"]) == (event_type, content)
    assert (await alice.get(in_room(room_id, "state", "m.room.name"))).status == 404


async def test_send_message_forbidden_for_who_is_not_joined(rooms: RoomServer) -> None:
    alice, bob, carol, dave = [await rooms.register(name) for name in ("alice", "bob", "carol", "dave")]
    room_id = await create(alice)
    await invite(alice, room_id, bob)
    await join(carol, room_id)
    await kick(alice, room_id, carol)
    async with rooms.leaves_no_trace():
        for user in (bob, carol, dave):
            assert (await ask_send(user, room_id, TEXT)).outcome == (403, "M_FORBIDDEN")
        assert (await ask_send(alice, "!nowhere:one.test", TEXT)).outcome == (403, "M_FORBIDDEN")
        assert (await rooms.client().put(in_room(room_id, "send", "m", "1"), TEXT)).outcome == (401, "M_MISSING_TOKEN")


async def test_send_message_forbidden_below_the_level_of_the_type(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await set_levels(alice, room_id, events_default=10, events={"org.example.free": 0})
    async with rooms.leaves_no_trace():
        assert (await ask_send(bob, room_id, TEXT)).outcome == (403, "M_FORBIDDEN")
    assert (await ask_send(bob, room_id, TEXT, "org.example.free")).status == 200


@pytest.mark.parametrize("version", ["1", "11", "12"])
async def test_send_message_forbidden_for_what_is_nothing_but_state(rooms: RoomServer, version: str) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version=version)
    async with rooms.leaves_no_trace():
        assert (await ask_send(alice, room_id, {}, "m.room.create")).outcome == (403, "M_FORBIDDEN")


async def test_send_message_bad_json_for_a_membership_of_nobody(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        assert (await ask_send(alice, room_id, {"membership": "join"}, "m.room.member")).outcome == (400, "M_BAD_JSON")


@pytest.mark.parametrize("content", [{"a": 1.5}, {"a": [1.0]}, {"a": 2**53}, {"a": {"b": -(2**53)}}, {"a": 2**70}])
async def test_send_message_bad_json_for_numbers_that_are_no_integers(
    rooms: RoomServer, content: dict[str, Any]
) -> None:
    alice = await rooms.register("alice")
    room_id, old = await create(alice, room_version="6"), await create(alice, room_version="5")
    body = str(content).replace("'", '"').encode()
    path = in_room(room_id, "send", "org.example", "1")
    async with rooms.leaves_no_trace():
        assert (await alice.request("PUT", path, body=body)).outcome == (400, "M_BAD_JSON")
    answer = await alice.request("PUT", in_room(old, "send", "org.example", "1"), body=body)
    assert answer.status == 200
    assert (await timeline_of(alice, old))[-1]["content"] == content


async def test_send_message_refuses_what_is_no_object(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    path = in_room(room_id, "send", "m.room.message", "1")
    async with rooms.leaves_no_trace():
        for body in (b"", b"{", b'{"a":NaN}'):
            assert (await alice.request("PUT", path, body=body)).outcome == (400, "M_NOT_JSON")
        assert (await alice.request("PUT", path, body=b"[]")).outcome == (400, "M_BAD_JSON")
        assert (await ask_send(alice, "lounge", TEXT)).outcome == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    "content", [{}, {"body": "hi"}, {"msgtype": "m.text"}, TEXT | {"body": 1}, TEXT | {"msgtype": []}]
)
async def test_send_message_bad_json_without_text(rooms: RoomServer, content: dict[str, Any]) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        assert (await ask_send(alice, room_id, content)).outcome == (400, "M_BAD_JSON")
    assert (await ask_send(alice, room_id, content, "org.example")).status == 200


async def test_send_message_bad_json_for_what_could_not_be_read_again(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    path = in_room(room_id, "send", "org.example", "1")
    for innermost in (b"[]", b"{}", b"[1]"):
        deep = b'{"a":' * (JSON_DEPTH_MAX - 1) + innermost + b"}" * (JSON_DEPTH_MAX - 1)
        async with rooms.leaves_no_trace():
            assert (await alice.request("PUT", path, body=deep)).outcome == (400, "M_BAD_JSON")
        assert (await alice.request("PUT", path + innermost.hex(), body=deep[5:-1])).status == 200
        assert (await ask_send(alice, room_id, TEXT)).status == 200


async def test_send_message_too_large(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    too_large = [TEXT | {"body": "x" * size} for size in (BYTES_MAX, BYTES_MAX - 100)]
    async with rooms.leaves_no_trace():
        for content in too_large:
            assert (await ask_send(alice, room_id, content)).outcome == (413, "M_TOO_LARGE")
        assert (await ask_send(alice, room_id, TEXT, "x" * 256)).outcome == (413, "M_TOO_LARGE")
        assert (await ask_send(alice, room_id, TEXT, "ä" * 128)).outcome == (413, "M_TOO_LARGE")
    assert (await ask_send(alice, room_id, TEXT | {"body": "x" * (BYTES_MAX - 1000)})).status == 200
    assert (await ask_send(alice, room_id, TEXT, "x" * 255)).status == 200


async def test_send_message_user_suspended(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    own = await send(alice, room_id, "oops")
    await rooms.change_account(alice, is_suspended=True)
    async with rooms.leaves_no_trace():
        assert (await ask_send(alice, room_id, TEXT)).outcome == (403, "M_USER_SUSPENDED")
    assert (await ask_send(alice, room_id, {"redacts": own}, "m.room.redaction")).status == 200


async def test_send_message_is_open_to_guests(rooms: RoomServer) -> None:
    alice, gast = await rooms.register("alice"), await rooms.register("gast")
    room_id = await create(alice)
    await join(gast, room_id)
    await rooms.change_account(gast, is_guest=True)
    assert (await ask_send(gast, room_id, TEXT)).status == 200


async def test_send_message_duplicate_annotation(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    reaction = relation("m.annotation", await send(alice, room_id, "hello"), key="+1")
    assert (await ask_send(alice, room_id, reaction, "m.reaction", "1")).status == 200
    async with rooms.leaves_no_trace():
        assert (await ask_send(alice, room_id, reaction, "m.reaction", "2")).outcome == (400, "M_DUPLICATE_ANNOTATION")
        assert (await ask_send(alice, room_id, reaction, "m.reaction", "1")).status == 200


# Transactions.


async def send_txn(user: Client, room_id: str, text: str, txn_id: str, type: str = "m.room.message") -> str:
    response = await ask_send(user, room_id, TEXT | {"body": text}, type, txn_id)
    assert response.status == 200, response.body
    event_id: str = response.json["event_id"]
    return event_id


async def test_send_message_sends_a_transaction_once(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    first = await send_txn(alice, room_id, "one", "1")
    async with rooms.leaves_no_trace():
        assert await send_txn(alice, room_id, "one", "1") == first
        assert await send_txn(alice, room_id, "another body", "1") == first
    assert bodies(await timeline_of(alice, room_id)) == ["one"]


async def test_send_message_sends_a_transaction_once_when_it_comes_twice_at_a_time(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    sent: list[str] = []

    async def try_it() -> None:
        sent.append(await send_txn(alice, room_id, "one", "1"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(try_it)
    assert len(set(sent)) == 1
    assert bodies(await timeline_of(alice, room_id)) == ["one"]


async def test_send_message_tells_transactions_of_devices_rooms_and_types_apart(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    phone = await rooms.log_in(alice)
    room_id, other = await create(alice), await create(alice)
    sent = {
        await send_txn(alice, room_id, "one", "1"),
        await send_txn(alice, room_id, "one", "1 "),
        await send_txn(phone, room_id, "one", "1"),
        await send_txn(alice, other, "one", "1"),
        await send_txn(alice, room_id, "one", "1", "org.example"),
    }
    assert len(sent) == 5


async def test_send_message_keeps_transactions_while_other_devices_come_and_go(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    first = await send_txn(alice, room_id, "one", "1")
    phone = await rooms.log_in(alice)
    assert await send_txn(phone, room_id, "two", "1") != first
    assert (await phone.post("/logout", {})).status == 200
    assert await send_txn(alice, room_id, "one", "1") == first


async def test_send_message_keeps_transactions_when_the_token_is_refreshed(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(ACCESS_TOKEN_TTL='"1h"')) as server:
        rooms = await with_rooms(server)
        alice = await rooms.register("alice", refresh_token=True)
        room_id = await create(alice)
        first = await send_txn(alice, room_id, "one", "1")
        refreshed = (await rooms.client().post("/refresh", {"refresh_token": alice.refresh_token})).json
        assert refreshed["access_token"] != alice.access_token
        alice.access_token = refreshed["access_token"]
        assert await send_txn(alice, room_id, "one", "1") == first


async def test_send_message_answers_a_retry_of_who_was_kicked_meanwhile(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    first = await send_txn(bob, room_id, "one", "1")
    await kick(alice, room_id, bob)
    async with rooms.leaves_no_trace():
        assert await send_txn(bob, room_id, "one", "1") == first
        assert (await ask_send(bob, room_id, TEXT, txn_id="2")).outcome == (403, "M_FORBIDDEN")


async def test_send_message_tells_the_device_its_transaction(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    phone = await rooms.log_in(alice)
    room_id = await create(alice)
    event_id = await send_txn(alice, room_id, "one", "1")
    event: Json = (await alice.get(in_room(room_id, "event", event_id))).json
    assert event["unsigned"]["transaction_id"] == "1"
    event = (await phone.get(in_room(room_id, "event", event_id))).json
    assert "transaction_id" not in event["unsigned"]


async def test_send_message_takes_a_refused_transaction_again(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    assert (await ask_send(bob, room_id, TEXT, txn_id="1")).status == 403
    await join(bob, room_id)
    await set_state(alice, room_id, "m.room.name", {"name": "Lounge"})
    assert (await ask_send(bob, room_id, TEXT, txn_id="1")).status == 200
