"""The threads of a room, those with the latest activity first.

Activity is what this server knows: a thread keeps its place where its latest event is hidden from the reader, who is
told of the latest one that may be seen.

Spec: client-server-api/#querying-threads-in-a-room
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson
import trio

from conduit_py.data import relations, row_fields, short_ids, timeline
from conduit_py.matrix.ids import EventId, RoomId, UserId
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.sync_token import format_place, parse_place
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import Access, require_access
from conduit_py.service.rooms.aggregations import (
    bundle_relations,
    get_ignored_shorts,
    has_participated,
    has_visible_thread,
)
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.state_reads import json_list
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import EventRow

LIMIT_DEFAULT = 20
LIMIT_MAX = 200
"""Threads in one answer, however many were asked for."""
SCANNED_MAX = 2000
"""Threads that are looked at for one page."""
THREADS_PER_SLICE = 50
"""Threads that are looked at before others get their turn: about 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadQuery:
    """Which threads are asked for."""

    is_participant: bool = False
    """Only those that the requester took part in."""
    from_token: str | None = None
    limit: int | None = None


class ThreadService:
    """One per server."""

    def __init__(self, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms

    async def get_threads(self, requester: Requester, room_id: RoomId, query: ThreadQuery) -> bytes:
        """One page of thread roots, as JSON. Raises ``Forbidden``, and ``Malformed`` for no token."""
        with self._database.snapshot() as snapshot:
            access = require_access(snapshot, requester, room_id)
        page = _Page(requester, access, query, now_ms=self._now_ms())
        is_done = False
        while not is_done:
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                is_done = page.read_slice(snapshot)
        return page.build()


class _Page:
    def __init__(self, requester: Requester, access: Access, query: ThreadQuery, *, now_ms: int) -> None:
        self._requester = requester
        self._access = access
        self._query = query
        self._now_ms = now_ms
        self._limit = min(LIMIT_DEFAULT if query.limit is None else query.limit, LIMIT_MAX)
        self._at = None if query.from_token is None else parse_place(query.from_token)
        """Where to go on: threads whose latest event lies behind were told or passed over."""
        self._rendered: list[bytes] = []
        self._has_more = False
        self._scanned = 0

    def read_slice(self, snapshot: Snapshot) -> bool:
        """Whether the page is done."""
        reader = _Reader(snapshot, self._requester, self._access, now_ms=self._now_ms)
        after = None if self._at is None else self._at + 1
        threads = relations.scan_threads(snapshot, self._access.room, after=after)
        for count, (pos, root_id) in enumerate(threads, 1):
            root = reader.get_root(root_id, is_participant=self._query.is_participant)
            if root is not None:
                if len(self._rendered) >= self._limit:
                    self._has_more = True
                    return True
                self._rendered.append(reader.render(*root))
            self._at = pos - 1
            self._scanned += 1
            if self._scanned >= SCANNED_MAX:
                self._has_more = True
                return True
            if count >= THREADS_PER_SLICE:
                return False
        return True

    def build(self) -> bytes:
        parts = [b'"chunk":' + json_list(self._rendered)]
        if self._has_more and self._at is not None:
            parts.append(b'"next_batch":' + orjson.dumps(format_place(self._at)))
        return b"{" + b",".join(parts) + b"}"


class _Reader:
    """One requester reading threads of one room in one snapshot."""

    def __init__(self, snapshot: Snapshot, requester: Requester, access: Access, *, now_ms: int) -> None:
        self._snapshot = snapshot
        self._requester = requester
        self._access = access
        self._events = ClientEvents(
            snapshot,
            requester,
            Visibility(snapshot, requester.user_id),
            now_ms=now_ms,
            get_relations=bundle_relations,
        )
        self._ignored = get_ignored_shorts(snapshot, requester.user)

    def get_root(self, root_id: EventId, *, is_participant: bool) -> tuple[ShortEventId, EventRow] | None:
        """The root, if the requester is to be told of the thread."""
        found = timeline.find_row(self._snapshot, root_id)
        if found is None or found[1].room != self._access.room or not self._events.visibility.may_see(found[1]):
            return None
        if is_participant and not has_participated(self._snapshot, self._requester.user, found[1]):
            return None
        return found if has_visible_thread(self._events, found[1]) else None

    def render(self, event: ShortEventId, row: EventRow) -> bytes:
        """The root with what is bundled with it; that of an ignored user as if it were redacted."""
        sender = short_ids.get_user(self._snapshot, UserId(row_fields.get_sender(row)))
        if sender in self._ignored:
            version = short_ids.get_room_record(self._snapshot, row.room).room_version
            pdu = timeline.get_pdu(self._snapshot, event)
            client, _ = timeline.split_pdu(redact(pdu.json, ROOM_VERSIONS[version]))
            row = row._replace(client=client)
        return self._events.render(event, row, room_id=self._access.room_id)
