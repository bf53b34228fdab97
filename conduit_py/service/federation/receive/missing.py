"""What an event refers to and we do not hold: fetched and stored.

- Events before it: a stretch of history up to what we hold (``/get_missing_events``). Where it is too long, the state
  before the oldest event that was fetched is asked for (``/state_ids``), and a gap is left in the timeline.
- Events that allowed it: its whole auth chain (``/event_auth``), or one by one.

The server that sent the event is asked first, then some others in the room (``sources``). These need not have the event
itself yet: of what came before it they are asked with ``/backfill``, and for what allowed it one by one.

Nothing is locked meanwhile. What could not be fetched is left alone for a while, and longer each time.

Spec: server-server-api/#backfilling-and-retrieving-missing-events,
server-server-api/#retrieving-event-authorization-information
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from itertools import chain
from typing import Final

import trio

from conduit_py.data import rooms, timeline
from conduit_py.data.rooms import Room
from conduit_py.data.state import LooseState
from conduit_py.log import get_logger
from conduit_py.matrix.ids import EventId, ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.outbound.errors import RemoteError
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_events import (
    fetch_backfill,
    fetch_event,
    fetch_event_auth,
    fetch_missing_events,
    fetch_state,
    fetch_state_ids,
)
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.pauses import Pauses
from conduit_py.service.federation.receive.event_texts import (
    BRACKETS_PER_PORTION,
    count_brackets,
    parse_events,
    split_events,
)
from conduit_py.service.federation.receive.order import by_auth_events, by_prev_events
from conduit_py.service.federation.receive.sources import Sources
from conduit_py.service.federation.receive.state_told import lay_out_state
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.timeline import OUTLIER

_log = get_logger(__name__)

EXTREMITIES_MAX: Final = 20
"""Of what we hold, so many events are named to the other server."""
NAMED_MAX: Final = 20
"""The same for missing events."""
SINGLE_EVENTS_MAX: Final = 100
"""Missing events of a state that are fetched one by one; of more, the whole state is fetched."""
AUTH_DEPTH_MAX: Final = 20
"""How far back auth events are followed one by one."""
EVENTS_AT_ONCE: Final = 10
"""Single events asked for at the same time, for one event received."""
STORED_AT_ONCE: Final = 200
BRACKETS_MAX: Final = 2 * BRACKETS_PER_PORTION
"""Lists and objects in events that are held for one event received."""
PAUSE_MS: Final = 60_000
PAUSE_MAX_MS: Final = 3_600_000


class StillMissing(Exception):
    """The event cannot be judged now: what it refers to cannot be had."""


class MissingEventsFetcher:
    """One per server.

    :param prev_events_max: the longest stretch of history that is fetched for one event.
    """

    def __init__(
        self,
        database: Database,
        writes: RoomWrites,
        fetcher: Fetcher,
        checks: Checks,
        *,
        prev_events_max: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._writes = writes
        self._fetcher = fetcher
        self._checks = checks
        self._prev_events_max = prev_events_max
        outbox, server_name = writes.append.tools.outbox, writes.append.server_name
        self._sources = Sources(database, server_name=server_name, is_failing=outbox.is_failing, now_ms=now_ms)
        self._pauses = Pauses(first_ms=PAUSE_MS, longest_ms=PAUSE_MAX_MS, now_ms=now_ms)

    async def fetch_before(self, origin: ServerName, room: Room, pdu: Pdu) -> list[Pdu]:
        """Events that ``pdu`` follows, as far back as to what we hold or as we want: checked, in order, not stored.

        Empty if there are none to be had. None of them is from before our part of the room begins: taken for new, such
        an event would become an end of the room, and its state a part of the current one.
        """
        with self._database.snapshot() as snapshot:
            earliest = _get_extremities(snapshot, room)
            min_depth = _get_first_depth(snapshot, room)
            missing = [other for other in pdu.prev_events if not is_held(snapshot, room, other)]
        if not any(self._pauses.is_over(("before", other)) for other in missing):
            return []

        async def ask(server_name: ServerName) -> list[Pdu] | None:
            """The newest first: what lies before them is of no use without them."""
            limit = self._prev_events_max
            if server_name == origin:
                texts = await fetch_missing_events(
                    self._fetcher,
                    server_name,
                    room.room_id,
                    earliest_events=earliest,
                    latest_events=[pdu.event_id],
                    limit=limit,
                    min_depth=min_depth,
                )
                texts = texts[:limit][::-1]
            else:
                named = missing[:NAMED_MAX]
                texts = await fetch_backfill(self._fetcher, server_name, room.room_id, named, limit=limit)
            found = await self.check(room, texts[:limit])
            with self._database.snapshot() as snapshot:
                fresh = [it for it in found if it.depth >= min_depth and not is_held(snapshot, room, it.event_id)]
            return connect(pdu.prev_events, fresh) or None

        wanted = await self._sources.ask("before", origin, room, ask)
        if wanted is None:
            self._note_failures("events before one", origin, [("before", other) for other in missing])
        return [other for other in by_prev_events(wanted or ()) if other.event_id != pdu.event_id]

    async def fetch_state_before(self, origin: ServerName, room: Room, event_id: EventId) -> LooseState:
        """The state before an event as another server has it, with its events stored. Raises ``StillMissing``."""
        if not self._pauses.is_over(("state", event_id)):
            raise StillMissing(f"the state before {event_id} could not be fetched a while ago")

        async def ask(server_name: ServerName) -> list[EventId] | None:
            told = await fetch_state_ids(self._fetcher, server_name, room.room_id, event_id)
            missing = await self._find_missing([*told.pdu_ids, *told.auth_chain_ids])
            if len(missing) > SINGLE_EVENTS_MAX:
                full = await fetch_state(self._fetcher, server_name, room.room_id, event_id)
                await self._store(room, chain(full.auth_chain, full.pdus))
            elif missing:
                await self._fetch_single(server_name, room, missing)
            return None if await self._find_missing(told.pdu_ids) else told.pdu_ids

        told = await self._sources.ask("state", origin, room, ask)
        if told is None:
            self._note_failures("the state before an event", origin, [("state", event_id)])
            raise StillMissing(f"the state before {event_id} cannot be had")
        return await lay_out_state(self._database, self._writes, room.short, told)

    async def fetch_auth_events(self, origin: ServerName, room: Room, pdu: Pdu) -> None:
        """Store what allowed an event. Raises ``StillMissing``."""
        missing = await self._find_missing(pdu.auth_events)
        if any(map(self._pauses.is_over, missing)):
            try:
                await self._store(room, await fetch_event_auth(self._fetcher, origin, room.room_id, pdu.event_id))
            except RemoteError as error:
                _log.debug("an auth chain cannot be fetched", origin=origin, event=pdu.event_id, error=str(error))
            missing = await self._find_missing(pdu.auth_events)
            if missing:
                await self._fetch_single(origin, room, missing)
                missing = await self._find_missing(pdu.auth_events)
        if missing:
            self._note_failures("what allowed an event", origin, missing)
            raise StillMissing(f"auth events of {pdu.event_id} cannot be had: {', '.join(missing)}")

    async def _fetch_single(self, origin: ServerName, room: Room, event_ids: Collection[EventId]) -> None:
        """Fetch events one by one, and in turn what allowed them, and store what can be judged."""
        found: dict[EventId, Pdu] = {}
        left = BRACKETS_MAX
        todo = list(dict.fromkeys(event_ids))
        for _ in range(AUTH_DEPTH_MAX):
            todo = [event_id for event_id in todo if self._pauses.is_over(event_id)]
            if not todo or len(found) + len(todo) > SINGLE_EVENTS_MAX or left <= 0:
                break
            for server_name in self._sources.scan("events", origin, room):
                lacking = [event_id for event_id in todo if event_id not in found]
                if not lacking or left <= 0:
                    break
                texts = await self._ask_each(server_name, lacking, is_sure=server_name == origin)
                left -= sum(map(count_brackets, texts))
                checked = await self.check(room, texts)
                found.update((pdu.event_id, pdu) for pdu in checked if pdu.event_id in lacking)
            for event_id in todo:
                if event_id not in found:
                    self._pauses.note(event_id, has_failed=True)
                    self._sources.note_in_vain("events", origin, room.room_id)
            named = {event_id for pdu in found.values() for event_id in pdu.auth_events} - found.keys()
            todo = await self._find_missing(named)
        await self._store_checked(room, found.values())

    async def _ask_each(self, server_name: ServerName, event_ids: Sequence[EventId], *, is_sure: bool) -> list[bytes]:
        """Without ``is_sure`` the server is let be once it does not answer."""
        texts: list[bytes] = []
        limiter = trio.CapacityLimiter(EVENTS_AT_ONCE)

        async def ask(event_id: EventId) -> None:
            async with limiter:
                if not is_sure and not self._sources.may_ask(server_name):
                    return
                try:
                    texts.append(await fetch_event(self._fetcher, server_name, event_id))
                except RemoteError as error:
                    self._sources.note_failure(server_name, error)

        async with trio.open_nursery() as nursery:
            for event_id in event_ids:
                nursery.start_soon(ask, event_id)
        return texts

    async def _store(self, room: Room, texts: Iterable[bytes]) -> None:
        for portion in split_events(texts):
            for start in range(0, len(portion), STORED_AT_ONCE * 10):
                await self._store_checked(room, await self.check(room, portion[start : start + STORED_AT_ONCE * 10]))

    async def _store_checked(self, room: Room, pdus: Iterable[Pdu]) -> None:
        ordered = by_auth_events(pdus)
        for start in range(0, len(ordered), STORED_AT_ONCE):
            await self._writes.store_outliers(room.room_id, ordered[start : start + STORED_AT_ONCE])

    async def check(self, room: Room, texts: Sequence[bytes]) -> list[Pdu]:
        """Those that are valid events of the room; only the first, if they are more than may be held at a time."""
        valid: list[Pdu] = []
        left = BRACKETS_MAX
        for portion in split_events(texts):
            checked = await self._checks.check_many(await parse_events(portion), room.version)
            valid += (pdu for pdu in checked if isinstance(pdu, Pdu) and pdu.room_id == room.room_id)
            left -= sum(map(count_brackets, portion))
            if left <= 0:
                break
        return valid

    async def _find_missing(self, event_ids: Iterable[EventId]) -> list[EventId]:
        wanted, missing = list(dict.fromkeys(event_ids)), []
        for start in range(0, len(wanted), STORED_AT_ONCE * 10):
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                part = wanted[start : start + STORED_AT_ONCE * 10]
                missing += [event_id for event_id in part if timeline.get_event(snapshot, event_id) is None]
        return missing

    def _note_failures(self, what: str, origin: ServerName, keys: Iterable[Hashable]) -> None:
        _log.debug("what events refer to cannot be had", what=what, origin=origin)
        for key in keys:
            self._pauses.note(key, has_failed=True)


def is_held(snapshot: Snapshot, room: Room, event_id: EventId) -> bool:
    """Do we have the event with the state after it?"""
    found = timeline.find_row(snapshot, event_id)
    return found is not None and found[1].room == room.short and not found[1].flags & OUTLIER


def _get_extremities(snapshot: Snapshot, room: Room) -> list[EventId]:
    current = rooms.get_room(snapshot, room.room_id)
    events = () if current is None else current.extremities[-EXTREMITIES_MAX:]
    return [EventId(timeline.require_row(snapshot, event).event_id) for event in events]


def _get_first_depth(snapshot: Snapshot, room: Room) -> int:
    """The depth of the first event of our timeline."""
    first = next(timeline.scan_timeline(snapshot, room.short), None)
    return 0 if first is None else timeline.get_pdu(snapshot, first[1]).depth


def connect(event_ids: Iterable[EventId], found: Sequence[Pdu]) -> list[Pdu]:
    """Those of ``found`` that are named or lie before them: the other server decides what it sends, we what we want."""
    by_id = {other.event_id: other for other in found}
    todo, reached = list(event_ids), set()
    while todo:
        other = by_id.get(todo.pop())
        if other is not None and other.event_id not in reached:
            reached.add(other.event_id)
            todo.extend(other.prev_events)
    return [other for event_id, other in by_id.items() if event_id in reached]
