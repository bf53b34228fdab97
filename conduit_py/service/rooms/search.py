"""Finding events by their words.

The index leads to the places of the events that hold every word of the search, room by room. The newest of them are
read, and kept if the requester may see them; what is kept is put in order and told page by page. A token says up to
where the rooms were searched and how many results were told, so a search goes on as it began while rooms do: what is
said meanwhile lies behind it. All that is looked at has a bound, and what lies beyond is not found.

Spec: client-server-api/#server-side-search
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

import trio

from conduit_py.data import members, row_fields, short_ids, timeline
from conduit_py.data.search import get_event_at, has_words, scan_word
from conduit_py.matrix.filters import NO_ROOM_EVENT_FILTER, RoomEventFilter
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.search_words import KEY_OF_TYPE, count_words, split_words
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import Access, get_access
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.members import BAN, INVITE, JOIN, KNOCK, LEAVE
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import STATE, EventRow

WORDS_MAX = 20
"""Words of one search, the first: each costs a look-up per place."""
PLACES_MAX = 20_000
"""Places with the rarest-looking word that are looked at in one room."""
PLACES_PER_SEARCH_MAX = 200_000
"""The same in all rooms together."""
LOOKS_PER_SLICE = 1000
"""Look-ups, one for each word of a place, before others get their turn: a few ms."""
READ_MAX = 1000
"""Events that are read for one search, the newest with all the words."""
READ_PER_SLICE = 200
AROUND_SCANNED_MAX = 100
"""Events looked at on one side of a result."""

Order = Literal["rank", "recent"]
GroupKey = Literal["room_id", "sender"]

TYPE_OF_KEY = {f"content.{key}": event_type for event_type, key in KEY_OF_TYPE.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What is looked for."""

    term: str
    types: frozenset[str]
    """Event types whose words count: ``keys`` of the request."""
    order: Order = "rank"
    filter: RoomEventFilter = NO_ROOM_EVENT_FILTER


class Match(NamedTuple):
    """An event that was found."""

    pos: int
    event: ShortEventId
    room_id: RoomId
    sender: str
    rank: float

    def group(self, key: GroupKey) -> str:
        return self.room_id if key == "room_id" else self.sender


class Finder:
    """Finds events for whoever may see them. One per server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, requester: Requester, query: SearchQuery, *, until: int) -> list[Match]:
        """What matches, up to a place in the stream, in the order that is asked for."""
        words = tuple(dict.fromkeys(split_words(query.term)))[:WORDS_MAX]
        if not words:
            return []
        with self._database.snapshot() as snapshot:
            room_ids = list(_scan_rooms(snapshot, requester, query.filter))
        places: list[tuple[int, RoomId]] = []
        left = PLACES_PER_SEARCH_MAX
        for room_id in room_ids:
            looked, there = await self._find_places(requester, room_id, words, until, most=min(left, PLACES_MAX))
            places += [(pos, room_id) for pos in there]
            left -= looked
            if not left:
                break
        places.sort(reverse=True)
        matches: list[Match] = []
        for start in range(0, min(len(places), READ_MAX), READ_PER_SLICE):
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                read = _Reader(snapshot, requester, query, words)
                found = (read(pos, room_id) for pos, room_id in places[start : min(start + READ_PER_SLICE, READ_MAX)])
                matches += [match for match in found if match is not None]
        if query.order == "rank":
            matches.sort(key=lambda match: match.rank, reverse=True)
        return matches

    async def _find_places(
        self, requester: Requester, room_id: RoomId, words: Sequence[str], until: int, *, most: int
    ) -> tuple[int, list[int]]:
        """How many places with the rarest-looking word were looked at, and the newest of those with all the words."""
        # Long words are rare ones.
        pivot, *others = sorted(words, key=len, reverse=True)
        found: list[int] = []
        looked = 0
        before: int | None = None
        while looked < most and len(found) < READ_MAX:
            await trio.lowlevel.checkpoint()
            size = min(LOOKS_PER_SLICE // len(words), most - looked)
            with self._database.snapshot() as snapshot:
                access = get_access(snapshot, requester, room_id)
                if access is None:
                    break
                before = min(until, access.until) + 1 if before is None else before
                slice_ = list(islice(scan_word(snapshot, access.room, pivot, before=before), size))
                found += [pos for pos in slice_ if has_words(snapshot, access.room, pos, others)]
            looked += len(slice_)
            if len(slice_) < size:
                break
            before = slice_[-1]
        return looked, found


def _scan_rooms(snapshot: Snapshot, requester: Requester, filter: RoomEventFilter) -> Iterator[RoomId]:
    """Rooms that the requester may be or have been in, as far as the filter lets them pass.

    Who left may have been invited again, or ask to come back. Whether the room is open is asked of each.
    """
    for kind in (JOIN, LEAVE, BAN, INVITE, KNOCK):
        for room, row in members.scan_rooms(snapshot, requester.user, kind):
            if row.forgotten:
                continue
            room_id = RoomId(short_ids.get_room_record(snapshot, room).room_id)
            if filter.matches_room(room_id):
                yield room_id


class _Reader:
    """Reads what is at a place, in one snapshot."""

    def __init__(self, snapshot: Snapshot, requester: Requester, query: SearchQuery, words: Sequence[str]) -> None:
        self._snapshot = snapshot
        self._query = query
        self._words = words
        self._visibility = Visibility(snapshot, requester.user_id)
        self._ignored = get_ignored_users(snapshot, requester.user) - {requester.user_id}

    def __call__(self, pos: int, room_id: RoomId) -> Match | None:
        room = short_ids.get_room(self._snapshot, room_id)
        event = None if room is None else get_event_at(self._snapshot, room, pos)
        if event is None:
            return None
        row = timeline.require_row(self._snapshot, event)
        event_type, sender = row_fields.get_type(row), row_fields.get_sender(row)
        if event_type not in self._query.types or not self._visibility.may_see(row):
            return None
        if sender in self._ignored and not row.flags & STATE:
            return None
        if not self._query.filter.matches_event(event_type, sender, has_url=row_fields.has_url(row)):
            return None
        counted = count_words(event_type, timeline.get_pdu(self._snapshot, event).content)
        # It may have been redacted since its place was found.
        if not all(word in counted for word in self._words):
            return None
        return Match(pos, event, room_id, sender, _rank(counted, self._words))


def _rank(counted: Counter[str], words: Sequence[str]) -> float:
    """How much of the text is what was looked for, from 0 to 1."""
    return sum(counted[word] for word in words) / counted.total()


def read_around(
    snapshot: Snapshot, access: Access, may_see: Callable[[EventRow], bool], pos: int, *, count: int, is_before: bool
) -> tuple[list[ShortEventId], int]:
    """Events next to a place that may be seen, the nearest first, and the place from where there are more."""
    events: list[ShortEventId] = []
    at = pos - 1 if is_before else pos
    if is_before:
        near = timeline.scan_timeline(snapshot, access.room, after=pos, reverse=True)
    else:
        near = timeline.scan_timeline(snapshot, access.room, after=pos, until=access.until)
    for place, event in islice(near, AROUND_SCANNED_MAX):
        if len(events) >= count:
            break
        if may_see(timeline.require_row(snapshot, event)):
            events.append(event)
        at = place - 1 if is_before else place
    return events, at
