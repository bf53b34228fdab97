"""``POST /_matrix/client/v3/rooms/{roomId}/upgrade``"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service.rooms import bans
from tests.rig.client import Client, Response, path
from tests.rig.rooms import Json, create, in_room, join, leave, send, set_state
from tests.rig.whole import WholeServer


async def upgrade(user: Client, room_id: str, version: str, **body: Any) -> Response:
    return await user.post(in_room(room_id, "upgrade"), {"new_version": version, **body})


async def replace(user: Client, room_id: str, version: str, **body: Any) -> str:
    response = await upgrade(user, room_id, version, **body)
    assert response.status == 200, response.body
    replacement: str = response.json["replacement_room"]
    return replacement


async def state(user: Client, room_id: str) -> dict[tuple[str, str], Json]:
    response = await user.get(in_room(room_id, "state"))
    assert response.status == 200, response.body
    return {(event["type"], event["state_key"]): event["content"] for event in response.json}


async def last_event_of_type(user: Client, room_id: str, type: str) -> Json:
    events = (await user.get(in_room(room_id, "state"))).json
    (event,) = [event for event in events if event["type"] == type]
    found: Json = event
    return found


async def test_upgrade_room_leads_from_the_old_room_to_the_new_and_back(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice, creation_content={"type": "m.space", "m.federate": False, "org.example": 1})
    replacement = await replace(alice, room_id, "10")
    tombstone = await last_event_of_type(alice, room_id, "m.room.tombstone")
    assert tombstone["content"]["replacement_room"] == replacement
    assert (await state(alice, replacement))["m.room.create", ""] == {
        "creator": alice.user_id,
        "m.federate": False,
        "predecessor": {"room_id": room_id, "event_id": tombstone["event_id"]},
        "room_version": "10",
        "type": "m.space",
    }
    assert (await alice.get("/joined_rooms")).json["joined_rooms"] == [room_id, replacement]


async def test_upgrade_room_to_a_version_whose_rooms_are_named_by_their_first_event(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    levels = (await state(alice, room_id))["m.room.power_levels", ""]
    levels["users"] = {alice.user_id: 100, bob.user_id: 100, "@carol:two.test": 50}
    await set_state(alice, room_id, "m.room.power_levels", levels)

    replacement = await replace(alice, room_id, "12", additional_creators=[bob.user_id])

    new = await state(alice, replacement)
    assert new["m.room.create", ""] == {
        "additional_creators": [bob.user_id],
        "predecessor": {"room_id": room_id},
        "room_version": "12",
    }
    assert new["m.room.power_levels", ""]["users"] == {"@carol:two.test": 50}
    assert (await state(alice, room_id))["m.room.tombstone", ""]["replacement_room"] == replacement


async def test_upgrade_room_from_a_room_with_creators_to_one_without(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice, room_version="12")
    replacement = await replace(alice, room_id, "11")
    assert (await state(alice, replacement))["m.room.power_levels", ""]["users"] == {alice.user_id: 150}
    await set_state(alice, replacement, "m.room.name", {"name": "still mine"})


async def test_upgrade_room_ignores_additional_creators_where_there_are_none(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    replacement = await replace(alice, await create(alice), "11", additional_creators=["nobody"])
    assert "additional_creators" not in (await state(alice, replacement))["m.room.create", ""]


@pytest.mark.parametrize("version", ["6", "10", "11", "12"])
async def test_upgrade_room_copies_state(whole: WholeServer, version: str) -> None:
    alice = await whole.register("alice")
    copied: dict[str, Json] = {
        "m.room.server_acl": {"allow": ["*"], "deny": ["evil.test"]},
        "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
        "m.room.name": {"name": "name"},
        "m.room.avatar": {"url": "mxc://one.test/avatar"},
        "m.room.topic": {"topic": "topic"},
        "m.room.guest_access": {"guest_access": "can_join"},
        "m.room.history_visibility": {"history_visibility": "joined"},
        "m.room.join_rules": {"join_rule": "invite"},
    }
    room_id = await create(alice, room_version="9")
    for event_type, content in copied.items():
        await set_state(alice, room_id, event_type, content)
    await set_state(alice, room_id, "org.example.own", {"kept": "no"})

    new = await state(alice, await replace(alice, room_id, version))

    assert {name: new[name, ""] for name in copied} == copied
    assert ("org.example.own", "") not in new


async def test_upgrade_room_copies_power_levels_as_the_new_version_takes_them(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    levels = {"users": {alice.user_id: "100", "@bob:one.test": "50"}, "events": {"m.room.name": "50"}, "ban": "60"}
    room_id = await create(alice, room_version="9", power_level_content_override=levels)
    new = (await state(alice, await replace(alice, room_id, "11")))["m.room.power_levels", ""]
    assert new["users"] == {alice.user_id: 100, "@bob:one.test": 50}
    assert (new["events"]["m.room.name"], new["ban"]) == (50, 60)


async def test_upgrade_room_moves_aliases_and_the_entry_in_the_directory(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, room_alias_name="main", visibility=None)
    await join(bob, room_id)
    await bob.put(path("directory", "room", "#side:one.test"), {"room_id": room_id})
    await alice.put(path("directory", "list", "room", room_id), {"visibility": "public"})

    replacement = await replace(alice, room_id, "11")

    for alias in ("#main:one.test", "#side:one.test"):
        assert (await bob.get(path("directory", "room", alias))).json["room_id"] == replacement
    assert (await alice.get(in_room(room_id, "aliases"))).json == {"aliases": []}
    assert (await state(alice, replacement))["m.room.canonical_alias", ""] == {"alias": "#main:one.test"}
    assert (await state(alice, room_id))["m.room.canonical_alias", ""] == {}
    published = (await alice.get("/publicRooms")).json["chunk"]
    assert [room["room_id"] for room in published] == [replacement]
    # Whoever made an alias may still delete it.
    assert (await bob.delete(path("directory", "room", "#side:one.test"))).status == 200


async def test_upgrade_room_leaves_the_old_room_to_those_with_power(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await replace(alice, room_id, "11")
    levels = (await state(alice, room_id))["m.room.power_levels", ""]
    assert (levels["events_default"], levels["invite"]) == (50, 50)
    response = await bob.put(in_room(room_id, "send", "m.room.message", "txn"), {"msgtype": "m.text", "body": "hi"})
    assert response.outcome == (403, "M_FORBIDDEN")
    await send(alice, room_id, "over there")


async def test_upgrade_room_without_the_power_to_change_levels(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    levels = (await state(alice, room_id))["m.room.power_levels", ""]
    levels["events"]["m.room.tombstone"] = 50
    levels["users"][bob.user_id] = 50
    await set_state(alice, room_id, "m.room.power_levels", levels)
    replacement = await replace(bob, room_id, "11")
    assert (await state(bob, room_id))["m.room.power_levels", ""] == levels
    assert (await state(bob, replacement))["m.room.power_levels", ""] == levels


async def test_upgrade_room_takes_a_spaces_rooms_along(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id, child, gone = [await create(alice, creation_content={"type": "m.space"}) for _ in range(3)]
    await set_state(alice, room_id, "m.space.child", {"via": ["one.test"]}, child)
    await set_state(alice, room_id, "m.space.child", {}, gone)
    new = await state(alice, await replace(alice, room_id, "11"))
    assert {key: content for (name, key), content in new.items() if name == "m.space.child"} == {
        child: {"via": ["one.test"]}
    }


async def test_upgrade_room_again_is_the_same_room(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    replacement = await replace(alice, room_id, "11")
    async with whole.leaves_no_trace():
        assert await replace(alice, room_id, "11") == replacement
    assert await replace(alice, room_id, "12") != replacement


async def test_upgrade_room_unsupported_room_version(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    async with whole.leaves_no_trace():
        assert (await upgrade(alice, room_id, "nothing")).outcome == (400, "M_UNSUPPORTED_ROOM_VERSION")


async def test_upgrade_room_forbidden(whole: WholeServer) -> None:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice)
    await join(bob, room_id)
    async with whole.leaves_no_trace():
        for user, room in ((bob, room_id), (carol, room_id), (alice, "!nothing:one.test")):
            assert (await upgrade(user, room, "11")).outcome == (403, "M_FORBIDDEN")


async def test_upgrade_room_user_suspended(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    await whole.change_account(alice, is_suspended=True)
    async with whole.leaves_no_trace():
        assert (await upgrade(alice, room_id, "11")).outcome == (403, "M_USER_SUSPENDED")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"new_version": 11}, "M_BAD_JSON"),
        ({"new_version": "12", "additional_creators": "@bob:one.test"}, "M_BAD_JSON"),
        ({"new_version": "12", "additional_creators": ["bob"]}, "M_INVALID_PARAM"),
    ],
)
async def test_upgrade_room_of_a_wrong_form(whole: WholeServer, body: Json, errcode: str) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    async with whole.leaves_no_trace():
        assert (await alice.post(in_room(room_id, "upgrade"), body)).outcome == (400, errcode)


@pytest.mark.parametrize("version", ["11", "12"])
async def test_upgrade_room_lets_nobody_in_who_is_banned(
    whole: WholeServer, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bans, "BANS_COPIED_MAX", 2)
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create(alice, preset="public_chat")
    banned = ["@first:two.test", bob.user_id, "@mallory:two.test"]
    for user_id, reason in zip(banned, (None, "jokes", None), strict=True):
        await set_state(alice, room_id, "m.room.member", _ban(reason), user_id)
    await set_state(alice, room_id, "m.room.member", _ban(None), carol.user_id)
    await set_state(alice, room_id, "m.room.member", {"membership": "leave"}, carol.user_id)

    replacement = await replace(alice, room_id, version)

    new = await state(alice, replacement)
    members = {key: content for (event_type, key), content in new.items() if event_type == "m.room.member"}
    del members[alice.user_id]
    assert members == {bob.user_id: _ban("jokes"), "@mallory:two.test": _ban(None)}, "the latest"
    assert (await bob.post(in_room(replacement, "join"), {})).outcome == (403, "M_FORBIDDEN")
    assert (await carol.post(in_room(replacement, "join"), {})).status == 200


def _ban(reason: str | None) -> Json:
    return {"membership": "ban"} if reason is None else {"membership": "ban", "reason": reason}


async def test_upgrade_room_takes_the_tags_of_its_members_along(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await bob.put(bob.user_path("rooms", room_id, "tags", "u.work"), {"order": 0.5})
    replacement = await replace(alice, room_id, "11")
    since = (await bob.get("/sync")).json["next_batch"]
    await join(bob, replacement)
    joined = (await bob.get("/sync", since=since)).json["rooms"]["join"][replacement]
    assert joined["account_data"]["events"] == [{"type": "m.tag", "content": {"tags": {"u.work": {"order": 0.5}}}}]


@pytest.mark.parametrize("as_state", [False, True])
async def test_upgrade_room_takes_the_tags_of_who_had_left_along(whole: WholeServer, as_state: bool) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await bob.put(bob.user_path("rooms", room_id, "tags", "u.work"), {})
    await leave(bob, room_id)
    replacement = await replace(alice, room_id, "11")
    tags = bob.user_path("rooms", replacement, "tags")
    assert (await bob.get(tags)).json == {"tags": {}}
    if as_state:
        member = in_room(replacement, "state", "m.room.member", bob.user_id)
        assert (await bob.put(member, {"membership": "join"})).status == 200
    else:
        await join(bob, replacement)
    assert (await bob.get(tags)).json == {"tags": {"u.work": {}}}


async def test_upgrade_room_takes_how_it_notifies_its_members_along(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    rules = path("pushrules", "global", "room")
    await bob.put(rules + path(room_id), {"actions": []})
    since = (await bob.get("/sync")).json["next_batch"]
    replacement = await replace(alice, room_id, "11")
    assert (await bob.get(rules + path(replacement))).json["actions"] == []
    assert (await alice.get(rules + path(replacement))).outcome == (404, "M_NOT_FOUND")
    (told,) = (await bob.get("/sync", since=since)).json["account_data"]["events"]
    assert [it["rule_id"] for it in told["content"]["global"]["room"]] == [room_id, replacement]
    await join(bob, replacement)
    await send(alice, replacement, "hello")
    joined = (await bob.get("/sync", since=since)).json["rooms"]["join"][replacement]
    assert joined["unread_notifications"]["notification_count"] == 0


async def test_upgrade_room_leaves_a_direct_chat_one(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await alice.put(alice.user_path("account_data", "m.direct"), {bob.user_id: [room_id], "other": "of no use"})
    replacement = await replace(alice, room_id, "11")
    direct = (await alice.get(alice.user_path("account_data", "m.direct"))).json
    assert direct == {bob.user_id: [room_id, replacement], "other": "of no use"}


async def test_upgrade_room_keeps_what_was_set_for_the_new_room(whole: WholeServer) -> None:
    """Bob comes later, and has looked at the new room before."""
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await leave(bob, room_id)
    await bob.put(bob.user_path("rooms", room_id, "tags", "u.old"), {})
    replacement = await replace(alice, room_id, "11")
    await bob.put(bob.user_path("rooms", replacement, "tags", "u.new"), {})
    await join(bob, replacement)
    assert (await bob.get(bob.user_path("rooms", replacement, "tags"))).json == {"tags": {"u.new": {}}}


async def test_upgrade_room_happens_as_a_whole_or_not_at_all(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice, room_version="5", room_alias_name="main")
    await set_state(alice, room_id, "m.room.topic", {"topic": "a number that newer rooms refuse", "number": 1.5})
    async with whole.leaves_no_trace():
        assert (await upgrade(alice, room_id, "11")).outcome == (400, "M_BAD_JSON")
