"""Events by the time they were sent."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.derived import compare_tree
from conduit_py.data.consistency.events import read_fields
from conduit_py.data.timeline import get_row, room_time
from conduit_py.storage.database import Snapshot
from kvschema.catalog import timeline
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import EventRow, RoomTime


def check_times(snapshot: Snapshot) -> Iterator[str]:
    def follows(key: RoomTime, event: int) -> bool:
        row = get_row(snapshot, ShortEventId(event))
        return row is not None and bool(row.pos) and _key_of(row) == key

    return compare_tree(
        snapshot,
        timeline.ROOMTIME_SHORTEVENTID,
        (
            (place, int(key.event))
            for key, row in timeline.SHORTEVENTID_PDU.scan(snapshot)
            if row.pos and (place := _key_of(row)) is not None
        ),
        follows,
    )


def _key_of(row: EventRow) -> RoomTime | None:
    """None for an event that cannot be read, which another check tells of."""
    ts_ms = read_fields(row).get("origin_server_ts")
    return room_time(row, ts_ms) if isinstance(ts_ms, int) else None
