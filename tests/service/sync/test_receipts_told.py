"""Receipts, read markers and unread counts as /sync tells them."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.service.errors import Forbidden, InvalidParam, NotFound
from conduit_py.service.requester import Requester
from tests.service.sync.world import Json, World

THREADS = {"room": {"timeline": {"unread_thread_notifications": True}}}


class Pair:
    """Alice writes, Bob reads."""

    def __init__(self, world: World, alice: Requester, bob: Requester, room_id: RoomId) -> None:
        self.world, self.alice, self.bob, self.room_id = world, alice, bob, room_id

    async def write(self, body: str, *, root: EventId | None = None) -> EventId:
        relation: Json = {} if root is None else {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
        return await self.world.send(self.alice, self.room_id, body, **relation)

    async def read(self, event_id: EventId, type: str = "m.read", *, thread_id: Any = None) -> None:
        await self.world.receipts.post_receipt(self.bob, self.room_id, type, event_id, thread_id=thread_id)

    async def told(self, reader: Requester, since: str | None = None, **options: Any) -> Json:
        reply = await self.world.sync(reader, since, **options)
        section: Json = reply["rooms"]["join"].get(self.room_id, {})
        return section

    async def unread(self, **options: Any) -> tuple[int, dict[str, int]]:
        """How many events Bob has not read: in the room or its main timeline, and by thread."""
        section = await self.told(self.bob, **options)
        threads = section.get("unread_thread_notifications", {})
        return section["unread_notifications"]["notification_count"], {
            root: count["notification_count"] for root, count in threads.items()
        }


@pytest.fixture
async def pair(world: World) -> Pair:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id = await world.room(alice)
    await world.membership.join(bob, room_id)
    return Pair(world, alice, bob, room_id)


def receipts_in(section: Json) -> list[tuple[str, str, str, str | None]]:
    """(event, type, user, thread) of everything that is told."""
    return [
        (event_id, type_, user_id, data.get("thread_id"))
        for event in section.get("ephemeral", {}).get("events", [])
        if event["type"] == "m.receipt"
        for event_id, types in event["content"].items()
        for type_, users in types.items()
        for user_id, data in users.items()
    ]


async def test_a_public_receipt_is_told_to_everybody_once(pair: Pair) -> None:
    sent = await pair.write("one")
    since = (await pair.world.sync(pair.alice))["next_batch"]
    await pair.read(sent)

    reply = await pair.world.sync(pair.alice, since)

    expected = [(sent, "m.read", pair.bob.user_id, None)]
    assert receipts_in(reply["rooms"]["join"][pair.room_id]) == expected
    assert (await pair.world.sync(pair.alice, reply["next_batch"]))["rooms"]["join"] == {}
    assert receipts_in(await pair.told(pair.bob)) == expected


async def test_a_private_receipt_is_told_to_its_owner_alone(pair: Pair) -> None:
    sent = await pair.write("one")
    tokens = {reader: (await pair.world.sync(reader))["next_batch"] for reader in (pair.alice, pair.bob)}
    await pair.read(sent, "m.read.private")

    assert await pair.told(pair.alice, tokens[pair.alice]) == {}
    assert receipts_in(await pair.told(pair.alice)) == []
    told = receipts_in(await pair.told(pair.bob, tokens[pair.bob]))
    assert told == [(sent, "m.read.private", pair.bob.user_id, None)]


async def test_receipts_of_different_threads_on_one_event_are_all_told(pair: Pair) -> None:
    sent = await pair.write("one")
    for thread_id in (None, "main", sent):
        await pair.read(sent, thread_id=thread_id)

    threads = [receipt[3] for receipt in receipts_in(await pair.told(pair.alice))]

    assert threads == [None, "main", sent]


async def test_a_receipt_never_moves_back(pair: Pair) -> None:
    first, second = await pair.write("one"), await pair.write("two")
    await pair.read(second)
    since = (await pair.world.sync(pair.alice))["next_batch"]

    await pair.read(first)
    await pair.read(second)

    assert await pair.told(pair.alice, since) == {}
    assert [receipt[0] for receipt in receipts_in(await pair.told(pair.alice))] == [second]


@pytest.mark.parametrize("type_", ["m.read", "m.read.private"])
async def test_reading_clears_what_lies_before(pair: Pair, type_: str) -> None:
    first = await pair.write("one")
    await pair.write("two")
    assert await pair.unread() == (2, {})

    await pair.read(first, type_)

    assert await pair.unread() == (1, {})


async def test_counts_by_thread_are_cleared_by_thread(pair: Pair) -> None:
    root = await pair.write("root")
    reply = await pair.write("reply", root=root)
    main = await pair.write("main")
    late = await pair.write("late", root=root)
    assert await pair.unread() == (4, {})
    assert await pair.unread(filter=THREADS) == (2, {root: 2})

    await pair.read(main, thread_id="main")
    assert await pair.unread(filter=THREADS) == (0, {root: 2})
    await pair.read(reply, thread_id=root)
    assert await pair.unread(filter=THREADS) == (0, {root: 1})
    await pair.read(late)
    assert await pair.unread(filter=THREADS) == (0, {})


async def test_a_new_count_comes_with_its_event(pair: Pair) -> None:
    since = (await pair.world.sync(pair.bob))["next_batch"]
    await pair.write("hello bob")

    section = await pair.told(pair.bob, since)

    assert section["unread_notifications"]["notification_count"] == 1


async def test_fully_read_is_account_data_of_the_room_and_never_moves_back(pair: Pair) -> None:
    first, second = await pair.write("one"), await pair.write("two")
    since = (await pair.world.sync(pair.bob))["next_batch"]
    await pair.world.receipts.set_read_marker(pair.bob, pair.room_id, {"m.fully_read": second, "m.read": first})
    await pair.read(first, "m.fully_read")

    section = await pair.told(pair.bob, since)

    assert section["account_data"]["events"] == [{"type": "m.fully_read", "content": {"event_id": second}}]
    assert receipts_in(section) == [(first, "m.read", pair.bob.user_id, None)]
    assert section["unread_notifications"]["notification_count"] == 1


@pytest.mark.parametrize(
    ("type_", "thread_id"),
    [
        ("m.read", ""),
        ("m.read", 5),
        ("m.read", []),
        ("m.fully_read", "main"),
        ("m.seen", None),
        ("m.read", "$elsewhere"),
    ],
)
async def test_receipts_that_make_no_sense_are_refused(pair: Pair, type_: str, thread_id: Any) -> None:
    sent = await pair.write("one")

    with pytest.raises(InvalidParam):
        await pair.read(sent, type_, thread_id=thread_id)
    assert receipts_in(await pair.told(pair.bob)) == []


async def test_an_event_of_a_thread_is_not_in_the_main_timeline_nor_in_another_thread(pair: Pair) -> None:
    root, other = await pair.write("root"), await pair.write("other")
    reply = await pair.write("reply", root=root)
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": reply, "key": "👍"}}
    reacted = await pair.world.send(pair.alice, pair.room_id, "reaction", **reaction)

    for event_id in (reply, reacted):
        for thread_id in ("main", other):
            with pytest.raises(InvalidParam):
                await pair.read(event_id, thread_id=thread_id)
        await pair.read(event_id, thread_id=root)


async def test_receipts_need_membership_and_an_event_of_the_room(pair: Pair) -> None:
    sent = await pair.write("one")
    elsewhere = await pair.world.room(pair.bob)
    foreign = await pair.world.send(pair.bob, elsewhere, "hello")

    with pytest.raises(NotFound):
        await pair.read(foreign)
    with pytest.raises(NotFound):
        await pair.read(EventId("$nothing"))
    await pair.world.membership.leave(pair.bob, pair.room_id)
    with pytest.raises(Forbidden):
        await pair.read(sent)
