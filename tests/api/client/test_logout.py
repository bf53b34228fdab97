"""``/_matrix/client/v3/logout``"""

from __future__ import annotations

from tests.rig.server import Server


async def test_logout_removes_the_device_and_its_token(server: Server) -> None:
    alice = await server.register("alice")
    phone = await server.log_in(alice)
    assert (await phone.post("/logout")).json == {}
    assert (await phone.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    left = (await alice.get("/devices")).json["devices"]
    assert [device["device_id"] for device in left] == [alice.device_id]


async def test_logout_leaves_nothing_of_the_session(server: Server) -> None:
    alice = await server.register("alice")
    async with server.leaves_no_trace(but={"global"}):
        phone = await server.log_in(alice)
        await phone.post("/logout")


async def test_logout_of_a_locked_user_is_possible(server: Server) -> None:
    alice = await server.register("alice")
    await server.change_account(alice, is_locked=True)
    assert (await alice.get("/account/whoami")).outcome == (401, "M_USER_LOCKED")
    assert (await alice.post("/logout")).status == 200


async def test_logout_unknown_token(server: Server) -> None:
    alice = await server.register("alice")
    await alice.post("/logout")
    async with server.leaves_no_trace():
        assert (await alice.post("/logout")).outcome == (401, "M_UNKNOWN_TOKEN")


async def test_logout_wakes_the_syncs_of_the_user(server: Server) -> None:
    alice = await server.register("alice")
    server.woken.clear()
    await alice.post("/logout")
    assert len(server.woken) == 1


async def test_logout_all_removes_every_session(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    phone = await server.log_in(alice)
    assert (await alice.post("/logout/all")).json == {}
    assert (await alice.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    assert (await phone.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    assert (await bob.get("/account/whoami")).status == 200


async def test_logout_all_missing_token(server: Server) -> None:
    async with server.leaves_no_trace():
        assert (await server.client().post("/logout/all")).outcome == (401, "M_MISSING_TOKEN")
