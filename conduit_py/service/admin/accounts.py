"""Commands about the accounts of this server."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import click

from conduit_py.data import users
from conduit_py.log import get_logger
from conduit_py.matrix.house import is_server_user
from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.service.admin.commands import Answer, Call, SecretArgument
from conduit_py.service.admin.words import count_admins, is_admin, plural, require_account
from conduit_py.service.errors import Forbidden, MatrixError
from conduit_py.service.users.build import Accounts
from conduit_py.service.users.store import Store
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account

_log = get_logger(__name__)

PASSWORD_CHARS: Final = 20
_PASSWORD_LETTERS: Final = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without those that look alike: somebody may copy it by hand."""

PurgeMedia = Callable[[ServerName, ShortUserId], Awaitable[int]]
"""Remove what a user uploaded, and return how many media that were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTools:
    """What the commands are made of."""

    store: Store
    server_name: ServerName
    accounts: Accounts
    settle: Callable[[UserId | None], Awaitable[None]]
    """Have the administrators in the Admin Room."""
    purge_media: PurgeMedia

    def require(self, typed: str) -> tuple[UserId, ShortUserId, Account]:
        with self.store.snapshot() as snapshot:
            return require_account(snapshot, typed, self.server_name)

    def require_not_last_admin(self, user_id: UserId, account: Account) -> None:
        """Raises ``Forbidden``: without an administrator nobody could make another one, but on the command line."""
        with self.store.snapshot() as snapshot:
            if is_admin(user_id, account) and count_admins(snapshot) == 1:
                raise Forbidden(f"{user_id} is the only administrator: make somebody else one first")


def build_account_commands(tools: AccountTools) -> tuple[click.Command, ...]:
    """Commands that look at accounts, make them and end them."""
    return (
        *_build_listing(tools),
        *_build_making(tools),
        *_build_ending(tools),
    )


def new_password() -> str:
    return "".join(secrets.choice(_PASSWORD_LETTERS) for _ in range(PASSWORD_CHARS))


def _build_listing(tools: AccountTools) -> tuple[click.Command, ...]:
    def list_accounts(wanted: Callable[[UserId, Account], bool]) -> list[str]:
        with tools.store.snapshot() as snapshot:
            return [
                user_id + _marks(account)
                for user_id, _, account in users.scan_accounts(snapshot)
                if not account.is_deactivated and not is_server_user(user_id) and wanted(user_id, account)
            ]

    @click.command("list-local-users")
    async def list_local_users() -> Answer:
        """List the accounts of this server."""
        lines = list_accounts(lambda user_id, account: True)
        return Answer(text="\n".join([f"Found {len(lines)} local user account(s):", *lines]), is_table=True)

    @click.command("list-admins")
    async def list_admins() -> Answer:
        """List the administrators of this server."""
        lines = list_accounts(is_admin)
        return Answer(text="\n".join([f"Found {plural(len(lines), 'administrator')}:", *lines]), is_table=True)

    return list_local_users, list_admins


def _build_making(tools: AccountTools) -> tuple[click.Command, ...]:
    accounts = tools.accounts

    async def hand_over(user_id: UserId, done: str) -> Answer:
        """Let somebody choose a password where it must not be told."""
        user_id, user, _ = tools.require(user_id)
        link = await accounts.password_links.create(user)
        return Answer(
            text=f"{done} Whoever opens this link within a day chooses the password, so give it to nobody else:\n{link}"
        )

    @click.command("create-user")
    @click.argument("username")
    @click.argument("password", required=False, cls=SecretArgument)
    @click.option("--admin", is_flag=True, help="Make the user an administrator.")
    @click.pass_obj
    async def create_user(call: Call, username: str, password: str | None, admin: bool) -> Answer:
        """Make an account, also while registration is closed.

        Without a PASSWORD one is made up and shown on the command line. In the Admin Room you get a link instead, with
        which the user chooses it. Do not write a password there: others may read it.
        """
        chosen = password or (new_password() if call.is_private else None)
        user_id = await accounts.register.create_account(_localpart(username), chosen, is_admin=admin)
        done = f"Made the account {user_id}{', an administrator' if admin else ''}."
        if chosen is None:
            return await hand_over(user_id, done)
        return Answer(text=done, secret=chosen if password is None else None)

    @click.command("reset-password")
    @click.argument("username")
    @click.argument("password", required=False, cls=SecretArgument)
    @click.option("--keep-sessions", is_flag=True, help="Leave the user logged in everywhere.")
    @click.pass_obj
    async def reset_password(call: Call, username: str, password: str | None, keep_sessions: bool) -> Answer:
        """Give an account a new password, and log the user out everywhere.

        Without a PASSWORD one is made up and shown on the command line. In the Admin Room you get a link instead, with
        which the user chooses it; until then the old password stays.
        """
        user_id, _, _ = tools.require(username)
        chosen = password or (new_password() if call.is_private else None)
        if chosen is None:
            return await hand_over(user_id, "The password is not changed yet.")
        await accounts.change_password.reset_password(user_id, chosen, logout_devices=not keep_sessions)
        return Answer(text=f"{user_id} has a new password.", secret=chosen if password is None else None)

    return create_user, reset_password


def _build_ending(tools: AccountTools) -> tuple[click.Command, ...]:
    async def deactivate(user_id: UserId, user: ShortUserId, *, purge_media: bool, erase: bool) -> str:
        await tools.accounts.deactivation.deactivate_other(user_id, erase=erase)
        removed = await tools.purge_media(tools.server_name, user) if purge_media else 0
        return f", and {plural(removed, 'upload')} of the user {'is' if removed == 1 else 'are'} removed" * purge_media

    leave_rooms = click.option(
        "-l", "--leave-rooms", is_flag=True, help="Accepted as in Conduit: a deactivated user always leaves all rooms."
    )
    purge = click.option("--purge-media", is_flag=True, help="Remove what the user uploaded.")
    erase_too = click.option("--erase", is_flag=True, help="Forget the user's profile and settings as well.")

    @click.command("deactivate-user")
    @click.argument("user_id")
    @leave_rooms
    @purge
    @erase_too
    async def deactivate_user(user_id: str, leave_rooms: bool, purge_media: bool, erase: bool) -> Answer:
        """Close an account for ever. Its name is never free again.

        The user is logged out everywhere and leaves all rooms. What the user has said stays.
        """
        found, user, account = tools.require(user_id)
        tools.require_not_last_admin(found, account)
        also = await deactivate(found, user, purge_media=purge_media, erase=erase)
        return Answer(text=f"{found} is deactivated, and leaves all rooms now{also}.")

    @click.command("deactivate-all")
    @leave_rooms
    @purge
    @erase_too
    @click.option("-F", "--force", is_flag=True, help="Administrators as well, all but the last.")
    @click.pass_obj
    async def deactivate_all(call: Call, leave_rooms: bool, purge_media: bool, erase: bool, force: bool) -> Answer:
        """Close many accounts for ever: those in the code block, a user in each line."""
        lines = []
        done = 0
        for typed in call.require_body("The list of users").split():
            try:
                found, user, account = tools.require(typed)
                if is_admin(found, account) and not force:
                    raise Forbidden(f"{found} is an administrator: -F deactivates those as well")
                tools.require_not_last_admin(found, account)
                await deactivate(found, user, purge_media=purge_media, erase=erase)
                done += 1
            except MatrixError as error:
                lines.append(str(error))
        return Answer(text="\n".join([f"Deactivated {plural(done, 'account')}.", *lines]), is_table=bool(lines))

    return deactivate_user, deactivate_all


def _localpart(typed: str) -> str:
    """What was meant by a whole user id too."""
    return typed[1:].partition(":")[0] if typed.startswith("@") else typed


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
