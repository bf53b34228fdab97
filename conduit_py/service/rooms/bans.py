"""Who is banned from a room, for the room that replaces it: nobody is let in again by that.

A ban is sent by who replaces the room, so nobody has to be impersonated, which is why other memberships stay behind.

Spec: client-server-api/#room-upgrades
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson
import trio

from conduit_py.data import row_fields, timeline
from conduit_py.data.rooms import get_room
from conduit_py.log import get_logger
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.member_events import MEMBER, membership_content
from conduit_py.service.rooms.state_reads import EVENTS_PER_SLICE, get_state_events
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortEventId

_log = get_logger(__name__)

BANS_COPIED_MAX: Final = 500
"""The latest: each costs an event in the batch, about a millisecond."""


@dataclass(frozen=True, slots=True)
class Ban:
    user_id: UserId
    reason: str | None


async def find_bans(database: Database, room_id: RoomId) -> list[Ban]:
    """The bans of a room that is held here, the oldest first. Costs its state."""
    with database.snapshot() as snapshot:
        room = get_room(snapshot, room_id)
        events = [] if room is None else get_state_events(snapshot, room.state_id)
    bans: list[Ban] = []
    for start in range(0, len(events), EVENTS_PER_SLICE):
        await trio.lowlevel.checkpoint()
        with database.snapshot() as snapshot:
            found = (_read_ban(snapshot, event) for event in events[start : start + EVENTS_PER_SLICE])
            bans += [ban for ban in found if ban is not None]
    if len(bans) > BANS_COPIED_MAX:
        _log.warning("not all bans go with a room", room=room_id, bans=len(bans))
    return bans[-BANS_COPIED_MAX:]


def _read_ban(snapshot: Snapshot, event: ShortEventId) -> Ban | None:
    row = timeline.require_row(snapshot, event)
    if not row_fields.is_of_type(row, MEMBER):
        return None
    content = orjson.loads(row_fields.get_content_json(row))
    if content.get("membership") != "ban":
        return None
    reason = content.get("reason")
    user_id = UserId(timeline.get_pdu(snapshot, event).state_key or "")
    return Ban(user_id, reason if isinstance(reason, str) else None)


def copy_bans(old: RoomAppend, new: RoomAppend, requester: Requester, bans: list[Ban]) -> None:
    """Ban those who still are."""
    for ban in bans:
        if old.get_membership(ban.user_id) == "ban":
            content = membership_content("ban", ban.reason)
            new.append(new.create_event(sender=requester.user_id, type=MEMBER, content=content, state_key=ban.user_id))
