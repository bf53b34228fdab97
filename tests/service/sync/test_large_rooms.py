"""The state of a room without its members, which is all of it that lazy loading looks at; and large rooms in slices."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.data import rooms, short_ids, timeline
from conduit_py.data import state as states
from conduit_py.data.state import StateChain
from conduit_py.service.sync import state_choice, summary
from conduit_py.slices import run_at_once
from kvschema.catalog.rooms import ShortStateKey
from tests.service.sync.world import World


async def test_the_state_without_members_is_the_state_without_members(world: World) -> None:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id = await world.room(alice, name="A room")
    for number in range(3):
        await world.membership.join(bob, room_id)
        await world.set_state(alice, room_id, "m.room.topic", {"topic": f"topic {number}"})
        await world.membership.leave(bob, room_id)
        await world.set_state(alice, room_id, "org.example", {"is": number}, f"key {number}")

    with world.store.snapshot() as snapshot:
        room = rooms.get_room(snapshot, room_id)
        assert room is not None
        chain = StateChain(snapshot)
        states = {
            timeline.require_row(snapshot, event).state_after
            for _, event in timeline.scan_timeline(snapshot, room.short)
        }
        assert len(states) > 12

        def is_member(key: ShortStateKey) -> bool:
            return short_ids.get_state_key_record(snapshot, key).type == "m.room.member"

        for state_id in states:
            whole = chain.entries(state_id)
            assert any(map(is_member, whole)) or len(whole) == 1
            for _ in range(2):
                assert run_at_once(chain.find_entries_but_members(state_id)) == {
                    key: event for key, event in whole.items() if not is_member(key)
                }


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("is_full", [False, True])
async def test_the_same_is_told_in_one_slice_and_in_many(
    world: World, monkeypatch: pytest.MonkeyPatch, is_after: bool, is_lazy: bool, is_full: bool
) -> None:
    alice = await world.user("alice")
    guests = [await world.user(f"guest{number}") for number in range(8)]
    room_id = await world.room(alice)
    for guest in guests:
        await world.membership.join(guest, room_id)
    since = None if is_full else (await world.sync(alice))["next_batch"]
    for number, guest in enumerate(guests):
        await world.membership.leave(guest, room_id)
        await world.set_state(alice, room_id, "org.example", {"is": number}, f"key {number}")
    options: dict[str, Any] = {
        "filter": {
            "event_fields": ["event_id"],
            "room": {"timeline": {"limit": 2}, "state": {"lazy_load_members": is_lazy, "not_types": ["none"]}},
        },
        "state_after": "state_after" if is_after else None,
    }

    at_once = await world.sync(alice, since, **options)
    for module, name in ((states, "ENTRIES_AT_ONCE"), (states, "KEYS_AT_ONCE"), (state_choice, "KEYS_AT_ONCE")):
        monkeypatch.setattr(module, name, 1)
    monkeypatch.setattr(summary, "KEYS_AT_ONCE", 1)
    clock = iter(range(0, 10**6, 60))
    world.slice_clock = lambda: float(next(clock))
    world.store.database.cache.clear()

    assert await world.sync(alice, since, **options) == at_once
    assert next(clock) > 30 * 60
    section = at_once["rooms"]["join"][room_id]
    assert len(section["summary"]["m.heroes"]) == 5
