"""``/_matrix/client/v3/user/{userId}/account_data``, global and by room"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service.users import account_data
from tests.rig.client import Client, path
from tests.rig.server import Server

ROOM = "!room:one.test"
TYPE = "org.example.settings"


@pytest.fixture
async def alice(server: Server) -> Client:
    await server.hear_of_room(ROOM)
    return await server.register("alice")


def in_room(user: Client, type: str = TYPE, room_id: str = ROOM) -> str:
    return user.user_path("rooms", room_id, "account_data", type)


async def test_set_account_data_stores_it(server: Server, alice: Client) -> None:
    assert (await alice.put(alice.user_path("account_data", TYPE), {"dark": True})).json == {}
    assert (await alice.get(alice.user_path("account_data", TYPE))).json == {"dark": True}


async def test_set_account_data_replaces_the_older_row(server: Server, alice: Client) -> None:
    rows = len(server.dump()["roomuserdataid_accountdata"])
    for value in range(3):
        await alice.put(alice.user_path("account_data", TYPE), {"value": value})
    assert (await alice.get(alice.user_path("account_data", TYPE))).json == {"value": 2}
    assert len(server.dump()["roomuserdataid_accountdata"]) == rows + 1


async def test_set_account_data_wakes_the_syncs_of_the_user(server: Server, alice: Client) -> None:
    server.woken.clear()
    await alice.put(alice.user_path("account_data", TYPE), {})
    assert len(server.woken) == 1


@pytest.mark.parametrize("type", ["m.fully_read", "m.push_rules"])
async def test_set_account_data_bad_json_for_types_of_the_server(server: Server, alice: Client, type: str) -> None:
    async with server.leaves_no_trace():
        response = await alice.put(alice.user_path("account_data", type), {})
    assert response.outcome == (405, "M_BAD_JSON")


async def test_set_account_data_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    async with server.leaves_no_trace():
        response = await bob.put(alice.user_path("account_data", TYPE), {})
    assert response.outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "outcome"), [(b"[]", (400, "M_BAD_JSON")), (b"{", (400, "M_NOT_JSON")), (b"", (400, "M_NOT_JSON"))]
)
async def test_set_account_data_refuses_what_is_no_object(
    server: Server, alice: Client, body: bytes, outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        response = await alice.request("PUT", alice.user_path("account_data", TYPE), body=body)
    assert response.outcome == outcome


async def test_set_account_data_too_large(server: Server, alice: Client) -> None:
    async with server.leaves_no_trace():
        response = await alice.put(alice.user_path("account_data", TYPE), {"x": "x" * account_data.CONTENT_BYTES_MAX})
    assert response.outcome == (413, "M_TOO_LARGE")


async def test_set_account_data_too_large_with_too_many_types(
    server: Server, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_data, "TYPES_MAX", 3)
    outcomes = [(await alice.put(alice.user_path("account_data", f"org.{n}"), {})).status for n in range(4)]
    assert outcomes == [200, 200, 413, 413]
    assert (await alice.put(alice.user_path("account_data", "org.0"), {"again": 1})).status == 200


async def test_set_account_data_invalid_param_when_the_type_is_too_long(server: Server, alice: Client) -> None:
    async with server.leaves_no_trace():
        response = await alice.put(alice.user_path("account_data", "x" * 256), {})
    assert response.outcome == (400, "M_INVALID_PARAM")


async def test_get_account_data_not_found(alice: Client) -> None:
    assert (await alice.get(alice.user_path("account_data", TYPE))).outcome == (404, "M_NOT_FOUND")


async def test_get_account_data_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    assert (await bob.get(alice.user_path("account_data", TYPE))).outcome == (403, "M_FORBIDDEN")


async def test_get_account_data_shows_push_rules_as_clients_know_them(alice: Client) -> None:
    response = await alice.get(alice.user_path("account_data", "m.push_rules"))
    assert response.json == (await alice.get("/pushrules/")).json


async def test_set_account_data_per_room_is_apart_from_the_global(server: Server, alice: Client) -> None:
    await server.hear_of_room("!other:one.test")
    assert (await alice.put(in_room(alice), {"a": 1})).json == {}
    assert (await alice.get(in_room(alice))).json == {"a": 1}
    assert (await alice.get(alice.user_path("account_data", TYPE))).outcome == (404, "M_NOT_FOUND")
    assert (await alice.get(in_room(alice, room_id="!other:one.test"))).outcome == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("room_id", "type", "outcome"),
    [
        ("@notaroom:one.test", TYPE, (400, "M_INVALID_PARAM")),
        ("!unknown:one.test", TYPE, (404, "M_NOT_FOUND")),
        (ROOM, "m.fully_read", (405, "M_BAD_JSON")),
        (ROOM, "m.push_rules", (405, "M_BAD_JSON")),
    ],
)
async def test_set_account_data_per_room_refused(
    server: Server, alice: Client, room_id: str, type: str, outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        assert (await alice.put(in_room(alice, type, room_id), {})).outcome == outcome


async def test_set_account_data_per_room_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    async with server.leaves_no_trace():
        assert (await bob.put(in_room(alice), {})).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("room_id", "outcome"),
    [("@notaroom:one.test", (400, "M_INVALID_PARAM")), ("!unknown:one.test", (404, "M_NOT_FOUND"))],
)
async def test_get_account_data_per_room_refused(alice: Client, room_id: str, outcome: tuple[int, str]) -> None:
    assert (await alice.get(in_room(alice, room_id=room_id))).outcome == outcome


async def test_get_account_data_per_room_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    assert (await bob.get(in_room(alice))).outcome == (403, "M_FORBIDDEN")


def tags_of(user: Client, *tag: str, room_id: str = ROOM) -> str:
    return user.user_path("rooms", room_id, "tags", *tag)


async def test_set_room_tag_adds_it(server: Server, alice: Client) -> None:
    assert (await alice.put(tags_of(alice, "m.favourite"), {"order": 0.1})).json == {}
    assert (await alice.put(tags_of(alice, "u.Work/Home"))).json == {}
    expected = {"tags": {"m.favourite": {"order": 0.1}, "u.Work/Home": {}}}
    assert (await alice.get(tags_of(alice))).json == expected
    assert (await alice.get(in_room(alice, "m.tag"))).json == expected


async def test_set_room_tag_again_changes_nothing(server: Server, alice: Client) -> None:
    await alice.put(tags_of(alice, "m.favourite"), {"order": 0.1})
    async with server.leaves_no_trace():
        assert (await alice.put(tags_of(alice, "m.favourite"), {"order": 0.1})).status == 200


@pytest.mark.parametrize(
    ("room_id", "tag", "body", "outcome"),
    [
        (ROOM, "x" * 256, {}, (400, "M_INVALID_PARAM")),
        (ROOM, "u.x", {"order": "first"}, (400, "M_BAD_JSON")),
        (ROOM, "u.x", {"order": True}, (400, "M_BAD_JSON")),
        ("!unknown:one.test", "u.x", {}, (404, "M_NOT_FOUND")),
        ("nonsense", "u.x", {}, (400, "M_INVALID_PARAM")),
        (ROOM, "u.x", {"x": "x" * account_data.CONTENT_BYTES_MAX}, (413, "M_TOO_LARGE")),
    ],
)
async def test_set_room_tag_refused(
    server: Server, alice: Client, room_id: str, tag: str, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        assert (await alice.put(tags_of(alice, tag, room_id=room_id), body)).outcome == outcome


async def test_set_room_tag_too_large_with_too_many(
    server: Server, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_data, "TAGS_MAX", 2)
    outcomes = [(await alice.put(tags_of(alice, f"u.{n}"), {})).status for n in range(3)]
    assert outcomes == [200, 200, 413]


async def test_set_room_tag_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    async with server.leaves_no_trace():
        assert (await bob.put(tags_of(alice, "u.x"), {})).outcome == (403, "M_FORBIDDEN")


async def test_delete_room_tag_removes_it(server: Server, alice: Client) -> None:
    await alice.put(tags_of(alice, "u.a"), {})
    await alice.put(tags_of(alice, "u.b"), {})
    assert (await alice.delete(tags_of(alice, "u.a"))).json == {}
    assert (await alice.get(tags_of(alice))).json == {"tags": {"u.b": {}}}
    async with server.leaves_no_trace():
        assert (await alice.delete(tags_of(alice, "u.a"))).json == {}


async def test_delete_room_tag_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    assert (await bob.delete(tags_of(alice, "u.x"))).outcome == (403, "M_FORBIDDEN")


async def test_get_room_tags_of_a_room_without_any(alice: Client) -> None:
    assert (await alice.get(tags_of(alice))).json == {"tags": {}}
    assert (await alice.get(tags_of(alice, room_id="!unknown:one.test"))).json == {"tags": {}}


async def test_get_room_tags_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    assert (await bob.get(tags_of(alice))).outcome == (403, "M_FORBIDDEN")


async def test_get_room_tags_passes_over_what_a_client_wrote_in_their_place(alice: Client) -> None:
    await alice.put(in_room(alice, "m.tag"), {"tags": ["no", "tags"]})
    assert (await alice.get(path("user", alice.user_id, "rooms", ROOM, "tags"))).json == {"tags": {}}
