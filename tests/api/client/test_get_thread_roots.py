"""``GET /_matrix/client/v1/rooms/{roomId}/threads``"""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from conduit_py.service.rooms import send as send_service
from conduit_py.service.rooms import threads as thread_service
from tests.rig.client import Client
from tests.rig.relating import (
    ask_threads,
    bundled,
    children,
    edit,
    get_event,
    ids,
    ignore,
    react,
    relation,
    reply,
    threads,
)
from tests.rig.rooms import RoomServer, create, forget, join, leave, redact, send, set_state


async def roots(user: Client, room_id: str, **query: str) -> list[str]:
    """Event ids of one page."""
    return ids((await threads(user, room_id, **query))["chunk"])


async def read_all(user: Client, room_id: str, limit: int, **more: str) -> list[str]:
    found: list[str] = []
    query = {"limit": str(limit), **more}
    while True:
        answer = await threads(user, room_id, **query)
        assert len(answer["chunk"]) <= limit
        found += ids(answer["chunk"])
        if "next_batch" not in answer:
            return found
        query["from"] = answer["next_batch"]


async def test_get_thread_roots_are_ordered_by_latest_activity(rooms: RoomServer, autojump_clock: MockClock) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    first, second, third = [await send(alice, room_id, f"root {number}") for number in range(3)]
    for root in (first, second, first):
        await reply(alice, room_id, root)
    assert await roots(alice, room_id) == [first, second]
    await reply(alice, room_id, third)
    assert await roots(alice, room_id) == [third, first, second]
    await reply(alice, room_id, second)
    answer = await threads(alice, room_id)
    assert ids(answer["chunk"]) == [second, third, first]
    assert answer["chunk"][0] == await get_event(alice, room_id, second)
    assert "next_batch" not in answer


async def test_get_thread_roots_come_with_a_summary_of_the_thread(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    root = await send(alice, room_id, "root")
    await reply(alice, room_id, root)
    latest = await reply(alice, room_id, root, "latest")
    edited = await edit(alice, room_id, latest)
    [event] = (await threads(bob, room_id))["chunk"]
    thread = event["unsigned"]["m.relations"]["m.thread"]
    assert thread["latest_event"]["event_id"] == latest
    assert thread["latest_event"]["room_id"] == room_id
    assert thread["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"] == edited
    assert thread["count"] == 2
    assert thread["current_user_participated"] is False


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_get_thread_roots_pages_put_together_are_all_threads(rooms: RoomServer, limit: int) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    made = [await send(alice, room_id, f"root {number}") for number in range(5)]
    for root in made:
        await reply(alice, room_id, root)
    assert await read_all(alice, room_id, limit) == made[::-1]


async def test_get_thread_roots_participated_are_those_one_began_or_answered(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    by_bob = await send(bob, room_id, "by bob")
    answered = await send(alice, room_id, "answered by bob")
    left_alone = await send(alice, room_id, "left alone")
    for root in (by_bob, answered, left_alone):
        await reply(alice, room_id, root)
    answer_id = await reply(bob, room_id, answered)
    await react(bob, room_id, left_alone)
    assert await roots(bob, room_id, include="all") == [answered, left_alone, by_bob]
    assert await roots(bob, room_id, include="participated") == [answered, by_bob]
    assert await read_all(bob, room_id, 1, include="participated") == [answered, by_bob]
    await redact(bob, room_id, answer_id)
    assert await roots(bob, room_id, include="participated") == [by_bob]


async def test_get_thread_roots_follow_redactions_of_the_latest_event(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    first, second = [await send(alice, room_id, f"root {number}") for number in range(2)]
    await reply(alice, room_id, first)
    only = await reply(alice, room_id, second)
    latest = await reply(alice, room_id, first)
    assert await roots(alice, room_id) == [first, second]
    await redact(alice, room_id, latest)
    assert await roots(alice, room_id) == [second, first]
    await redact(alice, room_id, only)
    assert await roots(alice, room_id) == [first]


async def test_get_thread_roots_keep_a_redacted_root(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root = await send(alice, room_id, "root")
    await edit(alice, room_id, root)
    latest = await reply(alice, room_id, root)
    await redact(alice, room_id, root)
    [event] = (await threads(alice, room_id))["chunk"]
    assert event["content"] == {}
    assert event["unsigned"]["m.relations"].keys() == {"m.thread"}
    assert event["unsigned"]["m.relations"]["m.thread"]["latest_event"]["event_id"] == latest


async def test_get_thread_roots_of_ignored_users_look_redacted(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    root = await send(bob, room_id, "root")
    await edit(bob, room_id, root)
    latest = await reply(alice, room_id, root)
    await reply(bob, room_id, root)
    await ignore(alice, bob)
    [event] = (await threads(alice, room_id))["chunk"]
    assert (event["event_id"], event["sender"], event["content"]) == (root, bob.user_id, {})
    relations = event["unsigned"]["m.relations"]
    assert relations.keys() == {"m.thread"}
    assert relations["m.thread"]["latest_event"]["event_id"] == latest
    assert relations["m.thread"]["count"] == 1


async def test_get_thread_roots_leave_out_threads_of_ignored_users_alone(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    root = await send(alice, room_id, "root")
    await reply(bob, room_id, root)
    await ignore(alice, bob)
    assert await roots(alice, room_id) == []
    assert await roots(bob, room_id) == [root]


async def test_get_thread_roots_show_who_left_what_was_there(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="shared")
    await join(bob, room_id)
    root, unseen_thread = await send(alice, room_id, "root"), await send(alice, room_id, "unseen thread")
    seen = await reply(alice, room_id, root)
    await leave(bob, room_id)
    await reply(alice, room_id, root)
    await reply(alice, room_id, unseen_thread)
    later = await send(alice, room_id, "unseen root")
    await reply(alice, room_id, later)
    [event] = (await threads(bob, room_id))["chunk"]
    thread = event["unsigned"]["m.relations"]["m.thread"]
    assert (event["event_id"], thread["latest_event"]["event_id"]) == (root, seen)
    assert await roots(alice, room_id) == [later, unseen_thread, root]


async def test_get_thread_roots_show_who_came_late_what_is_open(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, visibility="joined")
    early = await send(alice, room_id, "early")
    await reply(alice, room_id, early)
    await join(bob, room_id)
    root = await send(alice, room_id, "root")
    await reply(alice, room_id, root)
    await reply(alice, room_id, early)
    assert await roots(bob, room_id) == [root]
    assert await roots(alice, room_id) == [early, root]


async def test_get_thread_roots_begin_at_no_event_that_relates_to_another(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other servers may send such events."""
    monkeypatch.setattr(send_service, "check_relation", lambda *args, **options: None)
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root = await send(alice, room_id, "root")
    threaded = await reply(alice, room_id, root)
    nested = await reply(alice, room_id, threaded)
    assert await roots(alice, room_id) == [root]
    assert await bundled(alice, room_id, threaded) == {}
    assert await children(alice, room_id, threaded) == [nested]


async def test_get_thread_roots_are_of_this_room_and_known(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id, elsewhere = await create(alice), await create(alice)
    outside = await send(alice, elsewhere, "in another room")
    await reply(alice, room_id, outside)
    await reply(alice, room_id, "$unknown")
    assert await roots(alice, room_id) == []
    assert await roots(alice, elsewhere) == []


async def test_get_thread_roots_may_be_state(rooms: RoomServer) -> None:
    """State events get nothing bundled. Spec: client-server-api/#aggregations-of-child-events"""
    alice = await rooms.register("alice")
    room_id = await create(alice)
    topic = await set_state(alice, room_id, "m.room.topic", {"topic": "cake"})
    await reply(alice, room_id, topic)
    assert await roots(alice, room_id) == [topic]
    assert await bundled(alice, room_id, topic) == {}


async def test_get_thread_roots_forbidden_outside_of_the_room(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    assert (await ask_threads(bob, room_id)).outcome == (403, "M_FORBIDDEN")
    assert (await ask_threads(bob, "!unknown:one.test")).outcome == (403, "M_FORBIDDEN")
    await join(bob, room_id)
    await leave(bob, room_id)
    assert (await ask_threads(bob, room_id)).status == 200
    await forget(bob, room_id)
    assert (await ask_threads(bob, room_id)).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("query", [{"include": "some"}, {"limit": "0"}, {"limit": "many"}, {"from": "nowhere"}])
async def test_get_thread_roots_invalid_param(rooms: RoomServer, query: dict[str, str]) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    assert (await ask_threads(alice, room_id, **query)).outcome == (400, "M_INVALID_PARAM")


async def test_get_thread_roots_missing_token(rooms: RoomServer) -> None:
    assert (await ask_threads(rooms.client(), "!room:one.test")).outcome == (401, "M_MISSING_TOKEN")


async def test_get_thread_roots_do_not_change_with_other_relations(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    root, other = [await send(alice, room_id, text) for text in ("root", "other")]
    await reply(alice, room_id, root)
    await reply(alice, room_id, other)
    await send(alice, room_id, "reference", **relation("m.reference", root))
    await react(alice, room_id, root)
    assert await roots(alice, room_id) == [other, root]


async def test_get_thread_roots_goes_on_where_a_request_had_read_enough(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_service, "SCANNED_MAX", 4)
    monkeypatch.setattr(thread_service, "THREADS_PER_SLICE", 3)
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    made = [await send(alice, room_id, f"root {number}") for number in range(10)]
    for root in made:
        await reply(alice, room_id, root)
    answered = made[1]
    await reply(bob, room_id, answered)
    for root in made[2:]:
        await reply(alice, room_id, root)
    answer = await threads(bob, room_id, include="participated")
    assert (answer["chunk"], "next_batch" in answer) == ([], True)
    assert await read_all(bob, room_id, 5, include="participated") == [answered]
