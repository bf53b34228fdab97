"""Commands about who administers the server, and about the devices of its users."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from conduit_py.data import devices, users
from conduit_py.log import get_logger
from conduit_py.matrix.ids import DeviceId, UserId
from conduit_py.service.admin.accounts import AccountTools
from conduit_py.service.admin.commands import Answer
from conduit_py.service.admin.words import plural, table
from conduit_py.service.errors import Forbidden, InvalidParam, NotFound
from conduit_py.service.users.tokens import account_key
from kvschema.catalog.rooms import ShortUserId

_log = get_logger(__name__)


def build_role_commands(tools: AccountTools) -> tuple[click.Command, ...]:
    """Commands that make administrators and unmake them."""
    store = tools.store

    async def set_admin(user: ShortUserId, user_id: UserId, *, is_admin: bool) -> None:
        async with store.locks.hold(account_key(user)), store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                account = users.get_account(snapshot, user)
                if account is None or account.is_deactivated:
                    raise NotFound(f"There is no account {user_id} any more")
                users.stage_account(turn, user, account._replace(is_admin=is_admin))
                if is_admin and not users.is_admin_made(snapshot):
                    users.stage_admin_made(turn, None)
        _log.warning("made an administrator" if is_admin else "unmade an administrator", user_id=user_id)
        await tools.settle(user_id)

    @click.command("make-admin")
    @click.argument("user_id")
    async def make_admin(user_id: str) -> Answer:
        """Make a user an administrator, and bring the user into the Admin Room."""
        found, user, account = tools.require(user_id)
        if account.is_guest:
            raise Forbidden("A guest cannot be an administrator")
        await set_admin(user, found, is_admin=True)
        return Answer(text=f"{found} is an administrator.")

    @click.command("remove-admin")
    @click.argument("user_id")
    async def remove_admin(user_id: str) -> Answer:
        """Make an administrator a user like others, and take the user out of the Admin Room."""
        found, user, account = tools.require(user_id)
        if not account.is_admin:
            raise InvalidParam(f"{found} is no administrator")
        tools.require_not_last_admin(found, account)
        await set_admin(user, found, is_admin=False)
        return Answer(text=f"{found} is no administrator any more.")

    return make_admin, remove_admin


def build_device_commands(tools: AccountTools) -> tuple[click.Command, ...]:
    """Commands that look at where users are logged in, and log them out."""
    store, sessions = tools.store, tools.accounts.sessions

    async def close(user: ShortUserId, device_ids: list[DeviceId]) -> None:
        async with store.locks.hold(account_key(user)), store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                for device_id in device_ids:
                    if devices.get_device(snapshot, user, device_id) is not None:
                        sessions.stage_closed(snapshot, turn, user, device_id)

    @click.command("list-devices")
    @click.argument("user_id")
    async def list_devices(user_id: str) -> Answer:
        """List the devices of a user, with where and when each was seen last."""
        found, user, _ = tools.require(user_id)
        with store.snapshot() as snapshot:
            rows = [
                (device_id, it.display_name or "", it.last_seen_ip, _format_time(it.last_seen_ms))
                for device_id, it in devices.scan_devices(snapshot, user)
            ]
        text = f"{found} has {plural(len(rows), 'device')}"
        return Answer(text=f"{text}:\n{table(rows)}" if rows else f"{text}.", is_table=bool(rows))

    @click.command("delete-device")
    @click.argument("user_id")
    @click.argument("device_ids", metavar="DEVICE_ID...", nargs=-1, required=True)
    async def delete_device(user_id: str, device_ids: tuple[str, ...]) -> Answer:
        """Log a user out on some devices."""
        found, user, _ = tools.require(user_id)
        with store.snapshot() as snapshot:
            for device_id in device_ids:
                if devices.get_device(snapshot, user, device_id) is None:
                    raise NotFound(f"{found} has no device {device_id}")
        await close(user, [DeviceId(device_id) for device_id in device_ids])
        return Answer(text=f"{found} is logged out on {plural(len(device_ids), 'device')}.")

    @click.command("delete-devices")
    @click.argument("user_id")
    async def delete_devices(user_id: str) -> Answer:
        """Log a user out everywhere."""
        found, user, _ = tools.require(user_id)
        with store.snapshot() as snapshot:
            there = [device_id for device_id, _ in devices.scan_devices(snapshot, user)]
        await close(user, there)
        return Answer(text=f"{found} is logged out on {plural(len(there), 'device')}.")

    return list_devices, delete_device, delete_devices


def _format_time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC") if ms else "never"
