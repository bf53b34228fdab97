"""Aliases where requests cross."""

from __future__ import annotations

import pytest
import trio

from conduit_py.data import rooms as room_data
from conduit_py.matrix.ids import RoomAlias
from tests.rig.client import Client, path
from tests.rig.rooms import RoomServer, create, in_room, join, set_state

ALIAS = "#lounge:one.test"
PATH = path("directory", "room", ALIAS)


async def test_alias_goes_to_one_of_those_who_want_it_at_once(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_ids = [await create(alice) for _ in range(5)]
    statuses: list[int] = []

    async def want(room_id: str) -> None:
        statuses.append((await alice.put(PATH, {"room_id": room_id})).status)

    async with trio.open_nursery() as nursery:
        for room_id in room_ids:
            nursery.start_soon(want, room_id)
    assert sorted(statuses) == [200, 409, 409, 409, 409]


async def test_alias_that_was_taken_on_the_way_to_the_disk_is_taken(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await rooms.register("alice")
    room_id, other = await create(alice), await create(alice)
    assert (await alice.put(PATH, {"room_id": room_id})).status == 200
    async with rooms.leaves_no_trace():
        with monkeypatch.context() as patch:
            patch.setattr(room_data, "get_alias", lambda snapshot, alias: None)
            assert (await alice.put(PATH, {"room_id": other})).outcome == (409, "M_UNKNOWN")


async def test_alias_that_moved_while_its_deletion_waited_stays(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await rooms.register("alice")
    room_id, other = await create(alice), await create(alice)
    assert (await alice.put(PATH, {"room_id": other})).status == 200
    with rooms.store.snapshot() as snapshot:
        now = room_data.get_alias(snapshot, RoomAlias(ALIAS))
    assert now is not None
    answers = [now._replace(room_id=room_id), now]
    with monkeypatch.context() as patch:
        patch.setattr(room_data, "get_alias", lambda snapshot, alias: answers.pop(0))
        assert (await alice.delete(PATH)).outcome == (404, "M_NOT_FOUND")
    assert (await alice.get(PATH)).json["room_id"] == other


async def canonical(user: Client, room_id: str) -> object:
    return (await user.get(in_room(room_id, "state", "m.room.canonical_alias"))).json


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ({"alias": ALIAS}, {}),
        ({"alt_aliases": [ALIAS]}, {"alt_aliases": []}),
        ({"alias": ALIAS, "org.example.note": 1}, {"org.example.note": 1}),
    ],
    ids=str,
)
async def test_deleted_alias_leaves_the_rest_of_the_canonical_alias(
    rooms: RoomServer, content: dict[str, object], left: dict[str, object]
) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    assert (await alice.put(PATH, {"room_id": room_id})).status == 200
    await set_state(alice, room_id, "m.room.canonical_alias", content)
    assert (await alice.delete(PATH)).status == 200
    assert await canonical(alice, room_id) == left


async def test_deleted_alias_that_was_not_canonical_sends_nothing(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, room_alias_name="first")
    await join(bob, room_id)
    assert (await bob.put(PATH, {"room_id": room_id})).status == 200
    before = (await alice.get(in_room(room_id, "messages"), dir="b", limit="1")).json["chunk"]
    assert (await alice.delete(PATH)).status == 200
    after = (await alice.get(in_room(room_id, "messages"), dir="b", limit="1")).json["chunk"]
    assert [event["event_id"] for event in after] == [event["event_id"] for event in before]
