"""The state of a room without its members, which is all of it that lazy loading looks at."""

from __future__ import annotations

from conduit_py.data import rooms, short_ids, timeline
from conduit_py.data.state import StateChain
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
                assert chain.entries_but_members(state_id) == {
                    key: event for key, event in whole.items() if not is_member(key)
                }
