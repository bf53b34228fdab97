"""The summary of a room: how many members it has, and whom to name it after if it has no name.

Spec: client-server-api/#get_matrixclientv3sync_response-200_roomsummary
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import orjson

from conduit_py.data import members, short_ids, timeline
from conduit_py.data.state import KEYS_AT_ONCE
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.json_slices import Slices
from conduit_py.service.sync.room_state import PlaceState
from conduit_py.service.sync.slice import Slice
from conduit_py.slices import portions
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import INVITE, JOIN
from kvschema.catalog.rooms import ShortEventId, ShortRoomId

HEROES = 5
SCANNED_MAX = 200
"""Members among which heroes are chosen: a room of more than these is told apart by its name."""

SUMMARY_TYPES = frozenset({"m.room.member", "m.room.name", "m.room.canonical_alias"})
"""State that a summary depends on."""
_NAMES = (("m.room.name", "name"), ("m.room.canonical_alias", "alias"))


@dataclass(frozen=True, slots=True)
class Summary:
    joined: int
    invited: int
    heroes: dict[str, ShortEventId] | None
    """User ids with their membership events; None for a room with a name."""

    def render(self) -> bytes:
        json: dict[str, Any] = {"m.joined_member_count": self.joined, "m.invited_member_count": self.invited}
        if self.heroes is not None:
            json["m.heroes"] = list(self.heroes)
        return orjson.dumps(json)


def build_summary(slice_: Slice, room: ShortRoomId, state: PlaceState) -> Slices[Summary]:
    """``state`` is the room's state at the end of the timeline."""
    joined = members.get_member_count(slice_.snapshot, room, JOIN)
    invited = members.get_member_count(slice_.snapshot, room, INVITE)
    heroes = None if _has_name(slice_.snapshot, state) else (yield from _choose_heroes(slice_, room, state))
    return Summary(joined, invited, heroes)


def _has_name(snapshot: Snapshot, state: PlaceState) -> bool:
    for event_type, key in _NAMES:
        state_key = short_ids.get_state_key(snapshot, event_type, "")
        event = None if state_key is None else state.get(state_key)
        if event is not None and timeline.get_pdu(snapshot, event).content.get(key):
            return True
    return False


def _choose_heroes(slice_: Slice, room: ShortRoomId, state: PlaceState) -> Slices[dict[str, ShortEventId]]:
    """The first to come, among those who are there or invited; with nobody there, those who were."""
    snapshot, requester = slice_.snapshot, slice_.view.requester
    present = chain(members.scan_members(snapshot, room, JOIN), members.scan_members(snapshot, room, INVITE))
    found = [
        (event, short_ids.get_user_id(snapshot, user))
        for user, event in islice(present, SCANNED_MAX)
        if user != requester.user
    ]
    if not found:
        found = yield from _find_all(slice_, state)
    return {user_id: event for event, user_id in sorted(found)[:HEROES]}


def _find_all(slice_: Slice, state: PlaceState) -> Slices[list[tuple[ShortEventId, UserId]]]:
    found: list[tuple[ShortEventId, UserId]] = []
    entries = yield from state.find_entries()
    for items in portions(entries.items(), KEYS_AT_ONCE):
        for state_key, event in items:
            record = short_ids.get_state_key_record(slice_.snapshot, state_key)
            if record.type == "m.room.member" and record.state_key != slice_.view.requester.user_id:
                found.append((event, UserId(record.state_key)))
        if len(found) >= SCANNED_MAX:
            break
        yield
    return found
