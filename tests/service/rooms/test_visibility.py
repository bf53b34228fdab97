"""Which events a user sees, for every history visibility and every way of coming and going."""

from __future__ import annotations

import pytest

from conduit_py.data import timeline
from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.visibility import Visibility
from tests.service.sync.world import World, open_world

STEPS = ("before", "invite", "invited", "join", "joined", "leave", "after")
"""What happens to Bob, and what Alice says in between."""

SEEN = {
    "world_readable": {"before", "invited", "joined", "after"},
    "shared": {"before", "invited", "joined"},
    "invited": {"invited", "joined"},
    "joined": {"joined"},
}


async def _play(world: World, visibility: str, steps: tuple[str, ...]) -> tuple[Requester, dict[str, EventId]]:
    alice, bob = await world.user("alice"), await world.user("bob")
    room_id: RoomId = await world.room(alice)
    await world.set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": visibility})
    said = {}
    for step in steps:
        match step:
            case "invite":
                await world.membership.invite(alice, room_id, bob.user_id)
            case "join":
                await world.membership.join(bob, room_id)
            case "leave":
                await world.membership.leave(bob, room_id)
            case "forget":
                await world.membership.forget(bob, room_id)
            case _:
                said[step] = await world.send(alice, room_id, step)
    return bob, said


def _seen(world: World, reader: Requester, said: dict[str, EventId]) -> set[str]:
    with world.store.snapshot() as snapshot:
        visibility = Visibility(snapshot, reader.user_id)
        rows = {step: timeline.find_row(snapshot, event_id) for step, event_id in said.items()}
        return {step for step, found in rows.items() if found is not None and visibility.may_see(found[1])}


@pytest.mark.parametrize("visibility", SEEN)
async def test_history_is_seen_as_its_visibility_says(visibility: str) -> None:
    async with open_world() as world:
        bob, said = await _play(world, visibility, STEPS)

        assert _seen(world, bob, said) == SEEN[visibility]


@pytest.mark.parametrize("visibility", SEEN)
async def test_while_in_the_room_what_came_before_is_seen_as_its_visibility_says(visibility: str) -> None:
    async with open_world() as world:
        bob, said = await _play(world, visibility, STEPS[:5])

        assert _seen(world, bob, said) == SEEN[visibility] - {"after"}


@pytest.mark.parametrize("visibility", SEEN)
async def test_somebody_who_was_never_there_sees_only_what_the_world_may_read(visibility: str) -> None:
    async with open_world() as world:
        _, said = await _play(world, visibility, ("before",))

        expected = {"before"} if visibility == "world_readable" else set()
        assert _seen(world, await world.user("carol"), said) == expected


@pytest.mark.parametrize("visibility", SEEN)
async def test_a_forgotten_room_is_closed_unless_the_world_may_read_it(visibility: str) -> None:
    async with open_world() as world:
        bob, said = await _play(world, visibility, (*STEPS, "forget"))

        assert _seen(world, bob, said) == (SEEN[visibility] if visibility == "world_readable" else set())


async def test_a_second_stay_shows_what_was_said_between_the_two_where_history_is_shared() -> None:
    async with open_world() as world:
        bob, said = await _play(world, "shared", ("join", "one", "leave", "two", "join", "three", "leave", "four"))

        assert _seen(world, bob, said) == {"one", "two", "three"}


async def test_a_second_stay_does_not_show_it_where_history_is_for_those_who_are_there() -> None:
    async with open_world() as world:
        bob, said = await _play(world, "joined", ("join", "one", "leave", "two", "join", "three", "leave", "four"))

        assert _seen(world, bob, said) == {"one", "three"}


async def test_a_change_of_visibility_is_seen_by_whom_the_old_or_the_new_one_lets_see_it() -> None:
    async with open_world() as world:
        alice, carol = await world.user("alice"), await world.user("carol")
        room_id = await world.room(alice)

        async def change(to: str) -> EventId:
            return await world.set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": to})

        said = {"opened": await change("world_readable"), "open": await world.send(alice, room_id, "open")}
        said |= {"closed": await change("joined"), "shut": await world.send(alice, room_id, "shut")}
        said |= {"kept": await change("invited")}

        assert _seen(world, carol, said) == {"opened", "open", "closed"}
