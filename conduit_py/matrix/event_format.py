"""The form that a PDU must have, and the checks that every received PDU goes through.

A receiving server runs these checks in this order. The first that fails decides:

1. The event complies with the format of its room version, else it is **dropped**: :func:`check_event_format`.
2. The signatures are valid, else it is **dropped**.
3. The content hash is right, else it is **redacted** and goes on.
4. The authorisation rules allow it by its own ``auth_events``, else it is **rejected**.
5. The authorisation rules allow it by the state before it, else it is **rejected**.
6. The authorisation rules allow it by the current state of the room, else it is **soft-failed**.
7. The room's policy server, if there is one, has signed it, else it is **soft-failed**.

:func:`check_received` is that list as code.

Spec: server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import (
    ID_BYTES_MAX,
    Malformed,
    byte_length,
    parse_domain_event_id,
    parse_domain_room_id,
    parse_event_id,
    parse_hash_room_id,
    parse_user_id,
)
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import InvalidSignature

EVENT_BYTES_MAX: Final = 65536
"""The whole event with its signatures, as canonical JSON. Spec: client-server-api/#size-limits"""

PREV_EVENTS_MAX: Final = 20
AUTH_EVENTS_MAX: Final = 10
"""Spec: rooms/v4/#event-format"""

_TIMESTAMP_MAX: Final = 2**63 - 1


class TooLarge(Malformed):
    """The event breaks a size limit; a client that sent it is answered ``M_TOO_LARGE``."""


def check_event_format(json: Any, room_version: RoomVersion) -> None:
    """Raise :class:`Malformed` unless ``json``, without ``unsigned``, is a valid PDU of ``room_version``.

    Spec: rooms/v1/#event-format, rooms/v3/#event-format, rooms/v6/#event-format, rooms/v12/#event-format
    """
    if not isinstance(json, dict):
        raise Malformed("an event must be a JSON object")
    event_format = room_version.event_format
    encoded = encode_canonical_json(json, strict=event_format.strict_canonical_json, values_max=EVENT_BYTES_MAX)
    if len(encoded) > EVENT_BYTES_MAX:
        raise TooLarge(f"an event must not be larger than {EVENT_BYTES_MAX} bytes")

    event_type = _require(json, "type", str)
    _check_key_size("type", event_type)
    if "state_key" in json:
        _check_key_size("state_key", _require(json, "state_key", str))
    parse_user_id(_require(json, "sender", str))
    _require(json, "content", dict)
    _check_hashes_and_signatures(json)
    _check_integer(json, "origin_server_ts", -_TIMESTAMP_MAX, _TIMESTAMP_MAX)
    _check_integer(json, "depth", 0, event_format.depth_max)
    _check_room_id(json, event_type, room_version)
    if event_format.event_id_format == "random":
        parse_domain_event_id(_require(json, "event_id", str))
    if event_type == "m.room.redaction" and not event_format.redacts_in_content and "redacts" in json:
        _require(json, "redacts", str)
    _check_references(json, "prev_events", PREV_EVENTS_MAX, paired=event_format.references_have_hashes)
    _check_references(json, "auth_events", AUTH_EVENTS_MAX, paired=event_format.references_have_hashes)


def _require(json: Mapping[str, Any], key: str, kind: type) -> Any:
    value = json.get(key)
    if type(value) is not kind:
        raise Malformed(f"{key} must be present and a JSON {_KIND_NAMES[kind]}")
    return value


_KIND_NAMES: Final = {str: "string", dict: "object", list: "array", int: "integer"}


def _check_key_size(key: str, value: str) -> None:
    if len(value) > ID_BYTES_MAX or byte_length(value) > ID_BYTES_MAX:
        raise TooLarge(f"{key} must not exceed {ID_BYTES_MAX} bytes")


def _check_integer(json: Mapping[str, Any], key: str, lowest: int, highest: int) -> None:
    if not lowest <= _require(json, key, int) <= highest:
        raise Malformed(f"{key} must be at least {lowest} and at most {highest}")


def _check_hashes_and_signatures(json: Mapping[str, Any]) -> None:
    if not isinstance(_require(json, "hashes", dict).get("sha256"), str):
        raise Malformed("hashes must have a string sha256")
    for server_signatures in _require(json, "signatures", dict).values():
        if not isinstance(server_signatures, dict):
            raise Malformed("signatures must hold an object for each server")


def _check_room_id(json: Mapping[str, Any], event_type: str, room_version: RoomVersion) -> None:
    if room_version.event_format.create_has_room_id:
        parse_domain_room_id(_require(json, "room_id", str))
    elif event_type != "m.room.create":
        parse_hash_room_id(_require(json, "room_id", str))
    elif "room_id" in json:
        raise Malformed("the m.room.create event of this room version must not have a room_id")


def _check_references(json: Mapping[str, Any], key: str, count_max: int, *, paired: bool) -> None:
    references = _require(json, key, list)
    if len(references) > count_max:
        raise Malformed(f"{key} must not have more than {count_max} events")
    for reference in references:
        if paired:
            if type(reference) is not list or len(reference) != 2 or type(reference[1]) is not dict:
                raise Malformed(f"{key} must hold pairs of an event ID and its hashes")
            reference = reference[0]
        if type(reference) is not str:
            raise Malformed(f"{key} must hold event IDs")
        parse_event_id(reference)


@dataclass(frozen=True, slots=True)
class Accept:
    """The event takes its place in the room and is shown to clients."""

    redacted: bool = False
    """The content hash did not match: only the redacted event may be kept."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The event is not kept at all, as if it had never been received."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """The event is kept as rejected: never shown, never a parent of ours, and without effect on the state.

    Spec: server-server-api/#rejection
    """

    reason: str
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class SoftFail:
    """The event is kept and takes part in state resolution, but is not shown and never a parent of ours.

    Spec: server-server-api/#soft-failure
    """

    reason: str
    redacted: bool = False


ReceiptVerdict = Accept | Drop | Reject | SoftFail
Check = Callable[[], str | None]
"""``None`` when the event passes, else the reason why not. Called only if all earlier checks have passed."""


def check_received(
    *,
    event_format: Callable[[], object],
    signatures: Callable[[], object],
    content_hash_matches: Callable[[], bool],
    auth_by_auth_events: Check,
    auth_by_state_before: Check,
    auth_by_current_state: Check,
    policy_server: Check,
) -> ReceiptVerdict:
    """Run the checks on receipt in the spec's order and return the verdict of the first that fails.

    ``event_format`` and ``signatures`` raise (:func:`check_event_format`, ``verify_event_signatures``). When
    ``content_hash_matches`` answers no, the checks after it must judge the redacted event; it is called once.

    Spec: server-server-api/#checks-performed-on-receipt-of-a-pdu
    """
    try:
        event_format()
        signatures()
    except (Malformed, InvalidSignature) as error:
        return Drop(str(error))
    redacted = not content_hash_matches()
    for check in (auth_by_auth_events, auth_by_state_before):
        if (reason := check()) is not None:
            return Reject(reason, redacted)
    for check in (auth_by_current_state, policy_server):
        if (reason := check()) is not None:
            return SoftFail(reason, redacted)
    return Accept(redacted)
