"""Policy servers: which server a room asks for its opinion on events, and whether an event bears its signature.

The key stands in the room's state and is none of those that the server publishes, so that a room can revoke it.

Spec: server-server-api/#policy-servers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.matrix.ids import KeyId, Malformed, ServerName
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import InvalidSignature, decode_public_key, verify_event_signature

POLICY: Final = ("m.room.policy", "")
"""Type and state key of the event that says who the policy server is. It alone needs no signature of theirs."""

POLICY_KEY_ID: Final = KeyId("ed25519:policy_server")


@dataclass(frozen=True, slots=True)
class PolicyServer:
    server_name: ServerName
    public_key: str
    """As the room has it. With one that is not 32 bytes of Base64 no event passes, but the room still has asked."""


def parse_policy_server(content: Any) -> PolicyServer | None:
    """The policy server in the content of the room's ``m.room.policy``, ``None`` if there is no valid one.

    It counts only while a user of that server is joined to the room, which is for the caller to know.

    Spec: server-server-api/#determining-if-a-policy-server-is-enabled-in-a-room
    """
    via = content.get("via") if isinstance(content, Mapping) else None
    public_keys = content.get("public_keys") if isinstance(content, Mapping) else None
    public_key = public_keys.get("ed25519") if isinstance(public_keys, Mapping) else None
    if not isinstance(via, str) or not isinstance(public_key, str):
        return None
    return PolicyServer(ServerName(via), public_key)


def verify_policy_signature(json: Mapping[str, Any], room_version: RoomVersion, policy_server: PolicyServer) -> None:
    """Raise :class:`InvalidSignature` unless the policy server recommends the event, or never is asked about it.

    Spec: server-server-api/#validating-policy-server-signatures
    """
    if (json["type"], json.get("state_key")) == POLICY:
        return
    try:
        public_key = decode_public_key(policy_server.public_key)
    except Malformed as error:
        raise InvalidSignature(f"the policy server's key is none: {error}") from None
    verify_event_signature(
        json, room_version, entity=policy_server.server_name, key_id=POLICY_KEY_ID, public_key=public_key
    )
