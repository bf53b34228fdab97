"""The state of a room at an event, and auth chains, for other servers: written out while they are read.

The state of a large room has tens of thousands of events. Which ones is known at once, from the differences that states
are stored as; what they say is read and sent in slices, so that no answer is held as a whole.

Spec: server-server-api/#get_matrixfederationv1stateroomid
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
import trio

from conduit_py.data import short_ids, timeline
from conduit_py.data.auth_chain import get_auth_events
from conduit_py.data.rooms import Room
from conduit_py.data.state import StateChain
from conduit_py.matrix.ids import EventId, RoomId, ServerName
from conduit_py.service.errors import LimitExceeded, NotFound
from conduit_py.service.federation.reading.access import get_room_of_farewell, require_room_for
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import OUTLIER, REJECTED, STATE, EventRow

EVENTS_PER_SLICE: Final = 200
"""Events read and sent before others get their turn: about 3 ms."""
CHAIN_PER_SLICE: Final = 1000
"""Events of an auth chain that are followed before others get their turn: about 5 ms."""
STREAMS_PER_SERVER_MAX: Final = 4
"""Answers that one server is being sent at the same time."""

Render = Callable[[EventRow], bytes]


@dataclass(frozen=True, slots=True)
class _Listed:
    name: str
    events: Sequence[ShortEventId]


@dataclass(frozen=True, slots=True)
class _Chained:
    """What stands in the list is the auth chain of the events."""

    name: str
    room: Room
    events: Sequence[ShortEventId]


class StateReads:
    """One per server."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._streams: Counter[ServerName] = Counter()

    def get_state(self, origin: ServerName, room_id: RoomId, event_id: EventId) -> AsyncIterator[bytes]:
        """The state before an event, and its auth chain, as pieces of JSON.

        Raises ``Forbidden``, ``NotFound`` and ``LimitExceeded``, before the first piece.

        Spec: server-server-api/#get_matrixfederationv1stateroomid
        """
        room, state = self._require_state(origin, room_id, event_id)
        return self._stream(
            origin,
            lambda row: timeline.federation_json(row, room_id),
            state=_Listed("pdus", state),
            chain=_Chained("auth_chain", room, state),
        )

    def get_state_ids(self, origin: ServerName, room_id: RoomId, event_id: EventId) -> AsyncIterator[bytes]:
        """The same as event ids.

        Spec: server-server-api/#get_matrixfederationv1state_idsroomid
        """
        room, state = self._require_state(origin, room_id, event_id)
        return self._stream(
            origin,
            lambda row: orjson.dumps(row.event_id),
            state=_Listed("pdu_ids", state),
            chain=_Chained("auth_chain_ids", room, state),
        )

    def get_event_auth(self, origin: ServerName, room_id: RoomId, event_id: EventId) -> AsyncIterator[bytes]:
        """The auth chain of an event.

        Spec: server-server-api/#get_matrixfederationv1event_authroomideventid
        """
        with self._database.snapshot() as snapshot:
            room = get_room_of_farewell(snapshot, origin, room_id, event_id) or require_room_for(
                snapshot, origin, room_id
            )
            event, _ = self._require_event(snapshot, room, event_id)
        self._require_stream(origin)
        return self._stream(
            origin,
            lambda row: timeline.federation_json(row, room_id),
            state=None,
            chain=_Chained("auth_chain", room, [event]),
        )

    def _require_state(self, origin: ServerName, room_id: RoomId, event_id: EventId) -> tuple[Room, list[ShortEventId]]:
        with self._database.snapshot() as snapshot:
            room = require_room_for(snapshot, origin, room_id)
            state = get_state_before(snapshot, *self._require_event(snapshot, room, event_id))
        self._require_stream(origin)
        return room, state

    def _require_event(self, snapshot: Snapshot, room: Room, event_id: EventId) -> tuple[ShortEventId, EventRow]:
        found = timeline.find_row(snapshot, event_id)
        if found is None or found[1].room != room.short:
            raise NotFound(f"there is no event {event_id} in {room.room_id}")
        return found

    def _require_stream(self, origin: ServerName) -> None:
        if self._streams[origin] >= STREAMS_PER_SERVER_MAX:
            raise LimitExceeded(f"{origin} is being sent {STREAMS_PER_SERVER_MAX} states already")

    async def _stream(
        self,
        origin: ServerName,
        render: Render,
        *,
        state: _Listed | None,
        chain: _Chained,
    ) -> AsyncIterator[bytes]:
        """An object with a list of events, if one is given, and a list of the auth chain of others."""
        self._streams[origin] += 1
        try:
            yield b"{"
            if state is not None:
                async for piece in self._render_list(state.name, state.events, render):
                    yield piece
                yield b","
            async for piece in self._render_list(chain.name, await self._walk_chain(chain), render):
                yield piece
            yield b"}"
        finally:
            self._streams[origin] -= 1
            if not self._streams[origin]:
                del self._streams[origin]

    async def _render_list(self, name: str, events: Sequence[ShortEventId], render: Render) -> AsyncIterator[bytes]:
        yield orjson.dumps(name) + b":["
        for start in range(0, len(events), EVENTS_PER_SLICE):
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                rows = (timeline.require_row(snapshot, event) for event in events[start : start + EVENTS_PER_SLICE])
                piece = b",".join(map(render, rows))
            yield b"," + piece if start else piece
        yield b"]"

    async def _walk_chain(self, chain: _Chained) -> list[ShortEventId]:
        """The auth chain of all events together, each before those that it allows."""
        ahead = list(chain.events)
        with self._database.snapshot() as snapshot:
            seen = _get_implied(snapshot, chain)
        while ahead:
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                for _ in range(min(CHAIN_PER_SLICE, len(ahead))):
                    for auth_event in get_auth_events(snapshot, ahead.pop()):
                        if auth_event not in seen:
                            seen.add(auth_event)
                            ahead.append(auth_event)
        return sorted(seen)


def _get_implied(snapshot: Snapshot, chain: _Chained) -> set[ShortEventId]:
    """The create event where it allows every other without being named, because the room's id is its hash.

    Spec: rooms/v12/#event-format-1
    """
    if chain.room.version.event_format.create_has_room_id:
        return set()
    create = timeline.get_event(snapshot, EventId("$" + chain.room.room_id[1:]))
    return {create} if create is not None and any(event != create for event in chain.events) else set()


def get_state_before(snapshot: Snapshot, event: ShortEventId, row: EventRow) -> list[ShortEventId]:
    """The state that an event found, the oldest first. Raises ``NotFound`` where it is not known.

    It is the one after the event without what the event itself did. A rejected event did nothing.
    """
    if row.flags & OUTLIER:
        raise NotFound(f"the state at {row.event_id} is not known here")
    entries = StateChain(snapshot).entries(row.state_after)
    if row.flags & STATE and not row.flags & REJECTED:
        pdu = timeline.get_pdu(snapshot, event)
        key = short_ids.get_state_key(snapshot, pdu.type, pdu.state_key or "")
        if key is not None and entries.get(key) == event:
            del entries[key]
            if row.replaces:
                entries[key] = row.replaces
    return sorted(entries.values())
