"""Reading the state of rooms and who is in them.

A room may have tens of thousands of members, so what is long is read in slices, each in a snapshot of its own, and
others get their turn in between. All slices of one answer speak of one state, which never changes once it has a name.

Spec: client-server-api/#getting-events-for-a-room
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import trio

from conduit_py.data import members, row_fields, short_ids, timeline
from conduit_py.data.state import StateChain
from conduit_py.data.state_at import get_state_id_at
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.sync_token import parse_place
from conduit_py.service.errors import Forbidden, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.access import require_access
from conduit_py.service.rooms.client_events import ClientEvents
from conduit_py.service.rooms.erased import Erasure
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.service.rooms.write import require_joined
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortEventId, ShortUserId, StateId
from kvschema.catalog.timeline import EventRow

EVENTS_PER_SLICE = 200
"""Events that are put together before others get their turn: about 10 ms."""

MEMBER = "m.room.member"

Wants = Callable[[ShortEventId, EventRow], bool]


def want_all(event: ShortEventId, row: EventRow) -> bool:
    """Leaves nothing out."""
    return True


class StateReads:
    """One per server. What is returned as bytes is JSON."""

    def __init__(self, database: Database, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms

    async def get_state(self, requester: Requester, room_id: RoomId) -> bytes:
        """The events of the room's state: the current one, or for who left, the one they left. Raises ``Forbidden``.

        Spec: client-server-api/#get_matrixclientv3roomsroomidstate
        """
        with self._database.snapshot() as snapshot:
            access = require_access(snapshot, requester, room_id)
            events = get_state_events(snapshot, access.state_id)
        return json_list(await render_events(self._database, requester, room_id, events, now_ms=self._now_ms()))

    def get_state_event(
        self, requester: Requester, room_id: RoomId, event_type: str, state_key: str, *, whole: bool
    ) -> bytes:
        """The content of one entry of state, or the ``whole`` event. Raises ``Forbidden`` or ``NotFound``.

        Spec: client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey
        """
        with self._database.snapshot() as snapshot:
            access = require_access(snapshot, requester, room_id)
            short = short_ids.get_state_key(snapshot, event_type, state_key)
            event = None if short is None else StateChain(snapshot).get(access.state_id, short)
            if event is None:
                raise NotFound(f"the room has no state of type {event_type} with this key")
            row = timeline.require_row(snapshot, event)
            visibility = Visibility(snapshot, requester.user_id)
            if not whole:
                return row_fields.get_content_json(Erasure(snapshot, requester, visibility).apply(row))
            return ClientEvents(snapshot, requester, visibility, now_ms=self._now_ms()).render(
                event, row, room_id=room_id
            )

    async def get_members(
        self,
        requester: Requester,
        room_id: RoomId,
        *,
        at: str | None = None,
        membership: str | None = None,
        not_membership: str | None = None,
    ) -> bytes:
        """The membership events of a room now, or as it was ``at`` a token. Raises ``Forbidden`` or ``Malformed``.

        Both conditions together widen the answer: who has ``membership`` or has not ``not_membership``.

        Spec: client-server-api/#get_matrixclientv3roomsroomidmembers
        """
        with self._database.snapshot() as snapshot:
            access = require_access(snapshot, requester, room_id)
            place = access.until if at is None else parse_place(at)
            is_past = place < access.until
            state_id = get_state_id_at(snapshot, access.room, place) if is_past else access.state_id
            visibility = Visibility(snapshot, requester.user_id)
            if is_past and not visibility.may_see_state(access.room, state_id, place):
                raise Forbidden(f"{requester.user_id} may not see who was in {room_id} then")
            events = get_state_events(snapshot, state_id)

        def wants(event: ShortEventId, row: EventRow) -> bool:
            return row_fields.is_of_type(row, MEMBER) and _is_wanted(row, membership, not_membership)

        rendered = await render_events(self._database, requester, room_id, events, now_ms=self._now_ms(), wants=wants)
        return b'{"chunk":' + json_list(rendered) + b"}"

    async def get_joined_members(self, requester: Requester, room_id: RoomId) -> bytes:
        """Who is in a room that the requester is in, with their names and avatars in it. Raises ``Forbidden``.

        Spec: client-server-api/#get_matrixclientv3roomsroomidjoined_members
        """
        with self._database.snapshot() as snapshot:
            room = require_joined(snapshot, requester, room_id)
            joined = list(members.scan_members(snapshot, room.short, JOIN))
        rendered: list[bytes] = []
        for start in range(0, len(joined), EVENTS_PER_SLICE):
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                rendered += [_joined_member(snapshot, *member) for member in joined[start : start + EVENTS_PER_SLICE]]
        return b'{"joined":{' + b",".join(rendered) + b"}}"

    def get_joined_rooms(self, requester: Requester) -> list[RoomId]:
        """The rooms that the requester is in.

        Spec: client-server-api/#get_matrixclientv3joined_rooms
        """
        with self._database.snapshot() as snapshot:
            return [
                RoomId(short_ids.get_room_record(snapshot, room).room_id)
                for room, _ in members.scan_rooms(snapshot, requester.user, JOIN)
            ]


def get_state_events(snapshot: Snapshot, state_id: StateId) -> list[ShortEventId]:
    """The events of a state, the oldest first."""
    return sorted(StateChain(snapshot).entries(state_id).values())


async def render_events(
    database: Database,
    requester: Requester,
    room_id: RoomId,
    events: Sequence[ShortEventId],
    *,
    now_ms: int,
    wants: Wants = want_all,
) -> list[bytes]:
    """Those of ``events`` that are wanted, as the requester gets them. Whether they may be seen is not asked."""
    rendered: list[bytes] = []
    for start in range(0, len(events), EVENTS_PER_SLICE):
        await trio.lowlevel.checkpoint()
        with database.snapshot() as snapshot:
            client_events = ClientEvents(snapshot, requester, Visibility(snapshot, requester.user_id), now_ms=now_ms)
            some = events[start : start + EVENTS_PER_SLICE]
            facts = row_fields.get_all_facts(snapshot, some)
            if wants is not want_all:
                facts = [it for event, it in zip(some, facts, strict=True) if wants(event, it.row)]
            rendered += client_events.render_state(facts, room_id=room_id)
    return rendered


def json_list(rendered: Sequence[bytes]) -> bytes:
    """A JSON list of what is JSON already."""
    return b"[" + b",".join(rendered) + b"]"


def _is_wanted(row: EventRow, membership: str | None, not_membership: str | None) -> bool:
    if membership is None and not_membership is None:
        return True
    has = _content(row).get("membership")
    return (membership is not None and has == membership) or (not_membership is not None and has != not_membership)


def _joined_member(snapshot: Snapshot, user: ShortUserId, event: ShortEventId) -> bytes:
    content = _content(timeline.require_row(snapshot, event))
    names = {"display_name": content.get("displayname"), "avatar_url": content.get("avatar_url")}
    member = {name: value for name, value in names.items() if isinstance(value, str)}
    return orjson.dumps(short_ids.get_user_id(snapshot, user)) + b":" + orjson.dumps(member)


def _content(row: EventRow) -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(row_fields.get_content_json(row))
    return content
