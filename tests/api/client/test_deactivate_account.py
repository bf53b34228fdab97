"""``POST /_matrix/client/v3/account/deactivate``"""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing

from conduit_py.data import short_ids
from conduit_py.matrix.ids import UserId
from conduit_py.service.errors import NotFound
from conduit_py.service.users.tokens import account_key
from tests.rig.auth import by_password
from tests.rig.client import Client
from tests.rig.rooms import RoomServer, create, in_room, invite, join
from tests.rig.server import PASSWORD, Server
from tests.rig.whole import open_whole

DEACTIVATE = "/account/deactivate"


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


async def deactivate(user: Client, **body: Any) -> None:
    response = await user.post(DEACTIVATE, {"auth": by_password(user), **body})
    assert response.json == {"id_server_unbind_result": "success"}


async def test_deactivate_account_closes_every_session(server: Server, alice: Client) -> None:
    phone = await server.log_in(alice)
    await deactivate(alice)
    assert (await alice.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    assert (await phone.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    rows = server.dump()
    assert rows["userdeviceid_metadata"] == rows["token_userdeviceid"] == []


async def test_deactivate_account_ends_logging_in(server: Server, alice: Client) -> None:
    await deactivate(alice)
    body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
    assert (await server.client().post("/login", body)).outcome == (403, "M_FORBIDDEN")


async def test_deactivate_account_never_gives_the_name_out_again(server: Server, alice: Client) -> None:
    await deactivate(alice)
    assert (await server.client().get("/register/available", username="alice")).outcome == (400, "M_USER_IN_USE")
    body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    assert (await server.client().post("/register", body)).outcome == (400, "M_USER_IN_USE")


async def test_deactivate_account_hides_the_profile(server: Server, alice: Client) -> None:
    await deactivate(alice)
    assert (await server.client().get("/profile/@alice:one.test")).outcome == (404, "M_NOT_FOUND")


async def test_deactivate_account_voids_login_tokens(server: Server, alice: Client) -> None:
    granted = await alice.post("/_matrix/client/v1/login/get_token", {"auth": by_password(alice)})
    await deactivate(alice)
    body = {"type": "m.login.token", "token": granted.json["login_token"]}
    assert (await server.client().post("/login", body)).outcome == (403, "M_FORBIDDEN")


async def test_deactivate_account_voids_openid_tokens(server: Server, alice: Client) -> None:
    token = (await alice.post(alice.user_path("openid", "request_token"), {})).json["access_token"]
    await deactivate(alice)
    assert server.services.accounts.openid.get_user(token) is None
    assert server.dump()["openidtoken_expiresatuserid"] == []


async def test_deactivate_account_keeps_what_was_not_to_be_erased(server: Server, alice: Client) -> None:
    await alice.put(alice.user_path("account_data", "org.example.a"), {"kept": True})
    await deactivate(alice)
    assert server.dump()["roomuserdataid_accountdata"] != []
    assert server.dump()["userid_erasedpos"] == []


async def test_deactivate_account_erases_what_the_user_kept(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    await alice.put(alice.user_path("account_data", "org.example.a"), {"kept": True})
    await alice.post(alice.user_path("filter"), {"room": {"timeline": {"limit": 3}}})
    await deactivate(alice, erase=True)
    rows = server.dump()
    assert rows["userfilterid_filter"] == []
    assert len(rows["userid_erasedpos"]) == 1
    # Bob's push rules and name are all that is left.
    assert len(rows["roomuserdataid_accountdata"]) == len(rows["roomusertype_roomuserdataid"]) == 1
    assert len(rows["useridprofilekey_value"]) == 1
    assert (await bob.get("/profile/@bob:one.test")).status == 200


async def test_deactivate_account_takes_the_office_from_an_administrator(server: Server, alice: Client) -> None:
    await deactivate(alice)
    account = server.get_account(alice.user_id)
    assert account is not None
    assert account.is_deactivated
    assert not account.is_admin


async def test_deactivate_account_asks_for_the_password(server: Server, alice: Client) -> None:
    response = await alice.post(DEACTIVATE, {})
    assert response.status == 401
    assert response.json["flows"] == [{"stages": ["m.login.password"]}]
    assert (await alice.get("/account/whoami")).status == 200


async def test_deactivate_account_forbidden_by_a_wrong_password(server: Server, alice: Client) -> None:
    session = (await alice.post(DEACTIVATE, {})).json["session"]
    body = {"auth": by_password(alice, "wrong") | {"session": session}}
    async with server.leaves_no_trace():
        assert (await alice.post(DEACTIVATE, body)).outcome == (401, "M_FORBIDDEN")


async def test_deactivate_account_forbidden_to_erase_on_second_thought(server: Server, alice: Client) -> None:
    session = (await alice.post(DEACTIVATE, {})).json["session"]
    body = {"auth": by_password(alice) | {"session": session}, "erase": True}
    async with server.leaves_no_trace():
        assert (await alice.post(DEACTIVATE, body)).outcome == (403, "M_FORBIDDEN")


async def test_deactivate_account_bad_json(server: Server, alice: Client) -> None:
    async with server.leaves_no_trace():
        assert (await alice.post(DEACTIVATE, {"erase": "yes"})).outcome == (400, "M_BAD_JSON")


async def test_deactivate_account_missing_token(server: Server) -> None:
    assert (await server.client().post(DEACTIVATE, {})).outcome == (401, "M_MISSING_TOKEN")


async def test_deactivate_account_is_open_to_the_suspended(server: Server, alice: Client) -> None:
    await server.change_account(alice, is_suspended=True)
    await deactivate(alice)


async def test_deactivate_account_by_two_at_once_closes_it_once(server: Server, alice: Client) -> None:
    user_id = UserId(alice.user_id)
    outcomes: list[str] = []

    async def close() -> None:
        try:
            await server.services.accounts.deactivation.deactivate_other(user_id, erase=False)
        except NotFound as error:
            outcomes.append(str(error))
        else:
            outcomes.append("closed")

    with server.store.snapshot() as snapshot:
        user = short_ids.get_user(snapshot, user_id)
    assert user is not None
    async with trio.open_nursery() as nursery, server.store.locks.hold(account_key(user)):
        nursery.start_soon(close)
        nursery.start_soon(close)
        # Both have found it open, and wait.
        await trio.testing.wait_all_tasks_blocked()
    assert sorted(outcomes) == ["There is no such account any more", "closed"]


async def test_deactivate_account_leaves_rooms_and_invitations(rooms: RoomServer) -> None:
    alice, bob = await rooms.register("alice"), await rooms.register("bob")
    joined, invited = await create(bob), await create(bob)
    await join(alice, joined)
    await invite(bob, invited, alice)
    async with open_whole(rooms) as whole:
        again, owner = await whole.log_in(alice), await whole.log_in(bob)
        await deactivate(again)
        with trio.fail_after(5):
            while whole.dump()["leavinguserids"]:
                await trio.testing.wait_all_tasks_blocked()
        for room_id in (joined, invited):
            content = (await owner.get(in_room(room_id, "state", "m.room.member", alice.user_id))).json
            assert content["membership"] == "leave"


async def test_deactivate_other_needs_no_password(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    await server.services.accounts.deactivation.deactivate_other(UserId(bob.user_id), erase=False)
    assert (await bob.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    assert (await alice.get("/account/whoami")).status == 200
