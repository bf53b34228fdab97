"""What an administrator is told of rooms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from conduit_py.data import gaps, members, rooms, short_ids, state, timeline
from conduit_py.data.closed import get_disabled, get_removed
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.service.admin.things import show_time
from conduit_py.storage.database import Snapshot
from kvschema.catalog import rooms as trees
from kvschema.catalog.members import INVITE, JOIN, KNOCK
from kvschema.catalog.rooms import ShortRoomId

EVENTS_COUNTED_MAX: Final = 5_000
"""Of one room: more is said to be more. About 5 ms."""
NAMED_MAX: Final = 20
"""Servers, members or events that are named one by one."""
NAME_CHARS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class RoomLine:
    """A room in a list."""

    room: ShortRoomId
    room_id: RoomId
    joined: int


def scan_rooms(snapshot: Snapshot, after: RoomId | None) -> Iterator[RoomLine]:
    """Every room that the server knows, past one."""
    start = None if after is None else trees.ByRoomId(after)
    for key, short in trees.ROOMID_SHORTROOMID.scan(snapshot, after=start):
        room = ShortRoomId(short)
        yield RoomLine(room, RoomId(key.room_id), members.get_member_count(snapshot, room, JOIN))


def get_name(snapshot: Snapshot, room: ShortRoomId) -> str:
    """The name in one line, or the canonical alias, or nothing."""
    for type_, key in (("m.room.name", "name"), ("m.room.canonical_alias", "alias")):
        value = get_content(snapshot, room, type_).get(key)
        if isinstance(value, str) and value.strip():
            line = " ".join(value.split())
            return line if len(line) <= NAME_CHARS_MAX else line[: NAME_CHARS_MAX - 1] + "…"
    return ""


def get_content(snapshot: Snapshot, room: ShortRoomId, type: str) -> dict[str, Any]:
    """Of an entry of the current state, empty where there is none."""
    pdu = state.get_current_pdu(snapshot, room, type, "")
    return {} if pdu is None else dict(pdu.content)


def count_events(snapshot: Snapshot, room: ShortRoomId) -> str:
    """Those in the timeline."""
    counted = sum(1 for _ in islice(timeline.scan_timeline(snapshot, room), EVENTS_COUNTED_MAX + 1))
    return f"{EVENTS_COUNTED_MAX}+" if counted > EVENTS_COUNTED_MAX else str(counted)


def get_marks(snapshot: Snapshot, room: ShortRoomId, room_id: RoomId) -> list[str]:
    """What is special about a room."""
    is_removed = get_removed(snapshot, room_id) is not None
    return [
        mark
        for mark, is_so in (
            ("being removed", is_removed),
            ("disabled", get_disabled(snapshot, room_id) is not None),
            ("not joined", not is_removed and not state.get_current_state_id(snapshot, room)),
            ("public", rooms.is_public(snapshot, room)),
            ("encrypted", bool(get_content(snapshot, room, "m.room.encryption"))),
        )
        if is_so
    ]


def describe(snapshot: Snapshot, room: ShortRoomId, room_id: RoomId) -> list[tuple[str, str]]:
    """Everything about one room, as names and values."""
    record = short_ids.get_room_record(snapshot, room)
    create = state.get_current_pdu(snapshot, room, "m.room.create", "")
    servers = list(members.get_servers_with_counts(snapshot, room).items())
    extremities = rooms.get_extremities(snapshot, room)
    rules, visibility = (
        get_content(snapshot, room, "m.room.join_rules"),
        get_content(snapshot, room, "m.room.history_visibility"),
    )
    replaced = get_content(snapshot, room, "m.room.tombstone").get("replacement_room")
    counts = {name: members.get_member_count(snapshot, room, kind) for name, kind in _KINDS}
    facts = [
        ("Room", str(room_id)),
        ("Name", get_name(snapshot, room)),
        ("Aliases here", ", ".join(islice(rooms.scan_aliases(snapshot, room), NAMED_MAX))),
        ("Marks", ", ".join(get_marks(snapshot, room, room_id))),
        ("Version", record.room_version),
        ("Creator", "" if create is None else create.sender),
        ("Created", "" if create is None else show_time(create.origin_server_ts)),
        ("Join rule", _text(rules.get("join_rule"))),
        ("History visibility", _text(visibility.get("history_visibility"))),
        ("Replaced by", _text(replaced)),
        ("Members", ", ".join(f"{count} {name}" for name, count in counts.items() if count)),
        ("Members here", _name_some(_scan_local(snapshot, room))),
        ("Servers", f"{len(servers)}: {_name_some(f'{name} ({count})' for name, count in _largest(servers))}"),
        ("State entries", str(sum(1 for _ in state.scan_current(snapshot, room)))),
        ("Events", count_events(snapshot, room)),
        ("Last event", _describe_last(snapshot, room)),
        ("Ends", _name_some(timeline.require_row(snapshot, event).event_id for event in extremities)),
        ("Holes in the history", str(sum(1 for _ in gaps.scan_gaps(snapshot, room)))),
    ]
    return [(name, value) for name, value in facts if value]


_KINDS: Final = (("joined", JOIN), ("invited", INVITE), ("knocking", KNOCK))


def _scan_local(snapshot: Snapshot, room: ShortRoomId) -> Iterator[UserId]:
    for user, _ in members.scan_members(snapshot, room, JOIN, local_only=True):
        yield short_ids.get_user_id(snapshot, user)


def _largest(servers: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
    return sorted(servers, key=lambda server: (-server[1], server[0]))


def _name_some(names: Any) -> str:
    named = list(islice(names, NAMED_MAX + 1))
    return ", ".join(named[:NAMED_MAX]) + (" and more" if len(named) > NAMED_MAX else "")


def _describe_last(snapshot: Snapshot, room: ShortRoomId) -> str:
    last = next(timeline.scan_timeline(snapshot, room, reverse=True), None)
    if last is None:
        return ""
    pdu = timeline.get_pdu(snapshot, last[1])
    return f"{show_time(pdu.origin_server_ts)}, {pdu.event_id}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
