"""Events in timelines come with what relates to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from trio.testing import MockClock

from tests.service.sync.world import Json, World, open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as world:
        yield world


def _relation(rel_type: str, event_id: str) -> Json:
    return {"m.relates_to": {"rel_type": rel_type, "event_id": event_id}}


async def _timeline(world: World, requester: Any, room_id: str, **options: Any) -> dict[str, Json]:
    reply = await world.sync(requester, **options)
    return {event["event_id"]: event for event in reply["rooms"]["join"][room_id]["timeline"]["events"]}


async def test_a_timeline_comes_with_edits_threads_and_references(world: World, autojump_clock: MockClock) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    root = await world.send(alice, room_id, "root")
    latest = await world.send(alice, room_id, "reply", **_relation("m.thread", root))
    new: Json = {"m.new_content": {"body": "new"}}
    edit = await world.send(alice, room_id, "edit", **new, **_relation("m.replace", root))
    reference = await world.send(alice, room_id, "reference", **_relation("m.reference", root))
    timeline = await _timeline(world, alice, room_id)
    relations = timeline[root]["unsigned"]["m.relations"]
    assert relations == {
        "m.replace": timeline[edit],
        "m.thread": {"latest_event": timeline[latest], "count": 1, "current_user_participated": True},
        "m.reference": {"chunk": [{"event_id": reference}]},
    }
    assert "room_id" not in relations["m.replace"]


async def test_ignored_users_take_no_part(world: World) -> None:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id = await world.room(alice)
    await world.membership.join(bob, room_id)
    root = await world.send(alice, room_id, "root")
    await world.send(bob, room_id, "reply", **_relation("m.thread", root))
    await world.ignore(alice, bob.user_id)
    assert "m.relations" not in (await _timeline(world, alice, room_id))[root]["unsigned"]
    assert "m.relations" in (await _timeline(world, bob, room_id))[root]["unsigned"]


async def test_wanted_fields_are_chosen_of_the_event_and_not_of_what_is_bundled(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    root = await world.send(alice, room_id, "root")
    await world.send(alice, room_id, "reply", **_relation("m.thread", root))
    filter_ = {"event_fields": ["event_id", "unsigned.m\\.relations"], "room": {"timeline": {"limit": 50}}}
    event = (await _timeline(world, alice, room_id, filter=filter_))[root]
    assert event["unsigned"]["m.relations"]["m.thread"]["latest_event"]["content"]["body"] == "reply"
    assert "content" not in event


async def test_the_federation_format_has_it_too(world: World) -> None:
    alice = await world.user("alice")
    room_id = await world.room(alice)
    root = await world.send(alice, room_id, "root")
    reference = await world.send(alice, room_id, "reference", **_relation("m.reference", root))
    event = (await _timeline(world, alice, room_id, filter={"event_format": "federation"}))[root]
    assert "prev_events" in event
    assert event["unsigned"]["m.relations"] == {"m.reference": {"chunk": [{"event_id": reference}]}}
