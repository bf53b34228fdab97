"""What local users said of themselves, and when they were last active."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import ByUser, LastPresence


def get_last(snapshot: Snapshot, user: ShortUserId) -> LastPresence | None:
    """None for a user who was never around."""
    return users.USERID_PRESENCE.get(snapshot, ByUser(user))


def scan_last(snapshot: Snapshot) -> Iterator[tuple[ShortUserId, LastPresence]]:
    """Of everybody who was ever around."""
    for key, row in users.USERID_PRESENCE.scan(snapshot):
        yield key.user, row


def stage_last(turn: Turn, user: ShortUserId, row: LastPresence) -> None:
    turn.batch.put(users.USERID_PRESENCE, ByUser(user), row)
