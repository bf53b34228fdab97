"""What users report to the administrators of the server: other users, rooms, events.

The answer does not tell whether what is reported exists: it is stored all the same, after the same work. Only an event
asks for more, that the reporter is in its room, and there the answer is the same for a room that nobody knows.

Spec: client-server-api/#reporting-content
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from conduit_py.data import members, reports, short_ids, timeline
from conduit_py.matrix.ids import EventId, RoomId, UserId
from conduit_py.service.errors import InvalidParam, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import StreamPos
from kvschema.catalog.users import REPORTS_PER_USER_MAX, Report, UserReport

REASON_CHARS_MAX: Final = 2000


NoteReport = Callable[[str], Awaitable[None]]
"""Told in a few words of a new report, before whoever reported is answered."""


async def note_no_report(words: str) -> None:
    """For a server without an Admin Room."""


def describe_report(report: Report) -> str:
    """What it is about."""
    if report.user_id:
        return f"the user {report.user_id}"
    return f"the event {report.event_id} in {report.room_id}" if report.event_id else f"the room {report.room_id}"


class ReportService:
    """One per server."""

    def __init__(self, store: Store, *, note_report: NoteReport = note_no_report) -> None:
        self._store = store
        self._note_report = note_report

    async def report_user(self, requester: Requester, user_id: UserId, reason: str) -> None:
        """Raises ``InvalidParam`` for a reason that is too long."""
        await self._store_report(requester, Report(self._store.now_ms(), user_id=user_id, reason=reason))

    async def report_room(self, requester: Requester, room_id: RoomId, reason: str) -> None:
        """Raises ``InvalidParam`` for a reason that is too long."""
        await self._store_report(requester, Report(self._store.now_ms(), room_id=room_id, reason=reason))

    async def report_event(self, requester: Requester, room_id: RoomId, event_id: EventId, reason: str) -> None:
        """Raises ``NotFound`` unless the requester is in the room and the event is there."""
        with self._store.snapshot() as snapshot:
            if not _is_there(snapshot, requester, room_id, event_id):
                raise NotFound("There is no such event, or you are not in its room")
        report = Report(self._store.now_ms(), room_id=room_id, event_id=event_id, reason=reason)
        await self._store_report(requester, report)

    def get_reports(self) -> list[tuple[UserId, StreamPos, Report]]:
        """Who reported what, newest first; the position names the report together with the reporter."""
        with self._store.snapshot() as snapshot:
            found = [
                (short_ids.get_user_id(snapshot, key.reporter), key.pos, row)
                for key, row in reports.scan_reports(snapshot)
            ]
        return sorted(found, key=lambda entry: entry[1], reverse=True)

    async def delete_report(self, reporter: UserId, pos: StreamPos) -> None:
        """Take a report off the list; one that is gone is no error."""
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                user = short_ids.get_user(snapshot, reporter)
            if user is not None:
                reports.stage_removed(turn, UserReport(user, pos))

    async def _store_report(self, requester: Requester, report: Report) -> None:
        if len(report.reason) > REASON_CHARS_MAX:
            raise InvalidParam(f"The reason must not be longer than {REASON_CHARS_MAX} characters")
        async with self._store.locks.hold(("reports", requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                there = list(reports.scan_of_user(snapshot, requester.user))
            for key in there[: max(0, len(there) - REPORTS_PER_USER_MAX + 1)]:
                reports.stage_removed(turn, key)
            reports.stage_report(turn, requester.user, report)
        # Whoever reports without end is told of until the list is full: administrators empty it.
        if len(there) < REPORTS_PER_USER_MAX:
            await self._note_report(f"{requester.user_id} reports {describe_report(report)}: {report.reason}")


def _is_there(snapshot: Snapshot, requester: Requester, room_id: RoomId, event_id: EventId) -> bool:
    room = short_ids.get_room(snapshot, room_id)
    if room is None or not members.is_joined(snapshot, requester.user, room):
        return False
    event = timeline.get_event(snapshot, event_id)
    row = None if event is None else timeline.get_row(snapshot, event)
    return row is not None and row.room == room
