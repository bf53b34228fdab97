"""The summary of a room: how many members it has, and whom to name it after if it has no name.

Spec: client-server-api/#get_matrixclientv3sync_response-200_roomsummary
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import orjson

from conduit_py.data import members, short_ids, timeline
from conduit_py.matrix.ids import UserId
from conduit_py.service.requester import Requester
from conduit_py.service.sync.room_state import PlaceState
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


def build_summary(snapshot: Snapshot, room: ShortRoomId, requester: Requester, state: PlaceState) -> Summary:
    """``state`` is the room's state at the end of the timeline."""
    joined = members.get_member_count(snapshot, room, JOIN)
    invited = members.get_member_count(snapshot, room, INVITE)
    heroes = None if _has_name(snapshot, state) else _choose_heroes(snapshot, room, requester, state)
    return Summary(joined, invited, heroes)


def _has_name(snapshot: Snapshot, state: PlaceState) -> bool:
    for event_type, key in _NAMES:
        state_key = short_ids.get_state_key(snapshot, event_type, "")
        event = None if state_key is None else state.get(state_key)
        if event is not None and timeline.get_pdu(snapshot, event).content.get(key):
            return True
    return False


def _choose_heroes(
    snapshot: Snapshot, room: ShortRoomId, requester: Requester, state: PlaceState
) -> dict[str, ShortEventId]:
    """The first to come, among those who are there or invited; with nobody there, those who were."""
    present = chain(members.scan_members(snapshot, room, JOIN), members.scan_members(snapshot, room, INVITE))
    found = [
        (event, short_ids.get_user_id(snapshot, user))
        for user, event in islice(present, SCANNED_MAX)
        if user != requester.user
    ]
    if not found:
        found = [(event, user_id) for user_id, event in _scan_all(snapshot, state) if user_id != requester.user_id]
    return {user_id: event for event, user_id in sorted(found)[:HEROES]}


def _scan_all(snapshot: Snapshot, state: PlaceState) -> Iterator[tuple[UserId, ShortEventId]]:
    for state_key, event in state.entries().items():
        record = short_ids.get_state_key_record(snapshot, state_key)
        if record.type == "m.room.member":
            yield UserId(record.state_key), event
