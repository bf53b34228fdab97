"""Pending user-interactive authentications. They survive a restart, and hold no password."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.users import BySession, UiaSession

SESSION_BYTES_MAX = 64


def get_session(snapshot: Snapshot, session: str) -> UiaSession | None:
    if not session.isascii() or not session.isprintable() or not 0 < len(session) <= SESSION_BYTES_MAX:
        return None
    return users.UIAASESSION.get(snapshot, BySession(session))


def count_sessions(snapshot: Snapshot) -> int:
    return snapshot.count(users.UIAASESSION.name)


def scan_sessions(snapshot: Snapshot) -> Iterator[tuple[str, UiaSession]]:
    for key, row in users.UIAASESSION.scan(snapshot):
        yield key.session, row


def scan_begun_before(snapshot: Snapshot, begun_ms: int) -> Iterator[str]:
    """Sessions that began before a time."""
    return (session for session, row in scan_sessions(snapshot) if row.created_ms < begun_ms)


def stage_session(turn: Turn, session: str, row: UiaSession) -> None:
    turn.batch.put(users.UIAASESSION, BySession(session), row)


def stage_changed(turn: Turn, session: str, old: UiaSession, new: UiaSession) -> None:
    """The batch is refused (``PreconditionFailed``) if the session was used or changed meanwhile."""
    turn.batch.require(users.UIAASESSION, BySession(session), old)
    turn.batch.put(users.UIAASESSION, BySession(session), new)


def stage_used(turn: Turn, session: str, row: UiaSession) -> None:
    """Remove a session that was completed. Of two batches that use the same one, the second is refused."""
    turn.batch.require(users.UIAASESSION, BySession(session), row)
    turn.batch.delete(users.UIAASESSION, BySession(session))


def stage_removed(turn: Turn, session: str) -> None:
    turn.batch.delete(users.UIAASESSION, BySession(session))
