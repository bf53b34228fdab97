"""What commands of all groups are given and show: rooms, bodies with many lines or with JSON, times, pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from conduit_py.data import rooms
from conduit_py.matrix.canonical_json import parse_json
from conduit_py.matrix.ids import Malformed, RoomAlias, RoomId, parse_room_alias, parse_room_id
from conduit_py.service.admin.commands import Call
from conduit_py.service.errors import NotFound
from conduit_py.storage.database import Snapshot

ROWS_PER_PAGE: Final = 50
LINES_MAX: Final = 1000
"""Of a body that is a list."""

T = TypeVar("T")

page_option = click.option("--page", type=click.IntRange(min=1), default=1, help="Which page of a long list.")


def find_room_id(snapshot: Snapshot, typed: str) -> RoomId:
    """The room that an administrator means, by its id or by an alias of this server. Raises ``NotFound``."""
    if not typed.startswith("#"):
        return parse_room_id(typed)
    record = rooms.get_alias(snapshot, RoomAlias(parse_room_alias(typed)))
    if record is None:
        raise NotFound(f"This server has no alias {typed}")
    return RoomId(record.room_id)


def parse_lines(call: Call, what: str, parse: Callable[[str], T]) -> list[T]:
    """The body, one thing in each line. Raises ``click.UsageError`` for the first line that is none."""
    lines = list(dict.fromkeys(line.strip() for line in call.require_body(what).splitlines() if line.strip()))
    if len(lines) > LINES_MAX:
        raise click.UsageError(f"{len(lines)} lines are too many: give at most {LINES_MAX} at a time")
    parsed = []
    for line in lines:
        try:
            parsed.append(parse(line))
        except (Malformed, ValueError, NotFound) as error:
            raise click.UsageError(f"{line}: {error}") from None
    return parsed


def parse_json_body(call: Call, what: str) -> dict[str, Any]:
    """The body as a JSON object. Raises ``click.UsageError``."""
    try:
        parsed = parse_json(call.require_body(what).encode())
    except (Malformed, ValueError) as error:
        raise click.UsageError(f"The JSON cannot be read: {error}") from None
    if not isinstance(parsed, dict):
        raise click.UsageError("The JSON must be an object")
    return parsed


def show_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def show_time(ms: int) -> str:
    """In UTC, to the second."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def show_bytes(size: int) -> str:
    """Three digits or so, in the units that disks are sold in."""
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"


def take_page(items: Sequence[T], page: int) -> Sequence[T]:
    """Raises ``click.UsageError`` behind the last page."""
    start = (page - 1) * ROWS_PER_PAGE
    if start and start >= len(items):
        raise click.UsageError(f"There are {count_pages(len(items))} pages")
    return items[start : start + ROWS_PER_PAGE]


def count_pages(count: int) -> int:
    return max(-(-count // ROWS_PER_PAGE), 1)


def page_line(page: int, count: int) -> str:
    """What stands above a list."""
    return f" (page {page} of {count_pages(count)})" if count > ROWS_PER_PAGE else ""
