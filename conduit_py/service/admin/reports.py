"""Commands about what users reported."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

from conduit_py.data import row_fields, short_ids, timeline
from conduit_py.matrix.ids import EventId, UserId
from conduit_py.service.admin.commands import Answer
from conduit_py.service.admin.words import plural
from conduit_py.service.errors import NotFound
from conduit_py.service.users.reports import ReportService, describe_report
from conduit_py.service.users.store import Store
from kvschema.catalog.rooms import StreamPos
from kvschema.catalog.users import Report

LISTED_MAX: Final = 50
_REASON_CHARS: Final = 60


def build_report_commands(store: Store, reports: ReportService) -> tuple[click.Command, ...]:
    def find(number: int) -> tuple[UserId, StreamPos, Report]:
        for found in reports.get_reports():
            if found[1] == number:
                return found
        raise NotFound(f"There is no report {number}")

    @click.command("list-reports")
    async def list_reports() -> Answer:
        """List what users reported, the newest first."""
        found = reports.get_reports()
        lines = [
            f"{pos}  {_format_time(row)}  {reporter} reports {describe_report(row)}: {_shorten(row.reason)}"
            for reporter, pos, row in found[:LISTED_MAX]
        ]
        more = [f"... and {len(found) - LISTED_MAX} older ones"] if len(found) > LISTED_MAX else []
        return Answer(text="\n".join([f"Found {plural(len(found), 'report')}:", *lines, *more]), is_table=True)

    @click.command("show-report")
    @click.argument("number", type=int)
    async def show_report(number: int) -> Answer:
        """Show a report as a whole, with the event that it is about. NUMBER is the first column of list-reports."""
        reporter, _, row = find(number)
        lines = [
            f"Reported by: {reporter}",
            f"Reported at: {_format_time(row)}",
            f"About:       {describe_report(row)}",
            f"Reason:      {row.reason}",
        ]
        if row.event_id:
            lines.append(_show_event(store, EventId(row.event_id)))
        return Answer(text="\n".join(lines), is_table=True)

    @click.command("delete-report")
    @click.argument("number", type=int)
    async def delete_report(number: int) -> Answer:
        """Remove a report that is dealt with."""
        reporter, pos, _ = find(number)
        await reports.delete_report(reporter, pos)
        return Answer(text=f"Report {number} is removed.")

    return list_reports, show_report, delete_report


def _show_event(store: Store, event_id: EventId) -> str:
    with store.snapshot() as snapshot:
        found = timeline.find_row(snapshot, event_id)
        if found is None:
            return "The event is not here any more."
        row = found[1]
        room_id = short_ids.get_room_record(snapshot, row.room).room_id
        content = row_fields.get_content_json(row).decode(errors="replace")
        return f"Sender:      {row_fields.get_sender(row)} in {room_id}\nContent:     {content}"


def _shorten(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _REASON_CHARS else f"{line[:_REASON_CHARS]}..."


def _format_time(row: Report) -> str:
    return datetime.fromtimestamp(row.reported_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
