"""The events that relate to an event, page by page, and what may not be sent as a relation.

Spec: client-server-api/#relationships-api
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import trio

from conduit_py.data import relations, short_ids, timeline
from conduit_py.data.relations import KIND_OF, KINDS
from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.matrix.relations import THREAD, check_thread_root, parse_annotation, parse_parent
from conduit_py.matrix.sync_token import format_place, parse_place
from conduit_py.service.errors import MatrixError, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.aggregations import bundle_relations, get_ignored_shorts
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.state_reads import json_list
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.relations import OTHER, Relation
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId
from kvschema.catalog.timeline import STATE

LIMIT_DEFAULT = 20
LIMIT_MAX = 1000
"""Events in one answer, however many were asked for."""
SCANNED_MAX = 4000
"""Children that are looked at for one page."""
CHILDREN_PER_SLICE = 200
"""Children that are looked at before others get their turn: about 10 ms."""
RECURSION_DEPTH = 3
"""Relations that lie between an event and those that are told with ``recurse``."""
DESCENDANTS_MAX = 20_000
"""Events and children of theirs that are looked at with ``recurse``."""

FoundChild = tuple[int, ShortEventId, ShortUserId]
"""Place, event, sender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationQuery:
    """Which relations of an event are asked for."""

    rel_type: str | None = None
    event_type: str | None = None
    is_backwards: bool = True
    from_token: str | None = None
    """Where to begin; None for the end that the direction leads away from."""
    to_token: str | None = None
    """Where to stop."""
    limit: int | None = None
    recurse: bool | None = None
    """Whether to tell the relations of relations; None where the question was not asked."""

    @property
    def kinds(self) -> tuple[int, ...]:
        return KINDS if self.rel_type is None else (KIND_OF.get(self.rel_type, OTHER),)

    def wants(self, child: Relation) -> bool:
        """For a child of one of the ``kinds``."""
        if self.rel_type is not None and self.rel_type not in KIND_OF and child.rel_type != self.rel_type:
            return False
        return self.event_type is None or self.event_type == child.type


class RelationService:
    """One per server."""

    def __init__(self, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms

    async def get_relations(
        self, requester: Requester, room_id: RoomId, event_id: EventId, query: RelationQuery
    ) -> bytes:
        """One page of the children of an event, as JSON. Raises ``NotFound``, and ``Malformed`` for no token.

        Children that the requester may not see, or of users they ignore, are left out.
        """
        with self._database.snapshot() as snapshot:
            room = _require_parent(snapshot, requester, room_id, event_id)
        page = _Page(self._database, requester, room, room_id, query, now_ms=self._now_ms())
        if query.recurse:
            await page.read_descendants(event_id)
        await page.read(event_id)
        return page.build()


def _require_parent(snapshot: Snapshot, requester: Requester, room_id: RoomId, event_id: EventId) -> ShortRoomId:
    """The room of an event that the requester may see. That of an ignored user counts too: it may root a thread."""
    found = timeline.find_row(snapshot, event_id)
    room = short_ids.get_room(snapshot, room_id)
    visibility = Visibility(snapshot, requester.user_id)
    if found is None or room is None or found[1].room != room or not visibility.may_see(found[1]):
        raise NotFound(f"there is no event {event_id} in the room, or you may not see it")
    return room


class _Page:
    """Some relations of an event, read in slices."""

    def __init__(
        self,
        database: Database,
        requester: Requester,
        room: ShortRoomId,
        room_id: RoomId,
        query: RelationQuery,
        *,
        now_ms: int,
    ) -> None:
        self._database = database
        self._requester = requester
        self._room = room
        self._room_id = room_id
        self._query = query
        self._now_ms = now_ms
        self._limit = min(LIMIT_DEFAULT if query.limit is None else query.limit, LIMIT_MAX)
        self._at = None if query.from_token is None else parse_place(query.from_token)
        """Where to go on: what lies behind was shown or passed over. None for the very end."""
        self._to = None if query.to_token is None else parse_place(query.to_token)
        self._descendants: list[FoundChild] | None = None
        """In the order of the timeline, when relations of relations are asked for."""
        self._rendered: list[bytes] = []
        self._has_more = False
        self._scanned = 0

    async def read_descendants(self, event_id: EventId) -> None:
        """Find the relations of relations, level by level, through such as are asked for themselves."""
        descent = _Descent(self._room, self._query, event_id)
        for _ in range(RECURSION_DEPTH):
            descent.begin_level()
            while descent.has_more:
                await trio.lowlevel.checkpoint()
                with self._database.snapshot() as snapshot:
                    descent.go_on(snapshot)
        self._descendants = sorted(descent.found.values())

    async def read(self, event_id: EventId) -> None:
        """Read until the page is full, there is no more, or enough was read for one request."""
        is_done = False
        while not is_done:
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                is_done = self._read_slice(snapshot, event_id)

    def _read_slice(self, snapshot: Snapshot, event_id: EventId) -> bool:
        """Whether the page is done."""
        visibility = Visibility(snapshot, self._requester.user_id)
        events = ClientEvents(
            snapshot, self._requester, visibility, now_ms=self._now_ms, get_relations=bundle_relations
        )
        ignored = get_ignored_shorts(snapshot, self._requester.user)
        for count, (pos, event, sender) in enumerate(self._scan(snapshot, event_id), 1):
            row = timeline.require_row(snapshot, event)
            is_ignored = sender in ignored and not row.flags & STATE
            if not is_ignored and visibility.may_see(row):
                if len(self._rendered) >= self._limit:
                    self._has_more = True
                    return True
                self._rendered.append(events.render(event, row, room_id=self._room_id))
            self._at = pos - 1 if self._query.is_backwards else pos
            self._scanned += 1
            if self._scanned >= SCANNED_MAX:
                self._has_more = True
                return True
            if count >= CHILDREN_PER_SLICE:
                return False
        return True

    def _scan(self, snapshot: Snapshot, event_id: EventId) -> Iterator[FoundChild]:
        """What is asked for from here on, in the direction that is asked for."""
        at, to, is_backwards = self._at, self._to, self._query.is_backwards
        if is_backwards:
            after, until = (None if at is None else at + 1), (None if to is None else to + 1)
        else:
            after, until = at, to
        if self._descendants is not None:
            return self._scan_descendants(after, until)
        return self._scan_children(snapshot, event_id, after, until)

    def _scan_children(
        self, snapshot: Snapshot, event_id: EventId, after: int | None, until: int | None
    ) -> Iterator[FoundChild]:
        children = relations.scan_children(
            snapshot,
            self._room,
            event_id,
            kinds=self._query.kinds,
            after=after,
            until=until,
            reverse=self._query.is_backwards,
        )
        for pos, child in children:
            if self._query.wants(child):
                yield pos, child.event, child.sender

    def _scan_descendants(self, after: int | None, until: int | None) -> Iterator[FoundChild]:
        assert self._descendants is not None
        is_backwards = self._query.is_backwards
        for child in reversed(self._descendants) if is_backwards else self._descendants:
            pos = child[0]
            if after is not None and (pos >= after if is_backwards else pos <= after):
                continue
            if until is not None and (pos < until if is_backwards else pos > until):
                return
            yield child

    def build(self) -> bytes:
        """The answer. Tokens are places in the timeline, so they fit into both directions."""
        parts = [b'"chunk":' + json_list(self._rendered)]
        if self._has_more and self._at is not None:
            parts.append(b'"next_batch":' + orjson.dumps(format_place(self._at)))
        if self._query.from_token is not None:
            parts.append(b'"prev_batch":' + orjson.dumps(self._query.from_token))
        if self._query.recurse is not None:
            parts.append(b'"recursion_depth":%d' % (RECURSION_DEPTH if self._query.recurse else 0))
        return b"{" + b",".join(parts) + b"}"


class _Descent:
    """From an event to what relates to it, some children at a time: one event can have any number of them."""

    def __init__(self, room: ShortRoomId, query: RelationQuery, root: EventId) -> None:
        self._room = room
        self._query = query
        self._level: deque[str] = deque()
        """Events whose children are still to be looked at."""
        self._after: tuple[int, int] | None = None
        """How far those of the first have been."""
        self._below: list[str] = [root]
        self._looked = 0
        self.found: dict[ShortEventId, FoundChild] = {}

    def begin_level(self) -> None:
        """Go on with what was found last, at first with the root."""
        self._level.extend(self._below)
        self._below = []

    @property
    def has_more(self) -> bool:
        return bool(self._level) and self._looked < DESCENDANTS_MAX

    def go_on(self, snapshot: Snapshot) -> None:
        """Look at some more."""
        until = self._looked + CHILDREN_PER_SLICE
        while self._level and self._looked < until:
            for kind, pos, child in relations.scan_places(snapshot, self._room, self._level[0], after=self._after):
                if self._looked >= until:
                    return
                self._after = (kind, pos)
                self._looked += 1
                # In old room versions servers choose event ids, so relations may run in a circle.
                if child.event not in self.found and kind in self._query.kinds and self._query.wants(child):
                    self.found[child.event] = (pos, child.event, child.sender)
                    self._below.append(timeline.require_row(snapshot, child.event).event_id)
            self._level.popleft()
            self._after = None
            self._looked += 1


def check_relation(
    snapshot: Snapshot, requester: Requester, room: ShortRoomId, *, event_type: str, content: Mapping[str, Any]
) -> None:
    """Refuse an event of ours that would relate to another in a way that is not allowed.

    Raises ``M_DUPLICATE_ANNOTATION``, and ``M_UNKNOWN`` for a thread that starts from an event of another relation.

    Spec: client-server-api/#avoiding-duplicate-annotations, client-server-api/#validation-of-mthread-relationships
    """
    parent = parse_parent(content)
    if parent is None:
        return
    rel_type, event_id = parent
    annotation = parse_annotation(event_type, content)
    if annotation is not None:
        is_double = relations.has_annotation(
            snapshot, room, event_id, sender=requester.user, type=event_type, key=annotation.key
        )
        if is_double:
            raise MatrixError(
                "you have annotated the event in this way already", errcode="M_DUPLICATE_ANNOTATION", status=400
            )
    elif rel_type == THREAD:
        root = timeline.find_row(snapshot, event_id)
        if root is None or root[1].room != room:
            return
        why = check_thread_root(timeline.client_fields(root[1])["content"])
        if why is not None:
            raise MatrixError(why, errcode="M_UNKNOWN", status=400)
