"""Invites of our users by users of other servers.

The invite is signed by both servers before the room hears of it. Where we take part in the room we only check and
sign it: it comes back to us as every event of the room does. Otherwise all we keep is what the invited user is shown.

Spec: server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conduit_py.data import members, state
from conduit_py.data.members import MemberChange
from conduit_py.matrix.auth.rules import check_event
from conduit_py.matrix.hashes import content_hash_matches
from conduit_py.matrix.ids import EventId, Malformed, RoomId, ServerName, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.room_versions import RoomVersion, get_room_version
from conduit_py.matrix.signing import InvalidSignature, sign_event
from conduit_py.matrix.stripped_state import STRIPPED_EVENTS_MAX, build_stripped_state
from conduit_py.service.errors import Forbidden, InvalidParam, MatrixError, NotFound
from conduit_py.service.federation.handshakes.require import require_allowed
from conduit_py.service.federation.handshakes.seams import PduChecks
from conduit_py.service.rooms.append import Append
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.service.rooms.member_events import MEMBER, require_takes_invites
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import INVITE
from kvschema.catalog.rooms import ShortEventId, StreamPos


class InvitesReceived:
    """One per server."""

    def __init__(self, store: Store, append: Append, checks: PduChecks) -> None:
        self._store = store
        self._append = append
        self._checks = checks

    async def take(
        self,
        origin: ServerName,
        room_id: RoomId,
        event_id: EventId,
        *,
        room_version: str,
        raw: Mapping[str, Any],
        room_state: Any,
    ) -> dict[str, Any]:
        """The invite with our signature, once the invited user can see it.

        Raises ``M_INCOMPATIBLE_ROOM_VERSION``, ``InvalidParam``, ``Forbidden`` and ``M_INVITE_BLOCKED``.
        """
        version = get_room_version(room_version)
        if version is None:
            raise MatrixError(
                "This server does not know rooms of that version",
                errcode="M_INCOMPATIBLE_ROOM_VERSION",
                status=400,
                extra={"room_version": room_version},
            )
        invite = await self._check(origin, room_id, event_id, version, raw)
        signed = sign_event(
            invite.json, version, server_name=self._append.server_name, signing_key=self._append.signing_key
        )
        with self._store.snapshot() as snapshot:
            is_live = self._require_wanted(snapshot, origin, version, invite)
        if not is_live:
            shown = await self._check_room_state(version, room_id, room_state)
            await self._keep(parse_pdu(signed, version, event_id=event_id), version, shown)
        unsigned = raw.get("unsigned")
        return signed if unsigned is None else {**signed, "unsigned": unsigned}

    async def _check(
        self, origin: ServerName, room_id: RoomId, event_id: EventId, version: RoomVersion, raw: Mapping[str, Any]
    ) -> Pdu:
        try:
            invite = parse_pdu(raw, version)
        except Malformed as error:
            raise InvalidParam(f"not an event of room version {version.id}: {error}") from None
        if invite.event_id != event_id or invite.room_id != room_id:
            raise InvalidParam(f"the event is {invite.event_id} in {invite.room_id}")
        if invite.type != MEMBER or invite.content.get("membership") != "invite":
            raise InvalidParam("not an invite")
        if server_name_of(invite.sender) != origin:
            raise InvalidParam(f"the invite must be by a user of {origin}")
        try:
            is_ours = server_name_of(invite.state_key or "") == self._append.server_name
        except Malformed:
            is_ours = False
        if not is_ours:
            raise InvalidParam(f"{invite.state_key} is not a user of this server")
        if not content_hash_matches(invite.json, version):
            raise InvalidParam("the event has another content than its hash says")
        try:
            return await self._checks.check(invite.json, version)
        except (Malformed, InvalidSignature) as error:
            raise InvalidParam(f"the invite is not signed as it must be: {error}") from None

    def _require_wanted(self, snapshot: Snapshot, origin: ServerName, version: RoomVersion, invite: Pdu) -> bool:
        """May the invite come in? Tells whether we take part in the room.

        Raises ``Forbidden`` and ``M_INVITE_BLOCKED``.
        """
        try:
            user = require_takes_invites(snapshot, UserId(invite.state_key or ""))
        except NotFound as error:
            raise Forbidden(str(error)) from None
        if invite.sender in get_ignored_users(snapshot, user):
            raise Forbidden(f"{invite.state_key} takes no invites of {invite.sender}")
        room = get_live_room(snapshot, invite.room_id)
        if room is None:
            return False
        require_allowed(snapshot, origin, room)
        if room.version != version:
            raise InvalidParam(f"the room has version {room.version.id}")
        denied = check_event(room.version, invite, lambda *key: state.get_current_pdu(snapshot, room.short, *key))
        if denied is not None:
            raise Forbidden(denied.why)
        return True

    async def _check_room_state(self, version: RoomVersion, room_id: RoomId, room_state: Any) -> list[Any]:
        """What came with the invite, as far as it can be shown.

        Servers still send glimpses of rooms up to version 11 in the form that clients get, without signatures, so
        there it is shown as it is. Since version 12 every event is checked.

        Spec: server-server-api/#put_matrixfederationv2inviteroomideventid
        """
        events = room_state if isinstance(room_state, list) else []
        if not version.auth.room_id_is_create_event_id:
            return events[:STRIPPED_EVENTS_MAX]
        if len(events) > STRIPPED_EVENTS_MAX:
            raise InvalidParam(f"invite_room_state must not have more than {STRIPPED_EVENTS_MAX} events")
        raws = [event for event in events if isinstance(event, Mapping)]
        checked = await self._checks.check_many(raws, version)
        pdus = [pdu for pdu in checked if isinstance(pdu, Pdu)]
        problem = next((str(error) for error in checked if isinstance(error, Exception)), None)
        if len(raws) != len(events):
            problem = "an event must be a JSON object"
        elif problem is None:
            problem = find_problem(pdus, room_id)
        if problem is not None:
            raise InvalidParam(f"invite_room_state: {problem}")
        return [pdu.json for pdu in pdus]

    async def _keep(self, invite: Pdu, version: RoomVersion, shown: list[Any]) -> None:
        """Show the invite to the user it is for."""
        store, user_id = self._store, UserId(invite.state_key or "")
        async with store.locks.hold(("room", invite.room_id)), store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                if get_live_room(snapshot, invite.room_id) is not None:
                    return  # Somebody has joined meanwhile: it comes as every event of the room does.
                room = store.ids.intern_room(snapshot, turn, invite.room_id, version.id)
                user = store.ids.intern_user(snapshot, turn, user_id)
                old = members.get_membership(snapshot, user, room)
                pos = StreamPos(turn.take_pos())
                change = MemberChange(
                    room=room,
                    user=user,
                    server_name=server_name_of(user_id),
                    is_local=True,
                    before=None,
                    after=INVITE,
                    event=ShortEventId(0),
                    pos=pos,
                    sender=invite.sender,
                    stripped_state=build_stripped_state(shown, invite.json),
                    event_id=invite.event_id,
                )
                members.stage_own(turn, change, old)
                self._append.tools.hub.stage_room(turn, room, [user])


def find_problem(shown: Iterable[Pdu], room_id: RoomId) -> str | None:
    """What is wrong with the events that tell of a room, None for nothing."""
    has_create = False
    for pdu in shown:
        if pdu.room_id != room_id:
            return f"{pdu.event_id} is of another room"
        if pdu.state_key is None:
            return f"{pdu.event_id} is not part of the state"
        has_create = has_create or (pdu.type, pdu.state_key) == ("m.room.create", "")
    return None if has_create else "the m.room.create event is missing"
