"""What stands in ``unsigned``: what this server adds to an event, for one reader, each time it is sent out.

``unsigned`` is not covered by the signatures, so what another server wrote there is nobody's word and is dropped on
receipt (after ``invite_room_state`` was taken from an invite that came in by the first version of that endpoint). What
clients see is built here from scratch.

Spec: client-server-api/#definition-clientevent_unsigneddata
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conduit_py.matrix.ids import DeviceId, EventId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """By which request one of our users sent an event."""

    user_id: UserId
    device_id: DeviceId | None
    """``None`` for an application service."""
    txn_id: str


def drop_unsigned(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event without its ``unsigned``, as it is stored and hashed."""
    return {key: value for key, value in event.items() if key != "unsigned"}


def get_transaction_id(sending: Sending | None, user_id: UserId, device_id: DeviceId | None) -> str | None:
    """The transaction ID to show to this user on this device: it is for the device that sent the event alone.

    Spec: client-server-api/#transaction-identifiers
    """
    if sending is None or (sending.user_id, sending.device_id) != (user_id, device_id):
        return None
    return sending.txn_id


def build_unsigned(
    *,
    age_ms: int | None,
    transaction_id: str | None = None,
    prev_content: Mapping[str, Any] | None = None,
    replaces_state: EventId | None = None,
    redacted_because: Mapping[str, Any] | None = None,
    membership: str | None = None,
    relations: Mapping[str, Any] | None = None,
    invite_room_state: list[dict[str, Any]] | None = None,
    knock_room_state: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """``unsigned`` for one reader, with what is given and nothing else.

    ``age_ms`` is from `compute_age_ms`. ``prev_content`` only if the reader may see the event it is from,
    ``replaces_state`` regardless. ``redacted_because`` is the redaction in the client format, ``membership`` that of
    the reader at the event, ``relations`` the bundled aggregations. An empty ``relations`` is left out.
    """
    unsigned: dict[str, Any] = {}
    if age_ms is not None:
        unsigned["age"] = age_ms
    if transaction_id is not None:
        unsigned["transaction_id"] = transaction_id
    if prev_content is not None:
        unsigned["prev_content"] = prev_content
    if replaces_state is not None:
        unsigned["replaces_state"] = replaces_state
    if redacted_because is not None:
        unsigned["redacted_because"] = redacted_because
    if membership is not None:
        unsigned["membership"] = membership
    if relations:
        unsigned["m.relations"] = relations
    if invite_room_state is not None:
        unsigned["invite_room_state"] = invite_room_state
    if knock_room_state is not None:
        unsigned["knock_room_state"] = knock_room_state
    return unsigned


def compute_age_ms(origin_server_ts: int, *, now_ms: int) -> int:
    """How long ago the event was sent. Negative when the sending server's clock is ahead, as the spec expects."""
    return now_ms - origin_server_ts
