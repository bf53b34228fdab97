"""``PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}``"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service.rooms.canonical_alias import REMOTE_ALIASES_MAX
from tests.rig.asking import VERSIONS, ask_state, crowd, get_content, membership_of, set_levels, timeline_of
from tests.rig.client import path
from tests.rig.remote import Question
from tests.rig.rooms import RoomServer, create, in_room, invite, join, leave, set_state

MEMBER = "m.room.member"
CANONICAL = "m.room.canonical_alias"


@pytest.mark.parametrize("version", VERSIONS)
async def test_set_room_state_with_key_sets_the_entry(rooms: RoomServer, version: str) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version=version)
    first = (await ask_state(alice, room_id, "org.example.seat", {"row": 1}, "a/b ä")).json["event_id"]
    second = (await ask_state(alice, room_id, "org.example.seat", {"row": 2}, "a/b ä")).json["event_id"]
    assert first != second
    assert await get_content(alice, room_id, "org.example.seat", "a/b ä") == {"row": 2}
    event = (await timeline_of(alice, room_id))[-1]
    assert (event["event_id"], event["state_key"]) == (second, "a/b ä")


async def test_set_room_state_with_key_tells_odd_entries_apart(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    await set_state(alice, room_id, "org.example\0a", {"row": 1}, "b")
    await set_state(alice, room_id, "org.example", {"row": 2}, "a\0b")
    assert await get_content(alice, room_id, "org.example\0a", "b") == {"row": 1}
    assert await get_content(alice, room_id, "org.example", "a\0b") == {"row": 2}


async def test_set_room_state_with_key_takes_an_empty_key_without_its_slash(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    for name, parts in (("a", ()), ("b", ("",))):
        assert (await alice.put(in_room(room_id, "state", "m.room.name", *parts), {"name": name})).status == 200
        assert await get_content(alice, room_id, "m.room.name") == {"name": name}


async def test_set_room_state_with_key_says_the_same_once(rooms: RoomServer) -> None:
    alice, bob, _ = (await crowd(rooms))[1:]
    room_id = await create(alice)
    await join(bob, room_id)
    await set_levels(alice, room_id, state_default=0)
    first = await set_state(alice, room_id, "org.example", {"a": 1, "b": [1]})
    async with rooms.leaves_no_trace():
        assert await set_state(alice, room_id, "org.example", {"b": [1], "a": 1}) == first
    assert await set_state(bob, room_id, "org.example", {"a": 1, "b": [1]}) != first


async def test_set_room_state_with_key_knows_true_from_one(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    seen = set()
    for value in (1, True, 0, False, [True], [1]):
        seen.add(await set_state(alice, room_id, "org.example", {"a": value}))
        content = await get_content(alice, room_id, "org.example")
        assert repr(content) == repr({"a": value})
    assert len(seen) == 6
    async with rooms.leaves_no_trace():
        assert (await ask_state(alice, room_id, "org.example", {"a": [1.0]})).outcome == (400, "M_BAD_JSON")


async def test_set_room_state_with_key_forbidden(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await crowd(rooms)
    dave = await rooms.register("dave")
    attempts = [
        (carol, "m.room.name", ""),
        (bob, "m.room.power_levels", ""),
        (dave, "m.room.name", ""),
        (bob, "org.example", carol.user_id),
        (alice, "org.example", "@anybody"),
        (alice, "m.room.redaction", ""),
        (alice, "m.room.create", ""),
    ]
    async with rooms.leaves_no_trace():
        for user, event_type, state_key in attempts:
            assert (await ask_state(user, room_id, event_type, {"a": 1}, state_key)).outcome == (403, "M_FORBIDDEN")
        assert (await ask_state(alice, "!nowhere:one.test", "org.example", {})).outcome == (403, "M_FORBIDDEN")
    assert (await ask_state(bob, room_id, "org.example", {}, bob.user_id)).status == 200


@pytest.mark.parametrize("version", VERSIONS)
async def test_set_room_state_with_key_forbidden_for_another_create_event(rooms: RoomServer, version: str) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version=version)
    async with rooms.leaves_no_trace():
        for state_key in ("", "x"):
            response = await ask_state(alice, room_id, "m.room.create", {"creator": alice.user_id}, state_key)
            assert response.outcome == (403, "M_FORBIDDEN")


async def test_set_room_state_with_key_keeps_power_within_bounds(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await crowd(rooms)
    levels = await get_content(alice, room_id, "m.room.power_levels")
    levels = levels | {"events": levels["events"] | {"m.room.power_levels": 50}}
    await set_state(alice, room_id, "m.room.power_levels", levels)
    for changes in ({"users": {**levels["users"], carol.user_id: 51}}, {"ban": 51}, {"users": {bob.user_id: 50}}):
        async with rooms.leaves_no_trace():
            response = await ask_state(bob, room_id, "m.room.power_levels", levels | changes)
        assert response.outcome == (403, "M_FORBIDDEN")
    users = {**levels["users"], carol.user_id: 50}
    assert (await ask_state(bob, room_id, "m.room.power_levels", levels | {"users": users})).status == 200


async def test_set_room_state_with_key_refuses_to_list_a_creator(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version="12")
    async with rooms.leaves_no_trace():
        response = await ask_state(alice, room_id, "m.room.power_levels", {"users": {alice.user_id: 100}})
    assert response.outcome == (400, "M_BAD_JSON")
    assert f"{alice.user_id} is a creator" in response.json["error"]


async def test_set_room_state_with_key_refuses_what_are_no_power_levels(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    events: dict[str, Any] = {"m.room.name": "50"}
    bad: list[dict[str, Any]] = [{"ban": "50"}, {"events": events}, {"events": []}, {"users": {"bob": 50}}]
    async with rooms.leaves_no_trace():
        for content in bad:
            response = await ask_state(alice, room_id, "m.room.power_levels", content)
            assert response.outcome == (400, "M_BAD_JSON")


async def test_set_room_state_with_key_refuses_what_is_no_content(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        assert (await ask_state(alice, room_id, "org.example", {"a": 1.5})).outcome == (400, "M_BAD_JSON")
        assert (await ask_state(alice, room_id, "org.example", {"a": 2**53})).outcome == (400, "M_BAD_JSON")
        assert (await ask_state(alice, room_id, "org.example", {"a": "x" * 65536})).outcome == (413, "M_TOO_LARGE")
        assert (await ask_state(alice, room_id, "org.example", {}, "x" * 256)).outcome == (413, "M_TOO_LARGE")
        assert (await ask_state(alice, room_id, "x" * 256, {})).outcome == (413, "M_TOO_LARGE")
        response = await alice.request("PUT", in_room(room_id, "state", "org.example", ""), body=b"[]")
        assert response.outcome == (400, "M_BAD_JSON")


async def test_set_room_state_with_key_user_suspended(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    await rooms.change_account(alice, is_suspended=True)
    async with rooms.leaves_no_trace():
        assert (await ask_state(alice, room_id, "m.room.name", {"name": "x"})).outcome == (403, "M_USER_SUSPENDED")
        content = {"membership": "join", "displayname": "x"}
        assert (await ask_state(alice, room_id, MEMBER, content, alice.user_id)).outcome == (403, "M_USER_SUSPENDED")
    assert (await ask_state(alice, room_id, MEMBER, {"membership": "leave"}, alice.user_id)).status == 200


# Memberships.


async def test_set_room_state_with_key_sets_memberships(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await crowd(rooms)
    dave = await rooms.register("dave")
    for sender, target, membership in [
        (alice, dave, "invite"),
        (dave, dave, "leave"),
        (dave, dave, "join"),
        (bob, carol, "leave"),
        (bob, carol, "ban"),
        (bob, carol, "leave"),
        (carol, carol, "join"),
    ]:
        response = await ask_state(sender, room_id, MEMBER, {"membership": membership}, target.user_id)
        assert response.status == 200, response.body
        assert await membership_of(alice, room_id, target.user_id) == membership


async def test_set_room_state_with_key_gives_a_name_for_one_room(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    assert (await alice.put(path("profile", alice.user_id, "displayname"), {"displayname": "Alice"})).status == 200
    room_id = await create(alice)
    content = {"membership": "join", "displayname": "A.", "org.example": 1}
    assert (await ask_state(alice, room_id, MEMBER, content, alice.user_id)).status == 200
    assert await get_content(alice, room_id, MEMBER, alice.user_id) == content
    assert (await ask_state(alice, room_id, MEMBER, {"membership": "join"}, alice.user_id)).status == 200
    assert (await get_content(alice, room_id, MEMBER, alice.user_id))["displayname"] == "Alice"
    async with rooms.leaves_no_trace():
        assert (await ask_state(alice, room_id, MEMBER, {"membership": "join"}, alice.user_id)).status == 200


async def test_set_room_state_with_key_forbidden_memberships(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await crowd(rooms)
    dave = await rooms.register("dave")
    attempts: list[tuple[Any, str, object]] = [
        (alice, dave.user_id, "join"),
        (carol, bob.user_id, "leave"),
        (dave, dave.user_id, "leave"),
        (dave, bob.user_id, "invite"),
        (dave, dave.user_id, "knock"),
        (alice, "@dave:two.test", "invite"),
    ]
    async with rooms.leaves_no_trace():
        for user, target, membership in attempts:
            response = await ask_state(user, room_id, MEMBER, {"membership": membership}, target)
            assert response.outcome == (403, "M_FORBIDDEN")


async def test_set_room_state_with_key_refuses_what_is_no_membership(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        for content in ({}, {"membership": 1}, {"membership": "happy"}):
            assert (await ask_state(alice, room_id, MEMBER, content, alice.user_id)).outcome == (400, "M_BAD_JSON")
        for user_id in ("", "bob", "bob:one.test", "@bob"):
            response = await ask_state(alice, room_id, MEMBER, {"membership": "ban"}, user_id)
            assert response.outcome == (400, "M_INVALID_PARAM")


async def test_set_room_state_with_key_vouches_for_nobody_who_says_so(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": []}}
    room_id = await create(alice, initial_state=[rules])
    content = {"membership": "join", "join_authorised_via_users_server": alice.user_id}
    async with rooms.leaves_no_trace():
        assert (await ask_state(bob, room_id, MEMBER, content, bob.user_id)).outcome == (403, "M_FORBIDDEN")
    await invite(alice, room_id, bob)
    assert (await ask_state(bob, room_id, MEMBER, content, bob.user_id)).status == 200
    assert "join_authorised_via_users_server" not in await get_content(bob, room_id, MEMBER, bob.user_id)


async def test_set_room_state_with_key_guest_access_forbidden(rooms: RoomServer) -> None:
    alice, gast = await rooms.register("alice"), await rooms.register("gast")
    room_id = await create(alice)
    await rooms.change_account(gast, is_guest=True)
    async with rooms.leaves_no_trace():
        response = await ask_state(gast, room_id, MEMBER, {"membership": "join"}, gast.user_id)
    assert response.outcome == (403, "M_GUEST_ACCESS_FORBIDDEN")


# Canonical aliases.


async def test_set_room_state_with_key_takes_aliases_of_the_room(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_alias_name="lounge")
    assert (await alice.put(path("directory", "room", "#chairs:one.test"), {"room_id": room_id})).status == 200
    content = {"alias": "#chairs:one.test", "alt_aliases": ["#lounge:one.test"]}
    assert (await ask_state(alice, room_id, CANONICAL, content)).status == 200
    # Those that are listed already may have gone.
    assert (await alice.delete(path("directory", "room", "#chairs:one.test"))).status == 200
    assert (await ask_state(alice, room_id, CANONICAL, {"alias": None})).status == 200


async def test_set_room_state_with_key_keeps_aliases_that_are_listed(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    gone = {"alias": "#gone:one.test", "alt_aliases": ["#elsewhere:two.test", 5, "nonsense"]}
    room_id = await create(alice, initial_state=[{"type": CANONICAL, "content": gone}])
    for content in ({"alias": "#elsewhere:two.test", "alt_aliases": ["nonsense"]}, {}, {"alias": ""}):
        assert (await ask_state(alice, room_id, CANONICAL, content)).status == 200


@pytest.mark.parametrize("alias", ["#other:one.test", "#nowhere:one.test", "#lounge:two.test"])
async def test_set_room_state_with_key_bad_alias(rooms: RoomServer, alias: str) -> None:
    alice = await rooms.register("alice")
    room_id, _ = await create(alice, room_alias_name="lounge"), await create(alice, room_alias_name="other")
    async with rooms.leaves_no_trace():
        assert (await ask_state(alice, room_id, CANONICAL, {"alias": alias})).outcome == (400, "M_BAD_ALIAS")
        content = {"alias": "#lounge:one.test", "alt_aliases": [alias]}
        assert (await ask_state(alice, room_id, CANONICAL, content)).outcome == (400, "M_BAD_ALIAS")


async def test_set_room_state_with_key_asks_other_servers_for_their_aliases(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    named = {"#ours:two.test": room_id, "#other:two.test": "!other:two.test"}

    def answer(question: Question) -> dict[str, object]:
        return {"room_id": named[question.query["room_alias"][0]], "servers": []}

    rooms.remotes.servers["two.test"] = answer
    content = {"alias": "#ours:two.test"}
    assert (await ask_state(alice, room_id, CANONICAL, content)).status == 200
    async with rooms.leaves_no_trace():
        for alias in ("#other:two.test", "#lounge:three.test"):
            listed = {**content, "alt_aliases": [alias]}
            assert (await ask_state(alice, room_id, CANONICAL, listed)).outcome == (400, "M_BAD_ALIAS")
    # What is listed already is not asked for again.
    assert [question.query["room_alias"] for question in rooms.remotes.asked if question.destination == "two.test"] == [
        ["#ours:two.test"],
        ["#other:two.test"],
    ]


async def test_set_room_state_with_key_asks_other_servers_for_few_aliases_and_for_members_only(
    rooms: RoomServer,
) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice)
    rooms.remotes.servers["two.test"] = lambda question: {}
    many = {"alt_aliases": [f"#{number}:two.test" for number in range(REMOTE_ALIASES_MAX + 1)]}
    async with rooms.leaves_no_trace():
        assert (await ask_state(alice, room_id, CANONICAL, many)).outcome == (400, "M_INVALID_PARAM")
        one = {"alias": "#one:two.test"}
        assert (await ask_state(bob, room_id, CANONICAL, one)).outcome == (403, "M_FORBIDDEN")
    assert rooms.remotes.asked == []


async def test_set_room_state_with_key_invalid_param_for_what_is_no_alias(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        for content in ({"alias": "lounge"}, {"alt_aliases": ["#lounge"]}):
            assert (await ask_state(alice, room_id, CANONICAL, content)).outcome == (400, "M_INVALID_PARAM")
        for wrong in ({"alias": 5}, {"alt_aliases": "#lounge:one.test"}, {"alt_aliases": [5]}):
            assert (await ask_state(alice, room_id, CANONICAL, wrong)).outcome == (400, "M_BAD_JSON")


async def test_set_room_state_with_key_forbidden_once_left(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    await leave(alice, room_id)
    async with rooms.leaves_no_trace():
        assert (await ask_state(alice, room_id, "m.room.name", {"name": "x"})).outcome == (403, "M_FORBIDDEN")
