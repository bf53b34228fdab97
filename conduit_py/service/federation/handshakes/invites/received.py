"""Invites of our users by users of other servers.

The invite is signed by both servers before the room hears of it. Where we take part in the room we only check and
sign it: it comes back to us as every event of the room does. Otherwise all we keep is what the invited user is shown.

Spec: server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from conduit_py.data import members, short_ids, state
from conduit_py.matrix.auth.rules import check_event
from conduit_py.matrix.hashes import content_hash_matches
from conduit_py.matrix.ids import EventId, Malformed, RoomId, ServerName, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.room_versions import RoomVersion, get_room_version
from conduit_py.matrix.signing import InvalidSignature, sign_event
from conduit_py.service.appservices.queries import AppServiceQueries
from conduit_py.service.errors import Forbidden, InvalidParam, MatrixError, NotFound
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.handshakes.outside import Change, Outside, build_shown, is_waiting
from conduit_py.service.federation.handshakes.require import require_allowed
from conduit_py.service.federation.receive.room_events import RawEvent
from conduit_py.service.rooms.append import Append
from conduit_py.service.rooms.closed import require_open
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.service.rooms.member_events import MEMBER, require_takes_invites
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import INVITE

INVITES_WAITING_MAX: Final = 1_000
"""Invites that wait for one user. Any server can send them."""


class InvitesReceived:
    """One per server."""

    def __init__(
        self, store: Store, append: Append, checks: Checks, outside: Outside, queries: AppServiceQueries
    ) -> None:
        self._store = store
        self._append = append
        self._outside = outside
        self._checks = checks
        self._queries = queries

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
        await self._queries.ask_for_user(UserId(invite.state_key or ""))
        with self._store.snapshot() as snapshot:
            is_live = self._require_wanted(snapshot, origin, version, invite)
        if not is_live:
            await self._keep(version, invite, room_state)
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
        require_open(snapshot, invite.room_id)
        try:
            user = require_takes_invites(snapshot, UserId(invite.state_key or ""))
        except NotFound as error:
            raise Forbidden(str(error)) from None
        if invite.sender in get_ignored_users(snapshot, user):
            raise Forbidden(f"{invite.state_key} takes no invites of {invite.sender}")
        if sum(1 for _ in members.scan_rooms(snapshot, user, INVITE)) >= INVITES_WAITING_MAX:
            raise Forbidden(f"{invite.state_key} has too many invites already")
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

    async def _keep(self, version: RoomVersion, invite: Pdu, room_state: Any) -> None:
        """Show the invite to the user it is for. Raises ``InvalidParam`` for a glimpse that does not hold."""
        shown, problem = await build_shown(self._checks, version, invite.room_id, room_state, invite.json)
        if problem is not None:
            raise InvalidParam(f"invite_room_state: {problem}")
        change = Change(
            user_id=UserId(invite.state_key or ""),
            membership="invite",
            sender=invite.sender,
            event_id=invite.event_id,
            stripped_state=shown,
            pdu=invite,
        )
        # If somebody has joined meanwhile, it comes as every event of the room does.
        await self._outside.put(invite.room_id, version.id, change)

    async def note(self, origin: ServerName, room_id: RoomId, raw: RawEvent) -> None:
        """An event of a room that we do not take part in: it may change the membership of a user who waits for it.

        An invite that is taken back, a knock that is turned down, a ban. The event has to name the invite or knock
        among its auth events, which only those in the room know. All else is passed over.
        """
        user_id = raw.get("state_key")
        if raw.get("type") != MEMBER or not isinstance(user_id, str):
            return
        with self._store.snapshot() as snapshot:
            standing = self._outside.get(snapshot, room_id, UserId(user_id))
            room = short_ids.get_room(snapshot, room_id)
            version = None if room is None else get_room_version(short_ids.get_room_record(snapshot, room).room_version)
        if standing is None or version is None or not is_waiting(standing):
            return
        try:
            pdu = await self._checks.check(raw, version)
        except (Malformed, InvalidSignature):
            return
        membership = pdu.content.get("membership")
        if membership not in ("leave", "ban") or pdu.room_id != room_id or standing[1].event_id not in pdu.auth_events:
            return
        change = Change(
            user_id=UserId(user_id), membership=membership, sender=pdu.sender, event_id=pdu.event_id, pdu=pdu
        )
        await self._outside.put(room_id, version.id, change, instead_of=standing)
