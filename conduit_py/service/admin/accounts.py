"""Commands about the accounts of this server."""

from __future__ import annotations

import click

from conduit_py.data import users
from conduit_py.service.admin.commands import Answer
from conduit_py.service.users.store import Store
from kvschema.catalog.users import Account


def build_account_commands(store: Store) -> tuple[click.Command, ...]:
    """Commands that look at accounts, make them and change them."""

    @click.command("list-local-users")
    async def list_local_users() -> Answer:
        """List the accounts of this server."""
        with store.snapshot() as snapshot:
            lines = [
                user_id + _marks(account)
                for user_id, _, account in users.scan_accounts(snapshot)
                if not account.is_deactivated
            ]
        return Answer(text="\n".join([f"Found {len(lines)} local user account(s):", *lines]), is_table=True)

    return (list_local_users,)


def _marks(account: Account) -> str:
    """What is special about an account, in brackets."""
    marks = [
        name
        for name, is_so in (
            ("administrator", account.is_admin),
            ("guest", account.is_guest),
            ("locked", account.is_locked),
            ("suspended", account.is_suspended),
        )
        if is_so
    ]
    return f" ({', '.join(marks)})" if marks else ""
