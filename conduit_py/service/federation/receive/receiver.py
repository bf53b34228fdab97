"""Transactions of other servers: each is done once and answered when everything in it is on disk.

A transaction goes on when the request that brought it is given up, and a request that brings it again waits for it. The
events of different rooms are received side by side.

Spec: server-server-api/#transactions
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import orjson
import trio

from conduit_py.data import received
from conduit_py.log import get_logger
from conduit_py.matrix.edus import ENTRIES_MAX, RECEIPT, TYPING, parse_edu
from conduit_py.matrix.ids import EventId, Malformed, RoomId, ServerName
from conduit_py.service.errors import InvalidParam, LimitExceeded, MatrixError
from conduit_py.service.federation.receive.event_texts import parse_event_text, parse_events, split_events
from conduit_py.service.federation.receive.room_events import RawEvent, Results, RoomEvents
from conduit_py.service.federation.receive.room_queues import RoomQueues
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.server_acl import get_acl
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.errors import StorageFull

_log = get_logger(__name__)

PDUS_MAX: Final = 50
EDUS_MAX: Final = 100
"""Spec: server-server-api/#transactions"""
TRANSACTIONS_MAX: Final = 60
"""Transactions at a time."""
HELD_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of all of them, as text."""
TRANSACTIONS_PER_SERVER_MAX: Final = 3
"""A server sends one at a time; one more may be there because it gave up on the first."""

EduHandler = Callable[[ServerName, Mapping[str, Any]], Awaitable[None]]
EduHandlers = Mapping[str, EduHandler]
"""By type. Each is given who sent the EDU and its content, and raises ``Malformed`` for what it cannot be."""
TakeOutside = Callable[[ServerName, RoomId, RawEvent], Awaitable[None]]
"""Takes an event of a room that we do not take part in, if it is of interest all the same."""
WaitForJoin = Callable[[RoomId], Awaitable[None]]
"""Returns when the room is not being joined, or not any more."""

EDU_BYTES_MAX: Final = 1024 * 1024
"""There is no limit in the spec. 5,000 receipts are shorter."""

Answer = dict[str, dict[str, str]]


class NotDone(MatrixError):
    """The transaction failed here; the other server should send it again."""

    errcode, status = "M_UNKNOWN", 500


@dataclass(eq=False)
class _Flight:
    """A transaction that is being done."""

    size: int
    """Bytes that are held of it."""
    answer: bytes | None = None
    error: MatrixError | StorageFull | None = None
    landed: trio.Event = field(default_factory=trio.Event)


async def take_nothing_outside(origin: ServerName, room_id: RoomId, raw: RawEvent) -> None:
    """Events of rooms that we do not take part in are none of our business."""
    await trio.lowlevel.checkpoint()


async def wait_for_no_join(room_id: RoomId) -> None:
    """No room is ever being joined."""


class Receiver:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(
        self,
        store: Store,
        room_events: RoomEvents,
        edu_handlers: EduHandlers,
        take_outside: TakeOutside = take_nothing_outside,
        wait_for_join: WaitForJoin = wait_for_no_join,
    ) -> None:
        self._store = store
        self._room_events = room_events
        self._edu_handlers = edu_handlers
        self._take_outside = take_outside
        self._wait_for_join = wait_for_join
        self._flights: dict[tuple[ServerName, str], _Flight] = {}
        self._flying: Counter[ServerName] = Counter()
        self.received: Counter[str] = Counter(taken=0, dropped=0)
        """Events of transactions, by what became of them."""
        self._held = 0
        self._queues = RoomQueues(store, self._receive_in_turn, self._find_event_ids)

    async def run(self) -> None:
        """Does transactions for as long as the server runs."""
        await self._queues.run()

    def scan_receiving(self) -> Iterator[tuple[RoomId, ServerName]]:
        """Rooms of which events are being received, or wait for that, and who sends them."""
        return self._queues.scan_busy()

    async def receive_transaction(
        self, origin: ServerName, txn_id: str, pdus: Sequence[bytes], edus: Sequence[bytes]
    ) -> bytes:
        """What became of each event, as JSON: ``{event_id: {} | {"error": why}}``.

        :param pdus: each as JSON, or as what is none; so are ``edus``.
        Raises ``InvalidParam``, ``LimitExceeded``, ``NotDone`` and ``StorageFull``.
        """
        if len(pdus) > PDUS_MAX or len(edus) > EDUS_MAX:
            raise InvalidParam(f"a transaction must not have more than {PDUS_MAX} PDUs and {EDUS_MAX} EDUs")
        flight = self._flights.get((origin, txn_id))
        if flight is None:
            with self._store.snapshot() as snapshot:
                answer = received.get_answer(snapshot, origin, txn_id)
            if answer is not None:
                return answer
            flight = self._take_off(origin, txn_id, pdus, edus)
        await flight.landed.wait()
        if flight.error is not None:
            raise flight.error
        assert flight.answer is not None, "a transaction ended with neither an answer nor an error"
        return flight.answer

    def _take_off(self, origin: ServerName, txn_id: str, pdus: Sequence[bytes], edus: Sequence[bytes]) -> _Flight:
        if not self._queues.is_running:
            raise NotDone("the server is going down")
        size = sum(map(len, pdus)) + sum(map(len, edus))
        is_too_much = len(self._flights) >= TRANSACTIONS_MAX or self._held + size > HELD_BYTES_MAX
        if is_too_much or self._flying[origin] >= TRANSACTIONS_PER_SERVER_MAX:
            raise LimitExceeded("too many transactions at a time: send it again later")
        flight = self._flights[origin, txn_id] = _Flight(size)
        self._flying[origin] += 1
        self._held += size
        self._queues.start(self._fly, flight, origin, txn_id, pdus, edus)
        return flight

    async def _fly(
        self, flight: _Flight, origin: ServerName, txn_id: str, pdus: Sequence[bytes], edus: Sequence[bytes]
    ) -> None:
        try:
            results = await self._receive(origin, pdus, edus)
            flight.answer = await self._store_answer(origin, txn_id, results)
        except (StorageFull, LimitExceeded) as error:
            flight.error = error
        finally:
            if flight.answer is None and flight.error is None:
                flight.error = NotDone("the server is going down")
            del self._flights[origin, txn_id]
            self._held -= flight.size
            self._flying[origin] -= 1
            if not self._flying[origin]:
                del self._flying[origin]
            flight.landed.set()

    async def _receive(self, origin: ServerName, pdus: Sequence[bytes], edus: Sequence[bytes]) -> Results:
        by_room: dict[RoomId, list[bytes]] = {}
        for text in pdus:
            room_id = await _find_room(text)
            if room_id is not None:
                by_room.setdefault(room_id, []).append(text)
        results: Results = {}
        not_taken: list[StorageFull | LimitExceeded] = []
        receipts: list[bytes] = []

        async def attempt(receive: Awaitable[None]) -> None:
            try:
                await receive
            except (StorageFull, LimitExceeded) as error:
                not_taken.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, self._receive_edus(origin, edus, receipts))
            for room_id, texts in by_room.items():
                nursery.start_soon(attempt, self._receive_room(origin, room_id, texts, results))
        # What was read may have come with this very transaction.
        await attempt(self._receive_edus(origin, receipts, None))
        if not_taken:
            raise not_taken[0]
        return results

    async def _store_answer(self, origin: ServerName, txn_id: str, results: Results) -> bytes:
        told: Answer = {event_id: {} if why is None else {"error": why} for event_id, why in results.items()}
        for why in results.values():
            self.received["dropped" if why else "taken"] += 1
        answer = orjson.dumps(told)
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                now_ms = self._store.now_ms()
                received.stage_answer(snapshot, turn, origin, txn_id, results=answer, now_ms=now_ms)
        return answer

    async def _receive_room(
        self, origin: ServerName, room_id: RoomId, texts: Sequence[bytes], results: Results
    ) -> None:
        results.update(await self._queues.put(origin, room_id, texts))

    async def _receive_in_turn(self, origin: ServerName, room_id: RoomId, texts: Sequence[bytes]) -> Results:
        results: Results = {}
        for portion in split_events(texts):
            results.update(await self._receive_portion(origin, room_id, await parse_events(portion)))
        return results

    async def _receive_portion(self, origin: ServerName, room_id: RoomId, raws: Sequence[RawEvent]) -> Results:
        try:
            return await self._receive_events(origin, room_id, raws)
        except StorageFull:
            raise
        except MatrixError as error:  # The room went away meanwhile.
            _log.debug("events could not be received", origin=origin, room=room_id, why=str(error))
            return {}
        except Exception:
            # A mistake of ours about one event must not keep all others of the room, or of the server, from us.
            _log.exception("events could not be received", origin=origin, room=room_id, events=len(raws))
        results: Results = {}
        if len(raws) > 1:
            for raw in raws:
                results.update(await self._receive_portion(origin, room_id, [raw]))
        return results

    async def _find_event_ids(self, room_id: RoomId, texts: Sequence[bytes]) -> list[EventId]:
        with self._store.snapshot() as snapshot:
            room = get_live_room(snapshot, room_id)
        event_ids: list[EventId] = []
        if room is not None:
            for text in texts:
                event_ids += self._room_events.refuse(room, await parse_events([text]), "")
        return event_ids

    async def _receive_events(self, origin: ServerName, room_id: RoomId, raws: Sequence[RawEvent]) -> Results:
        await self._wait_for_join(room_id)
        with self._store.snapshot() as snapshot:
            room = get_live_room(snapshot, room_id)
            is_allowed = _may_take_part(snapshot, origin, room_id)
        if room is None:
            for raw in raws:
                await self._take_outside(origin, room_id, raw)
            return {}
        if not is_allowed:
            return self._room_events.refuse(room, raws, f"{origin} may not take part in the room")
        return await self._room_events.receive(origin, room, raws)

    async def _receive_edus(self, origin: ServerName, edus: Sequence[bytes], receipts: list[bytes] | None) -> None:
        """:param receipts: where those are put aside."""
        for text in edus:
            try:
                edu_type, content = parse_edu(await parse_event_text(text, EDU_BYTES_MAX))
                if edu_type == RECEIPT and receipts is not None:
                    receipts.append(text)
                else:
                    await self._receive_edu(origin, edu_type, content)
            except StorageFull:
                raise
            except (Malformed, MatrixError) as error:
                _log.debug("an EDU was dropped", origin=origin, why=str(error))
            except Exception:
                # As with events: a mistake of ours about one keeps no other from us.
                _log.exception("an EDU could not be received", origin=origin)

    async def _receive_edu(self, origin: ServerName, edu_type: str, content: Mapping[str, Any]) -> None:
        handler = self._edu_handlers.get(edu_type)
        if handler is None:
            return
        with self._store.snapshot() as snapshot:
            allowed = _without_denied(snapshot, origin, edu_type, content)
        if allowed is not None:
            await handler(origin, allowed)


async def _find_room(text: bytes) -> RoomId | None:
    raws = await parse_events([text])
    room_id = raws[0].get("room_id") if raws else None
    return RoomId(room_id) if isinstance(room_id, str) else None


def _without_denied(
    snapshot: Snapshot, origin: ServerName, edu_type: str, content: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """What is left of an EDU without the rooms that shut the server out; None for nothing.

    Spec: server-server-api/#server-access-control-lists-acls
    """
    if edu_type == TYPING:
        room_id = content.get("room_id")
        is_allowed = isinstance(room_id, str) and _may_take_part(snapshot, origin, RoomId(room_id))
        return content if is_allowed else None
    if edu_type == RECEIPT:
        told = islice(content.items(), ENTRIES_MAX)
        return {room_id: it for room_id, it in told if _may_take_part(snapshot, origin, RoomId(room_id))}
    return content


def _may_take_part(snapshot: Snapshot, origin: ServerName, room_id: RoomId) -> bool:
    """Does the room's access control list allow the server? True for rooms that we do not take part in."""
    room = get_live_room(snapshot, room_id)
    return room is None or get_acl(snapshot, room.short).allows(origin)
