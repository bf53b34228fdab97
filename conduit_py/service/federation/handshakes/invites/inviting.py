"""Inviting users of other servers to rooms that we take part in.

Their server is asked first: it signs the invite, and shows it to the user. Only then does the room hear of it.

Spec: server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conduit_py.data import members
from conduit_py.data.rooms import Room
from conduit_py.matrix.auth.rules import check_event
from conduit_py.matrix.auth.third_party_invite import find_signing_keys
from conduit_py.matrix.ids import EventId, KeyId, Malformed, RoomId, ServerName, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.signing import InvalidSignature, ed25519_signatures, verify_event_signature
from conduit_py.outbound.errors import Refused, RemoteError, Unreachable
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_handshakes import fetch_invited
from conduit_py.outbound.http import HttpClient
from conduit_py.outbound.identity import fetch_is_valid
from conduit_py.service.errors import Forbidden, MatrixError
from conduit_py.service.federation.handshakes.accepting import Acceptance
from conduit_py.service.federation.handshakes.refusals import build_refusal
from conduit_py.service.federation.handshakes.submissions import build_room_state
from conduit_py.service.federation.keys import KeyRing
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.closed import require_open
from conduit_py.service.rooms.member_events import MEMBER, build_member_content
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn

THIRD_PARTY_INVITE = "m.room.third_party_invite"
SIGNATURES_MAX = 4
"""Signatures of the other server that are looked at."""


@dataclass(frozen=True, slots=True)
class _Drafted:
    room: Room
    pdu: Pdu
    room_state: list[Any]
    servers: frozenset[ServerName]
    """In the room, this one left out."""


class Inviting:
    """One per server."""

    def __init__(
        self, writes: RoomWrites, fetcher: Fetcher, http: HttpClient, keys: KeyRing, acceptance: Acceptance
    ) -> None:
        self._writes = writes
        self._http = http
        self._fetcher = fetcher
        self._keys = keys
        self._acceptance = acceptance

    async def invite(
        self, requester: Requester, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]
    ) -> EventId:
        """See ``Elsewhere.invite``. Raises ``Forbidden`` and what ``build_member_content`` raises."""

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> _Drafted | EventId:
            require_open(snapshot, room_id)
            built = build_member_content(snapshot, append, requester, user_id, content, may_be_remote=True)
            same = append.find_same(sender=requester.user_id, type=MEMBER, state_key=user_id, content=built)
            return same or self._draft(snapshot, append, requester.user_id, user_id, built)

        drafted = await self._writes.write(room_id, stage)
        if not isinstance(drafted, _Drafted):
            return drafted
        await self._send(drafted, user_id)
        return drafted.pdu.event_id

    async def invite_by_token(
        self, sender: UserId, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]
    ) -> None:
        """Make a third-party invite of ``sender`` one for a user, wherever that is.

        Raises ``Forbidden``, and 502 where it cannot be found out whether the identity server's key still counts.

        Spec: server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
        """
        signed = content["third_party_invite"]["signed"]

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> tuple[_Drafted, Pdu]:
            if append.get_membership(user_id) == "join":
                raise Forbidden(f"{user_id} is in the room already")
            invite = append.get_state(THIRD_PARTY_INVITE, str(signed.get("token")))
            if invite is None:
                raise Forbidden("the room has no invitation with this token")
            name = {"display_name": str(invite.content.get("display_name", ""))}
            said = {**content, "third_party_invite": {**content["third_party_invite"], **name}}
            return self._draft(snapshot, append, sender, user_id, said), invite

        drafted, invite = await self._writes.write(room_id, stage)
        await self._require_valid_key(invite, signed)
        if server_name_of(user_id) == self._writes.append.server_name:
            await self._acceptance.accept(drafted.room, drafted.pdu, drafted.servers)
        else:
            await self._send(drafted, user_id)

    async def _require_valid_key(self, invite: Pdu, signed: Mapping[str, Any]) -> None:
        """Raises ``Forbidden`` for what an identity server signed with a key that it has revoked since, and 502.

        Spec: client-server-api/#third-party-invites
        """
        unreachable: Unreachable | None = None
        for public_key, url in find_signing_keys(invite.content, signed):
            try:
                if url is None or await fetch_is_valid(self._http, url, public_key):
                    return
            except Unreachable as error:
                unreachable = error
        if unreachable is not None:
            raise MatrixError(f"the invite cannot be checked: {unreachable}", errcode="M_UNKNOWN", status=502)
        raise Forbidden("the identity server's key is not valid any more")

    def _draft(
        self, snapshot: Snapshot, append: RoomAppend, sender: UserId, user_id: UserId, content: Mapping[str, Any]
    ) -> _Drafted:
        """The invite as it would follow what is in the room now; nothing is staged."""
        pdu = append.create_event(sender=sender, type=MEMBER, content=content, state_key=user_id)
        denied = check_event(append.room.version, pdu, append.get_state)
        if denied is not None:
            raise Forbidden(denied.why)
        create = append.get_state("m.room.create", "")
        # The rules would take the invite, but never the join.
        is_closed = create is not None and create.content.get("m.federate") is False
        if is_closed and server_name_of(user_id) != append.server_name:
            raise Forbidden(f"the room is not federated, and {user_id} is from elsewhere")
        servers = frozenset(members.scan_servers(snapshot, append.room.short)) - {append.server_name}
        return _Drafted(append.room, pdu, build_room_state(snapshot, append.room, sender), servers)

    async def _send(self, drafted: _Drafted, user_id: UserId) -> None:
        room, pdu, destination = drafted.room, drafted.pdu, server_name_of(user_id)
        try:
            answer = await fetch_invited(
                self._fetcher,
                destination,
                room.room_id,
                pdu.event_id,
                pdu.json,
                room_version=room.version.id,
                room_state=drafted.room_state,
            )
        except RemoteError as error:
            raise _refusal(room.room_id, error) from None
        signed = await self._add_signature(drafted, destination, answer)
        await self._acceptance.accept(room, signed, drafted.servers)

    async def _add_signature(self, drafted: _Drafted, destination: ServerName, answer: Mapping[str, Any]) -> Pdu:
        """Our own event with the other server's signature, all that is taken of the answer."""
        pdu, version = drafted.pdu, drafted.room.version
        theirs = dict(list(ed25519_signatures(answer, destination))[:SIGNATURES_MAX])
        json = {**pdu.json, "signatures": {**pdu.signatures, destination: theirs}}
        found = await self._keys.fetch_keys(
            destination, [KeyId(key_id) for key_id in theirs], minimum_valid_until_ts=pdu.origin_server_ts
        )
        try:
            for key in found.values():
                verify_event_signature(json, version, entity=destination, key_id=key.key_id, public_key=key.public_key)
            if found:
                return parse_pdu(json, version, event_id=pdu.event_id)
        except (InvalidSignature, Malformed):
            pass
        raise MatrixError(f"{destination} has not signed the invite", errcode="M_UNKNOWN", status=502)


def _refusal(room_id: RoomId, error: RemoteError) -> MatrixError:
    """Spec: client-server-api/#post_matrixclientv3roomsroomidinvite"""
    if isinstance(error, Refused) and error.errcode == "M_INCOMPATIBLE_ROOM_VERSION":
        return MatrixError(error.message, errcode="M_UNSUPPORTED_ROOM_VERSION", status=400)
    return build_refusal(room_id, [error])
