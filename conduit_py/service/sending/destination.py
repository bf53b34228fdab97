"""Sending to one server: one transaction after the other, each until it is acknowledged.

What is in memory follows what is on disk. A transaction is opened by a row that says how far into the queue it reaches;
its acknowledgment removes the rows and opens the next one in the same batch. Only the task of the destination writes
that row, and there is one such task at most, so nothing here needs a lock. Others only add to the end of the queue,
and take away EDUs that were replaced before they were on their way.

A failure is written down with the time of the next attempt, so that a restart does not try everybody at once.

Spec: server-server-api/#transactions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final, Protocol

from conduit_py.data import members, rooms, sending
from conduit_py.data.sending import IDLE
from conduit_py.log import get_logger
from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.errors import Refused, RemoteError
from conduit_py.service.sending.backlog import Backlog
from conduit_py.service.sending.transaction import EDUS_MAX, Rows, build_body, read_in_flight, read_next
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.sending import Sending
from kvschema.errors import PreconditionFailed, StorageFull

_log = get_logger(__name__)

FIRST_RETRY_MS: Final = 10_000
LONGEST_RETRY_MS: Final = 24 * 3_600_000
DOUBLINGS_MAX: Final = 14
REFUSALS_MAX: Final = 5
"""A transaction that the server calls malformed or too large so often is given up: behind it everything waits."""
KEPT_MS: Final = 30 * 24 * 3_600_000
"""How long we go on trying to reach a server with which no room is shared any more."""
ROOMS_CAUGHT_UP_MAX: Final = 50
"""Rooms whose last event becomes a queued one at a time."""
EXTREMITIES_MAX: Final = 10
"""Forward extremities of one room that a server is sent which is behind."""
TRANSACTIONS_AT_ONCE: Final = 10
"""After so many, other servers get a turn."""
ERRORS_LOGGED_MAX: Final = 5
ERROR_CHARS_MAX: Final = 200


class Post(Protocol):
    """Who brings transactions to other servers: ``FederationClient``, or what a test puts in its place."""

    async def send_transaction(self, destination: ServerName, txn_id: str, body: bytes) -> dict[str, Any]:
        """The answer. Raises ``RemoteError``."""


class Delivery:
    """Sends what waits. One per server; it keeps nothing of any destination.

    :param random_fraction: a random number from 0 to 1.
    """

    def __init__(
        self, store: Store, post: Post, *, server_name: ServerName, random_fraction: Callable[[], float]
    ) -> None:
        self._store = store
        self._post = post
        self._server_name = server_name
        self._random_fraction = random_fraction
        self._passed = 0

    async def send_some(self, backlog: Backlog) -> None:
        """Send a few transactions, until nothing waits or one fails. Raises ``StorageFull``."""
        rows = self._read_in_flight(backlog) if backlog.state.txn_id else await self._advance(backlog, Rows())
        for _ in range(TRANSACTIONS_AT_ONCE):
            passing = backlog.take_passing(self._store.now_ms(), EDUS_MAX - len(rows.edus))
            if not (rows or passing or backlog.state.txn_id or backlog.is_behind):
                return
            if (rows or passing) and not await self._send(backlog, rows, passing):
                return
            rows = await self._advance(backlog, rows)

    def _read_in_flight(self, backlog: Backlog) -> Rows:
        state = backlog.state
        with self._store.snapshot() as snapshot:
            return read_in_flight(
                snapshot, backlog.server_name, event_until=state.event_until, edu_until=state.edu_until
            )

    async def _advance(self, backlog: Backlog, done: Rows) -> Rows:
        """Have done with a transaction and open the next one."""
        name = backlog.server_name
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            sending.stage_events_removed(turn, name, done.event_places)
            sending.stage_edus_removed(turn, name, done.edu_places)
            with self._store.snapshot() as snapshot:
                rows = read_next(snapshot, name, done)
            if not rows.event_places:
                backlog.events = len(done.event_places)
            if not rows.edu_places and not rows.event_places:
                backlog.edus = len(done.edu_places)
            state = IDLE
            if rows:
                state = Sending(str(turn.take_pos()), event_until=rows.event_until, edu_until=rows.edu_until)
            if state.txn_id or backlog.state.txn_id:
                sending.stage_sending(turn, name, state)
        backlog.state = state
        backlog.events -= len(done.event_places)
        backlog.edus -= len(done.edu_places)
        for replaces in [key for key, pos in backlog.replaceable.items() if pos <= done.edu_until]:
            del backlog.replaceable[replaces]
        if backlog.is_behind and not backlog.events:
            await self._catch_up(backlog)
        return rows

    async def _catch_up(self, backlog: Backlog) -> None:
        """Queue the last events of rooms in which the server is behind."""
        try:
            async with self._store.writer.turn(may_use_reserve=True) as turn:
                with self._store.snapshot() as snapshot:
                    behind = sending.scan_last_events(snapshot, backlog.server_name, ROOMS_CAUGHT_UP_MAX + 1)
                    # Here and not when it has landed: whoever notes a room after this snapshot sets it again.
                    backlog.is_behind = len(behind) > ROOMS_CAUGHT_UP_MAX
                    queued = 0
                    for room, event in behind[:ROOMS_CAUGHT_UP_MAX]:
                        sending.stage_last_event_removed(turn, backlog.server_name, room, event)
                        for latest in _find_latest(snapshot, backlog.server_name, room, event):
                            sending.stage_event(turn, backlog.server_name, turn.take_pos(), latest)
                            queued += 1
        except PreconditionFailed:
            backlog.is_behind = True
        except StorageFull:
            backlog.is_behind = True
            raise
        else:
            backlog.events += queued

    async def _send(self, backlog: Backlog, rows: Rows, passing: list[bytes]) -> bool:
        """Whether the server has the transaction, or it is no use to try again."""
        now_ms = self._store.now_ms()
        backlog.attempted_ms = now_ms
        txn_id = backlog.state.txn_id
        if not txn_id:
            self._passed += 1
            txn_id = f"{now_ms}-{self._passed}"
        body = build_body(rows, passing, origin=self._server_name, now_ms=now_ms)
        try:
            answer = await self._post.send_transaction(backlog.server_name, txn_id, body)
        except RemoteError as error:
            return await self._note_failure(backlog, rows, error)
        _log_errors(backlog.server_name, answer)
        if backlog.state.failing_since_ms:
            _log.info("a server can be reached again", destination=backlog.server_name)
        return True

    async def _note_failure(self, backlog: Backlog, rows: Rows, error: RemoteError) -> bool:
        before, now_ms = backlog.state, self._store.now_ms()
        is_refused = isinstance(error, Refused) and error.status in (400, 413)
        state = before._replace(
            failures=before.failures + 1,
            refusals=before.refusals + is_refused,
            retry_ms=now_ms + self._choose_pause(before.failures, error),
            failing_since_ms=before.failing_since_ms or now_ms,
        )
        facts: dict[str, Any] = {"destination": backlog.server_name, "failures": state.failures, "error": str(error)}
        if state.refusals >= REFUSALS_MAX:
            _log.warning("a server refuses a transaction for good: it is given up", **facts, events=len(rows.pdus))
            return True
        log = _log.info if state.failures == 1 else _log.debug
        log("a server cannot be sent to", **facts, retry_s=(state.retry_ms - now_ms) // 1000)
        backlog.state = state
        backlog.passing.clear()
        if state.txn_id and await self._is_given_up(backlog):
            return False
        if state.txn_id:
            async with self._store.writer.turn(may_use_reserve=True) as turn:
                sending.stage_sending(turn, backlog.server_name, state)
        return False

    def _choose_pause(self, failures: int, error: RemoteError) -> int:
        pause_ms = min(FIRST_RETRY_MS << min(failures, DOUBLINGS_MAX), LONGEST_RETRY_MS)
        pause_ms = int(pause_ms * (0.75 + 0.25 * self._random_fraction()))
        asked_ms = error.retry_after_ms if isinstance(error, Refused) else None
        return max(pause_ms, min(asked_ms or 0, LONGEST_RETRY_MS))

    async def _is_given_up(self, backlog: Backlog) -> bool:
        """Forget what waits for a server that is gone and that nobody here shares a room with."""
        if self._store.now_ms() - backlog.state.failing_since_ms < KEPT_MS:
            return False
        with self._store.snapshot() as snapshot:
            if sending.shares_room(snapshot, backlog.server_name):
                return False
        async with self._store.writer.turn(may_use_reserve=True) as turn:
            with self._store.snapshot() as snapshot:
                sending.stage_server_removed(snapshot, turn, backlog.server_name)
                backlog.is_behind, backlog.events, backlog.edus = False, 0, 0
        backlog.state = IDLE
        _log.info("what waited for a server is given up: no room is shared", destination=backlog.server_name)
        return True


def _find_latest(
    snapshot: Snapshot, server_name: ServerName, room: ShortRoomId, event: ShortEventId
) -> list[ShortEventId]:
    """What a server is sent that missed events of a room up to ``event``: what leads it to all of them."""
    if not members.is_server_joined(snapshot, room, server_name):
        return [event]
    extremities = rooms.get_extremities(snapshot, room)
    return [event] if event in extremities or not extremities else list(extremities[-EXTREMITIES_MAX:])


def _log_errors(destination: ServerName, answer: Mapping[str, Any]) -> None:
    pdus = answer.get("pdus")
    if not isinstance(pdus, Mapping):
        return
    errors = {
        event_id: str(result["error"])[:ERROR_CHARS_MAX]
        for event_id, result in pdus.items()
        if isinstance(result, Mapping) and "error" in result
    }
    if errors:
        shown = dict(islice(errors.items(), ERRORS_LOGGED_MAX))
        _log.info("a server refuses events of ours", destination=destination, count=len(errors), errors=shown)
