"""What is bundled with events of the events that relate to them."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from conduit_py.service.rooms import aggregations
from tests.rig.client import Client
from tests.rig.relating import bundled, edit, get_event, ignore, react, refer, relation, reply, send_event
from tests.rig.rooms import RoomServer, create, in_room, join, leave, redact, send, set_state


async def edited(user: Client, room_id: str, event_id: str) -> str | None:
    """The event id of the latest edit that is bundled."""
    replacement = (await bundled(user, room_id, event_id)).get("m.replace")
    return None if replacement is None else replacement["event_id"]


# Edits.


async def test_the_latest_edit_is_bundled_as_a_whole_event(rooms: RoomServer, autojump_clock: MockClock) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "I really like cake")
    autojump_clock.jump(1)
    await edit(alice, room_id, event_id, "I like cake")
    autojump_clock.jump(1)
    latest = await edit(alice, room_id, event_id, "I really like *chocolate* cake")
    event = await get_event(alice, room_id, event_id)
    assert event["content"]["body"] == "I really like cake"
    assert event["unsigned"]["m.relations"] == {"m.replace": await get_event(alice, room_id, latest)}


async def test_of_edits_at_the_same_time_the_largest_event_id_counts(
    rooms: RoomServer, autojump_clock: MockClock
) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "original")
    edits = [await edit(alice, room_id, event_id, str(number)) for number in range(5)]
    assert await edited(alice, room_id, event_id) == max(edits)


async def test_edits_by_others_are_ignored(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(alice, room_id, "original")
    await edit(bob, room_id, event_id)
    assert await bundled(alice, room_id, event_id) == {}
    own = await edit(alice, room_id, event_id)
    await edit(bob, room_id, event_id)
    assert await edited(bob, room_id, event_id) == own


async def test_edits_of_another_type_or_without_new_content_are_ignored(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "original")
    content = {"m.new_content": {"body": "new"}, **relation("m.replace", event_id)}
    assert (await send_event(alice, room_id, "org.example.other", content)).status == 200
    await send(alice, room_id, "no new content", **relation("m.replace", event_id))
    assert await bundled(alice, room_id, event_id) == {}


async def test_an_edit_of_an_edit_is_ignored(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "original")
    first = await edit(alice, room_id, event_id)
    await edit(alice, room_id, first)
    assert await edited(alice, room_id, event_id) == first
    assert await bundled(alice, room_id, first) == {}


async def test_an_event_that_relates_otherwise_may_be_edited(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root = await send(alice, room_id, "root")
    threaded = await reply(alice, room_id, root)
    assert await edited(alice, room_id, threaded) is None
    assert await edit(alice, room_id, threaded) == await edited(alice, room_id, threaded)


async def test_state_gets_nothing_bundled_and_is_no_edit(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await set_state(alice, room_id, "org.example.state", {"body": "original"})
    content = {"m.new_content": {"body": "new"}, **relation("m.replace", event_id)}
    await set_state(alice, room_id, "org.example.state", content)
    await refer(alice, room_id, event_id)
    assert await bundled(alice, room_id, event_id) == {}
    message = (await send_event(alice, room_id, "org.example.state", {"body": "no state"})).json["event_id"]
    content = {"m.new_content": {"body": "new"}, **relation("m.replace", message)}
    await set_state(alice, room_id, "org.example.state", content)
    assert await bundled(alice, room_id, message) == {}


async def test_an_encrypted_event_is_edited_by_an_encrypted_one(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    content = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgA", "session_id": "one"}
    event_id = (await send_event(alice, room_id, "m.room.encrypted", content)).json["event_id"]
    await edit(alice, room_id, event_id)
    assert await bundled(alice, room_id, event_id) == {}
    replacement = await send_event(alice, room_id, "m.room.encrypted", content | relation("m.replace", event_id))
    assert await edited(alice, room_id, event_id) == replacement.json["event_id"]


async def test_a_redacted_edit_reverts_to_the_one_before(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "original")
    first, second, third = [await edit(alice, room_id, event_id, str(number)) for number in range(3)]
    await redact(alice, room_id, third)
    assert await edited(alice, room_id, event_id) in (first, second)
    await redact(alice, room_id, first)
    assert await edited(alice, room_id, event_id) == second
    await redact(alice, room_id, second)
    assert await bundled(alice, room_id, event_id) == {}


@pytest.mark.parametrize("order", ["original first", "edit first"])
async def test_a_redacted_event_has_no_edits(rooms: RoomServer, order: str) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "original")
    first, second = await edit(alice, room_id, event_id), await edit(alice, room_id, event_id)
    for redacted in (event_id, second) if order == "original first" else (second, event_id):
        await redact(alice, room_id, redacted)
    assert await bundled(alice, room_id, event_id) == {}
    assert (await get_event(alice, room_id, first))["content"]["m.new_content"]["body"] == "edited"


async def test_an_edit_that_may_not_be_seen_is_passed_over(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(alice, room_id, "original")
    seen = await edit(alice, room_id, event_id)
    await leave(bob, room_id)
    unseen = await edit(alice, room_id, event_id, "secret")
    assert await edited(bob, room_id, event_id) == seen
    assert await edited(alice, room_id, event_id) in (seen, unseen)


# Threads.


async def test_a_thread_tells_its_latest_event_and_how_many_there_are(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    root = await send(alice, room_id, "root")
    for _ in range(2):
        await reply(alice, room_id, root)
    latest = await reply(alice, room_id, root)
    thread = (await bundled(bob, room_id, root))["m.thread"]
    assert (thread["latest_event"]["event_id"], thread["count"]) == (latest, 3)
    assert thread["current_user_participated"] is False
    assert (await bundled(alice, room_id, root))["m.thread"]["current_user_participated"] is True
    own = await reply(bob, room_id, root)
    thread = (await bundled(bob, room_id, root))["m.thread"]
    assert (thread["latest_event"]["event_id"], thread["count"]) == (own, 4)
    assert thread["current_user_participated"] is True


async def test_the_latest_event_of_a_thread_comes_with_what_relates_to_it(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root = await send(alice, room_id, "root")
    latest = await reply(alice, room_id, root)
    replacement = await edit(alice, room_id, latest)
    reference = await refer(alice, room_id, latest)
    thread = (await bundled(alice, room_id, root))["m.thread"]
    relations = thread["latest_event"]["unsigned"]["m.relations"]
    assert relations["m.replace"]["event_id"] == replacement
    assert relations["m.reference"] == {"chunk": [{"event_id": reference}]}


async def test_a_redacted_event_leaves_its_thread(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root = await send(alice, room_id, "root")
    first, second = await reply(alice, room_id, root), await reply(alice, room_id, root)
    await redact(alice, room_id, second)
    thread = (await bundled(alice, room_id, root))["m.thread"]
    assert (thread["latest_event"]["event_id"], thread["count"]) == (first, 1)
    await redact(alice, room_id, first)
    assert await bundled(alice, room_id, root) == {}


@pytest.mark.parametrize("order", ["root first", "event first"])
async def test_a_redacted_root_keeps_its_thread(rooms: RoomServer, order: str) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root = await send(alice, room_id, "root")
    first, second = await reply(alice, room_id, root), await reply(alice, room_id, root)
    for redacted in (root, second) if order == "root first" else (second, root):
        await redact(alice, room_id, redacted)
    thread = (await bundled(alice, room_id, root))["m.thread"]
    assert (thread["latest_event"]["event_id"], thread["count"]) == (first, 1)


async def test_ignored_users_take_no_part_in_a_thread(rooms: RoomServer) -> None:
    alice, bob, carol = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await join(bob, room_id)
    await join(carol, room_id)
    root = await send(alice, room_id, "root")
    await reply(bob, room_id, root)
    by_carol = await reply(carol, room_id, root)
    await reply(bob, room_id, root)
    await ignore(alice, bob, alice)
    thread = (await bundled(alice, room_id, root))["m.thread"]
    assert (thread["latest_event"]["event_id"], thread["count"]) == (by_carol, 1)
    await ignore(alice, bob, carol)
    assert await bundled(alice, room_id, root) == {}
    await ignore(alice)
    assert (await bundled(alice, room_id, root))["m.thread"]["count"] == 3


async def test_who_left_is_told_of_a_thread_as_it_was_then(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="shared")
    await join(bob, room_id)
    root = await send(alice, room_id, "root")
    seen = [await reply(alice, room_id, root) for _ in range(2)]
    await leave(bob, room_id)
    await reply(alice, room_id, root)
    thread = (await bundled(bob, room_id, root))["m.thread"]
    assert (thread["latest_event"]["event_id"], thread["count"]) == (seen[-1], 2)


async def test_events_that_may_not_be_seen_take_no_part_in_a_thread(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="joined")
    await join(bob, room_id)
    root = await send(alice, room_id, "root")
    await leave(bob, room_id)
    await reply(alice, room_id, root)
    await join(bob, room_id)
    assert await bundled(bob, room_id, root) == {}
    seen = await reply(alice, room_id, root)
    thread = (await bundled(bob, room_id, root))["m.thread"]
    assert (thread["latest_event"]["event_id"], thread["count"]) == (seen, 1)
    assert (await bundled(alice, room_id, root))["m.thread"]["count"] == 2


# References and reactions.


async def test_references_are_listed_the_oldest_first(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(alice, room_id, "parent")
    first, by_bob, third = [await refer(user, room_id, event_id) for user in (alice, bob, alice)]
    chunk = [{"event_id": reference} for reference in (first, by_bob, third)]
    assert await bundled(bob, room_id, event_id) == {"m.reference": {"chunk": chunk}}
    await redact(alice, room_id, first)
    await redact(alice, room_id, event_id)
    assert await bundled(bob, room_id, event_id) == {"m.reference": {"chunk": chunk[1:]}}
    await ignore(alice, bob)
    assert await bundled(alice, room_id, event_id) == {"m.reference": {"chunk": chunk[2:]}}


async def test_of_very_many_references_the_newest_are_listed(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregations, "REFERENCES_MAX", 2)
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "parent")
    made = [await refer(alice, room_id, event_id) for _ in range(3)]
    chunk = [{"event_id": reference} for reference in made[1:]]
    assert await bundled(alice, room_id, event_id) == {"m.reference": {"chunk": chunk}}


async def test_reactions_and_unknown_relations_are_not_bundled(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "parent")
    await react(alice, room_id, event_id)
    await send(alice, room_id, "other", **relation("org.example.other", event_id))
    assert await bundled(alice, room_id, event_id) == {}


# Where.


async def test_messages_and_context_come_with_what_relates_to_them(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "parent")
    reference = await refer(alice, room_id, event_id)
    expected = {"m.reference": {"chunk": [{"event_id": reference}]}}
    messages = (await alice.get(in_room(room_id, "messages"), dir="b")).json["chunk"]
    at_event = (await alice.get(in_room(room_id, "context", event_id))).json["event"]
    before = (await alice.get(in_room(room_id, "context", reference))).json["events_before"]
    for events in (messages, [at_event], before):
        [event] = [event for event in events if event["event_id"] == event_id]
        assert event["unsigned"]["m.relations"] == expected


async def test_relations_come_to_a_parent_that_is_sent_after_its_children(rooms: RoomServer) -> None:
    """In room version 1 event ids are made up, so they can be known beforehand."""
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version="1")
    reference = await refer(alice, room_id, "$later:one.test")
    rooms.next_event_ids.append("$later:one.test")
    assert await send(alice, room_id, "parent") == "$later:one.test"
    relations = await bundled(alice, room_id, "$later:one.test")
    assert relations == {"m.reference": {"chunk": [{"event_id": reference}]}}
