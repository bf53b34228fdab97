"""``/_matrix/client/v3/register``"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from kvschema.engine import Engine
from tests.rig.client import Client
from tests.rig.server import PASSWORD, Server, load_test_config, open_server

DUMMY = {"type": "m.login.dummy"}
FLOWS = [{"stages": ["m.login.dummy"]}]


def asked(username: str = "alice", **more: Any) -> dict[str, Any]:
    return {"username": username, "password": PASSWORD, "auth": DUMMY, **more}


async def test_register_makes_an_account_and_a_session(server: Server) -> None:
    client = server.client()
    response = await client.post("/register", asked(device_id="LAPTOP", initial_device_display_name="Laptop"))
    assert response.status == 200
    assert response.json["user_id"] == "@alice:one.test"
    assert response.json["device_id"] == "LAPTOP"
    client.use_session(response.json)
    assert (await client.get("/devices/LAPTOP")).json["display_name"] == "Laptop"
    assert (await client.get("/profile/@alice:one.test")).json == {"displayname": "alice ⚡️"}


async def test_register_without_login_gives_no_token(server: Server) -> None:
    response = await server.client().post("/register", asked(inhibit_login=True))
    assert response.json == {"user_id": "@alice:one.test"}


async def test_register_asks_to_authenticate_first(server: Server) -> None:
    client = server.client()
    response = await client.post("/register", {"username": "alice", "password": PASSWORD})
    assert response.status == 401
    assert response.json["flows"] == FLOWS
    assert "errcode" not in response.json
    assert server.get_account("@alice:one.test") is None
    response = await client.post("/register", asked(auth=DUMMY | {"session": response.json["session"]}))
    assert response.status == 200


async def test_register_leaves_no_session_of_its_authentication(server: Server) -> None:
    client = server.client()
    session = (await client.post("/register", {})).json["session"]
    await client.post("/register", asked(auth=DUMMY | {"session": session}))
    assert server.dump()["userdevicesessionid_uiaainfo"] == []


async def test_register_holds_no_password_while_it_is_pending(server: Server) -> None:
    await server.client().post("/register", {"username": "alice", "password": PASSWORD})
    rows = [row for rows in server.dump().values() for pair in rows for row in pair]
    assert not any(PASSWORD.encode() in row for row in rows)


async def test_register_without_a_name_gets_one(server: Server) -> None:
    response = await server.client().post("/register", {"password": PASSWORD, "auth": DUMMY})
    assert response.json["user_id"].endswith(":one.test")


async def test_register_makes_capitals_small(server: Server) -> None:
    response = await server.client().post("/register", asked("Alice"))
    assert response.json["user_id"] == "@alice:one.test"


@pytest.mark.parametrize("username", ["", "al ice", "älice", "_bot", "a" * 250, "alice:one.test"])
async def test_register_invalid_username(server: Server, username: str) -> None:
    async with server.leaves_no_trace():
        response = await server.client().post("/register", asked(username))
    assert response.outcome == (400, "M_INVALID_USERNAME")


@pytest.mark.parametrize("username", ["alice", "ALICE", "conduit"])
async def test_register_user_in_use(server: Server, username: str) -> None:
    await server.register("alice")
    async with server.leaves_no_trace():
        response = await server.client().post("/register", asked(username))
    assert response.outcome == (400, "M_USER_IN_USE")


async def test_register_user_in_use_when_deactivated(server: Server) -> None:
    await server.change_account(await server.register("alice"), is_deactivated=True)
    assert (await server.client().post("/register", asked())).outcome == (400, "M_USER_IN_USE")


async def test_register_user_in_use_before_authentication(server: Server) -> None:
    await server.register("alice")
    async with server.leaves_no_trace():
        response = await server.client().post("/register", {"username": "alice"})
    assert response.outcome == (400, "M_USER_IN_USE")


async def test_register_exclusive(server: Server) -> None:
    async with server.leaves_no_trace():
        response = await server.client().post("/register", asked("bridge-anna"))
    assert response.outcome == (400, "M_EXCLUSIVE")


async def test_register_of_one_name_by_many_at_once_succeeds_once(server: Server) -> None:
    outcomes: list[tuple[int, str | None]] = []

    async def register() -> None:
        outcomes.append((await server.client().post("/register", asked())).outcome)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(register)
    assert sorted(outcomes, key=str) == [(200, None)] + [(400, "M_USER_IN_USE")] * 4


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"password": None}, (400, "M_MISSING_PARAM")),
        ({"password": ""}, (400, "M_WEAK_PASSWORD")),
        ({"password": "x" * 5000}, (400, "M_INVALID_PARAM")),
        ({"password": 1}, (400, "M_BAD_JSON")),
        ({"username": 1}, (400, "M_BAD_JSON")),
        ({"auth": "m.login.dummy"}, (400, "M_BAD_JSON")),
        ({"auth": {"type": 1}}, (400, "M_BAD_JSON")),
        ({"auth": {"type": "m.login.dummy", "session": 1}}, (400, "M_BAD_JSON")),
        ({"inhibit_login": "yes"}, (400, "M_BAD_JSON")),
        ({"device_id": "\u0007"}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_register_refuses_what_it_cannot_read(
    server: Server, changes: dict[str, Any], outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        response = await server.client().post("/register", asked(**changes))
    assert response.outcome == outcome


async def test_register_not_json(server: Server) -> None:
    response = await server.client().request("POST", "/register", body=b"{")
    assert response.outcome == (400, "M_NOT_JSON")


async def test_register_with_a_stage_of_no_flow_asks_again(server: Server) -> None:
    response = await server.client().post("/register", asked(auth={"type": "m.login.terms"}))
    assert response.outcome == (401, "M_UNRECOGNIZED")
    assert response.json["flows"] == FLOWS
    assert server.get_account("@alice:one.test") is None


async def test_register_forbidden_when_closed(make_engine: Callable[[], Engine]) -> None:
    closed = load_test_config(ALLOW_REGISTRATION="false")
    async with open_server(make_engine(), closed) as server, server.leaves_no_trace():
        response = await server.client().post("/register", asked())
    assert response.outcome == (403, "M_FORBIDDEN")


async def test_register_guest_access_forbidden(server: Server) -> None:
    async with server.leaves_no_trace():
        response = await server.client().post("/register", {}, kind="guest")
    assert response.outcome == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_register_unknown_kind_is_refused(server: Server) -> None:
    assert (await server.client().post("/register", {}, kind="ghost")).outcome == (400, "M_INVALID_PARAM")


async def test_register_guest_where_guests_are_welcome(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(ALLOW_GUEST_REGISTRATION="true")) as server:
        guest = server.client()
        body = {"username": "alice", "device_id": "MINE", "initial_device_display_name": "Kiosk"}
        response = await guest.post("/register", body, kind="guest")
        assert response.json["user_id"] != "@alice:one.test"
        assert response.json["device_id"] != "MINE"
        guest.use_session(response.json)
        assert (await guest.get("/account/whoami")).json["is_guest"] is True
        assert (await guest.get(f"/devices/{guest.device_id}")).json["display_name"] == "Kiosk"
        assert (await guest.get("/capabilities")).outcome == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_register_with_the_configured_token(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(REGISTRATION_TOKEN="sesame")) as server:
        client = server.client()
        response = await client.post("/register", {})
        assert response.json["flows"] == [{"stages": ["m.login.registration_token"]}]
        session = response.json["session"]
        wrong = {"type": "m.login.registration_token", "token": "simsim", "session": session}
        response = await client.post("/register", asked(auth=wrong))
        assert response.outcome == (401, "M_FORBIDDEN")
        assert response.json["session"] == session
        assert (await client.post("/register", asked(auth=wrong | {"token": "sesame"}))).status == 200


async def test_register_with_an_expired_session_starts_again(
    server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    client = server.client()
    session = (await client.post("/register", {})).json["session"]
    await trio.sleep(2 * 60 * 60)
    response = await client.post("/register", {"auth": {"session": session}})
    assert response.status == 401
    assert response.json["session"] != session


async def test_register_with_a_session_survives_a_restart(make_engine: Callable[[], Engine]) -> None:
    engine, config = make_engine(), load_test_config()
    async with open_server(engine, config) as server:
        session = (await server.client().post("/register", {})).json["session"]
    async with open_server(engine, config) as server:
        response = await server.client().post("/register", asked(auth=DUMMY | {"session": session}))
        assert response.status == 200
        assert server.dump()["userdevicesessionid_uiaainfo"] == []


async def test_check_username_availability_says_yes(server: Server) -> None:
    assert (await server.client().get("/register/available", username="alice")).json == {"available": True}


@pytest.mark.parametrize(
    ("username", "errcode"),
    [("bob", "M_USER_IN_USE"), ("b b", "M_INVALID_USERNAME"), ("bridge-bob", "M_EXCLUSIVE")],
)
async def test_check_username_availability_says_why_not(server: Server, username: str, errcode: str) -> None:
    await server.register("bob")
    response = await server.client().get("/register/available", username=username)
    assert response.outcome == (400, errcode)


async def test_check_username_availability_missing_param(server: Server) -> None:
    assert (await server.client().get("/register/available")).outcome == (400, "M_MISSING_PARAM")


VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"


async def test_registration_token_validity_tells_which_token_opens(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(REGISTRATION_TOKEN="sesame")) as server:
        client = server.client()
        assert (await client.get(VALIDITY, token="sesame")).json == {"valid": True}
        assert (await client.get(VALIDITY, token="simsim")).json == {"valid": False}
        assert (await client.get(VALIDITY)).outcome == (400, "M_MISSING_PARAM")


async def test_registration_token_validity_forbidden_where_there_are_no_tokens(server: Server) -> None:
    assert (await server.client().get(VALIDITY, token="sesame")).outcome == (403, "M_FORBIDDEN")


async def test_first_account_is_the_administrators(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    assert [is_admin(server, user) for user in (alice, bob)] == [True, False]


async def test_no_second_administrator_after_the_first_is_deactivated(server: Server) -> None:
    alice = await server.register("alice")
    await server.change_account(alice, is_deactivated=True)
    assert not is_admin(server, await server.register("bob"))


async def test_first_accounts_at_once_make_one_administrator(server: Server) -> None:
    made: list[Client] = []

    async def register(name: str) -> None:
        made.append(await server.register(name))

    async with trio.open_nursery() as nursery:
        for name in ("alice", "bob", "carol"):
            nursery.start_soon(register, name)
    assert sum(is_admin(server, client) for client in made) == 1


async def test_admin_token_opens_closed_registration_once(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(ALLOW_REGISTRATION="false")) as server:
        token = await server.services.accounts.register.prepare_first_admin()
        assert token is not None
        auth = {"type": "m.login.registration_token", "token": token}
        assert is_admin(server, await server.register("alice", auth=auth))
        async with server.leaves_no_trace():
            response = await server.client().post("/register", asked("bob", auth=auth))
        assert response.outcome == (403, "M_FORBIDDEN")
        assert await server.services.accounts.register.prepare_first_admin() is None


async def test_admin_token_is_made_anew_at_each_start(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(ALLOW_REGISTRATION="false")) as server:
        register = server.services.accounts.register
        old, new = await register.prepare_first_admin(), await register.prepare_first_admin()
        auth = {"type": "m.login.registration_token", "token": old}
        assert (await server.client().post("/register", asked(auth=auth))).outcome == (401, "M_FORBIDDEN")
        assert is_admin(server, await server.register("alice", auth=auth | {"token": new}))


async def test_admin_token_is_not_stored(server: Server) -> None:
    token = await server.services.accounts.register.prepare_first_admin()
    assert token is not None
    assert not any(token.encode() in value for rows in server.dump().values() for _, value in rows)


async def test_admin_token_used_twice_at_once_makes_one_account(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(ALLOW_REGISTRATION="false")) as server:
        token = await server.services.accounts.register.prepare_first_admin()
        outcomes: list[tuple[int, str | None]] = []

        async def register(name: str) -> None:
            auth = {"type": "m.login.registration_token", "token": token}
            outcomes.append((await server.client().post("/register", asked(name, auth=auth))).outcome)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(register, "alice")
            nursery.start_soon(register, "bob")
        assert sorted(outcomes, key=str) == [(200, None), (403, "M_FORBIDDEN")]


async def test_admin_needs_the_token_where_it_is_required(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(REQUIRE_ADMIN_TOKEN="true")) as server:
        token = await server.services.accounts.register.prepare_first_admin()
        assert not is_admin(server, await server.register("alice"))
        auth = {"type": "m.login.registration_token", "token": token}
        assert is_admin(server, await server.register("bob", auth=auth))


async def test_open_registration_without_administrator_is_warned_of(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await server.services.accounts.register.prepare_first_admin()
    assert "whoever registers first becomes it" in caplog.text


def is_admin(server: Server, user: Client) -> bool:
    account = server.get_account(user.user_id)
    assert account is not None
    return account.is_admin
