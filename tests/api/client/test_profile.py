"""``/_matrix/client/v3/profile/{userId}``"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from conduit_py.outbound.errors import Refused
from conduit_py.service.users import profile_reads
from kvschema.engine import Engine
from tests.rig.client import Client
from tests.rig.remote import Question
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


@pytest.mark.parametrize("user_id", ["@nobody:one.test", "alice"])
async def test_get_user_profile_not_found(server: Server, user_id: str) -> None:
    assert (await server.client().get(f"/profile/{user_id}")).outcome == (404, "M_NOT_FOUND")


async def test_get_user_profile_of_another_server_forbidden_without_federation(server: Server) -> None:
    assert (await server.client().get("/profile/@alice:two.test")).outcome == (403, "M_FORBIDDEN")


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
    async with server.leaves_no_trace():
        assert (await alice.put(f"{ALICE}/{key_name}", body)).outcome == outcome


async def test_set_profile_field_profile_too_large_with_all_fields_together(server: Server, alice: Client) -> None:
    assert (await alice.put(f"{ALICE}/org.a", {"org.a": "x" * 40_000})).status == 200
    async with server.leaves_no_trace():
        response = await alice.put(f"{ALICE}/org.b", {"org.b": "x" * 40_000})
    assert response.outcome == (400, "M_PROFILE_TOO_LARGE")


async def test_set_profile_field_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    async with server.leaves_no_trace():
        response = await bob.put(f"{ALICE}/displayname", {"displayname": "x"})
    assert response.outcome == (403, "M_FORBIDDEN")


async def test_set_profile_field_user_suspended(server: Server, alice: Client) -> None:
    await server.change_account(alice, is_suspended=True)
    async with server.leaves_no_trace():
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
    async with server.leaves_no_trace():
        assert (await bob.delete(f"{ALICE}/displayname")).outcome == (403, "M_FORBIDDEN")


async def test_delete_profile_field_invalid_param(server: Server, alice: Client) -> None:
    assert (await alice.delete(f"{ALICE}/UPPER")).outcome == (400, "M_INVALID_PARAM")


# Users of other servers.

BOB = "/profile/@bob:two.test"


async def test_get_user_profile_asks_the_users_server(server: Server) -> None:
    remotes = server.services.remotes
    remotes.servers["two.test"] = lambda question: {
        "displayname": "Bob",
        "avatar_url": None,
        "m.tz": 1,
        "org.example.pet": {"name": "Rex"},
    }
    assert (await server.client().get(BOB)).json == {"displayname": "Bob", "org.example.pet": {"name": "Rex"}}
    assert (await server.client().get(f"{BOB}/displayname")).json == {"displayname": "Bob"}
    for missing in ("avatar_url", "m.tz"):
        assert (await server.client().get(f"{BOB}/{missing}")).outcome == (404, "M_NOT_FOUND")
    (question,) = remotes.asked
    assert question.segments == ("federation", "v1", "query", "profile")
    assert question.query == {"user_id": ["@bob:two.test"]}


async def test_get_user_profile_is_asked_for_again_after_a_minute(server: Server, autojump_clock: MockClock) -> None:
    remotes = server.services.remotes
    remotes.servers["two.test"] = lambda question: {"displayname": f"Bob {len(remotes.asked)}"}
    assert (await server.client().get(BOB)).json == {"displayname": "Bob 1"}
    await trio.sleep(59)
    assert (await server.client().get(BOB)).json == {"displayname": "Bob 1"}
    await trio.sleep(2)
    assert (await server.client().get(BOB)).json == {"displayname": "Bob 2"}


async def test_get_user_profile_keeps_few_profiles_and_no_large_ones(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    remotes = server.services.remotes
    monkeypatch.setattr(profile_reads, "KEPT_MAX", 2)
    remotes.servers["two.test"] = lambda question: {"displayname": "x" * (5000 if "large" in str(question) else 1)}
    for name in ("a", "b", "a", "b", "c", "a", "large", "large"):
        assert (await server.client().get(f"/profile/@{name}:two.test")).status == 200
    asked = [question.query["user_id"][0][1:].partition(":")[0] for question in remotes.asked]
    assert asked == ["a", "b", "c", "a", "large", "large"]


@pytest.mark.parametrize(
    ("refused", "outcome"),
    [
        ((403, "M_FORBIDDEN"), (403, "M_FORBIDDEN")),
        ((404, "M_NOT_FOUND"), (404, "M_NOT_FOUND")),
        ((401, "M_UNKNOWN_TOKEN"), (502, "M_UNKNOWN")),
        ((500, "M_UNKNOWN"), (502, "M_UNKNOWN")),
    ],
)
async def test_get_user_profile_of_a_server_that_refuses(
    server: Server, refused: tuple[int, str], outcome: tuple[int, str]
) -> None:
    def refuse(question: Question) -> dict[str, Any]:
        raise Refused(*refused, "no")

    server.services.remotes.servers["two.test"] = refuse
    assert (await server.client().get(BOB)).outcome == outcome
    assert (await server.client().get("/profile/@bob:three.test")).outcome == (502, "M_UNKNOWN")


@pytest.mark.parametrize(
    "profile",
    [
        {"displayname": 1, "avatar_url": "https://two.test/a.png"},
        {"x" * 300: 1, "m.tz": []},
        {"org.example.large": "x" * 70_000},
        {"org.example.large": 2**70},
    ],
)
async def test_get_user_profile_shows_nothing_that_no_profile_has(server: Server, profile: dict[str, Any]) -> None:
    server.services.remotes.servers["two.test"] = lambda question: profile
    assert (await server.client().get(BOB)).json == {}
