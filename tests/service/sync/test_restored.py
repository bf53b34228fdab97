"""Tokens from a history that is gone: somebody put an older copy of the data directory back."""

from __future__ import annotations

from typing import Any

from conduit_py.storage.database import record_start
from kvschema.engine.memory import MemoryEngine
from tests.service.sync.world import World, open_world


def ageless(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events without the one field that two replies do not share."""
    assert all("age" in event["unsigned"] for event in events)
    return [
        event | {"unsigned": {key: value for key, value in event["unsigned"].items() if key != "age"}}
        for event in events
    ]


async def test_a_token_from_a_lost_future_is_answered_as_to_a_fresh_client(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice, name="Kitchen")
    since = (await world.sync(alice))["next_batch"]
    lost = since.replace("s", "s9", 1)

    reply = await world.sync(alice, lost)

    section = reply["rooms"]["join"][room_id]
    assert reply["next_batch"] == since
    assert section["timeline"]["limited"] is True
    assert "m.push_rules" in [event["type"] for event in reply["account_data"]["events"]]
    fresh = (await world.sync(alice))["rooms"]["join"][room_id]
    assert ageless(section["state"]["events"]) == ageless(fresh["state"]["events"])
    assert ageless(section["timeline"]["events"]) == ageless(fresh["timeline"]["events"])


async def test_a_token_from_a_lost_future_is_recognized_after_new_things_happened() -> None:
    """Positions go on from the clock, so those of the lost history lie in a gap that was never handed out here."""
    engine = MemoryEngine()
    async with open_world(engine) as world:
        alice = await world.user("alice")
        room_id = await world.room(alice)
        pos = int((await world.sync(alice))["next_batch"].partition("_")[0][1:])
    record_start(engine, pos + 1000)
    async with open_world(engine, last_pos=pos + 1000) as world:
        alice = await world.user("alice")
        await world.send(alice, room_id, "hello")

        lost = await world.sync(alice, f"s{pos + 500}_boot1_0")
        kept = await world.sync(alice, f"s{pos}_boot1_0")

    assert lost["rooms"]["join"][room_id]["timeline"]["limited"] is True
    assert [event["content"]["body"] for event in kept["rooms"]["join"][room_id]["timeline"]["events"]] == ["hello"]
