"""Membership events made of what another server proposes.

Spec: server-server-api/#joining-rooms
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from conduit_py.matrix.ids import RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion, get_room_version
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_handshakes import fetch_template
from conduit_py.service.errors import BadJson
from conduit_py.service.rooms.append import Append
from conduit_py.service.rooms.member_events import MEMBER

_AUTHORISER: Final = "join_authorised_via_users_server"


class Making:
    """One per server."""

    def __init__(self, fetcher: Fetcher, append: Append) -> None:
        self.fetcher = fetcher
        self._append = append

    @property
    def server_name(self) -> ServerName:
        """Of this server."""
        return self._append.server_name

    async def make(
        self, destination: ServerName, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]
    ) -> tuple[RoomVersion, Pdu]:
        """The signed event by which a user of ours joins, knocks or leaves, as ``content`` says.

        Of the other server's proposal only what follows from the room is taken.
        Raises ``Unreachable`` and ``Refused``, and ``TooLarge`` for a content that is.
        """
        membership = content["membership"]
        template = await fetch_template(self.fetcher, destination, membership, room_id, user_id)
        version, event = get_room_version(template.room_version), template.event
        if version is None:
            raise Unreachable(f"{destination} proposes an event of the room version {template.room_version}")
        proposed = event.get("content")
        if not isinstance(proposed, dict) or proposed.get("membership") != membership:
            raise Unreachable(f"{destination} does not propose a {membership}")
        wanted = {"type": MEMBER, "room_id": room_id, "sender": user_id, "state_key": user_id}
        for key, value in wanted.items():
            if event.get(key) != value:
                raise Unreachable(f"{destination} proposes an event whose {key} is another")
        said = dict(content)
        if membership == "join" and version.auth.restricted_join_rule and _AUTHORISER in proposed:
            said[_AUTHORISER] = proposed[_AUTHORISER]
        proto = {
            **wanted,
            "content": said,
            "origin": self._append.server_name,
            "origin_server_ts": self._append.tools.now_ms(),
            "prev_events": event.get("prev_events"),
            "auth_events": event.get("auth_events"),
            "depth": event.get("depth"),
        }
        try:
            return version, self._append.sign(proto, version)
        except BadJson as error:
            raise Unreachable(f"{destination} proposes what is no event: {error}") from None
