"""Rooms as the oldest clients ask for them: everything about one, or about all, in one answer.

Spec: client-server-api/#get_matrixclientv3roomsroomidinitialsync
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import orjson
import trio

from conduit_py.data import account_data, members, rooms, short_ids, timeline
from conduit_py.data.account_data import GLOBAL_ROOM
from conduit_py.data.members import NAME_OF
from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.matrix.sync_token import format_place
from conduit_py.service.errors import NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import Access, get_access, require_access
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.ignored import blocks_invites
from conduit_py.service.rooms.search import read_around
from conduit_py.service.rooms.state_reads import get_state_events, json_list, render_events
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.account_data import AccountData
from kvschema.catalog.members import BAN, INVITE, JOIN, KNOCK, LEAVE
from kvschema.catalog.rooms import ShortEventId

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
"""Messages of one room, however many were asked for."""

Told = dict[str, Any]


class RoomSnapshots:
    """One per server. What is returned as bytes is JSON."""

    def __init__(self, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms

    def get_event(self, requester: Requester, event_id: EventId) -> bytes:
        """An event of any room. Raises ``NotFound``.

        Spec: client-server-api/#get_matrixclientv3eventseventid
        """
        with self._database.snapshot() as snapshot:
            found = timeline.find_row(snapshot, event_id)
            visibility = Visibility(snapshot, requester.user_id)
            if found is None or not visibility.may_see(found[1]):
                raise NotFound(f"there is no event {event_id}, or you may not see it")
            room_id = RoomId(short_ids.get_room_record(snapshot, found[1].room).room_id)
            return ClientEvents(snapshot, requester, visibility, now_ms=self._now_ms()).render(*found, room_id=room_id)

    async def get_room(self, requester: Requester, room_id: RoomId) -> bytes:
        """Everything about a room that the requester may read. Raises ``Forbidden``.

        Spec: client-server-api/#get_matrixclientv3roomsroomidinitialsync
        """
        with self._database.snapshot() as snapshot:
            access = require_access(snapshot, requester, room_id)
        return orjson.dumps(await self._tell(requester, access, LIMIT_DEFAULT))

    async def get_all(self, requester: Requester, *, limit: int | None, is_archived: bool) -> bytes:
        """The rooms that the requester is in or invited to, with ``is_archived`` those that were left too.

        Spec: client-server-api/#get_matrixclientv3initialsync
        """
        limit = LIMIT_DEFAULT if limit is None else min(limit, LIMIT_MAX)
        kinds = (JOIN, LEAVE, BAN) if is_archived else (JOIN,)
        with self._database.snapshot() as snapshot:
            until = snapshot.pos
            named = [
                RoomId(short_ids.get_room_record(snapshot, room).room_id)
                for kind in kinds
                for room, row in members.scan_rooms(snapshot, requester.user, kind)
                if not row.forgotten
            ]
            told = self._tell_invites(snapshot, requester)
            data = _render_data(account_data.scan_in_room(snapshot, requester.user, GLOBAL_ROOM))
        for room_id in named:
            with self._database.snapshot() as snapshot:
                access = get_access(snapshot, requester, room_id)
            if access is not None:
                # What happens meanwhile lies behind ``end``, and is for /events to tell.
                told.append(await self._tell(requester, replace(access, until=min(access.until, until)), limit))
        return orjson.dumps({"end": format_place(until), "rooms": told, "presence": [], "account_data": data})

    async def _tell(self, requester: Requester, access: Access, limit: int) -> Told:
        await trio.lowlevel.checkpoint()
        room_id, now_ms = access.room_id, self._now_ms()
        with self._database.snapshot() as snapshot:
            may_see = Visibility(snapshot, requester.user_id).may_see
            newest, start = read_around(snapshot, access, may_see, access.until + 1, count=limit, is_before=True)
            events = get_state_events(snapshot, access.state_id)
            standing = members.get_membership(snapshot, requester.user, access.room)
            is_public = rooms.is_public(snapshot, access.room)
            data = _render_data(account_data.scan_in_room(snapshot, requester.user, access.room))
        chunk = await render_events(self._database, requester, room_id, newest[::-1], now_ms=now_ms)
        state = await render_events(self._database, requester, room_id, events, now_ms=now_ms)
        messages = {"end": format_place(access.until), "chunk": orjson.Fragment(json_list(chunk))}
        told: Told = {
            "room_id": room_id,
            "messages": {"start": format_place(start), **messages},
            "state": orjson.Fragment(json_list(state)),
            "visibility": "public" if is_public else "private",
            "account_data": data,
        }
        # Who only looks into the room has no membership, and for a knock there is no name here.
        if standing is not None and standing[0] != KNOCK:
            told["membership"] = NAME_OF[standing[0]]
        return told

    def _tell_invites(self, snapshot: Snapshot, requester: Requester) -> list[Told]:
        events = ClientEvents(snapshot, requester, Visibility(snapshot, requester.user_id), now_ms=self._now_ms())
        invites: list[Told] = []
        if blocks_invites(snapshot, requester.user):
            return invites
        for room, row in members.scan_rooms(snapshot, requester.user, INVITE):
            room_id = RoomId(short_ids.get_room_record(snapshot, room).room_id)
            told: Told = {"room_id": room_id, "membership": "invite"}
            stored = timeline.get_row(snapshot, ShortEventId(row.event))
            if stored is not None:
                told["invite"] = orjson.Fragment(events.render(row.event, stored, room_id=room_id))
            invites.append(told)
        return invites


def _render_data(data: Iterable[AccountData]) -> list[Told]:
    return [{"type": row.type, "content": orjson.Fragment(row.content.encode())} for row in data]
