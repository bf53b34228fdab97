"""``/_matrix/client/v3/profile/{userId}``"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvschema.engine import Engine
from tests.rig.client import Client
from tests.rig.server import Server, load_test_config, open_server

ALICE = "/profile/@alice:one.test"


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


async def test_get_user_profile_shows_every_field_to_everybody(server: Server, alice: Client) -> None:
    await alice.put(f"{ALICE}/avatar_url", {"avatar_url": "mxc://one.test/a"})
    await alice.put(f"{ALICE}/org.example.pet", {"org.example.pet": {"name": "Rex"}})
    response = await server.client().get(ALICE)
    assert response.json == {
        "displayname": "alice ⚡️",
        "avatar_url": "mxc://one.test/a",
        "org.example.pet": {"name": "Rex"},
    }


@pytest.mark.parametrize("user_id", ["@nobody:one.test", "@alice:two.test", "alice"])
async def test_get_user_profile_not_found(server: Server, user_id: str) -> None:
    assert (await server.client().get(f"/profile/{user_id}")).outcome == (404, "M_NOT_FOUND")


async def test_get_user_profile_not_found_when_deactivated(server: Server, alice: Client) -> None:
    await server.change_account(alice, is_deactivated=True)
    assert (await server.client().get(ALICE)).outcome == (404, "M_NOT_FOUND")


async def test_get_profile_field_tells_one(server: Server, alice: Client) -> None:
    assert (await server.client().get(f"{ALICE}/displayname")).json == {"displayname": "alice ⚡️"}


async def test_get_profile_field_not_found(server: Server, alice: Client) -> None:
    assert (await server.client().get(f"{ALICE}/avatar_url")).outcome == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("key_name", "value"),
    [
        ("displayname", "Alice"),
        ("avatar_url", "mxc://one.test/a"),
        ("m.tz", "Europe/Berlin"),
        ("org.example.pet", None),
    ],
)
async def test_set_profile_field_stores_it(server: Server, alice: Client, key_name: str, value: Any) -> None:
    assert (await alice.put(f"{ALICE}/{key_name}", {key_name: value})).json == {}
    assert (await server.client().get(f"{ALICE}/{key_name}")).json == {key_name: value}


async def test_set_profile_field_reaches_the_rooms(server: Server, alice: Client) -> None:
    await alice.put(f"{ALICE}/displayname", {"displayname": "Alice"})
    await alice.put(f"{ALICE}/displayname", {"displayname": "Alice"})
    await alice.put(f"{ALICE}/m.tz", {"m.tz": "UTC"})
    assert server.services.propagated == ["@alice:one.test"]


async def test_set_profile_field_to_nothing_removes_the_name(server: Server, alice: Client) -> None:
    await alice.put(f"{ALICE}/displayname", {"displayname": ""})
    assert (await server.client().get(ALICE)).json == {}


@pytest.mark.parametrize(
    ("key_name", "body", "outcome"),
    [
        ("displayname", {}, (400, "M_MISSING_PARAM")),
        ("displayname", {"displayname": 1}, (400, "M_BAD_JSON")),
        ("displayname", {"displayname": "x" * 257}, (400, "M_INVALID_PARAM")),
        ("avatar_url", {"avatar_url": "https://one.test/a"}, (400, "M_INVALID_PARAM")),
        ("m.tz", {"m.tz": 1}, (400, "M_BAD_JSON")),
        ("UPPER", {"UPPER": 1}, (400, "M_INVALID_PARAM")),
        ("a" * 256, {"a" * 256: 1}, (400, "M_KEY_TOO_LARGE")),
        ("org.example.big", {"org.example.big": "x" * 65_536}, (400, "M_PROFILE_TOO_LARGE")),
    ],
)
async def test_set_profile_field_refused(
    server: Server, alice: Client, key_name: str, body: dict[str, Any], outcome: tuple[int, str]
) -> None:
    with server.leaves_no_trace():
        assert (await alice.put(f"{ALICE}/{key_name}", body)).outcome == outcome


async def test_set_profile_field_profile_too_large_with_all_fields_together(server: Server, alice: Client) -> None:
    assert (await alice.put(f"{ALICE}/org.a", {"org.a": "x" * 40_000})).status == 200
    with server.leaves_no_trace():
        response = await alice.put(f"{ALICE}/org.b", {"org.b": "x" * 40_000})
    assert response.outcome == (400, "M_PROFILE_TOO_LARGE")


async def test_set_profile_field_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    with server.leaves_no_trace():
        response = await bob.put(f"{ALICE}/displayname", {"displayname": "x"})
    assert response.outcome == (403, "M_FORBIDDEN")


async def test_set_profile_field_user_suspended(server: Server, alice: Client) -> None:
    await server.change_account(alice, is_suspended=True)
    with server.leaves_no_trace():
        response = await alice.put(f"{ALICE}/displayname", {"displayname": "x"})
    assert response.outcome == (403, "M_USER_SUSPENDED")


async def test_set_profile_field_guest_access_forbidden_but_for_the_name(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(ALLOW_GUEST_REGISTRATION="true")) as server:
        guest = server.client()
        guest.use_session((await guest.post("/register", {}, kind="guest")).json)
        profile = f"/profile/{guest.user_id}"
        assert (await guest.put(f"{profile}/displayname", {"displayname": "G"})).status == 200
        response = await guest.put(f"{profile}/m.tz", {"m.tz": "UTC"})
        assert response.outcome == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_delete_profile_field_removes_it(server: Server, alice: Client) -> None:
    assert (await alice.delete(f"{ALICE}/displayname")).json == {}
    assert (await server.client().get(ALICE)).json == {}
    assert (await alice.delete(f"{ALICE}/displayname")).json == {}
    assert server.services.propagated == ["@alice:one.test"]


async def test_delete_profile_field_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    with server.leaves_no_trace():
        assert (await bob.delete(f"{ALICE}/displayname")).outcome == (403, "M_FORBIDDEN")


async def test_delete_profile_field_invalid_param(server: Server, alice: Client) -> None:
    assert (await alice.delete(f"{ALICE}/UPPER")).outcome == (400, "M_INVALID_PARAM")
