"""Events of one room that came together: checked, put in order, completed with what they refer to, and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.data import timeline
from conduit_py.data.rooms import Room
from conduit_py.data.state import LooseState
from conduit_py.log import get_logger
from conduit_py.matrix.hashes import event_id_of
from conduit_py.matrix.ids import EventId, Malformed, ServerName, parse_event_id
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.receive.farewell import find_state_of_farewell
from conduit_py.service.federation.receive.missing import MissingEventsFetcher, StillMissing, is_held
from conduit_py.service.federation.receive.order import by_prev_events
from conduit_py.service.rooms.receive import Arrival, MissingEvents, Receipt
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database

_log = get_logger(__name__)

ATTEMPTS_MAX: Final = 5
"""Times that one event is tried, with more of what it refers to each time."""
STATES_MAX: Final = 3
"""States before events that are fetched for one event received."""

RawEvent = dict[str, Any]
Results = dict[EventId, str | None]
"""What became of each event whose id is known: None if it was received, or why it was not."""


@dataclass(slots=True)
class _Budget:
    states: int = STATES_MAX


class RoomEvents:
    """One per server."""

    def __init__(
        self,
        database: Database,
        writes: RoomWrites,
        checks: Checks,
        missing: MissingEventsFetcher,
        *,
        server_name: ServerName,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._writes = writes
        self._checks = checks
        self._missing = missing

    async def receive(self, origin: ServerName, room: Room, raws: Sequence[RawEvent]) -> Results:
        """Receive events of a room that we take part in, which ``origin`` has sent or told us of."""
        results: Results = {}
        pdus: list[Pdu] = []
        for raw, checked in zip(raws, await self._checks.check_many(raws, room.version), strict=True):
            if isinstance(checked, Pdu) and checked.room_id == room.room_id:
                pdus.append(checked)
            else:
                why = str(checked) if isinstance(checked, Exception) else "the event is of another room"
                _log.debug("an event was dropped", origin=origin, room=room.room_id, why=why)
                results.update((event_id, why) for event_id in _find_event_id(raw, room.version))
        ordered = by_prev_events(pdus)
        results.update((pdu.event_id, "the event comes before itself") for pdu in pdus)
        receipts = await self._writes.receive(room.room_id, [Arrival(pdu=pdu) for pdu in ordered])
        for pdu, receipt in zip(ordered, receipts, strict=True):
            results[pdu.event_id] = None
            if isinstance(receipt, MissingEvents):
                results[pdu.event_id] = await self._complete(origin, room, pdu)
        return results

    def refuse(self, room: Room, raws: Sequence[RawEvent], why: str) -> Results:
        """Take none of them."""
        return {event_id: why for raw in raws for event_id in _find_event_id(raw, room.version)}

    async def receive_pdu(self, origin: ServerName, room: Room, pdu: Pdu) -> Receipt:
        """Receive one event that was checked, with what it refers to. Raises ``StillMissing``."""
        return await self._receive(origin, room, pdu, _Budget(), fetches_history=True)

    async def _complete(self, origin: ServerName, room: Room, pdu: Pdu) -> str | None:
        try:
            await self.receive_pdu(origin, room, pdu)
        except StillMissing as error:
            _log.debug("an event cannot be judged", origin=origin, room=room.room_id, why=str(error))
            return str(error)
        return None

    async def _receive(
        self, origin: ServerName, room: Room, pdu: Pdu, budget: _Budget, *, fetches_history: bool
    ) -> Receipt:
        state: LooseState | None = None
        for _ in range(ATTEMPTS_MAX):
            [receipt] = await self._writes.receive(room.room_id, [Arrival(pdu=pdu, told=state)])
            if isinstance(receipt, Receipt):
                return receipt
            lacks_before, lacks_auth_events = self._find_lacks(room, pdu)
            if fetches_history and lacks_before:
                # First, because what allowed the event is often among what came before it.
                fetches_history = False
                await self._receive_before(origin, room, pdu, budget)
            elif lacks_auth_events:
                await self._missing.fetch_auth_events(origin, room, pdu)
            elif lacks_before and state is None and budget.states:
                budget.states -= 1
                state = await self._get_state_before(origin, room, pdu)
            elif lacks_before:
                break
        raise StillMissing(f"{pdu.event_id} follows events that cannot be had")

    async def _get_state_before(self, origin: ServerName, room: Room, pdu: Pdu) -> LooseState:
        try:
            return await self._missing.fetch_state_before(origin, room, pdu.event_id)
        except StillMissing:
            with self._database.snapshot() as snapshot:
                state = find_state_of_farewell(snapshot, pdu, self._server_name)
            if state is None:
                raise
            return state

    async def _receive_before(self, origin: ServerName, room: Room, pdu: Pdu, budget: _Budget) -> None:
        """Receive the events that lie between what we hold and an event, as far as they can be had."""
        for other in await self._missing.fetch_before(origin, room, pdu):
            try:
                await self._receive(origin, room, other, budget, fetches_history=False)
            except StillMissing as error:
                _log.debug("an event cannot be judged", origin=origin, room=room.room_id, why=str(error))

    def _find_lacks(self, room: Room, pdu: Pdu) -> tuple[bool, bool]:
        """Are events before it missing, and events that allowed it?"""
        with self._database.snapshot() as snapshot:
            return (
                not all(is_held(snapshot, room, event_id) for event_id in pdu.prev_events),
                any(timeline.get_event(snapshot, event_id) is None for event_id in pdu.auth_events),
            )


def _find_event_id(raw: RawEvent, room_version: RoomVersion) -> list[EventId]:
    """The id under which an event that was dropped is told of, if it has any."""
    try:
        return [parse_event_id(event_id_of(raw, room_version))]
    except (Malformed, KeyError, TypeError, AttributeError):
        return []
