"""``POST /_matrix/client/v3/createRoom``"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.rig.asking import VERSIONS, ask_state, get_content, get_state, membership_of, timeline_of
from tests.rig.client import Client, Response, path
from tests.rig.rooms import RoomServer, create, in_room, join

LEVELS = "m.room.power_levels"


async def ask(user: Client, **body: Any) -> Response:
    return await user.post("/createRoom", body)


async def make(user: Client, **body: Any) -> str:
    response = await ask(user, **body)
    assert response.status == 200, response.body
    room_id: str = response.json["room_id"]
    return room_id


def entry(type: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": type, "content": content, **more}


@pytest.mark.parametrize("version", VERSIONS)
async def test_create_room_sends_what_is_implied_in_order(rooms: RoomServer, version: str) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await make(
        alice,
        room_version=version,
        preset="private_chat",
        room_alias_name="lounge",
        name="Lounge",
        topic="Chairs",
        invite=[bob.user_id],
        initial_state=[entry("org.example.seat", {"row": 4}, state_key="a")],
    )
    assert [(event["type"], event["state_key"]) for event in await timeline_of(alice, room_id)] == [
        ("m.room.create", ""),
        ("m.room.member", alice.user_id),
        ("m.room.power_levels", ""),
        ("m.room.canonical_alias", ""),
        ("m.room.join_rules", ""),
        ("m.room.history_visibility", ""),
        ("m.room.guest_access", ""),
        ("org.example.seat", "a"),
        ("m.room.name", ""),
        ("m.room.topic", ""),
        ("m.room.member", bob.user_id),
    ]
    state = await get_state(alice, room_id)
    create_content = state["m.room.create", ""]["content"]
    assert create_content["room_version"] == version
    assert create_content.get("creator") == (alice.user_id if int(version) < 11 else None)
    assert state["m.room.topic", ""]["content"]["topic"] == "Chairs"
    users = state[LEVELS, ""]["content"]["users"]
    assert users == ({alice.user_id: 100} if version != "12" else {})
    assert (":" in room_id) == (version != "12")


async def test_create_room_takes_no_body_to_be_defaults(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    response = await alice.post("/createRoom")
    state = await get_state(alice, response.json["room_id"])
    assert state["m.room.join_rules", ""]["content"] == {"join_rule": "invite"}
    assert state["m.room.create", ""]["content"]["room_version"] == "11"
    assert ("m.room.name", "") not in state


@pytest.mark.parametrize(
    ("body", "join_rule", "guest_access", "is_listed"),
    [
        ({"preset": "private_chat"}, "invite", "can_join", False),
        ({"preset": "trusted_private_chat"}, "invite", "can_join", False),
        ({"preset": "public_chat"}, "public", "forbidden", False),
        ({"visibility": "public"}, "public", "forbidden", True),
        ({"visibility": "private"}, "invite", "can_join", False),
        ({"visibility": "public", "preset": "private_chat"}, "invite", "can_join", True),
    ],
)
async def test_create_room_sets_the_preset(
    rooms: RoomServer, body: dict[str, Any], join_rule: str, guest_access: str, is_listed: bool
) -> None:
    alice = await rooms.register("alice")
    room_id = await make(alice, **body)
    state = await get_state(alice, room_id)
    assert state["m.room.join_rules", ""]["content"]["join_rule"] == join_rule
    assert state["m.room.guest_access", ""]["content"]["guest_access"] == guest_access
    assert state["m.room.history_visibility", ""]["content"]["history_visibility"] == "shared"
    listed = (await alice.get(path("directory", "list", "room", room_id))).json["visibility"]
    assert listed == ("public" if is_listed else "private")


@pytest.mark.parametrize("version", ["11", "12"])
async def test_create_room_trusts_the_invited(rooms: RoomServer, version: str) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    carol = "@carol:two.test"
    room_id = await make(
        alice,
        room_version=version,
        preset="trusted_private_chat",
        invite=[bob.user_id],
        creation_content={"additional_creators": [carol, bob.user_id]},
    )
    content = await get_content(alice, room_id, "m.room.create")
    assert content["additional_creators"] == [carol, bob.user_id]
    users = (await get_content(alice, room_id, LEVELS))["users"]
    assert users == ({} if version == "12" else {alice.user_id: 100, bob.user_id: 100})
    await join(bob, room_id)
    assert (await ask_state(bob, room_id, "m.room.name", {"name": "Bob's"})).status == 200


async def test_create_room_initial_state_wins_over_the_preset_and_loses_to_name_and_topic(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await make(
        alice,
        preset="public_chat",
        name="Lounge",
        topic="Chairs",
        initial_state=[
            entry("m.room.name", {"name": "other"}),
            entry("m.room.topic", {"topic": "other"}),
            entry("m.room.join_rules", {"join_rule": "invite"}),
            entry("m.room.history_visibility", {"history_visibility": "joined"}, state_key=""),
        ],
    )
    events = await timeline_of(alice, room_id)
    types = [event["type"] for event in events]
    assert len(set(types)) == len(types)
    assert types[-4:] == ["m.room.join_rules", "m.room.history_visibility", "m.room.name", "m.room.topic"]
    state = await get_state(alice, room_id)
    assert state["m.room.name", ""]["content"]["name"] == "Lounge"
    assert state["m.room.join_rules", ""]["content"] == {"join_rule": "invite"}
    assert state["m.room.history_visibility", ""]["content"] == {"history_visibility": "joined"}


async def test_create_room_takes_power_levels_and_members_as_initial_state(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    levels = {"users": {alice.user_id: 100}, "state_default": 20}
    room_id = await make(
        alice,
        initial_state=[
            entry(LEVELS, levels),
            entry("m.room.member", {"membership": "ban"}, state_key="@mallory:two.test"),
            entry("m.room.member", {"membership": "join", "displayname": "A."}, state_key=alice.user_id),
            entry("m.room.member", {"membership": "invite"}, state_key=bob.user_id),
        ],
    )
    assert await get_content(alice, room_id, LEVELS) == levels
    assert await membership_of(alice, room_id, "@mallory:two.test") == "ban"
    assert await get_content(alice, room_id, "m.room.member", alice.user_id) == {
        "membership": "join",
        "displayname": "A.",
    }
    await join(bob, room_id)


async def test_create_room_lays_the_override_over_the_power_levels(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await make(alice, power_level_content_override={"invite": 70, "events": {"org.example.call": 0}})
    levels = await get_content(alice, room_id, LEVELS)
    assert (levels["invite"], levels["events"], levels["users"]) == (70, {"org.example.call": 0}, {alice.user_id: 100})


@pytest.mark.parametrize(
    ("override", "tombstone"),
    [
        ({}, 150),
        ({"state_default": 200}, 201),
        ({"events": {"org.example.call": 0}}, 150),
        ({"events": {"m.room.tombstone": 60}}, 60),
    ],
)
async def test_create_room_keeps_tombstones_above_state_default(
    rooms: RoomServer, override: dict[str, Any], tombstone: int
) -> None:
    alice = await rooms.register("alice")
    room_id = await make(alice, room_version="12", power_level_content_override=override)
    levels = await get_content(alice, room_id, LEVELS)
    assert levels["events"]["m.room.tombstone"] == tombstone


async def test_create_room_keeps_creation_content_but_for_what_the_server_says(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    predecessor = {"room_id": "!old:one.test"}
    given = {"m.federate": False, "type": "m.space", "predecessor": predecessor, "org.example": 1}
    room_id = await make(alice, creation_content={**given, "creator": "@eve:one.test", "room_version": "1"})
    assert await get_content(alice, room_id, "m.room.create") == {**given, "room_version": "11"}


async def test_create_room_makes_two_rooms_of_the_same_content(rooms: RoomServer, autojump_clock: object) -> None:
    alice = await rooms.register("alice")
    made = {await make(alice, room_version="12") for _ in range(3)}
    assert len(made) == 3


async def test_create_room_makes_two_rooms_of_requests_that_cross(rooms: RoomServer, autojump_clock: object) -> None:
    alice = await rooms.register("alice")
    made: list[str] = []

    async def make_one() -> None:
        made.append(await make(alice, room_version="12"))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(make_one)
    assert len(set(made)) == 4


async def test_create_room_gives_an_alias_once_when_requests_cross(rooms: RoomServer) -> None:
    users = [await rooms.register(name) for name in ("alice", "bob", "carol")]
    outcomes: list[tuple[int, str | None]] = []

    async def make_one(user: Client) -> None:
        outcomes.append((await ask(user, room_alias_name="lounge")).outcome)

    async with trio.open_nursery() as nursery:
        for user in users:
            nursery.start_soon(make_one, user)
    assert sorted(outcomes, key=str) == [(200, None), (400, "M_ROOM_IN_USE"), (400, "M_ROOM_IN_USE")]


async def test_create_room_writes_profiles_into_members(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    for user, name in ((alice, "Alice"), (bob, "Bob")):
        assert (await user.put(path("profile", user.user_id, "displayname"), {"displayname": name})).status == 200
    room_id = await make(alice, invite=[bob.user_id, bob.user_id], is_direct=True)
    joined = await get_content(alice, room_id, "m.room.member", alice.user_id)
    assert joined == {"membership": "join", "displayname": "Alice"}
    invited = await get_content(alice, room_id, "m.room.member", bob.user_id)
    assert invited == {"membership": "invite", "displayname": "Bob", "is_direct": True}


async def test_create_room_makes_the_alias(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await make(alice, room_alias_name="lounge")
    answer = (await rooms.client().get(path("directory", "room", "#lounge:one.test"))).json
    assert answer["room_id"] == room_id
    assert await get_content(alice, room_id, "m.room.canonical_alias") == {"alias": "#lounge:one.test"}


async def test_create_room_room_in_use_when_the_alias_is_taken(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    await make(alice, room_alias_name="lounge")
    async with rooms.leaves_no_trace():
        response = await ask(alice, room_alias_name="lounge", visibility="public")
    assert response.outcome == (400, "M_ROOM_IN_USE")


@pytest.mark.parametrize("room_version", ["13", "", "org.example.own"])
async def test_create_room_unsupported_room_version(rooms: RoomServer, room_version: str) -> None:
    alice = await rooms.register("alice")
    async with rooms.leaves_no_trace():
        response = await ask(alice, room_version=room_version)
    assert response.outcome == (400, "M_UNSUPPORTED_ROOM_VERSION")


@pytest.mark.parametrize(
    "body",
    [
        {"initial_state": [entry("m.room.create", {})]},
        {"initial_state": [entry("m.room.create", {})], "room_version": "12"},
        {"initial_state": [entry("m.room.redaction", {"redacts": "$event"})]},
        {"initial_state": [entry("m.room.member", {"membership": "join"}, state_key="@bob:one.test")]},
        {"initial_state": [entry("org.example", {}, state_key="@bob:one.test")]},
        {"power_level_content_override": {"users": {}}, "name": "Lounge"},
        {"power_level_content_override": {"users": {"@alice:one.test": 100}}, "room_version": "12"},
        {"power_level_content_override": {"invite": "50"}},
        {"power_level_content_override": {"invite": 101}, "invite": ["@bob:one.test"]},
        {"invite": ["@alice:one.test"]},
    ],
)
async def test_create_room_invalid_room_state(rooms: RoomServer, body: dict[str, Any]) -> None:
    alice, _ = await rooms.register("alice"), await rooms.register("bob")
    async with rooms.leaves_no_trace():
        response = await ask(alice, **body)
    assert response.outcome == (400, "M_INVALID_ROOM_STATE")


async def test_create_room_says_that_creators_have_no_power_level(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    override = {"users": {alice.user_id: 100}}
    response = await ask(alice, room_version="12", power_level_content_override=override)
    assert f"{alice.user_id} is a creator" in response.json["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"initial_state": [{"type": "m.room.name"}]},
        {"initial_state": [{"content": {}}]},
        {"initial_state": ["m.room.name"]},
        {"initial_state": {}},
        {"initial_state": [entry("m.room.name", {"name": "x", "size": 1.5})]},
        {"initial_state": [entry("m.room.member", {}, state_key="@alice:one.test")]},
        {"invite": "@bob:one.test"},
        {"invite": [1]},
        {"name": 1},
        {"topic": []},
        {"is_direct": "yes"},
        {"invite_3pid": {"medium": "email"}},
        {"room_version": 11},
        {"preset": 1},
        {"creation_content": []},
        {"creation_content": {"m.federate": "false"}},
        {"creation_content": {"type": 1}},
        {"creation_content": {"predecessor": "!old:one.test"}},
        {"power_level_content_override": []},
    ],
)
async def test_create_room_bad_json(rooms: RoomServer, body: dict[str, Any]) -> None:
    alice = await rooms.register("alice")
    async with rooms.leaves_no_trace():
        response = await ask(alice, **body)
    assert response.outcome == (400, "M_BAD_JSON")


async def test_create_room_bad_json_when_it_is_not_json(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    async with rooms.leaves_no_trace():
        response = await alice.request("POST", "/createRoom", body=b"{")
        assert response.outcome == (400, "M_NOT_JSON")
        response = await alice.request("POST", "/createRoom", body=b"[]")
        assert response.outcome == (400, "M_BAD_JSON")


@pytest.mark.parametrize(
    "body",
    [
        {"preset": "secret_chat"},
        {"visibility": "hidden"},
        {"room_alias_name": "a:b"},
        {"room_alias_name": "a" * 255},
        {"invite": ["bob"]},
        {"invite": [f"@user{number}:one.test" for number in range(101)]},
        {"initial_state": [entry("m.room.member", {"membership": "ban"}, state_key="bob")]},
        {"room_version": "12", "creation_content": {"additional_creators": "@bob:one.test"}},
        {"room_version": "12", "creation_content": {"additional_creators": ["bob"]}},
    ],
)
async def test_create_room_invalid_param(rooms: RoomServer, body: dict[str, Any]) -> None:
    alice = await rooms.register("alice")
    async with rooms.leaves_no_trace():
        response = await ask(alice, **body)
    assert response.outcome == (400, "M_INVALID_PARAM")


async def test_create_room_too_large(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    async with rooms.leaves_no_trace():
        assert (await ask(alice, topic="x" * 40_000)).outcome == (413, "M_TOO_LARGE")
        assert (await ask(alice, initial_state=[entry("x" * 256, {})])).outcome == (413, "M_TOO_LARGE")


async def test_create_room_refuses_who_cannot_be_invited(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    config = {"default_action": "block"}
    assert (await bob.put(bob.user_path("account_data", "m.invite_permission_config"), config)).status == 200
    async with rooms.leaves_no_trace():
        assert (await ask(alice, invite=[bob.user_id])).outcome == (403, "M_INVITE_BLOCKED")
        threepid = {"id_server": "id.test", "id_access_token": "t", "medium": "email", "address": "a@b.test"}
        assert (await ask(alice, invite_3pid=[threepid])).outcome == (403, "M_THREEPID_DENIED")


async def test_create_room_passes_over_who_is_not_there(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await make(alice, invite=["@nobody:one.test", bob.user_id])
    members = {key: event for key, event in (await get_state(alice, room_id)).items() if key[0] == "m.room.member"}
    assert {key for _, key in members} == {alice.user_id, bob.user_id}


async def test_create_room_refuses_suspended_users_and_guests(rooms: RoomServer) -> None:
    alice, gast = await rooms.register("alice"), await rooms.register("gast")
    await rooms.change_account(alice, is_suspended=True)
    await rooms.change_account(gast, is_guest=True)
    async with rooms.leaves_no_trace():
        assert (await ask(alice)).outcome == (403, "M_USER_SUSPENDED")
        assert (await ask(gast)).outcome == (403, "M_GUEST_ACCESS_FORBIDDEN")
        assert (await rooms.client().post("/createRoom", {})).outcome == (401, "M_MISSING_TOKEN")


async def test_create_room_keeps_the_invited_out_until_they_join(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    room_id = await create(alice, name="Lounge", invite=[bob.user_id])
    assert (await bob.get(in_room(room_id, "state"))).outcome == (403, "M_FORBIDDEN")
    assert (await bob.get("/joined_rooms")).json == {"joined_rooms": []}
