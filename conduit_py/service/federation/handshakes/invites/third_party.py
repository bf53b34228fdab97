"""Invites of people who were known by an email address or a phone number, once it is known who that is.

The one who invites leaves a token in the room. An identity server hands it, signed, to the server of the user whom the
address belongs to, and that server asks the one that the invite came from to invite the user.

Spec: server-server-api/#third-party-invites
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from conduit_py.data import users
from conduit_py.log import get_logger
from conduit_py.matrix.ids import Malformed, RoomId, ServerName, UserId, parse_room_id, parse_user_id, server_name_of
from conduit_py.outbound.errors import RemoteError
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_handshakes import fetch_exchanged_invite
from conduit_py.service.errands import Errands
from conduit_py.service.errors import Forbidden, InvalidParam, MatrixError
from conduit_py.service.federation.handshakes.invites.inviting import Inviting
from conduit_py.service.federation.handshakes.refusals import build_refusal
from conduit_py.service.federation.handshakes.require import require_own_user, require_room
from conduit_py.service.rooms.member_events import MEMBER
from conduit_py.storage.database import Database

_log = get_logger(__name__)

INVITES_MAX: Final = 20
"""Invites that wait for one address."""


class ThirdPartyInvites:
    """One per server."""

    def __init__(
        self, database: Database, fetcher: Fetcher, errands: Errands, inviting: Inviting, *, server_name: ServerName
    ) -> None:
        self._database = database
        self._fetcher = fetcher
        self._errands = errands
        self._inviting = inviting
        self._server_name = server_name

    async def exchange(self, origin: ServerName, room_id: RoomId, partial: Mapping[str, Any]) -> None:
        """Invite a user of ``origin`` to whom a third-party invite of ours turned out to belong.

        Raises ``InvalidParam``, ``NotFound``, ``Forbidden``, and what the user's server refuses with.

        Spec: server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
        """
        sender, user_id = _parse_user(partial, "sender"), _parse_user(partial, "state_key")
        content = partial.get("content")
        if partial.get("type") != MEMBER or partial.get("room_id") != room_id or not isinstance(content, Mapping):
            raise InvalidParam(f"not a membership event of {room_id}")
        third_party_invite = content.get("third_party_invite")
        if content.get("membership") != "invite" or not isinstance(third_party_invite, Mapping):
            raise InvalidParam("not a third-party invite")
        if not isinstance(third_party_invite.get("signed"), Mapping):
            raise InvalidParam("the third-party invite is not signed")
        require_own_user(origin, user_id)
        if server_name_of(sender) != self._server_name:
            raise Forbidden(f"{sender} is not a user of this server")
        with self._database.snapshot() as snapshot:
            require_room(snapshot, origin, room_id)
        await self._invite(sender, room_id, user_id, third_party_invite)

    async def take_bound(self, mxid: UserId, invites: Sequence[Any]) -> None:
        """An identity server tells that an address is that of a user of ours, with the invites that wait for it.

        Whether the identity server is who it says is for those to judge in whose rooms the invites are.

        Spec: server-server-api/#put_matrixfederationv13pidonbind
        """
        with self._database.snapshot() as snapshot:
            found = users.get_local(snapshot, mxid)
        if found is None or found[1].is_deactivated:
            raise Forbidden(f"{mxid} has no account on this server")
        for invite in invites[:INVITES_MAX]:
            try:
                await self._take_bound(mxid, invite)
            except (Malformed, MatrixError, RemoteError) as error:
                _log.info("a third-party invite leads to no invite", user=mxid, error=str(error))

    async def redeem(self, user_id: UserId, room_id: RoomId, signed: Mapping[str, Any]) -> None:
        """See ``Elsewhere.redeem``.

        Spec: client-server-api/#post_matrixclientv3joinroomidoralias_request_third-party-signed
        """
        if signed.get("mxid") != user_id:
            raise Forbidden(f"the invite is not for {user_id}")
        try:
            await self._take_bound(user_id, {"sender": signed.get("sender"), "room_id": room_id, "signed": signed})
        except RemoteError as error:
            raise build_refusal(room_id, [error]) from None

    async def _take_bound(self, mxid: UserId, invite: Any) -> None:
        signed = invite.get("signed") if isinstance(invite, Mapping) else None
        if not isinstance(signed, Mapping) or signed.get("mxid") != mxid:
            raise InvalidParam(f"the invite is not for {mxid}")
        sender = _parse_user(invite, "sender")
        room_id = parse_room_id(invite["room_id"]) if isinstance(invite.get("room_id"), str) else RoomId("")
        third_party_invite = {"display_name": mxid, "signed": signed}
        if server_name_of(sender) == self._server_name:
            await self._invite(sender, room_id, mxid, third_party_invite)
            return
        partial = {
            "type": MEMBER,
            "room_id": room_id,
            "sender": sender,
            "state_key": mxid,
            "content": {"membership": "invite", "third_party_invite": third_party_invite},
        }
        await fetch_exchanged_invite(self._fetcher, server_name_of(sender), room_id, partial)

    async def _invite(
        self, sender: UserId, room_id: RoomId, user_id: UserId, third_party_invite: Mapping[str, Any]
    ) -> None:
        content = {"membership": "invite", "third_party_invite": dict(third_party_invite)}
        await self._errands.do(lambda: self._inviting.invite_by_token(sender, room_id, user_id, content))


def _parse_user(json: Mapping[str, Any], key: str) -> UserId:
    value = json.get(key)
    try:
        return parse_user_id(value if isinstance(value, str) else "")
    except Malformed as error:
        raise InvalidParam(f"{key}: {error}") from None
