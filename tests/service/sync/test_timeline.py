"""Timelines and the state that goes with them, for rooms that the user stays in."""

from __future__ import annotations

import pytest
import trio

from conduit_py.data.timeline import find_row
from conduit_py.matrix.sync_token import parse_place
from conduit_py.service.sync.since import TIMELINE_LIMIT
from tests.service.sync.world import Json, World


def bodies(section: Json) -> list[str]:
    events = section["timeline"]["events"]
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def types(events: list[Json]) -> list[str]:
    return [event["type"] for event in events]


async def test_initial_sync_tells_the_whole_of_a_new_room(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice, name="Kitchen")
    sent = await world.send(alice, room_id, "hello")

    reply = await world.sync(alice, filter={"room": {"timeline": {"limit": 50}}})

    section = reply["rooms"]["join"][room_id]
    assert section["timeline"]["events"][0]["type"] == "m.room.create"
    assert section["timeline"]["events"][-1]["event_id"] == sent
    assert section["timeline"]["limited"] is False
    assert section["state"]["events"] == []
    assert section["summary"] == {"m.joined_member_count": 1, "m.invited_member_count": 0}


async def test_initial_sync_of_an_older_room_is_limited_and_carries_the_state_at_its_start(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice, name="Kitchen")
    for number in range(TIMELINE_LIMIT + 5):
        await world.send(alice, room_id, f"{number}")
    await world.set_state(alice, room_id, "m.room.name", {"name": "Attic"})

    section = (await world.sync(alice))["rooms"]["join"][room_id]

    assert section["timeline"]["limited"] is True
    assert len(section["timeline"]["events"]) == TIMELINE_LIMIT
    assert section["timeline"]["events"][-1]["content"] == {"name": "Attic"}
    names = [event["content"]["name"] for event in section["state"]["events"] if event["type"] == "m.room.name"]
    assert names == ["Kitchen"]


async def test_incremental_sync_tells_only_what_is_new(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    quiet = await world.room(alice)
    since = (await world.sync(alice))["next_batch"]
    await world.send(alice, room_id, "new")

    reply = await world.sync(alice, since)

    assert bodies(reply["rooms"]["join"][room_id]) == ["new"]
    assert reply["rooms"]["join"][room_id]["state"]["events"] == []
    assert "summary" not in reply["rooms"]["join"][room_id]
    assert quiet not in reply["rooms"]["join"]


async def test_sync_with_nothing_new_is_empty_and_has_every_section(world: World) -> None:
    alice = await world.user("alice")
    await world.room(alice)
    since = (await world.sync(alice))["next_batch"]

    reply = await world.sync(alice, since)

    assert reply == {
        "next_batch": since,
        "account_data": {"events": []},
        "presence": {"events": []},
        "rooms": {"join": {}, "invite": {}, "knock": {}, "leave": {}},
        "to_device": {"events": []},
        "device_lists": {"changed": [], "left": []},
        "device_one_time_keys_count": {"signed_curve25519": 0},
        "device_unused_fallback_key_types": [],
    }


async def test_gap_of_200_events_is_limited_with_the_state_that_changed_in_it(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice, name="Kitchen", topic="food")
    since = (await world.sync(alice))["next_batch"]
    for number in range(100):
        await world.send(alice, room_id, f"{number}")
    await world.set_state(alice, room_id, "m.room.name", {"name": "Attic"})
    for number in range(100, 200):
        await world.send(alice, room_id, f"{number}")

    section = (await world.sync(alice, since))["rooms"]["join"][room_id]

    assert section["timeline"]["limited"] is True
    assert bodies(section) == [f"{number}" for number in range(190, 200)]
    assert [event["content"] for event in section["state"]["events"]] == [{"name": "Attic"}]


async def test_prev_batch_is_the_place_before_the_oldest_event_shown(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    for number in range(20):
        await world.send(alice, room_id, f"{number}")

    reply = await world.sync(alice, filter={"room": {"timeline": {"limit": 3}}})
    timeline = reply["rooms"]["join"][room_id]["timeline"]

    with world.store.snapshot() as snapshot:
        first = find_row(snapshot, timeline["events"][0]["event_id"])
    assert first is not None
    assert parse_place(timeline["prev_batch"]) == first[1].pos - 1


@pytest.mark.parametrize("limit", [0, 1, 3, 10])
async def test_timeline_holds_as_many_events_as_the_filter_allows(world: World, limit: int) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    since = (await world.sync(alice))["next_batch"]
    for number in range(5):
        await world.send(alice, room_id, f"{number}")

    reply = await world.sync(alice, since, filter={"room": {"timeline": {"limit": limit}}})
    section = reply["rooms"]["join"][room_id]

    assert bodies(section) == ["0", "1", "2", "3", "4"][max(0, 5 - limit) :]
    assert section["timeline"]["limited"] is (limit < 5)


async def test_state_events_that_the_timeline_filter_leaves_out_are_told_as_state(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice, name="Kitchen")
    since = (await world.sync(alice))["next_batch"]
    await world.send(alice, room_id, "before")
    await world.set_state(alice, room_id, "m.room.name", {"name": "Attic"})
    await world.send(alice, room_id, "after")

    filter_ = {"room": {"timeline": {"types": ["m.room.message"]}}}
    section = (await world.sync(alice, since, filter=filter_))["rooms"]["join"][room_id]

    assert bodies(section) == ["before", "after"]
    assert [event["content"] for event in section["state"]["events"]] == [{"name": "Attic"}]


async def test_state_filter_chooses_types_and_senders(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice, name="Kitchen", topic="food")
    bob = await world.user("bob")
    await world.membership.join(bob, room_id)

    async def told(filter_: Json) -> list[str]:
        whole = {"room": {"timeline": {"limit": 0}, "state": filter_}}
        section = (await world.sync(alice, filter=whole))["rooms"]["join"][room_id]
        return sorted(types(section["state"]["events"]))

    assert await told({"types": ["m.room.name", "m.room.t*"]}) == ["m.room.name", "m.room.topic"]
    assert await told({"senders": [bob.user_id]}) == ["m.room.member"]
    assert await told({"types": []}) == []
    assert await told({"not_rooms": [room_id]}) == []


async def test_rooms_that_the_filter_excludes_are_not_told(world: World) -> None:
    alice = await world.user("alice")
    first, second = await world.room(alice), await world.room(alice)

    assert (await world.sync(alice, filter={"room": {"rooms": [first]}}))["rooms"]["join"].keys() == {first}
    assert (await world.sync(alice, filter={"room": {"not_rooms": [first]}}))["rooms"]["join"].keys() == {second}


async def test_full_state_tells_all_state_of_all_rooms_and_the_new_timeline(world: World) -> None:
    alice = await world.user("alice")
    busy, quiet = await world.room(alice, name="busy"), await world.room(alice, name="quiet")
    since = (await world.sync(alice))["next_batch"]
    await world.send(alice, busy, "new")

    joined = (await world.sync(alice, since, full_state=True))["rooms"]["join"]

    assert bodies(joined[busy]) == ["new"]
    assert joined[quiet]["timeline"]["events"] == []
    for room_id in (busy, quiet):
        assert {"m.room.create", "m.room.name", "m.room.member"} <= set(types(joined[room_id]["state"]["events"]))


async def test_state_after_replaces_state_and_reaches_to_the_end(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice, name="Kitchen")
    since = (await world.sync(alice))["next_batch"]
    await world.set_state(alice, room_id, "m.room.name", {"name": "Attic"})
    await world.send(alice, room_id, "hello")

    section = (await world.sync(alice, since, state_after="state_after"))["rooms"]["join"][room_id]

    assert "state" not in section
    assert [event["content"] for event in section["state_after"]["events"]] == [{"name": "Attic"}]
    assert types(section["timeline"]["events"]) == ["m.room.name", "m.room.message"]


async def test_ignored_users_are_heard_no_more_but_their_state_is(world: World) -> None:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id = await world.room(alice)
    await world.membership.join(bob, room_id)
    since = (await world.sync(alice))["next_batch"]
    await world.ignore(alice, bob.user_id)
    await world.send(bob, room_id, "spam")
    await world.send(alice, room_id, "silence")
    await world.membership.leave(bob, room_id)

    section = (await world.sync(alice, since))["rooms"]["join"][room_id]

    assert [event["sender"] for event in section["timeline"]["events"]] == [alice.user_id, bob.user_id]
    assert types(section["timeline"]["events"]) == ["m.room.message", "m.room.member"]


async def test_event_fields_and_event_format_shape_the_events(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    since = (await world.sync(alice))["next_batch"]
    sent = await world.send(alice, room_id, "hello")

    fields = await world.sync(alice, since, filter={"event_fields": ["event_id", "content.body"]})
    assert fields["rooms"]["join"][room_id]["timeline"]["events"] == [{"event_id": sent, "content": {"body": "hello"}}]

    federation = await world.sync(alice, since, filter={"event_format": "federation"})
    event = federation["rooms"]["join"][room_id]["timeline"]["events"][0]
    assert event["event_id"] == sent
    assert {"auth_events", "prev_events", "hashes", "signatures", "room_id"} <= event.keys()


async def test_a_sync_tells_nothing_beyond_its_first_snapshot_however_many_slices_it_takes(world: World) -> None:
    alice = await world.user("alice")
    rooms = [await world.room(alice) for _ in range(5)]
    sent: list[str] = []

    async def keep_sending() -> None:
        sent.extend([await world.send(alice, rooms[number % 5], f"{number}") for number in range(10)])

    # Every look at the clock finds the slice used up, so each step is a slice of its own.
    clock = iter(range(0, 10**6, 60))
    world.slice_clock = lambda: float(next(clock))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_sending)
        first = await world.sync(alice)
    second = await world.sync(alice, first["next_batch"])

    told = [
        event["event_id"]
        for reply in (first, second)
        for section in reply["rooms"]["join"].values()
        for event in section["timeline"]["events"]
    ]
    assert next(clock) > 5 * 60
    assert len(told) == len(set(told))
    assert set(sent) <= set(told)
