"""Membership events that other servers built from our templates and hand in.

Spec: server-server-api/#put_matrixfederationv2send_joinroomideventid,
server-server-api/#put_matrixfederationv2send_leaveroomideventid,
server-server-api/#put_matrixfederationv1send_knockroomideventid
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit_py.data import members, state, timeline
from conduit_py.data.rooms import Room
from conduit_py.matrix.canonical_json import parse_json
from conduit_py.matrix.hashes import content_hash_matches
from conduit_py.matrix.ids import EventId, Malformed, RoomId, ServerName, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import InvalidSignature, get_authorising_server, sign_event
from conduit_py.matrix.stripped_state import stripped_state_keys
from conduit_py.service.errors import InvalidParam
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.handshakes.accepting import Acceptance
from conduit_py.service.federation.handshakes.joins.join_answer import JoinAnswer
from conduit_py.service.federation.handshakes.require import require_room
from conduit_py.service.federation.handshakes.templates import authorise
from conduit_py.service.rooms.member_events import MEMBER
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.timeline import REJECTED


class Submissions:
    """One per server."""

    def __init__(self, database: Database, writes: RoomWrites, checks: Checks, acceptance: Acceptance) -> None:
        self._database = database
        self._writes = writes
        self._checks = checks
        self._acceptance = acceptance

    async def submit_join(
        self, origin: ServerName, room_id: RoomId, event_id: EventId, raw: Mapping[str, Any], *, omit_members: bool
    ) -> JoinAnswer:
        """Take a user of another server in. What the server needs to know of the room is in the answer.

        Raises ``NotFound``, ``Forbidden``, ``InvalidParam`` and what ``build_authorised`` raises.
        """
        room = self._require(origin, room_id)
        with self._database.snapshot() as snapshot:
            servers = list(members.scan_servers(snapshot, room.short))
        pdu = self._parse(origin, room, event_id, raw, "join")
        if get_authorising_server(pdu.content) == self._writes.append.server_name:
            await self._writes.write(room_id, lambda snapshot, turn, append: authorise(snapshot, append, pdu.sender))
        pdu = await self._take(origin, room, self._sign(pdu, room.version))
        with self._database.snapshot() as snapshot:
            return JoinAnswer.of(
                self._database,
                snapshot,
                room,
                pdu,
                server_name=self._writes.append.server_name,
                servers=servers,
                omit_members=omit_members,
            )

    async def submit_leave(
        self, origin: ServerName, room_id: RoomId, event_id: EventId, raw: Mapping[str, Any]
    ) -> None:
        """Let a user of another server reject an invite, take back a knock, or leave. Raises as ``submit_join``."""
        room = self._require(origin, room_id)
        await self._take(origin, room, self._parse(origin, room, event_id, raw, "leave"))

    async def submit_knock(
        self, origin: ServerName, room_id: RoomId, event_id: EventId, raw: Mapping[str, Any]
    ) -> list[Any]:
        """Let a user of another server knock. The answer is what the user is told of the room.

        Raises as ``submit_join``.
        """
        room = self._require(origin, room_id)
        await self._take(origin, room, self._parse(origin, room, event_id, raw, "knock"))
        with self._database.snapshot() as snapshot:
            return build_room_state(snapshot, room, None)

    def _require(self, origin: ServerName, room_id: RoomId) -> Room:
        with self._database.snapshot() as snapshot:
            return require_room(snapshot, origin, room_id)

    def _parse(self, origin: ServerName, room: Room, event_id: EventId, raw: Mapping[str, Any], membership: str) -> Pdu:
        """The event, if it is one of that kind by a user of ``origin`` about themselves. Raises ``InvalidParam``."""
        try:
            pdu = parse_pdu(raw, room.version)
        except Malformed as error:
            raise InvalidParam(f"not an event of room version {room.version.id}: {error}") from None
        if pdu.event_id != event_id:
            raise InvalidParam(f"the event is {pdu.event_id}, and not {event_id}")
        if pdu.room_id != room.room_id:
            raise InvalidParam(f"the event is of the room {pdu.room_id}")
        if pdu.type != MEMBER or pdu.content.get("membership") != membership:
            raise InvalidParam(f"not a {membership} event")
        if pdu.state_key != pdu.sender or server_name_of(pdu.sender) != origin:
            raise InvalidParam(f"the event must be by a user of {origin}, and about that user")
        if not content_hash_matches(pdu.json, room.version):
            raise InvalidParam("the event has another content than its hash says")
        return pdu

    def _sign(self, pdu: Pdu, version: RoomVersion) -> Pdu:
        append = self._writes.append
        signed = sign_event(pdu.json, version, server_name=append.server_name, signing_key=append.signing_key)
        return parse_pdu(signed, version, event_id=pdu.event_id)

    async def _take(self, origin: ServerName, room: Room, pdu: Pdu) -> Pdu:
        """Check the signatures, store the event, and send it to the other servers in the room."""
        with self._database.snapshot() as snapshot:
            known = timeline.find_row(snapshot, pdu.event_id)
            if known is not None and known[1].pos and not known[1].flags & REJECTED:
                return _require_same(timeline.get_pdu(snapshot, known[0]), pdu)
            servers = set(members.scan_servers(snapshot, room.short))
        try:
            pdu = await self._checks.check(pdu.json, room.version)
        except (Malformed, InvalidSignature) as error:
            raise InvalidParam(f"the event is not signed as it must be: {error}") from None
        await self._acceptance.accept(room, pdu, servers - {origin, self._writes.append.server_name})
        return pdu


def _require_same(known: Pdu, pdu: Pdu) -> Pdu:
    """The event that is held under the id of one that was handed in. Raises ``InvalidParam`` for another event.

    In rooms of versions 1 and 2 whoever sends an event chooses its id, and it may be that of any event they heard of.
    """
    if known.room_id != pdu.room_id or known.sender != pdu.sender or known.hashes != pdu.hashes:
        raise InvalidParam(f"there is another event with the id {pdu.event_id}")
    return known


def build_room_state(snapshot: Snapshot, room: Room, inviter: UserId | None) -> list[Any]:
    """What goes to the server of somebody who knocks or is invited, to tell them of the room: whole events.

    Spec: server-server-api/#put_matrixfederationv2inviteroomideventid
    """
    events = (state.get_current(snapshot, room.short, *key) for key in stripped_state_keys(inviter))
    rows = (timeline.require_row(snapshot, event) for event in events if event is not None)
    return [parse_json(timeline.federation_json(row, room.room_id)) for row in rows]
