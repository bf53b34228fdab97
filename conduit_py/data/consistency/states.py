"""States as chains of differences, and the current state of each room: ``kvschema.catalog.state``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.derived import compare_rows, scan_owners
from conduit_py.data.consistency.events import state_entry
from conduit_py.data.state import StateChain, StateDiff
from conduit_py.data.timeline import get_row
from conduit_py.storage.database import Snapshot
from kvschema.catalog import rooms, state
from kvschema.catalog.rooms import ByRoom, ByShort, ShortEventId, ShortRoomId, ShortStateKey, StateId
from kvschema.catalog.state import ByState, RoomStateKey

_HEADER_BYTES = 16
_ENTRY_BYTES = 16


def check_differences(snapshot: Snapshot) -> Iterator[str]:
    """Every difference is well formed, has the base its depth asks for, and speaks of state events of one room."""
    for key, raw in state.STATEID_STATEDIFF.scan(snapshot):
        where = f"shortstatehash_statediff: {key.state}"
        if len(raw) < _HEADER_BYTES or (len(raw) - _HEADER_BYTES) % _ENTRY_BYTES:
            yield f"{where} has {len(raw)} bytes"
            continue
        diff = StateDiff(raw)
        for problem in (*_about_base(snapshot, diff), *_about_entries(snapshot, diff)):
            yield f"{where} {problem}"


def _about_base(snapshot: Snapshot, diff: StateDiff) -> Iterator[str]:
    if not diff.depth:
        yield "has no depth"
    base_depth = diff.depth - (diff.depth & -diff.depth)
    raw = state.STATEID_STATEDIFF.get(snapshot, ByState(diff.base)) if diff.base else b""
    if raw is None:
        yield f"is based on {diff.base}, which is not stored"
    elif (StateDiff(raw).depth if raw else 0) != base_depth:
        yield f"of depth {diff.depth} is based on {diff.base}, whose depth is not {base_depth}"


def _about_entries(snapshot: Snapshot, diff: StateDiff) -> Iterator[str]:
    last, room = -1, None
    for state_key, event in diff.items():
        if state_key <= last:
            yield "is not sorted"
        last = state_key
        if not event:
            if not rooms.SHORTSTATEKEY_STATEKEY.has(snapshot, ByShort(state_key)):
                yield f"removes the state key {state_key}, which is not stored"
            continue
        row = get_row(snapshot, event)
        if row is None:
            yield f"has the event {event}, which is not stored"
            continue
        record = rooms.SHORTSTATEKEY_STATEKEY.get(snapshot, ByShort(state_key))
        if record != state_entry(row):
            yield f"has {row.event_id} as {record}, which is {state_entry(row)}"
        room = room or row.room
        if row.room != room:
            yield f"has events of the rooms {room} and {row.room}"


def check_current_ids(snapshot: Snapshot) -> Iterator[str]:
    """Every room that there is a state of is known, and the state is stored."""
    for key, state_id in state.ROOMID_STATEID.scan(snapshot):
        if not rooms.SHORTROOMID_ROOM.has(snapshot, key):
            yield f"roomid_shortstatehash: there is no room {key.room}"
        if not state.STATEID_STATEDIFF.has(snapshot, ByState(StateId(state_id))):
            yield f"roomid_shortstatehash: room {key.room} is in the state {state_id}, which is not stored"


def check_current_entries(snapshot: Snapshot) -> Iterator[str]:
    """The entries of each room are those of its state, and events of that room."""
    chain = StateChain(snapshot)
    for key, state_id in state.ROOMID_STATEID.scan(snapshot):
        if not is_chain_whole(snapshot, StateId(state_id)):
            continue
        entries = chain.entries(StateId(state_id))
        expected = {RoomStateKey(key.room, state_key): int(event) for state_key, event in entries.items()}
        stored = dict(state.ROOMSTATE_SHORTEVENTID.scan(snapshot, key.room))
        yield from compare_rows(state.ROOMSTATE_SHORTEVENTID, stored, expected)
        yield from _about_room(snapshot, key.room, entries)
    for room in scan_owners(snapshot, state.ROOMSTATE_SHORTEVENTID):
        if not state.ROOMID_STATEID.has(snapshot, ByRoom(ShortRoomId(room))):
            yield f"roomstate_shorteventid: the entries of room {room} follow from nothing"


def _about_room(snapshot: Snapshot, room: ShortRoomId, entries: dict[ShortStateKey, ShortEventId]) -> Iterator[str]:
    for event in entries.values():
        row = get_row(snapshot, event)
        if row is not None and row.room != room:
            yield f"roomstate_shorteventid: room {room} has {row.event_id}, which is of room {row.room}"


def is_chain_whole(snapshot: Snapshot, state_id: StateId) -> bool:
    """Can the state be laid out? What is wrong where it cannot is told by ``check_differences``."""
    depth = None
    while state_id:
        raw = state.STATEID_STATEDIFF.get(snapshot, ByState(state_id))
        if raw is None or len(raw) < _HEADER_BYTES or (len(raw) - _HEADER_BYTES) % _ENTRY_BYTES:
            return False
        diff = StateDiff(raw)
        if depth is not None and diff.depth >= depth:
            return False
        depth, state_id = diff.depth, diff.base
    return True
