"""The commands about accounts."""

from __future__ import annotations

import pytest

from conduit_py.service.admin.accounts import build_account_commands
from tests.rig.admin import Console, console
from tests.rig.server import Server


@pytest.fixture
def admin(server: Server) -> Console:
    return console(*build_account_commands(server.store))


async def test_list_local_users_says_who_is_an_administrator(server: Server, admin: Console) -> None:
    await server.register("alice")
    bob = await server.register("bob")
    carol = await server.register("carol")
    await server.change_account(bob, is_locked=True, is_suspended=True)
    await server.change_account(carol, is_deactivated=True)
    assert await admin.ask("list-local-users") == "\n".join(
        ["Found 2 local user account(s):", "@alice:one.test (administrator)", "@bob:one.test (locked, suspended)"]
    )
