"""Attempts are counted before they cost anything or change anything."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from conduit_py.data.users import get_local
from conduit_py.matrix.ids import DeviceId, ServerName, UserId
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.errors import Forbidden, LimitExceeded
from conduit_py.service.requester import Requester
from conduit_py.service.users.build import Accounts, Surroundings, build_accounts
from conduit_py.service.users.login import LoginRequest
from conduit_py.service.users.register import Registration
from conduit_py.service.users.sessions import DeviceRequest
from tests.rig.client import Client
from tests.rig.remote import Remotes
from tests.rig.server import PASSWORD, Server, load_test_config

HOME = DeviceRequest(address="192.0.2.1")


async def nowhere(user: object, where: object) -> None:
    """There are no rooms."""


def accounts_refusing(server: Server, key: Hashable) -> Accounts:
    def throttle(asked: Hashable) -> None:
        if asked == key:
            raise LimitExceeded("Too many attempts")

    around = Surroundings(
        fetcher=Remotes(),
        wake=lambda users: None,
        propagate_profile=nowhere,
        leave_room=nowhere,
        throttle=throttle,
        appservices=AppServices(ServerName("one.test"), []),
    )
    return build_accounts(load_test_config(ALLOW_GUEST_REGISTRATION="true"), server.store, around)


def requester(server: Server, user: Client) -> Requester:
    with server.store.snapshot() as snapshot:
        found = get_local(snapshot, UserId(user.user_id))
    assert found is not None
    return Requester(user_id=UserId(user.user_id), user=found[0], device_id=DeviceId(user.device_id))


@pytest.mark.parametrize("key", [("login", "192.0.2.1"), ("login", "@alice:one.test")])
async def test_login_limit_exceeded_for_an_address_and_for_an_account(server: Server, key: Hashable) -> None:
    await server.register("alice")
    asked = LoginRequest(type="m.login.password", user="alice", password=PASSWORD, device=HOME)
    async with server.leaves_no_trace():
        with pytest.raises(LimitExceeded):
            await accounts_refusing(server, key).login.log_in(asked)


async def test_login_with_a_token_limit_exceeded_leaves_the_token(server: Server) -> None:
    alice = await server.register("alice")
    auth = {"type": "m.login.password", "password": PASSWORD}
    granted = await server.services.accounts.login_tokens.generate(requester(server, alice), auth)
    asked = LoginRequest(type="m.login.token", token=granted.token, device=HOME)
    async with server.leaves_no_trace():
        with pytest.raises(LimitExceeded):
            await accounts_refusing(server, ("login", "192.0.2.1")).login.log_in(asked)
    assert (await server.services.accounts.login.log_in(asked)).user_id == alice.user_id


async def test_giving_the_password_for_what_matters_most_is_counted(server: Server) -> None:
    asking = requester(server, await server.register("alice"))
    accounts = accounts_refusing(server, ("login", "@alice:one.test"))
    auth = {"type": "m.login.password", "password": PASSWORD}
    async with server.leaves_no_trace():
        with pytest.raises(LimitExceeded):
            await accounts.deactivation.deactivate(asking, auth, erase=True)
    async with server.leaves_no_trace():
        with pytest.raises(LimitExceeded):
            await accounts.login_tokens.generate(asking, auth)


async def test_register_limit_exceeded_for_an_address(server: Server) -> None:
    service = accounts_refusing(server, ("registration", "192.0.2.1")).register
    asked = Registration(username="alice", password=PASSWORD, auth={"type": "m.login.dummy"}, device=HOME)
    async with server.leaves_no_trace():
        with pytest.raises(LimitExceeded):
            await service.register(asked)
    async with server.leaves_no_trace():
        with pytest.raises(LimitExceeded):
            await service.register_guest(HOME)


async def test_giving_the_password_again_is_counted_as_a_login(server: Server) -> None:
    alice = await server.register("alice")
    service = accounts_refusing(server, ("login", "@alice:one.test")).change_password
    auth = {"type": "m.login.password", "password": PASSWORD}
    async with server.leaves_no_trace():
        with pytest.raises(LimitExceeded):
            await service.change_password(requester(server, alice), "new", auth, logout_devices=True)


async def test_session_is_not_opened_for_an_account_deactivated_meanwhile(server: Server) -> None:
    alice = await server.register("alice")
    asking = requester(server, alice)
    await server.change_account(alice, is_deactivated=True)
    async with server.leaves_no_trace():
        with pytest.raises(Forbidden):
            await server.services.accounts.sessions.open(asking.user_id, asking.user, HOME)
