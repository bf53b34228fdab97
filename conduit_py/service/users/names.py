"""User names: which may be taken, and whom a name that somebody typed means.

Spec: appendices/#user-identifiers
"""

from __future__ import annotations

import secrets
import string
from typing import Any, Final

from conduit_py.data import users
from conduit_py.matrix.house import SERVER_LOCALPART
from conduit_py.matrix.ids import Malformed, ServerName, UserId, check_new_localpart
from conduit_py.service.errors import MatrixError
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account

RESERVED_LOCALPARTS: Final = frozenset({SERVER_LOCALPART})
"""Nobody may have these."""

_GENERATED_CHARS: Final = 12
_GENERATED_LETTERS: Final = string.ascii_lowercase + string.digits


def parse_new_username(username: str, server_name: ServerName) -> UserId:
    """The user id that registering as ``username`` would give, capitals made small. Raises ``M_INVALID_USERNAME``."""
    try:
        user_id = check_new_localpart(username.lower(), server_name)
    except Malformed as error:
        raise MatrixError(str(error), errcode="M_INVALID_USERNAME", status=400) from None
    if username.startswith("_"):
        # Only application services may have these, and theirs are checked against their namespaces.
        raise MatrixError("User names may not start with '_'", errcode="M_INVALID_USERNAME", status=400)
    return user_id


def new_username() -> str:
    """For clients that do not choose."""
    return "".join(secrets.choice(_GENERATED_LETTERS) for _ in range(_GENERATED_CHARS))


def user_in_use() -> MatrixError:
    return MatrixError("This user name is taken", errcode="M_USER_IN_USE", status=400)


def find_account(snapshot: Snapshot, typed: str, server_name: ServerName) -> tuple[UserId, ShortUserId, Account] | None:
    """The local account that somebody means with a localpart or a whole user id.

    Capitals count only if there is an account spelled like that; user names made today have none.
    """
    localpart = typed
    if typed.startswith("@"):
        localpart, _, domain = typed[1:].partition(":")
        if domain != server_name:
            return None
    for spelled in dict.fromkeys((localpart, localpart.lower())):
        user_id = UserId(f"@{spelled}:{server_name}")
        found = users.get_local(snapshot, user_id) if len(user_id.encode()) <= _ID_BYTES_MAX else None
        if found is not None:
            return user_id, *found
    return None


def find_identified(
    snapshot: Snapshot, identifier: Any, server_name: ServerName
) -> tuple[UserId, ShortUserId, Account] | None:
    """The local account that an ``identifier`` of a login or authentication means; only ``m.id.user`` is known here.

    Spec: client-server-api/#identifier-types
    """
    if not isinstance(identifier, dict) or identifier.get("type") != "m.id.user":
        return None
    typed = identifier.get("user")
    return find_account(snapshot, typed, server_name) if isinstance(typed, str) else None


_ID_BYTES_MAX: Final = 255
