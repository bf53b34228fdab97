"""The published room directory: rooms that this server shows to who looks for one.

A room is listed because somebody with power in it said so, and while a stranger could do something with it: join, ask
to join, or read. The largest come first. A paging token is a place in that order and nothing else, so it stays good
while rooms come and go.

Spec: client-server-api/#published-room-directory
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import trio

from conduit_py.data import appservices, members, rooms, short_ids, state
from conduit_py.data.admin import get_admin_room
from conduit_py.data.closed import get_closed
from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.outbound.federation import Fetcher
from conduit_py.service.errors import Forbidden, InvalidParam, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import is_world_readable
from conduit_py.service.rooms.aliases import CANONICAL_ALIAS, may_send_state
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.directory_query import DirectoryQuery
from conduit_py.service.rooms.remote_rooms import fetch_remote_rooms
from conduit_py.service.rooms.residency import is_resident
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortRoomId

LIMIT_DEFAULT = 100
LIMIT_MAX = 500
"""Rooms in one answer, however many were asked for."""
ROOMS_PER_SLICE = 200
"""Rooms looked at before others get their turn: about 10 ms."""

_OPEN = frozenset({"public", "knock", "restricted", "knock_restricted"})
"""Join rules under which somebody who was not invited has a way in."""

_CHUNK_STATE = (
    ("name", "m.room.name", "name", ""),
    ("avatar_url", "m.room.avatar", "url", "mxc://"),
    ("canonical_alias", CANONICAL_ALIAS, "alias", "#"),
    ("room_type", "m.room.create", "type", ""),
    ("join_rule", "m.room.join_rules", "join_rule", ""),
)
"""Field of the answer, type of the state event, key in its content, and how the value must begin to be told."""


class _Place(NamedTuple):
    """Sorts in the order of the directory."""

    fewer: int
    """The number of joined members, below zero."""
    room_id: str


class DirectoryService:
    """One per server."""

    def __init__(self, database: Database, writes: RoomWrites, fetcher: Fetcher, *, server_name: ServerName) -> None:
        self._database = database
        self._writes = writes
        self._fetcher = fetcher
        self._server_name = server_name

    async def get_public_rooms(self, query: DirectoryQuery) -> dict[str, Any]:
        """One page of this server's directory or of another's.

        Raises ``InvalidParam``, ``Forbidden``, and 502 where the other server does not answer.

        Spec: client-server-api/#get_matrixclientv3publicrooms
        """
        if query.server in (None, "", self._server_name):
            return await self.get_own_rooms(query)
        return await fetch_remote_rooms(self._fetcher, query, limit=_limit(query.limit))

    async def get_own_rooms(self, query: DirectoryQuery) -> dict[str, Any]:
        """One page of this server's directory. Raises ``InvalidParam``.

        Spec: server-server-api/#get_matrixfederationv1publicrooms
        """
        limit = _limit(query.limit)
        since = None if query.since is None else _parse_token(query.since)
        with self._database.snapshot() as snapshot:
            order = sorted(_scan_places(snapshot, query))
        is_backwards = since is not None and since[0]
        if since is None:
            ahead = order
        elif is_backwards:
            ahead = order[: bisect_left(order, since[1], key=lambda entry: entry[0])][::-1]
        else:
            ahead = order[bisect_right(order, since[1], key=lambda entry: entry[0]) :]
        found = await self._collect(ahead, query, limit + 1)
        page = found[:limit]
        if is_backwards:
            page.reverse()
        answer: dict[str, Any] = {
            "chunk": [chunk for _, chunk in page],
            "total_room_count_estimate": len(order),
        }
        has_more = len(found) > limit
        if page and (has_more or is_backwards):
            answer["next_batch"] = _format_token(page[-1][0], is_backwards=False)
        if page and (has_more if is_backwards else since is not None):
            answer["prev_batch"] = _format_token(page[0][0], is_backwards=True)
        return answer

    async def _collect(
        self, ahead: Sequence[tuple[_Place, ShortRoomId]], query: DirectoryQuery, limit: int
    ) -> list[tuple[_Place, dict[str, Any]]]:
        """The first rooms ahead that are asked for."""
        found: list[tuple[_Place, dict[str, Any]]] = []
        for start in range(0, len(ahead), ROOMS_PER_SLICE):
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                for place, room in ahead[start : start + ROOMS_PER_SLICE]:
                    chunk = build_chunk(snapshot, room)
                    if _is_listed(chunk) and _matches(query, chunk):
                        found.append((place, chunk))
                        if len(found) >= limit:
                            return found
        return found

    def is_public(self, room_id: RoomId) -> bool:
        """Is the room published? Raises ``NotFound``.

        Spec: client-server-api/#get_matrixclientv3directorylistroomroomid
        """
        with self._database.snapshot() as snapshot:
            return rooms.is_public(snapshot, _require_room(snapshot, room_id))

    async def set_public(self, requester: Requester, room_id: RoomId, *, is_public: bool) -> None:
        """Publish a room or take it out: with the power to set its canonical alias, or as an administrator.

        Raises ``NotFound`` or ``Forbidden``.

        Spec: client-server-api/#put_matrixclientv3directorylistroomroomid
        """
        with self._database.snapshot() as snapshot:
            _require_room(snapshot, room_id)

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if not requester.is_admin and not may_send_state(append, requester.user_id, CANONICAL_ALIAS):
                raise Forbidden("publishing a room needs the power to set its canonical alias")
            if is_public and room_id == get_admin_room(snapshot):
                raise Forbidden("the Admin Room is not published")
            if rooms.is_public(snapshot, append.room.short) != is_public:
                rooms.stage_public(turn, append.room.short, is_public=is_public)

        await self._writes.write(room_id, stage)


def build_chunk(snapshot: Snapshot, room: ShortRoomId) -> dict[str, Any]:
    """What strangers are told about a room.

    Spec: client-server-api/#get_matrixclientv3publicrooms_response-200_publishedroomschunk
    """
    chunk: dict[str, Any] = {
        "room_id": short_ids.get_room_record(snapshot, room).room_id,
        "num_joined_members": members.get_member_count(snapshot, room, JOIN),
        "world_readable": is_world_readable(snapshot, room),
        "guest_can_join": _get(snapshot, room, "m.room.guest_access", "guest_access") == "can_join",
    }
    for name, type_, key, beginning in _CHUNK_STATE:
        value = _get(snapshot, room, type_, key)
        if isinstance(value, str) and value.startswith(beginning) and value:
            chunk[name] = value
    topic = _get_topic(snapshot, room)
    if topic:
        chunk["topic"] = topic
    # Without a join rules event, or with one that says nothing, a room is for the invited.
    chunk.setdefault("join_rule", "invite")
    return chunk


def _get(snapshot: Snapshot, room: ShortRoomId, type: str, key: str) -> Any:
    pdu = state.get_current_pdu(snapshot, room, type, "")
    return None if pdu is None else pdu.content.get(key)


def _get_topic(snapshot: Snapshot, room: ShortRoomId) -> str | None:
    """The topic as plain text. Spec: client-server-api/#mroomtopic"""
    block = _get(snapshot, room, "m.room.topic", "m.topic")
    texts = block.get("m.text") if isinstance(block, dict) else None
    for text in texts if isinstance(texts, list) else ():
        if isinstance(text, dict) and text.get("mimetype", "text/plain") == "text/plain":
            body = text.get("body")
            if isinstance(body, str):
                return body
    topic = _get(snapshot, room, "m.room.topic", "topic")
    return topic if isinstance(topic, str) else None


def _is_listed(chunk: dict[str, Any]) -> bool:
    return chunk["num_joined_members"] > 0 and (chunk["world_readable"] or chunk["join_rule"] in _OPEN)


def _matches(query: DirectoryQuery, chunk: dict[str, Any]) -> bool:
    if query.room_types is not None and chunk.get("room_type") not in query.room_types:
        return False
    if not query.search_term:
        return True
    term = query.search_term.casefold()
    return any(term in chunk.get(name, "").casefold() for name in ("name", "topic", "canonical_alias"))


def _scan_listed(snapshot: Snapshot, query: DirectoryQuery) -> Iterable[ShortRoomId]:
    """Rooms that are published in what is asked for, before it is known whether they are open."""
    if query.network:
        return appservices.scan_listed(snapshot, query.network)
    if query.has_all_networks:
        return {*rooms.scan_public(snapshot), *appservices.scan_listed_anywhere(snapshot)}
    return rooms.scan_public(snapshot)


def _scan_places(snapshot: Snapshot, query: DirectoryQuery) -> list[tuple[_Place, ShortRoomId]]:
    return [
        (
            _Place(-members.get_member_count(snapshot, room, JOIN), short_ids.get_room_record(snapshot, room).room_id),
            room,
        )
        for room in _scan_listed(snapshot, query)
        if is_resident(snapshot, room) and not _is_closed(snapshot, room)
    ]


def _is_closed(snapshot: Snapshot, room: ShortRoomId) -> bool:
    return get_closed(snapshot, RoomId(short_ids.get_room_record(snapshot, room).room_id)) is not None


def _require_room(snapshot: Snapshot, room_id: RoomId) -> ShortRoomId:
    room = rooms.get_room(snapshot, room_id)
    if room is None:
        raise NotFound("Room not found")
    return room.short


def _limit(limit: int | None) -> int:
    if limit is not None and limit < 0:
        raise InvalidParam("limit must not be below zero")
    # Zero has come to mean that the server decides.
    return min(limit or LIMIT_DEFAULT, LIMIT_MAX)


def _format_token(place: _Place, *, is_backwards: bool) -> str:
    text = f"{'p' if is_backwards else 'n'}{-place.fewer} {place.room_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse_token(token: str) -> tuple[bool, _Place]:
    """Whether it leads backwards, and from where. Raises ``InvalidParam``."""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        count, _, room_id = text.partition(" ")
        place = _Place(-int(count[1:]), room_id)
    except (binascii.Error, ValueError):
        raise InvalidParam("since must be a token that was handed out by this server") from None
    if count[:1] not in ("n", "p"):
        raise InvalidParam("since must be a token that was handed out by this server")
    return count[:1] == "p", place
