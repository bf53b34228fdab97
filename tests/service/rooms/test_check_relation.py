"""What may not be sent as a relation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.client import Client
from tests.rig.relating import edit, react, refer, relation, reply, send_event
from tests.rig.rooms import Json, RoomServer, create, in_room, join, redact, send, set_state


async def try_to_react(user: Client, room_id: str, parent: str, key: str = "+1", **more: Any) -> tuple[int, str | None]:
    type_ = more.pop("type", "m.reaction")
    return (await send_event(user, room_id, type_, relation("m.annotation", parent, key=key))).outcome


async def try_to_thread(user: Client, room_id: str, root: str) -> tuple[int, str | None]:
    message: Json = {"msgtype": "m.text", "body": "reply", **relation("m.thread", root)}
    return (await send_event(user, room_id, "m.room.message", message)).outcome


async def test_the_same_annotation_is_refused_the_second_time(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    await react(alice, room_id, parent)
    async with rooms.leaves_no_trace():
        assert await try_to_react(alice, room_id, parent) == (400, "M_DUPLICATE_ANNOTATION")


async def test_annotations_that_differ_are_allowed(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    parent, another = [await send(alice, room_id, text) for text in ("parent", "another")]
    await react(alice, room_id, parent)
    assert await try_to_react(alice, room_id, parent, "-1") == (200, None)
    assert await try_to_react(alice, room_id, another) == (200, None)
    assert await try_to_react(alice, room_id, parent, type="org.example.vote") == (200, None)
    assert await try_to_react(bob, room_id, parent) == (200, None)


async def test_an_annotation_may_be_sent_again_once_it_is_redacted(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    await redact(alice, room_id, await react(alice, room_id, parent))
    again = await react(alice, room_id, parent)
    assert await try_to_react(alice, room_id, parent) == (400, "M_DUPLICATE_ANNOTATION")
    await redact(alice, room_id, parent)
    assert await try_to_react(alice, room_id, parent) == (400, "M_DUPLICATE_ANNOTATION")
    await redact(alice, room_id, again)
    assert await try_to_react(alice, room_id, parent) == (200, None)


async def test_a_repeated_request_to_annotate_gets_the_same_answer(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    request = in_room(room_id, "send", "m.reaction", "txn"), relation("m.annotation", parent, key="+1")
    first, second = await alice.put(*request), await alice.put(*request)
    assert (second.status, second.json) == (200, first.json)


async def test_annotations_without_a_key_are_not_told_apart(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    for _ in range(2):
        assert (await send_event(alice, room_id, "m.reaction", relation("m.annotation", parent))).status == 200


@pytest.mark.parametrize("make_child", [reply, edit, refer, react])
async def test_a_thread_from_an_event_that_relates_to_another_is_refused(rooms: RoomServer, make_child: Any) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root = await make_child(alice, room_id, await send(alice, room_id, "parent"))
    async with rooms.leaves_no_trace():
        assert await try_to_thread(alice, room_id, root) == (400, "M_UNKNOWN")


async def test_a_thread_from_a_reply_is_allowed(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    answer = await send(alice, room_id, "reply", **{"m.relates_to": {"m.in_reply_to": {"event_id": parent}}})
    assert await try_to_thread(alice, room_id, answer) == (200, None)


async def test_a_thread_from_an_event_whose_relation_was_redacted_is_allowed(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    child = await refer(alice, room_id, await send(alice, room_id, "parent"))
    await redact(alice, room_id, child)
    assert await try_to_thread(alice, room_id, child) == (200, None)


async def test_a_thread_from_what_is_not_in_the_room_tells_nothing_of_it(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    secret, room_id = await create(alice), await create(bob)
    child = await refer(alice, secret, await send(alice, secret, "parent"))
    assert await try_to_thread(bob, room_id, child) == await try_to_thread(bob, room_id, "$unknown") == (200, None)


async def test_state_is_checked_as_well(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    parent = await send(alice, room_id, "parent")
    content = relation("m.annotation", parent, key="+1")
    first = await set_state(alice, room_id, "org.example.state", content, "one")
    assert await set_state(alice, room_id, "org.example.state", content, "one") == first
    async with rooms.leaves_no_trace():
        response = await alice.put(in_room(room_id, "state", "org.example.state", "two"), content)
    assert response.outcome == (400, "M_DUPLICATE_ANNOTATION")
