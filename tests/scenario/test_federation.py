"""People on two and three of our servers, which are processes that speak over TLS, and die now and then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import stories
from tests.rig.federation import FederatedServer, open_federation
from tests.rig.person import Person
from tests.rig.stories import STORIES, Story

pytestmark = pytest.mark.slow

Trio = tuple[FederatedServer, FederatedServer, FederatedServer]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with open_federation(tmp_path_factory.mktemp("federation"), 3) as (one, two, three):
        yield one, two, three


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_of_two_servers(servers: Trio, story: Story) -> None:
    one, two, _ = servers
    story(one, two)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_of_two_servers_after_both_died(servers: Trio, story: Story) -> None:
    _, two, three = servers
    two.restart()
    three.restart()
    story(two, three)


def test_stories_of_servers_named_by_their_addresses(tmp_path: Path) -> None:
    with open_federation(tmp_path, 2, has_ports=False) as (one, two):
        assert (one.name, two.name) == ("127.0.0.21", "127.0.0.22")
        stories.join_by_alias_and_talk(one, two)
        one.restart()
        two.restart()
        stories.scroll_back_to_before_one_joined(two, one)
        stories.exchange_keys(one, two)
        stories.share_media(one, two)


def test_state_changed_on_both_sides_of_a_cut_becomes_one(servers: Trio) -> None:
    one, two, three = servers
    alice, bob, carol = Person(one, "alice"), Person(two, "bob"), Person(three, "carol")
    room_id = alice.create_room()
    for other in (bob, carol):
        other.join(room_id, via=[one])
        alice.wait_for_membership(room_id, other.user_id, "join")
    levels = alice.client.get("rooms", room_id, "state", "m.room.power_levels", "")
    levels["users"][bob.user_id] = 100
    alice.set_state(room_id, "m.room.power_levels", levels)
    bob.wait_for_state(room_id, "m.room.power_levels", "", {"users": levels["users"]})
    carol.wait_for_state(room_id, "m.room.power_levels", "", {"users": levels["users"]})

    for server in (one, two):
        server.link.cut()
    alice.set_state(room_id, "m.room.topic", {"topic": "alice's"})
    alice.set_state(room_id, "m.room.name", {"name": "named by alice"})
    bob.set_state(room_id, "m.room.topic", {"topic": "bob's"})
    bob.act(room_id, "ban", user_id=carol.user_id)
    for server, person in ((one, alice), (two, bob)):
        server.link.heal()
        server.restart()
        person.client.close()

    alice.wait_for_membership(room_id, carol.user_id, "ban")
    bob.wait_for_state(room_id, "m.room.name", "", {"name": "named by alice"})
    alice.say(room_id, "are we one?")
    bob.wait_for_body(room_id, "are we one?")
    bob.say(room_id, "we are")
    alice.wait_for_body(room_id, "we are")
    states = []
    for person in (alice, bob):
        events = person.client.get("rooms", room_id, "state")
        states.append({(event["type"], event["state_key"]): event["event_id"] for event in events})
    assert states[0] == states[1]


def test_what_was_said_while_a_server_was_down_arrives(servers: Trio) -> None:
    one, two, _ = servers
    alice, bob = Person(one, "alice"), Person(two, "bob")
    room_id = alice.create_room()
    bob.join(room_id, via=[one])
    alice.wait_for_membership(room_id, bob.user_id, "join")
    two.process.kill()
    said = [f"while you were away {number}" for number in range(60)]
    for body in said:
        alice.say(room_id, body)
    one.restart()
    two.start()
    for person in (alice, bob):
        person.client.close()
    # Bob's server speaks first: alice's then knows that it is back.
    bob.say(room_id, "I am back")
    bob.wait_for_body(room_id, *said)
    assert [body for body in bob.bodies(room_id) if body in said] == said
    alice.wait_for_body(room_id, "I am back")
