"""What a search tells: one page of its results, what was said around them, and how they fall into groups.

Spec: client-server-api/#post_matrixclientv3search
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson
import trio

from conduit_py.data import row_fields, state, timeline
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.search_words import split_words
from conduit_py.matrix.sync_token import format_place
from conduit_py.service.errors import InvalidParam
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import get_access
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.search import Finder, GroupKey, Match, SearchQuery, read_around
from conduit_py.service.rooms.state_reads import MEMBER, get_state_events, json_list, render_events
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.locks import KeyedLocks
from kvschema.catalog.timeline import EventRow

LIMIT_DEFAULT = 10
LIMIT_MAX = 50
"""Results in one answer, however many were asked for."""
CONTEXT_DEFAULT = 5
CONTEXT_MAX = 20
"""Events told on one side of a result."""
GROUP_KEYS: tuple[GroupKey, ...] = ("room_id", "sender")


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is told around each result."""

    before_limit: int = CONTEXT_DEFAULT
    after_limit: int = CONTEXT_DEFAULT
    include_profile: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How results are told."""

    around: Around | None = None
    include_state: bool = False
    group_by: tuple[GroupKey, ...] = ()
    next_batch: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """Where a search goes on, in all of its results or in one group of them."""

    until: int
    told: int
    key: GroupKey | None = None
    value: str = ""

    def format(self) -> str:
        raw = orjson.dumps([self.until, self.told, self.key, self.value])
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def is_of(self, match: Match) -> bool:
        return self.key is None or match.group(self.key) == self.value


class SearchService:
    """One per server."""

    def __init__(self, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._finder = Finder(database)
        self._turns = KeyedLocks()
        """Of users: nobody searches twice at a time."""
        self._now_ms = now_ms

    async def search(self, requester: Requester, query: SearchQuery, telling: Telling) -> bytes:
        """One page of results, as JSON. Raises ``InvalidParam`` for a token that this server did not hand out.

        Spec: client-server-api/#post_matrixclientv3search
        """
        with self._database.snapshot() as snapshot:
            until = snapshot.pos
        token = _Token(until, 0) if telling.next_batch is None else _parse_token(telling.next_batch)
        async with self._turns.hold(requester.user):
            found = await self._finder.find(requester, query, until=token.until)
        matches = [match for match in found if token.is_of(match)]
        limit = query.filter.limit_or(LIMIT_DEFAULT, maximum=LIMIT_MAX)
        page = matches[token.told : token.told + limit]
        results = [await self._tell(requester, match, telling.around) for match in page]
        told: dict[str, Any] = {
            "count": len(matches),
            "highlights": list(dict.fromkeys(split_words(query.term))),
            "results": [orjson.Fragment(result) for result in results if result],
        }
        if len(matches) > token.told + limit:
            told["next_batch"] = _Token(token.until, token.told + limit, token.key, token.value).format()
        if telling.group_by:
            told["groups"] = self._group(matches, token, limit, telling.group_by)
        if telling.include_state:
            rooms = dict.fromkeys(match.room_id for match in page)
            told["state"] = {room_id: orjson.Fragment(await self._state(requester, room_id)) for room_id in rooms}
        return orjson.dumps({"search_categories": {"room_events": told}})

    async def _tell(self, requester: Requester, match: Match, around: Around | None) -> bytes:
        """One result; empty if the room was closed to the requester meanwhile."""
        await trio.lowlevel.checkpoint()
        with self._database.snapshot() as snapshot:
            row = timeline.require_row(snapshot, match.event)
            visibility = Visibility(snapshot, requester.user_id)
            if not visibility.may_see(row):
                return b""
            events = ClientEvents(snapshot, requester, visibility, now_ms=self._now_ms())
            rendered = events.render(match.event, row, room_id=match.room_id)
            result: dict[str, Any] = {"rank": match.rank, "result": orjson.Fragment(rendered)}
            if around is not None:
                result["context"] = _build_context(snapshot, events, match, row, around)
            return orjson.dumps(result)

    def _group(
        self, matches: list[Match], token: _Token, limit: int, keys: tuple[GroupKey, ...]
    ) -> dict[str, dict[str, Any]]:
        ahead, page = matches[: token.told + limit], matches[token.told : token.told + limit]
        groups: dict[str, dict[str, Any]] = {}
        with self._database.snapshot() as snapshot:
            for key in keys:
                values = list(dict.fromkeys(match.group(key) for match in page))
                groups[key] = {}
                for order, value in enumerate(values, 1):
                    of_group = _Token(token.until, 0, key, value)
                    in_page = [match for match in page if of_group.is_of(match)]
                    told = sum(1 for match in ahead if of_group.is_of(match))
                    ids = [timeline.require_row(snapshot, match.event).event_id for match in in_page]
                    groups[key][value] = {"order": order, "results": ids}
                    if any(of_group.is_of(match) for match in matches[token.told + limit :]):
                        groups[key][value]["next_batch"] = _Token(token.until, told, key, value).format()
        return groups

    async def _state(self, requester: Requester, room_id: RoomId) -> bytes:
        with self._database.snapshot() as snapshot:
            access = get_access(snapshot, requester, room_id)
            events = [] if access is None else get_state_events(snapshot, access.state_id)
        return json_list(await render_events(self._database, requester, room_id, events, now_ms=self._now_ms()))


def _build_context(
    snapshot: Snapshot, events: ClientEvents, match: Match, row: EventRow, around: Around
) -> Mapping[str, Any]:
    access = get_access(snapshot, events.requester, match.room_id)
    if access is None:
        return {}
    may_see = events.visibility.may_see
    limits = (min(around.before_limit, CONTEXT_MAX), min(around.after_limit, CONTEXT_MAX))
    before, start = read_around(snapshot, access, may_see, row.pos, count=limits[0], is_before=True)
    after, end = read_around(snapshot, access, may_see, row.pos, count=limits[1], is_before=False)
    rows = {event: timeline.require_row(snapshot, event) for event in (*before, *after)}

    def render(event: Any) -> orjson.Fragment:
        return orjson.Fragment(events.render(event, rows[event], room_id=match.room_id))

    context: dict[str, Any] = {
        "start": format_place(start),
        "end": format_place(end),
        "events_before": [render(event) for event in before],
        "events_after": [render(event) for event in after],
    }
    if around.include_profile:
        senders = dict.fromkeys(row_fields.get_sender(shown) for shown in (row, *rows.values()))
        context["profile_info"] = {sender: _profile_at(snapshot, row, sender) for sender in senders}
    return context


def _profile_at(snapshot: Snapshot, row: EventRow, sender: str) -> dict[str, str]:
    """How somebody was named in the room right after an event."""
    member = state.get_pdu_at(snapshot, row.state_after, MEMBER, sender)
    content = {} if member is None else member.content
    profile = {key: content.get(key) for key in ("displayname", "avatar_url")}
    return {
        key: value
        for key, value in profile.items()
        if isinstance(value, str) and (key != "avatar_url" or value.startswith("mxc://"))
    }


def _parse_token(text: str) -> _Token:
    try:
        parsed = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        parsed = None
    if (
        not isinstance(parsed, list)
        or [type(part) for part in parsed[:2]] != [int, int]
        or len(parsed) != 4
        or min(parsed[:2]) < 0
        or parsed[2] not in (None, *GROUP_KEYS)
        or not isinstance(parsed[3], str)
    ):
        raise InvalidParam("next_batch must be a token that was handed out by this server")
    return _Token(parsed[0], parsed[1], cast("GroupKey | None", parsed[2]), parsed[3])
