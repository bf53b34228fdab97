"""Guests who become users.

Spec: client-server-api/#guest-access
"""

from __future__ import annotations

from conduit_py.data import users
from conduit_py.service.errors import Forbidden
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortUserId


def stage_upgraded(snapshot: Snapshot, turn: Turn, guest: ShortUserId, password_hash: str, *, is_admin: bool) -> None:
    """Make a full account of a guest's, with everything the guest has. Under the account's lock.

    Raises ``Forbidden`` if it is no guest's any more.
    """
    account = users.get_account(snapshot, guest)
    if account is None or account.is_deactivated or not account.is_guest:
        raise Forbidden("There is no such guest any more")
    users.stage_account(turn, guest, account._replace(password_hash=password_hash, is_guest=False, is_admin=is_admin))
