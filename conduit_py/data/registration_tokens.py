"""Tokens that administrators made for people to register with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.users import REGISTRATION_TOKEN_BYTES_MAX, ByRegistrationToken, RegistrationToken

_GRAMMAR: Final = re.compile(rf"[A-Za-z0-9._~-]{{1,{REGISTRATION_TOKEN_BYTES_MAX}}}")


def is_token(token: str) -> bool:
    """Could there be such a token?

    Spec: client-server-api/#token-authenticated-registration
    """
    return _GRAMMAR.fullmatch(token) is not None


def get_token(snapshot: Snapshot, token: str) -> RegistrationToken | None:
    return users.REGISTRATIONTOKEN_INFO.get(snapshot, ByRegistrationToken(token)) if is_token(token) else None


def scan_tokens(snapshot: Snapshot) -> Iterator[tuple[str, RegistrationToken]]:
    for key, row in users.REGISTRATIONTOKEN_INFO.scan(snapshot):
        yield key.token, row


def count_tokens(snapshot: Snapshot) -> int:
    return snapshot.count(users.REGISTRATIONTOKEN_INFO.name)


def stage_new(turn: Turn, token: str, row: RegistrationToken) -> None:
    """The batch is refused if there is such a token already."""
    turn.batch.require_absent(users.REGISTRATIONTOKEN_INFO, ByRegistrationToken(token))
    turn.batch.put(users.REGISTRATIONTOKEN_INFO, ByRegistrationToken(token), row)


def stage_changed(turn: Turn, token: str, before: RegistrationToken, after: RegistrationToken) -> None:
    """The batch is refused if the token was changed, used or removed since it was read."""
    turn.batch.require(users.REGISTRATIONTOKEN_INFO, ByRegistrationToken(token), before)
    turn.batch.put(users.REGISTRATIONTOKEN_INFO, ByRegistrationToken(token), after)


def stage_removed(turn: Turn, token: str) -> None:
    turn.batch.delete(users.REGISTRATIONTOKEN_INFO, ByRegistrationToken(token))
