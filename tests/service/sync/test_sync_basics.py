"""Initial and incremental replies of rooms that the user stays in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.service.sync.world import World, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as world:
        yield world


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
