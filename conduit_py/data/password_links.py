"""Links with which people choose a password."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data import short_ids
from conduit_py.matrix.ids import UserId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.users import ByTokenHash, PasswordLink


def get_link(snapshot: Snapshot, token_hash: bytes) -> PasswordLink | None:
    return users.PASSWORDLINK.get(snapshot, ByTokenHash(token_hash))


def get_user_id(snapshot: Snapshot, row: PasswordLink) -> UserId:
    return short_ids.get_user_id(snapshot, row.user)


def scan_links(snapshot: Snapshot) -> Iterator[tuple[bytes, PasswordLink]]:
    for key, row in users.PASSWORDLINK.scan(snapshot):
        yield key.token_hash, row


def stage_link(turn: Turn, token_hash: bytes, row: PasswordLink) -> None:
    turn.batch.put(users.PASSWORDLINK, ByTokenHash(token_hash), row)


def stage_removed(turn: Turn, token_hash: bytes) -> None:
    turn.batch.delete(users.PASSWORDLINK, ByTokenHash(token_hash))


def stage_used(snapshot: Snapshot, turn: Turn, token_hash: bytes) -> None:
    """The batch is refused (``PreconditionFailed``) if somebody else uses the link first."""
    row = get_link(snapshot, token_hash)
    assert row is not None, "who uses a link has looked at it"
    turn.batch.require(users.PASSWORDLINK, ByTokenHash(token_hash), row)
    stage_removed(turn, token_hash)
