"""A client that follows a room from reply to reply ends up with what a client that has just come is told.

Histories are random: people send, change state, come, go, are invited, kicked and banned, and one of them syncs now and
then. Whatever happened between two of those syncs, state, membership and timeline must come out the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.ids import RoomId
from conduit_py.service.errors import MatrixError
from conduit_py.service.requester import Requester
from tests.service.sync.world import Follower, World, open_world

ACTIONS = (
    "sync",
    "sync",
    "sync",
    "message",
    "message",
    "message",
    "topic",
    "name",
    "custom",
    "visibility shared",
    "visibility joined",
    "visibility invited",
    "bob joins",
    "bob joins",
    "bob leaves",
    "bob invited",
    "bob kicked",
    "bob banned",
    "bob unbanned",
    "bob forgets",
    "carol joins",
    "carol leaves",
)
"""Bob is the one who syncs."""


@dataclass
class Story:
    world: World
    alice: Requester
    bob: Requester
    carol: Requester
    room_id: RoomId
    step: int = 0

    async def act(self, action: str) -> None:
        """Refusals are part of the story."""
        self.step += 1
        try:
            await self._act(action)
        except MatrixError:
            return

    async def _act(self, action: str) -> None:
        world, alice, bob, carol, room_id = self.world, self.alice, self.bob, self.carol, self.room_id
        membership = world.membership
        match action.split():
            case ["message"]:
                await world.send(alice, room_id, f"message {self.step}")
            case ["topic"]:
                await world.set_state(alice, room_id, "m.room.topic", {"topic": f"topic {self.step}"})
            case ["name"]:
                await world.set_state(alice, room_id, "m.room.name", {"name": f"name {self.step}"})
            case ["custom"]:
                await world.set_state(alice, room_id, "org.example", {"is": self.step}, f"key {self.step % 3}")
            case ["visibility", value]:
                await world.set_state(alice, room_id, "m.room.history_visibility", {"history_visibility": value})
            case [name, "joins"]:
                await membership.join(bob if name == "bob" else carol, room_id)
            case [name, "leaves"]:
                await membership.leave(bob if name == "bob" else carol, room_id)
            case ["bob", "invited"]:
                await membership.invite(alice, room_id, bob.user_id)
            case ["bob", "kicked"]:
                await membership.kick(alice, room_id, bob.user_id)
            case ["bob", "banned"]:
                await membership.ban(alice, room_id, bob.user_id)
            case ["bob", "unbanned"]:
                await membership.unban(alice, room_id, bob.user_id)
            case ["bob", "forgets"]:
                await membership.forget(bob, room_id)
            case _:
                raise AssertionError(action)


async def _tell(actions: list[str], limit: int, *, is_lazy: bool, state_after: str | None) -> None:
    async with open_world() as world:
        alice, bob, carol = [await world.user(name) for name in ("alice", "bob", "carol")]
        story = Story(world, alice, bob, carol, await world.room(alice))
        filter_ = {"room": {"timeline": {"limit": limit}, "state": {"lazy_load_members": is_lazy}}}
        follower = Follower(world, bob, filter=filter_, state_after=state_after)
        for action in ("bob joins", "sync", *actions):
            if action == "sync":
                await follower.sync()
            else:
                await story.act(action)
        await follower.sync()
        await _compare(world, bob, follower, is_lazy=is_lazy)


async def _compare(world: World, requester: Requester, follower: Follower, *, is_lazy: bool) -> None:
    fresh = Follower(world, requester, filter={"room": {"timeline": {"limit": 500}}})
    await fresh.sync()
    assert follower.joined.keys() == fresh.joined.keys()
    assert follower.invited == fresh.invited
    for room_id, expected in fresh.joined.items():
        known = follower.joined[room_id]
        if is_lazy:
            assert known.state.items() <= expected.state.items()
            assert _without_members(known.state) == _without_members(expected.state)
        else:
            assert known.state == expected.state
        assert known.timeline == expected.timeline[len(expected.timeline) - len(known.timeline) :]
        assert known.timeline
        # Heroes of a room that has a name are no longer told, nor needed.
        assert known.summary.items() >= expected.summary.items()
        assert known.unread == expected.unread


def _without_members(state: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    return {key: event_id for key, event_id in state.items() if key[0] != "m.room.member"}


stories = st.lists(st.sampled_from(ACTIONS), min_size=5, max_size=40)
limits = st.integers(min_value=1, max_value=6)


@given(stories, limits)
def test_following_a_room_shows_what_a_fresh_sync_shows(actions: list[str], limit: int) -> None:
    trio.run(lambda: _tell(actions, limit, is_lazy=False, state_after=None))


@given(stories, limits)
def test_following_by_state_after_shows_what_a_fresh_sync_shows(actions: list[str], limit: int) -> None:
    trio.run(lambda: _tell(actions, limit, is_lazy=False, state_after="state_after"))


@given(stories, limits)
def test_following_with_lazy_members_never_believes_what_is_out_of_date(actions: list[str], limit: int) -> None:
    trio.run(lambda: _tell(actions, limit, is_lazy=True, state_after=None))
