"""Our server and Synapse, with people on both."""

from __future__ import annotations

import pytest

from conduit_py.matrix.room_versions import ROOM_VERSIONS
from tests.rig.federation import FederatedServer
from tests.rig.person import Person
from tests.rig.stories import STORIES, Story
from tests.rig.synapse import Synapse

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_that_begins_with_us(peers: tuple[FederatedServer, Synapse], story: Story) -> None:
    ours, theirs = peers
    story(ours, theirs)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_that_begins_with_them(peers: tuple[FederatedServer, Synapse], story: Story) -> None:
    ours, theirs = peers
    story(theirs, ours)


@pytest.mark.parametrize("version", ROOM_VERSIONS)
@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "theirs"])
def test_a_room_of_every_version(peers: tuple[FederatedServer, Synapse], version: str, is_ours: bool) -> None:
    here, there = peers if is_ours else peers[::-1]
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room(version=version)
    bob.join(room_id, via=[here])
    alice.wait_for_membership(room_id, bob.user_id, "join")
    bob.say(room_id, "hello")
    alice.wait_for_body(room_id, "hello")
    alice.set_state(room_id, "m.room.topic", {"topic": "seen by both"})
    bob.wait_for_state(room_id, "m.room.topic", "", {"topic": "seen by both"})
