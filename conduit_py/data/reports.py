"""What users reported to the administrators."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.rooms import ShortUserId, StreamPos
from kvschema.catalog.users import Report, UserReport


def scan_reports(snapshot: Snapshot) -> Iterator[tuple[UserReport, Report]]:
    """All reports, user by user."""
    yield from users.USERREPORT.scan(snapshot)


def scan_of_user(snapshot: Snapshot, reporter: ShortUserId) -> Iterator[UserReport]:
    """One user's reports, oldest first."""
    yield from users.USERREPORT.scan_keys(snapshot, reporter)


def stage_report(turn: Turn, reporter: ShortUserId, row: Report) -> None:
    turn.batch.put(users.USERREPORT, UserReport(reporter, StreamPos(turn.take_pos())), row)


def stage_removed(turn: Turn, key: UserReport) -> None:
    turn.batch.delete(users.USERREPORT, key)
