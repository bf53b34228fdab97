"""Redactions taking effect, whichever comes first: the redaction or what it redacts.

Spec: rooms/v3/#handling-redactions
"""

from __future__ import annotations

from collections.abc import Callable

from conduit_py.data import search, timeline
from conduit_py.data.notified import stage_unnoticed
from conduit_py.data.relations import Child, RelationWrites
from conduit_py.data.rooms import Room
from conduit_py.data.state_at import HIDDEN
from conduit_py.matrix.ids import EventId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.search_words import count_words
from conduit_py.service.rooms.current_state import CurrentState
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortEventId, StateId
from kvschema.catalog.timeline import EventRow

REDACTION = "m.room.redaction"

BuildChild = Callable[[Pdu, ShortEventId, int], Child | None]


class Redactions:
    """Of one room in one turn."""

    def __init__(
        self,
        snapshot: Snapshot,
        turn: Turn,
        room: Room,
        current: CurrentState,
        relations: RelationWrites,
        build_child: BuildChild,
    ) -> None:
        self._snapshot = snapshot
        self._turn = turn
        self._room = room
        self._current = current
        self._relations = relations
        self._build_child = build_child
        self._early: dict[EventId, list[ShortEventId]] = {}

    def apply(self, redaction: Pdu, event: ShortEventId, state_id: StateId) -> None:
        """An accepted redaction: strip its target, if the sender may, or wait for it.

        ``state_id`` is the room's state at the redaction.
        """
        if redaction.redacts is None:
            return
        target = self._current.events.find(redaction.redacts)
        if target is None:
            timeline.stage_early_redaction(self._turn, self._room.short, redaction.redacts, event, waits=True)
            self._early.setdefault(redaction.redacts, []).append(event)
            return
        row = self._current.events.get_row(target)
        if row.room != self._room.short or row.redacted_by:
            return
        pdu = self._current.events.get_pdu(target)
        if self._may_redact(redaction, state_id, pdu):
            self._strip(target, row, pdu, event)

    def take_early(self, pdu: Pdu) -> ShortEventId | None:
        """The redaction that has waited for an event that is now stored, if its sender may redact it."""
        stored = timeline.scan_early_redactions(self._snapshot, self._room.short, pdu.event_id)
        found = [*stored, *self._early.pop(pdu.event_id, ())]
        chosen = None
        for event in found:
            timeline.stage_early_redaction(self._turn, self._room.short, pdu.event_id, event, waits=False)
            row = self._current.events.get_row(event)
            redaction = self._current.events.get_pdu(event)
            if chosen is None and redaction.redacts == pdu.event_id:
                chosen = event if self._may_redact(redaction, row.state_after, pdu) else None
        return chosen

    def _may_redact(self, redaction: Pdu, state_id: StateId, target: Pdu) -> bool:
        """One's own event (that of one's server, which vouches for it), or by the power to redact."""
        if server_name_of(target.sender) == server_name_of(redaction.sender):
            return True
        create, levels = self._get_at(state_id, "m.room.create"), self._get_at(state_id, "m.room.power_levels")
        power = PowerLevels.of_room(self._room.version, None if levels is None else levels.content, create)
        return power.of_user(redaction.sender) >= power.to_redact()

    def _get_at(self, state_id: StateId, type: str) -> Pdu | None:
        key = self._current.keys.find(type, "")
        event = None if key is None else self._current.chain.get(state_id, key)
        return None if event is None else self._current.events.get_pdu(event)

    def _strip(self, target: ShortEventId, row: EventRow, pdu: Pdu, redaction: ShortEventId) -> None:
        if row.pos and not row.flags & HIDDEN:
            child = self._build_child(pdu, target, row.pos)
            if child is not None:
                self._relations.unstage(child)
            search.stage_words_removed(self._turn, self._room.short, row.pos, count_words(pdu.type, pdu.content))
        if row.pos > 0:  # Fetched history notifies nobody.
            stage_unnoticed(self._snapshot, self._turn, self._room.short, row.pos)
        json = redact(pdu.json, self._room.version)
        client, federation = timeline.split_pdu(json)
        stripped = row._replace(redacted_by=redaction, client=client, federation=federation)
        timeline.stage_row(self._turn, target, stripped)
        room_id, version = self._room.room_id, self._room.version
        self._current.events.add(target, stripped, timeline.pdu_of_row(stripped, room_id, version))
