"""``emergency_password`` opens the server's own account, for as long as it is set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.rig.admin import enter
from tests.rig.client import Client
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole

SECRET = "break the glass"


@asynccontextmanager
async def open_prepared(server: Server, **overrides: str) -> AsyncIterator[WholeServer]:
    async with open_whole(server, **overrides) as whole:
        await whole.admin.prepare()
        yield whole


async def log_in(whole: WholeServer, password: str = SECRET) -> Client:
    client = whole.client()
    answer = await client.post("/login", {"type": "m.login.password", "user": "conduit", "password": password})
    if answer.status == 200:
        client.use_session(answer.json)
    else:
        assert answer.outcome == (403, "M_FORBIDDEN")
    return client


async def test_emergency_password_opens_the_servers_own_account(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_prepared(server) as whole:
        await whole.register("alice")
        assert (await log_in(whole)).access_token is None
        assert (await log_in(whole, "")).access_token is None
    async with open_prepared(server, EMERGENCY_PASSWORD=SECRET) as whole:
        assert [it.message for it in caplog.records if "emergency_password is set" in it.message]
        conduit = await enter(await log_in(whole))
        answer = await conduit.ask("!admin list-admins")
        assert answer == "Found 1 administrator:\n@alice:one.test (administrator)"
        assert (await conduit.ask("!admin make-admin alice")) == "@alice:one.test is an administrator."


async def test_emergency_password_that_is_taken_away_closes_what_it_opened(server: Server) -> None:
    async with open_prepared(server, EMERGENCY_PASSWORD=SECRET) as whole:
        conduit = await log_in(whole)
    async with open_prepared(server, EMERGENCY_PASSWORD=SECRET) as whole:
        conduit.move(whole.client())
        assert (await conduit.get("/account/whoami")).status == 200
    async with open_prepared(server, EMERGENCY_PASSWORD="another") as whole:
        conduit.move(whole.client())
        assert (await conduit.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
        conduit = await log_in(whole, "another")
        assert conduit.access_token is not None
    async with open_prepared(server) as whole:
        conduit.move(whole.client())
        assert (await conduit.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
        assert (await log_in(whole, "another")).access_token is None
        account = whole.get_account("@conduit:one.test")
        assert account is not None
        assert (account.password_hash, account.is_admin) == ("", False)


async def test_not_even_then_can_the_admin_room_be_spoiled(server: Server) -> None:
    async with open_prepared(server, EMERGENCY_PASSWORD=SECRET) as whole:
        await whole.register("alice")
        chat = await enter(await log_in(whole))
        async with whole.leaves_no_trace():
            for kind in ("m.room.encryption", "m.room.tombstone"):
                state = await chat.client.put(f"/rooms/{chat.room_id}/state/{kind}/", {"algorithm": "x"})
                assert state.outcome == (403, "M_FORBIDDEN")
            assert (await chat.client.post(f"/rooms/{chat.room_id}/leave", {})).outcome == (403, "M_FORBIDDEN")
            upgraded = await chat.client.post(f"/rooms/{chat.room_id}/upgrade", {"new_version": "12"})
            assert upgraded.outcome == (403, "M_FORBIDDEN")


async def test_servers_own_account_cannot_be_deactivated(server: Server) -> None:
    async with open_prepared(server, EMERGENCY_PASSWORD=SECRET) as whole:
        conduit = await log_in(whole)
        identifier = {"type": "m.id.user", "user": "conduit"}
        auth = {"type": "m.login.password", "identifier": identifier, "password": SECRET}
        assert (await conduit.post("/account/deactivate", {"auth": auth})).outcome == (403, "M_FORBIDDEN")
        assert (await conduit.get("/account/whoami")).status == 200


async def test_nothing_is_written_while_it_is_not_set(server: Server) -> None:
    async with open_prepared(server) as whole, whole.leaves_no_trace():
        await whole.admin.prepare()
