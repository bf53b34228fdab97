"""What people on two servers do with one another. Told of two of ours, and of one of ours and another implementation.

Each story makes its own people and rooms, so they can be told in any order on servers that go on running.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from tests.rig.client import Client
from tests.rig.crypto import ALGORITHM, Keys
from tests.rig.person import Peer, Person

HISTORY = 120
"""Messages from before somebody joins: more than the servers send along by themselves."""

Story = Callable[[Peer, Peer], None]


def join_by_alias_and_talk(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    alias = alice.user_id.removeprefix("@").partition(":")[0]
    room_id = alice.create_room(room_alias_name=alias, name="The garden")
    assert bob.join(f"#{alias}:{here.name}") == room_id
    alice.wait_for_membership(room_id, bob.user_id, "join")
    assert bob.client.get("rooms", room_id, "state", "m.room.name", "") == {"name": "The garden"}
    for number in range(5):
        alice.say(room_id, f"alice {number}")
        bob.wait_for_body(room_id, f"alice {number}")
        bob.say(room_id, f"bob {number}")
        alice.wait_for_body(room_id, f"bob {number}")


def scroll_back_to_before_one_joined(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room()
    for number in range(HISTORY):
        alice.say(room_id, f"message {number}")
    bob.join(room_id, via=[here])
    shown = [
        event["content"]["body"] for event in bob.scroll_back(room_id, until=HISTORY) if "body" in event["content"]
    ]
    assert shown[::-1] == [f"message {number}" for number in range(HISTORY)]


def invite_and_accept(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room(preset="private_chat", name="For two")
    alice.act(room_id, "invite", user_id=bob.user_id)
    bob.wait_for_standing(room_id, "invite")
    bob.join(room_id)
    alice.wait_for_membership(room_id, bob.user_id, "join")
    bob.say(room_id, "thank you")
    alice.wait_for_body(room_id, "thank you")


def invite_and_decline(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room(preset="private_chat")
    alice.act(room_id, "invite", user_id=bob.user_id)
    bob.wait_for_standing(room_id, "invite")
    bob.act(room_id, "leave")
    alice.wait_for_membership(room_id, bob.user_id, "leave")
    bob.wait_for_standing(room_id, "leave")


def invite_and_take_back(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room(preset="private_chat")
    alice.act(room_id, "invite", user_id=bob.user_id)
    bob.wait_for_standing(room_id, "invite")
    alice.act(room_id, "kick", user_id=bob.user_id)
    bob.wait_for_standing(room_id, "leave")


def knock_and_be_let_in(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    knocking = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = alice.create_room(initial_state=[knocking])
    bob.knock(room_id, via=[here])
    alice.wait_for_membership(room_id, bob.user_id, "knock")
    alice.act(room_id, "invite", user_id=bob.user_id)
    bob.wait_for_standing(room_id, "invite")
    bob.join(room_id)
    alice.wait_for_membership(room_id, bob.user_id, "join")


def join_for_being_in_another_room(here: Peer, there: Peer) -> None:
    alice, bob, carol = Person(here, "alice"), Person(there, "bob"), Person(there, "carol")
    club = alice.create_room()
    allow = [{"type": "m.room_membership", "room_id": club}]
    rules = {"join_rule": "restricted", "allow": allow}
    room_id = alice.create_room(initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rules}])
    status, _ = carol.ask("POST", "join", room_id, json={}, server_name=here.name)
    assert status == 403
    bob.join(club, via=[here])
    bob.join(room_id, via=[here])
    alice.wait_for_membership(room_id, bob.user_id, "join")
    member = alice.client.get("rooms", room_id, "state", "m.room.member", bob.user_id)
    assert member["join_authorised_via_users_server"] == alice.user_id


def be_banned_and_let_in_again(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room()
    bob.join(room_id, via=[here])
    alice.wait_for_membership(room_id, bob.user_id, "join")
    alice.act(room_id, "ban", user_id=bob.user_id)
    bob.wait_for_standing(room_id, "leave")
    assert bob.ask("POST", "join", room_id, json={}, server_name=here.name)[0] == 403
    alice.say(room_id, "not for bob")
    alice.act(room_id, "unban", user_id=bob.user_id)
    bob.join(room_id, via=[here])
    alice.wait_for_membership(room_id, bob.user_id, "join")
    bob.say(room_id, "back again")
    alice.wait_for_body(room_id, "back again")


def leave_and_return(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room()
    bob.join(room_id, via=[here])
    alice.wait_for_membership(room_id, bob.user_id, "join")
    bob.act(room_id, "leave")
    alice.wait_for_membership(room_id, bob.user_id, "leave")
    alice.say(room_id, "while bob was away")
    alice.set_state(room_id, "m.room.topic", {"topic": "changed meanwhile"})
    bob.join(room_id, via=[here])
    bob.wait_for_state(room_id, "m.room.topic", "", {"topic": "changed meanwhile"})
    alice.say(room_id, "welcome")
    bob.wait_for_body(room_id, "welcome")


def change_state_and_redact(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room(power_level_content_override={"state_default": 0})
    bob.join(room_id, via=[here])
    alice.wait_for_membership(room_id, bob.user_id, "join")
    alice.set_state(room_id, "m.room.topic", {"topic": "from alice"})
    bob.wait_for_state(room_id, "m.room.topic", "", {"topic": "from alice"})
    bob.set_state(room_id, "m.room.topic", {"topic": "from bob"})
    alice.wait_for_state(room_id, "m.room.topic", "", {"topic": "from bob"})
    for one, other in ((alice, bob), (bob, alice)):
        event_id = one.say(room_id, f"a slip of {one.user_id}")
        other.wait_for_body(room_id, f"a slip of {one.user_id}")
        one.redact(room_id, event_id)

        def is_redacted(reader: Person = other, event_id: str = event_id) -> bool:
            event = reader.client.get("rooms", room_id, "event", event_id)
            return event["content"] == {} and "redacted_because" in event["unsigned"]

        other.wait_until(is_redacted, "for the redaction")


def type_and_read(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room()
    bob.join(room_id, via=[here])
    alice.wait_for_membership(room_id, bob.user_id, "join")
    for one, other in ((alice, bob), (bob, alice)):
        body = f"read me, {other.user_id}"
        event_id = one.say(room_id, body)
        other.wait_for_body(room_id, body)
        one.client.put("rooms", room_id, "typing", one.user_id, json={"typing": True, "timeout": 20_000})
        other.wait_until(partial(_sees_typing, other, room_id, one.user_id), "to see who types")
        other.client.post("rooms", room_id, "receipt", "m.read", event_id, json={})
        one.wait_until(partial(_sees_receipt, one, room_id, event_id, other.user_id), "to see who has read")


def _sees_typing(reader: Person, room_id: str, user_id: str) -> bool:
    shown = (event["content"] for event in reader.ephemeral.get(room_id, ()) if event["type"] == "m.typing")
    return any(user_id in content["user_ids"] for content in shown)


def _sees_receipt(reader: Person, room_id: str, event_id: str, user_id: str) -> bool:
    shown = (event["content"] for event in reader.ephemeral.get(room_id, ()) if event["type"] == "m.receipt")
    return any(user_id in content.get(event_id, {}).get("m.read", {}) for content in shown)


def share_media(here: Peer, there: Peer) -> None:
    alice, bob = Person(here, "alice"), Person(there, "bob")
    for one, other in ((alice, bob), (bob, alice)):
        content = f"media of {one.user_id}".encode() * 1000
        assert other.download(one.upload(content, "application/octet-stream")) == content


def exchange_keys(here: Peer, there: Peer) -> None:
    """Queries, claims and messages to devices, both ways."""
    alice, bob = Person(here, "alice"), Person(there, "bob")
    room_id = alice.create_room()
    bob.join(room_id, via=[here])
    alice.wait_for_membership(room_id, bob.user_id, "join")
    for one, other in ((alice, bob), (bob, alice)):
        _exchange_keys(one, other)


def _exchange_keys(one: Person, other: Person) -> None:
    keys = Keys(cast("Client", one))  # which only has to know whose device it is
    one.client.post(
        "keys", "upload", json={"device_keys": keys.device_keys(), "one_time_keys": keys.one_time_keys(0, 1)}
    )
    other.wait_until(lambda: one.user_id in other.changed, "to hear of new keys")
    queried = other.client.post("keys", "query", json={"device_keys": {one.user_id: []}})
    assert queried["device_keys"][one.user_id][one.device_id]["keys"] == keys.device_keys()["keys"]
    wanted = {one.user_id: {one.device_id: ALGORITHM}}
    claims = [other.client.post("keys", "claim", json={"one_time_keys": wanted}) for _ in range(2)]
    claimed = {name for claim in claims for name in claim["one_time_keys"][one.user_id][one.device_id]}
    assert claimed == set(keys.one_time_keys(0, 1))
    message = {"messages": {one.user_id: {one.device_id: {"secret": other.user_id}}}}
    other.client.put("sendToDevice", "test.secret", "txn1", json=message)
    one.wait_until(lambda: one.to_device, "for a message to the device")
    assert [event["content"] for event in one.to_device] == [{"secret": other.user_id}]


def look_one_another_up(here: Peer, there: Peer) -> None:
    """Profiles, directory, and what a space holds."""
    alice, bob = Person(here, "alice"), Person(there, "bob")
    alice.client.put("profile", alice.user_id, "displayname", json={"displayname": "Alice in the garden"})
    assert bob.client.get("profile", alice.user_id, "displayname") == {"displayname": "Alice in the garden"}
    room_id = alice.create_room(visibility="public", name=f"Listed by {alice.user_id}")
    query = {"filter": {"generic_search_term": f"Listed by {alice.user_id}"}}
    status, listed = bob.ask("POST", "publicRooms", json=query, server=here.name)
    assert (status, [room["room_id"] for room in listed["chunk"]]) == (200, [room_id])
    space = alice.create_room(creation_content={"type": "m.space"})
    alice.set_state(space, "m.space.child", {"via": [here.name]}, room_id)
    bob.join(space, via=[here])
    target = f"/_matrix/client/v1/rooms/{space}/hierarchy"
    status, body = bob.client.exchange("GET", target)
    assert status == 200, body
    assert room_id.encode() in body


STORIES: tuple[Story, ...] = (
    join_by_alias_and_talk,
    scroll_back_to_before_one_joined,
    invite_and_accept,
    invite_and_decline,
    invite_and_take_back,
    knock_and_be_let_in,
    join_for_being_in_another_room,
    be_banned_and_let_in_again,
    leave_and_return,
    change_state_and_redact,
    type_and_read,
    share_media,
    exchange_keys,
    look_one_another_up,
)
