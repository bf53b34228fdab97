"""What administrators and the rest of the server do with accounts."""

from __future__ import annotations

import pytest

from conduit_py.data.devices import scan_devices
from conduit_py.data.users import get_local, scan_accounts
from conduit_py.matrix.ids import DeviceId, ServerName, UserId
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.errors import Forbidden, MatrixError, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.users.build import Surroundings, build_accounts
from conduit_py.service.users.sessions import DeviceRequest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortUserId
from kvschema.errors import StorageFull
from tests.rig.remote import Remotes
from tests.rig.server import PASSWORD, Server, load_test_config


async def test_create_account_makes_one_that_can_log_in(server: Server) -> None:
    user_id = await server.services.accounts.register.create_account("alice", PASSWORD, is_admin=True)
    account = server.get_account(user_id)
    assert account is not None
    assert account.is_admin
    body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
    assert (await server.client().post("/login", body)).status == 200


async def test_create_account_without_password_opens_to_nobody(server: Server) -> None:
    await server.services.accounts.register.create_account("alice", None)
    body = {"type": "m.login.password", "user": "alice", "password": ""}
    assert (await server.client().post("/login", body)).outcome == (403, "M_FORBIDDEN")


async def test_create_account_refuses_a_taken_name(server: Server) -> None:
    await server.register("alice")
    async with server.leaves_no_trace():
        with pytest.raises(MatrixError) as raised:
            await server.services.accounts.register.create_account("alice", PASSWORD)
    assert raised.value.errcode == "M_USER_IN_USE"


async def test_reset_password_opens_the_account_and_closes_its_sessions(server: Server) -> None:
    alice = await server.register("alice")
    service = server.services.accounts.change_password
    await service.reset_password(UserId(alice.user_id), "rescued", logout_devices=True)
    assert (await alice.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    body = {"type": "m.login.password", "user": "alice", "password": "rescued"}
    assert (await server.client().post("/login", body)).status == 200


async def test_reset_password_of_nobody_is_refused(server: Server) -> None:
    service = server.services.accounts.change_password
    with pytest.raises(NotFound):
        await service.reset_password(UserId("@nobody:one.test"), "rescued", logout_devices=True)


async def test_scan_accounts_lists_local_users(server: Server) -> None:
    await server.register("alice")
    await server.register("bob")
    with server.store.snapshot() as snapshot:
        assert sorted(user_id for user_id, _, _ in scan_accounts(snapshot)) == ["@alice:one.test", "@bob:one.test"]


class Observer:
    def __init__(self) -> None:
        self.told: list[tuple[str, DeviceId]] = []

    def stage_changed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        self.told.append(("changed", device_id))

    def stage_removed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        self.told.append(("removed", device_id))


async def nowhere(user: object, where: object) -> None:
    """There are no rooms."""


async def test_observers_are_told_of_devices(server: Server) -> None:
    alice = await server.register("alice")
    observer = Observer()
    around = Surroundings(
        fetcher=Remotes(),
        wake=lambda users: None,
        propagate_profile=nowhere,
        leave_room=nowhere,
        throttle=lambda key: None,
        appservices=AppServices(ServerName("one.test"), []),
        device_observers=[observer],
    )
    accounts = build_accounts(load_test_config(), server.store, around)
    with server.store.snapshot() as snapshot:
        found = get_local(snapshot, UserId(alice.user_id))
    assert found is not None
    requester = Requester(user_id=UserId(alice.user_id), user=found[0], device_id=DeviceId("PHONE"))
    for _ in range(2):
        await accounts.sessions.open(requester.user_id, requester.user, DeviceRequest(device_id="PHONE"))
    await accounts.devices.rename_device(requester, "PHONE", "My phone")
    await accounts.devices.rename_device(requester, "PHONE", "My phone")
    await accounts.sessions.log_out(requester)
    phone = DeviceId("PHONE")
    assert observer.told == [("changed", phone), ("changed", phone), ("removed", phone)]
    with server.store.snapshot() as snapshot:
        assert [device_id for device_id, _ in scan_devices(snapshot, requester.user)] == [alice.device_id]


def test_requester_is_judged() -> None:
    requester = Requester(user_id=UserId("@a:one.test"), user=ShortUserId(1), device_id=None)
    requester.require_self("@a:one.test", "see things")
    requester.require_not_suspended()
    with pytest.raises(Forbidden):
        requester.require_admin()
    with pytest.raises(Forbidden, match="You cannot see things of other users"):
        requester.require_self("@b:one.test", "see things")


async def test_full_disk_is_answered_and_not_fatal(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await server.register("alice")

    def refuse(*args: object, **kwargs: object) -> None:
        raise StorageFull("no room")

    monkeypatch.setattr(server.store.writer, "turn", refuse)
    response = await alice.put(alice.user_path("account_data", "org.example"), {})
    assert response.outcome == (507, "M_UNKNOWN")
    assert (await alice.get("/account/whoami")).status == 200
