"""The Admin Room: how it is made, who is in it, and what nobody can do to it."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.data import rooms, short_ids
from conduit_py.matrix.ids import RoomAlias, RoomId, UserId
from conduit_py.matrix.room_versions import get_room_version
from conduit_py.service.admin.room import ROOM_VERSION
from conduit_py.service.errors import Forbidden
from tests.rig.admin import Chat, Json, find_admin_room
from tests.rig.client import Client, path
from tests.rig.rooms import create
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole

CONDUIT = "@conduit:one.test"


async def get_state(client: Client, room_id: str) -> dict[tuple[str, str], Json]:
    events = (await client.get(path("rooms", room_id, "state"))).json
    return {(event["type"], event["state_key"]): event["content"] for event in events}


def test_its_creator_can_never_be_demoted() -> None:
    version = get_room_version(ROOM_VERSION)
    assert version is not None
    assert version.auth.privileged_creators


async def test_first_account_finds_it_in_the_first_sync(alice: Chat) -> None:
    rooms = (await alice.client.get("/sync")).json["rooms"]
    assert list(rooms["join"]) == [alice.room_id]
    assert not rooms["invite"]
    events = rooms["join"][alice.room_id]["timeline"]["events"]
    assert events[-1]["sender"] == CONDUIT
    assert events[-1]["content"]["msgtype"] == "m.notice"
    assert "allow-registration false" in events[-1]["content"]["body"]


async def test_room_is_what_it_has_to_be(alice: Chat) -> None:
    state = await get_state(alice.client, alice.room_id)
    assert state["m.room.create", ""] == {"room_version": "12", "m.federate": False}
    assert state["m.room.join_rules", ""] == {"join_rule": "invite"}
    assert state["m.room.guest_access", ""] == {"guest_access": "forbidden"}
    assert state["m.room.name", ""] == {"name": "one.test Admin Room"}
    assert state["m.room.canonical_alias", ""] == {"alias": "#admins:one.test"}
    assert state["m.room.member", CONDUIT]["membership"] == "join"
    assert ("m.room.encryption", "") not in state


async def test_second_start_makes_nothing(whole: WholeServer, alice: Chat) -> None:
    async with whole.leaves_no_trace():
        await whole.admin.prepare()


async def test_start_that_was_interrupted_is_gone_on_with(server: Server) -> None:
    async with open_whole(server) as whole:
        await whole.admin.room._make_account()
        client = await whole.register("alice")
        assert not (await client.get("/sync")).json["rooms"]["join"]
    async with open_whole(server) as whole:
        await whole.admin.prepare()
        client.move(whole.client())
        assert list((await client.get("/sync")).json["rooms"]["join"]) == [await find_admin_room(client)]


async def test_alias_that_another_room_has_is_taken_from_it(server: Server) -> None:
    async with open_whole(server) as whole:
        client = await whole.register("alice")
        other = await create(client, room_alias_name="admins-of-something")
        await give_alias(whole, other)
        await whole.admin.prepare()
        room_id = await find_admin_room(client)
        assert room_id != other
        aliases = (await client.get(path("rooms", other, "aliases"))).json["aliases"]
        assert aliases == ["#admins-of-something:one.test"]


async def give_alias(whole: WholeServer, room_id: str) -> None:
    async with whole.store.writer.turn() as turn:
        with whole.store.snapshot() as snapshot:
            room = short_ids.get_room(snapshot, RoomId(room_id))
        assert room is not None
        rooms.stage_alias(turn, room, RoomId(room_id), RoomAlias("#admins:one.test"), UserId("@alice:one.test"))


async def test_second_account_does_not_see_it(whole: WholeServer, alice: Chat) -> None:
    bob = await whole.register("bob")
    assert not (await bob.get("/sync")).json["rooms"]["join"]
    assert (await bob.post(path("join", alice.room_id), {})).outcome == (403, "M_FORBIDDEN")


async def test_those_who_become_administrators_join_and_those_who_cease_leave(whole: WholeServer, alice: Chat) -> None:
    bob = await whole.register("bob")
    await whole.change_account(bob, is_admin=True)
    await whole.admin.room.settle()
    assert list((await bob.get("/sync")).json["rooms"]["join"]) == [alice.room_id]
    await whole.change_account(bob, is_admin=False)
    await whole.admin.room.settle()
    assert not (await bob.get("/sync")).json["rooms"]["join"]
    welcomes = [event for event in await alice.read_all() if "Welcome" in event["content"].get("body", "")]
    assert len(welcomes) == 1


async def test_administrator_who_left_stays_out_until_called(whole: WholeServer, alice: Chat) -> None:
    await alice.client.post(path("rooms", alice.room_id, "leave"), {})
    async with whole.leaves_no_trace():
        await whole.admin.prepare()
    await whole.admin.room.settle(called=UserId(alice.client.user_id))
    assert list((await alice.client.get("/sync")).json["rooms"]["join"]) == [alice.room_id]


@pytest.mark.parametrize(
    ("type", "content"),
    [
        ("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}),
        ("m.room.tombstone", {"body": "moved", "replacement_room": "!x:one.test"}),
        ("m.room.power_levels", {"users_default": 100}),
        ("m.room.join_rules", {"join_rule": "public"}),
        ("m.room.history_visibility", {"history_visibility": "world_readable"}),
        ("m.room.canonical_alias", {}),
    ],
)
async def test_administrators_cannot_change_what_it_is(
    whole: WholeServer, alice: Chat, type: str, content: dict[str, Any]
) -> None:
    async with whole.leaves_no_trace():
        answer = await alice.client.put(path("rooms", alice.room_id, "state", type, ""), content)
        assert answer.outcome == (403, "M_FORBIDDEN")


async def test_administrators_may_rename_it(alice: Chat) -> None:
    answer = await alice.client.put(path("rooms", alice.room_id, "state", "m.room.name", ""), {"name": "Bridge"})
    assert answer.status == 200


async def test_nobody_can_be_invited_or_thrown_out(whole: WholeServer, alice: Chat) -> None:
    bob = await whole.register("bob")
    async with whole.leaves_no_trace():
        for operation, user_id in (("invite", bob.user_id), ("kick", CONDUIT), ("ban", CONDUIT)):
            answer = await alice.client.post(path("rooms", alice.room_id, operation), {"user_id": user_id})
            assert answer.outcome == (403, "M_FORBIDDEN")


async def test_it_cannot_be_upgraded_published_or_lose_its_alias(whole: WholeServer, alice: Chat) -> None:
    client, room_id = alice.client, alice.room_id
    other = await create(client)
    async with whole.leaves_no_trace():
        upgraded = await client.post(path("rooms", room_id, "upgrade"), {"new_version": "12"})
        assert upgraded.outcome == (403, "M_FORBIDDEN")
        published = await client.put(path("directory", "list", "room", room_id), {"visibility": "public"})
        assert published.outcome == (403, "M_FORBIDDEN")
        deleted = await client.delete(path("directory", "room", "#admins:one.test"))
        assert deleted.outcome == (403, "M_FORBIDDEN")
        taken = await client.put(path("directory", "room", "#admins:one.test"), {"room_id": other})
        assert taken.status == 409


async def test_it_cannot_be_removed_or_disabled(whole: WholeServer, alice: Chat) -> None:
    removal, closed = whole.rooms.removal, whole.rooms.closed
    async with whole.leaves_no_trace():
        for close in (removal.begin, closed.disable):
            with pytest.raises(Forbidden):
                await close(RoomId(alice.room_id))


async def test_servers_own_account_is_nobodys(whole: WholeServer, alice: Chat) -> None:
    taken = {"username": "conduit", "password": "x", "auth": {"type": "m.login.dummy"}}
    assert (await whole.client().post("/register", taken)).outcome == (400, "M_USER_IN_USE")
    log_in = {"type": "m.login.password", "user": "conduit", "password": ""}
    assert (await whole.client().post("/login", log_in)).outcome == (403, "M_FORBIDDEN")
    room_id = await create(alice.client)
    invited = await alice.client.post(path("rooms", room_id, "invite"), {"user_id": CONDUIT})
    assert invited.outcome == (403, "M_INVITE_BLOCKED")
    found = await alice.client.post("/user_directory/search", {"search_term": "conduit"})
    assert found.json["results"] == []
    locked = await alice.client.put(
        path("admin", "lock", CONDUIT).replace("/admin", "/_matrix/client/v1/admin", 1), {"locked": True}
    )
    assert locked.outcome == (403, "M_FORBIDDEN")
