"""``queryRoomDirectory``, ``queryProfile``, ``queryInfo`` and ``exchangeOpenIdToken``."""

from __future__ import annotations

from typing import Any

from tests.api.federation.reading import BOB, Shared, open_shared, put_member
from tests.rig.client import path
from tests.rig.network import Node
from tests.rig.rooms import leave


async def test_query_room_directory_names_the_room_and_servers_in_it(server_one: Node) -> None:
    shared = await open_shared(server_one, room_alias_name="lounge")
    for user_id in ("@carol:three.test", "@dan:three.test"):
        await put_member(shared.node, shared.room_id, user_id, "join")
    reply = await shared.two.get("query", "directory", room_alias="#lounge:one.test")
    assert reply.json == {"room_id": shared.room_id, "servers": ["one.test", "three.test", "two.test"]}
    # Who is not in the room any more cannot help to join it.
    await leave(shared.alice, shared.room_id)
    reply = await shared.two.get("query", "directory", room_alias="#lounge:one.test")
    assert reply.json == {"room_id": shared.room_id, "servers": ["three.test", "two.test"]}


async def test_query_room_directory_not_found(shared: Shared) -> None:
    async with shared.leaves_no_trace():
        for alias in ("#nothing:one.test", "#lounge:two.test"):
            assert (await shared.two.get("query", "directory", room_alias=alias)).outcome == (404, "M_NOT_FOUND")
    assert (await shared.two.get("query", "directory")).outcome == (400, "M_MISSING_PARAM")
    assert (await shared.two.get("query", "directory", room_alias="x")).outcome == (400, "M_INVALID_PARAM")


async def profile(shared: Shared, user_id: str, **query: str) -> Any:
    return (await shared.two.get("query", "profile", user_id=user_id, **query)).json


async def test_query_profile_gives_all_fields_or_the_one_asked_for(shared: Shared) -> None:
    alice = shared.alice
    fields = {
        "displayname": "Alice",
        "avatar_url": "mxc://one.test/a",
        "m.tz": "Europe/Paris",
        "org.example.x": {"y": 1},
    }
    for name, value in fields.items():
        assert (await alice.put(path("profile", alice.user_id, name), {name: value})).status == 200
    assert await profile(shared, alice.user_id) == fields
    for name, value in fields.items():
        assert await profile(shared, alice.user_id, field=name) == {name: value}


async def test_query_profile_not_found(shared: Shared) -> None:
    async with shared.leaves_no_trace():
        for user_id, query in (("@nobody:one.test", {}), (BOB, {}), (shared.alice.user_id, {"field": "m.tz"})):
            reply = await shared.two.get("query", "profile", user_id=user_id, **query)
            assert reply.outcome == (404, "M_NOT_FOUND")
    assert (await shared.two.get("query", "profile")).outcome == (400, "M_MISSING_PARAM")
    assert (await shared.two.get("query", "profile", user_id="alice")).outcome == (400, "M_INVALID_PARAM")


async def test_query_info_m_unrecognized(shared: Shared) -> None:
    assert (await shared.two.get("query", "weather")).outcome == (404, "M_UNRECOGNIZED")


async def test_queries_are_answered_to_servers_only(shared: Shared) -> None:
    for query in ("directory?room_alias=%23a:one.test", "profile?user_id=%40alice:one.test", "weather"):
        reply = await shared.get_unsigned(f"query/{query}")
        assert reply.outcome == (401, "M_UNAUTHORIZED")


async def test_exchange_open_id_token_tells_whose_it_is_to_anybody(shared: Shared) -> None:
    granted = await shared.alice.post(path("user", shared.alice.user_id, "openid", "request_token"), {})
    reply = await shared.get_unsigned(f"openid/userinfo?access_token={granted.json['access_token']}")
    assert (reply.status, reply.json) == (200, {"sub": shared.alice.user_id})
    async with shared.leaves_no_trace():
        for token in ("nothing", "1.nothing", shared.alice.access_token):
            reply = await shared.get_unsigned(f"openid/userinfo?access_token={token}")
            assert reply.outcome == (401, "M_UNKNOWN_TOKEN")
        assert (await shared.get_unsigned("openid/userinfo")).outcome == (400, "M_MISSING_PARAM")
