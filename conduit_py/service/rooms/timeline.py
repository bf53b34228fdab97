"""Reading a room's timeline: page by page, around one event, or one event alone.

A place in a timeline lies right behind an event; ``t<place>`` names it to clients, and so does a token of /sync. A page
tells in ``end`` where to go on, also when nothing on it may be shown: how much is read for one page is bounded, and
what was passed over is never read again. So the pages of a room put together are its visible timeline, in either
direction, without gaps or doubles.

Spec: client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import orjson
import trio

from conduit_py.data import gaps, relations, row_fields, short_ids, timeline
from conduit_py.data.row_fields import Facts
from conduit_py.data.state import StateChain
from conduit_py.matrix.filters import NO_ROOM_EVENT_FILTER, RoomEventFilter
from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.matrix.sync_token import format_place, parse_place
from conduit_py.service.errors import NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import Access, get_access, require_access
from conduit_py.service.rooms.aggregations import bundle_relations
from conduit_py.service.rooms.client_events import ClientEvents, GetRelations
from conduit_py.service.rooms.history import History
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.service.rooms.state_reads import MEMBER, Wants, get_state_events, json_list, render_events, want_all
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.rooms import ShortEventId, ShortStateKey, StateId
from kvschema.catalog.timeline import STATE, EventRow

LIMIT_DEFAULT = 10
LIMIT_MAX = 1000
"""Events in one answer, however many were asked for."""
SCANNED_MAX = 4000
"""Events looked at for one page: a filter that hardly ever matches must not read a whole room at once."""
EVENTS_PER_SLICE = 200
"""Events looked at before others get their turn: about 10 ms."""

FILLS_MAX = 12
"""Times that missing history is asked for, for one page."""
FILL_S_MAX = 15.0
"""How long a page waits for missing history."""

RELATIONS_MAX = 200
"""Relations to one event that are looked at for a filter that asks for them."""

_REL_TYPE_OF = {kind: rel_type for rel_type, kind in relations.KIND_OF.items()}

Direction = Literal["b", "f"]
"""Backwards or forwards in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked of a timeline."""

    direction: Direction
    from_token: str | None = None
    """Where to begin; None for the end of what may be seen that the direction leads away from."""
    to_token: str | None = None
    """Where to stop."""
    limit: int | None = None
    filter: RoomEventFilter = NO_ROOM_EVENT_FILTER


class TimelineService:
    """One per server. What is returned as bytes is JSON."""

    def __init__(
        self,
        database: Database,
        history: History,
        *,
        now_ms: Callable[[], int],
        get_relations: GetRelations | None = bundle_relations,
    ) -> None:
        self._database = database
        self._history = history
        self._now_ms = now_ms
        self._get_relations = get_relations

    async def get_messages(self, requester: Requester, room_id: RoomId, query: Query) -> bytes:
        """One page of a room's timeline. Raises ``Forbidden``, and ``Malformed`` for no token.

        Spec: client-server-api/#get_matrixclientv3roomsroomidmessages
        """
        with self._database.snapshot() as snapshot:
            access = require_access(snapshot, requester, room_id)
            if query.from_token is None:
                start = _first_place(snapshot, access, query.direction)
            else:
                start = parse_place(query.from_token)
        page = self._page(requester, access, query, at=start, limit=_limit(query.limit, query.filter))
        await page.read()
        parts = [
            b'{"chunk":' + json_list(page.rendered),
            b'"start":' + orjson.dumps(query.from_token or format_place(start)),
        ]
        if page.has_more:
            parts.append(b'"end":' + orjson.dumps(format_place(page.at)))
        if query.filter.lazy_load_members:
            members = self._members_of(page.senders, page.first_state)
            parts.append(b'"state":' + json_list(await self._render(requester, room_id, members)))
        return b",".join(parts) + b"}"

    async def get_context(
        self,
        requester: Requester,
        room_id: RoomId,
        event_id: EventId,
        *,
        limit: int | None = None,
        filter: RoomEventFilter = NO_ROOM_EVENT_FILTER,
    ) -> bytes:
        """An event with what happened right before and after it, and the state behind all that. Raises ``NotFound``.

        Spec: client-server-api/#get_matrixclientv3roomsroomidcontexteventid
        """
        with self._database.snapshot() as snapshot:
            rendered, row = self._require_event(snapshot, requester, room_id, event_id)
            access = get_access(snapshot, requester, room_id)
            if access is None:
                raise _no_event(event_id)
        limit = _limit(limit, filter)
        backwards, forwards = Query(direction="b", filter=filter), Query(direction="f", filter=filter)
        before = self._page(requester, access, backwards, at=row.pos - 1, limit=limit // 2)
        after = self._page(requester, access, forwards, at=row.pos, limit=limit - limit // 2)
        await before.read()
        await after.read()
        senders = before.senders | after.senders | {row_fields.get_sender(row)}
        state = await self._state_of(requester, room_id, after.last_state or row.state_after, senders, filter)
        return b",".join(
            (
                b'{"event":' + rendered,
                b'"events_before":' + json_list(before.rendered),
                b'"events_after":' + json_list(after.rendered),
                b'"state":' + json_list(state),
                b'"start":' + orjson.dumps(format_place(before.at)),
                b'"end":' + orjson.dumps(format_place(after.at)) + b"}",
            )
        )

    def get_event(self, requester: Requester, room_id: RoomId, event_id: EventId) -> bytes:
        """One event. Raises ``NotFound``.

        Spec: client-server-api/#get_matrixclientv3roomsroomideventeventid
        """
        with self._database.snapshot() as snapshot:
            return self._require_event(snapshot, requester, room_id, event_id)[0]

    def _require_event(
        self, snapshot: Snapshot, requester: Requester, room_id: RoomId, event_id: EventId
    ) -> tuple[bytes, EventRow]:
        reader = _Reader(snapshot, requester, self._now_ms(), self._get_relations)
        found = timeline.find_row(snapshot, event_id)
        if found is None or found[1].room != short_ids.get_room(snapshot, room_id):
            raise _no_event(event_id)
        if not reader.may_see(row_fields.get_facts(snapshot, found[0])):
            raise _no_event(event_id)
        return reader.render(*found, room_id), found[1]

    def _page(self, requester: Requester, access: Access, query: Query, *, at: int, limit: int) -> _Page:
        def make_reader(snapshot: Snapshot) -> _Reader:
            return _Reader(snapshot, requester, self._now_ms(), self._get_relations)

        return _Page(self._database, self._history, access, query, make_reader, at=at, limit=limit)

    def _members_of(self, senders: set[str], state_id: StateId | None) -> list[ShortEventId]:
        if state_id is None:
            return []
        with self._database.snapshot() as snapshot:
            chain = StateChain(snapshot)
            events = (chain.get(state_id, key) for key in _member_keys(snapshot, senders))
            return sorted(event for event in events if event is not None)

    async def _state_of(
        self, requester: Requester, room_id: RoomId, state_id: StateId, senders: set[str], filter: RoomEventFilter
    ) -> list[bytes]:
        with self._database.snapshot() as snapshot:
            events = get_state_events(snapshot, state_id)
        shown = set(self._members_of(senders, state_id)) if filter.lazy_load_members else None

        def wants(event: ShortEventId, row: EventRow) -> bool:
            is_left_out = shown is not None and event not in shown and row_fields.is_of_type(row, MEMBER)
            return not is_left_out and _matches(filter, row)

        return await self._render(requester, room_id, events, wants)

    async def _render(
        self,
        requester: Requester,
        room_id: RoomId,
        events: list[ShortEventId],
        wants: Wants = want_all,
    ) -> list[bytes]:
        return await render_events(self._database, requester, room_id, events, now_ms=self._now_ms(), wants=wants)


class _Reader:
    """One requester reading in one snapshot."""

    def __init__(
        self, snapshot: Snapshot, requester: Requester, now_ms: int, get_relations: GetRelations | None
    ) -> None:
        self._snapshot = snapshot
        self._visibility = Visibility(snapshot, requester.user_id)
        self._events = ClientEvents(snapshot, requester, self._visibility, now_ms=now_ms, get_relations=get_relations)
        self._ignored = get_ignored_users(snapshot, requester.user) - {requester.user_id}
        self._seen_state: StateId | None = None
        """The state after the last events, if the requester is joined in it."""

    def may_see(self, facts: Facts) -> bool:
        """State is shown whoever sent it. Spec: client-server-api/#ignoring-users"""
        row = facts.row
        # In a state in which the requester was joined, everything is seen; most events have that of the one before.
        if row.state_after != self._seen_state:
            if not self._visibility.may_see(row):
                return False
            if self._visibility.sees_all_at(row):
                self._seen_state = row.state_after
        elif facts.is_hidden:
            return False
        return not self._ignored or bool(row.flags & STATE) or facts.sender not in self._ignored

    def is_wanted(self, filter: RoomEventFilter, row: EventRow) -> bool:
        if not _matches(filter, row):
            return False
        return not filter.asks_for_relations or filter.matches_relations(self._scan_relations(row))

    def _scan_relations(self, row: EventRow) -> Iterator[tuple[str, str]]:
        """How, and by whom, others relate to an event."""
        children = relations.scan_places(self._snapshot, row.room, row.event_id)
        for kind, _, child in islice(children, RELATIONS_MAX):
            yield _REL_TYPE_OF.get(kind, child.rel_type), short_ids.get_user_id(self._snapshot, child.sender)

    def render(self, event: ShortEventId, row: EventRow, room_id: RoomId) -> bytes:
        return self._events.render(event, row, room_id=room_id)

    def render_seen(self, event: ShortEventId, facts: Facts, room_id: RoomId) -> bytes:
        """The same for an event of which ``may_see`` was asked last."""
        if facts.row.state_after == self._seen_state:
            return self._events.render_at(event, facts, "join", room_id=room_id)
        return self._events.render(event, facts.row, room_id=room_id)


class _Page:
    """Events of a timeline from a place onwards, in one direction."""

    def __init__(
        self,
        database: Database,
        history: History,
        access: Access,
        query: Query,
        make_reader: Callable[[Snapshot], _Reader],
        *,
        at: int,
        limit: int,
    ) -> None:
        self._database = database
        self._history = history
        self._fills_left = FILLS_MAX
        self._passed: set[int] = set()
        """Holes of which nothing could be fetched."""
        self._access = access
        self._filter = query.filter
        self._make_reader = make_reader
        self._is_backwards = query.direction == "b"
        self._to = None if query.to_token is None else parse_place(query.to_token)
        self._limit = limit
        self._scanned = 0
        self.at = min(at, access.until) if self._is_backwards else at
        """Where the next page begins: everything between the start and here was shown or passed over."""
        self.has_more = False
        self.rendered: list[bytes] = []
        self.senders: set[str] = set()
        self.first_state: StateId | None = None
        """The room's state after the first event of the page."""
        self.last_state: StateId | None = None

    async def read(self) -> None:
        """Read until the page is full, the timeline ends, or enough was read for one request.

        What is missing in the timeline is fetched when the page comes to it.
        """
        if not self._filter.matches_room(self._access.room_id):
            return
        deadline = trio.current_time() + FILL_S_MAX
        is_done = False
        while not is_done:
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                hole = self._find_hole(snapshot)
                if hole is None:
                    is_done = self._read_slice(snapshot)
                    is_hole = is_done and self._find_hole(snapshot) is not None
                    self.has_more = is_hole or (is_done and any(True for _ in self._scan(snapshot, to=None)))
            if hole is not None:
                is_done = await self._fill(hole, deadline)

    async def _fill(self, hole: int, deadline: float) -> bool:
        """Fetch some of what is missing. Whether the page ends here: what could not be had may be asked for again."""
        is_filled = False
        if self._fills_left:
            self._fills_left -= 1
            with trio.move_on_at(deadline):
                is_filled = await self._history.fill(self._access.room_id, hole)
        if is_filled:
            return False
        if self.rendered:
            self.has_more = True
            return True
        self._passed.add(hole)
        return False

    def _find_hole(self, snapshot: Snapshot) -> int | None:
        """The place of the event that the page has come to, if history is missing right before it."""
        if self._is_backwards and self._to is not None and self.at <= self._to:
            return None
        if self._is_backwards:
            behind = timeline.scan_timeline(snapshot, self._access.room, after=self.at)
        else:
            behind = self._scan(snapshot, to=self._to)
        pos = next((pos for pos, _ in behind), None)
        return pos if pos is not None and self._is_hole(snapshot, pos) else None

    def _is_hole(self, snapshot: Snapshot, pos: int) -> bool:
        """Is history missing before an event, which the page has not passed? Going on, it may begin behind it."""
        gap = None if pos in self._passed else gaps.get_gap(snapshot, self._access.room, pos)
        return gap is not None and (self._is_backwards or self.at < gap.next_pos)

    def _read_slice(self, snapshot: Snapshot) -> bool:
        """Whether the page is done."""
        if len(self.rendered) >= self._limit:
            return True
        reader = self._make_reader(snapshot)
        holes = {pos for pos, _ in gaps.scan_gaps(snapshot, self._access.room)}
        passes_all = self._filter.passes_all
        for count, (pos, event) in enumerate(self._scan(snapshot, to=self._to), 1):
            if not self._is_backwards and pos in holes and self._is_hole(snapshot, pos):
                return False
            facts = row_fields.get_facts(snapshot, event)
            if reader.may_see(facts) and (passes_all or reader.is_wanted(self._filter, facts.row)):
                self._add(reader.render_seen(event, facts, self._access.room_id), facts)
            self.at = pos - 1 if self._is_backwards else pos
            self._scanned += 1
            if len(self.rendered) >= self._limit or self._scanned >= SCANNED_MAX:
                return True
            if count >= EVENTS_PER_SLICE or (self._is_backwards and pos in holes - self._passed):
                return False
        if self._to is not None:
            self.at = min(self.at, self._to) if self._is_backwards else max(self.at, self._to)
        return True

    def _scan(self, snapshot: Snapshot, *, to: int | None) -> Iterator[tuple[int, ShortEventId]]:
        room, until = self._access.room, self._access.until
        if self._is_backwards:
            stop = None if to is None else to + 1
            return timeline.scan_timeline(snapshot, room, after=self.at + 1, until=stop, reverse=True)
        stop = until if to is None else min(to, until)
        return timeline.scan_timeline(snapshot, room, after=self.at, until=stop)

    def _add(self, rendered: bytes, facts: Facts) -> None:
        self.rendered.append(rendered)
        if self._filter.lazy_load_members:
            self.senders.add(facts.sender)
        self.last_state = facts.row.state_after
        if self.first_state is None:
            self.first_state = self.last_state


def _first_place(snapshot: Snapshot, access: Access, direction: Direction) -> int:
    if direction == "b":
        return access.until
    return next((pos for pos, _ in timeline.scan_timeline(snapshot, access.room)), 1) - 1


def _limit(limit: int | None, filter: RoomEventFilter) -> int:
    wanted = filter.limit_or(LIMIT_DEFAULT if limit is None else limit, maximum=LIMIT_MAX)
    return wanted if limit is None else min(limit, wanted)


def _matches(filter: RoomEventFilter, row: EventRow) -> bool:
    if filter.passes_all:
        return True
    has_url = filter.contains_url is not None and row_fields.has_url(row)
    return filter.matches_event(row_fields.get_type(row), row_fields.get_sender(row), has_url=has_url)


def _member_keys(snapshot: Snapshot, senders: set[str]) -> list[ShortStateKey]:
    keys = (short_ids.get_state_key(snapshot, MEMBER, sender) for sender in senders)
    return [key for key in keys if key is not None]


def _no_event(event_id: EventId) -> NotFound:
    return NotFound(f"there is no event {event_id} in the room, or you may not see it")
