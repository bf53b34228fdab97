"""Matrix identifiers as distinct types, and the grammar checks that create them.

Every ``parse_x`` takes any string and returns it under its type, or raises :class:`Malformed` with the limit that it
breaks. Nothing is normalised: identifiers are compared byte for byte.

Spec: appendices/#identifier-grammar
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NewType

RoomId = NewType("RoomId", str)
UserId = NewType("UserId", str)
EventId = NewType("EventId", str)
DeviceId = NewType("DeviceId", str)
ServerName = NewType("ServerName", str)
RoomAlias = NewType("RoomAlias", str)
KeyId = NewType("KeyId", str)
"""A signing key identifier such as ``ed25519:abc``. Spec: appendices/#signing-details"""

ID_BYTES_MAX: Final = 255
"""User IDs, room IDs, aliases and event IDs, sigil and domain included."""

DEVICE_ID_BYTES_MAX: Final = 512
"""The spec sets no limit for device ids; this one keeps them usable as part of a database key."""

HASH_CHARS: Final = 43
"""Length of a SHA-256 in unpadded Base64."""

_SERVER_NAME = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[0-9A-Za-z.\-]{1,255}))(?::[0-9]{1,5})?")
_DOTTED_QUAD = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}")
_NEW_LOCALPART = re.compile(r"[a-z0-9._=\-/+]+")
_COMPLIANT_LOCALPART = re.compile(r"[!-9;-~]+")
_HASH = re.compile(r"[A-Za-z0-9_\-]{43}")
_NAMESPACED_ID = re.compile(r"[a-z][a-z0-9\-_.]{0,254}")
_KEY_ID = re.compile(r"ed25519:[a-zA-Z0-9_]+")


class Malformed(Exception):
    """A value does not have the form that the spec demands; the text names the limit that it breaks."""


def byte_length(text: str) -> int:
    """Length in UTF-8. Raises :class:`Malformed` for lone surrogates, which have no encoding."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Malformed("a string must not contain lone surrogates") from None


def parse_server_name(text: str) -> ServerName:
    """Spec: appendices/#server-name"""
    match = _SERVER_NAME.fullmatch(text)
    if match is None:
        raise Malformed("a server name must be a DNS name, an IPv4 address or a bracketed IPv6 address, and a port")
    ipv6, host = match.group("ipv6", "host")
    if ipv6 is not None:
        try:
            IPv6Address(ipv6)
        except AddressValueError as error:
            raise Malformed(f"a server name in brackets must be an IPv6 address: {error}") from None
    elif _DOTTED_QUAD.fullmatch(host) and any(int(part) > 255 for part in host.split(".")):
        raise Malformed("each number of an IPv4 address must be at most 255")
    return ServerName(text)


def parse_user_id(text: str) -> UserId:
    """Accept what servers must accept, historical user IDs included; see :func:`check_new_localpart` for new ones.

    Spec: appendices/#historical-user-ids
    """
    _parse_id_with_domain(text, "@", "a user ID")
    return UserId(text)


def check_new_localpart(localpart: str, server_name: ServerName) -> UserId:
    """The user ID of a new local user. Raises :class:`Malformed` unless today's strict grammar allows it.

    Spec: appendices/#user-identifiers
    """
    if not _NEW_LOCALPART.fullmatch(localpart):
        raise Malformed("the localpart of a user ID must be one or more of a-z, 0-9 and ._=-/+")
    return parse_user_id(f"@{localpart}:{server_name}")


def is_compliant_user_id(user_id: UserId) -> bool:
    """Whether clients may be shown ``user_id`` outside of events.

    Spec: appendices/#historical-user-ids
    """
    return _COMPLIANT_LOCALPART.fullmatch(localpart_of(user_id)) is not None


def parse_room_id(text: str) -> RoomId:
    """Accept both forms: ``!opaque:domain`` and, since room version 12, ``!hash``.

    Spec: appendices/#room-ids
    """
    if ":" in text:
        _parse_id_with_domain(text, "!", "a room ID")
    else:
        parse_hash_room_id(text)
    return RoomId(text)


def parse_hash_room_id(text: str) -> RoomId:
    """Accept only ``!hash``, the form of room version 12 and later."""
    if not (text.startswith("!") and _HASH.fullmatch(text, 1)):
        raise Malformed(f"a room ID must be '!' and {HASH_CHARS} characters of URL-safe Base64, or '!localpart:domain'")
    return RoomId(text)


def parse_domain_room_id(text: str) -> RoomId:
    """Accept only ``!opaque:domain``, the form of room versions 1 to 11."""
    _parse_id_with_domain(text, "!", "a room ID")
    return RoomId(text)


def parse_room_alias(text: str) -> RoomAlias:
    """Spec: appendices/#room-aliases"""
    _parse_id_with_domain(text, "#", "a room alias")
    return RoomAlias(text)


def parse_event_id(text: str) -> EventId:
    """Accept the event ID of any room version: ``$``, then at least one character, at most 255 bytes in all.

    Spec: appendices/#event-ids
    """
    if len(text) < 2 or text[0] != "$":
        raise Malformed("an event ID must be '$' and at least one character")
    if len(text) > ID_BYTES_MAX or byte_length(text) > ID_BYTES_MAX:
        raise Malformed(f"an event ID must not exceed {ID_BYTES_MAX} bytes")
    if "\0" in text:
        raise Malformed("an event ID must not contain NUL")
    return EventId(text)


def parse_domain_event_id(text: str) -> EventId:
    """Accept only ``$opaque:domain``, the form of room versions 1 and 2. Spec: rooms/v1/#event-ids"""
    _parse_id_with_domain(text, "$", "an event ID")
    return EventId(text)


def parse_device_id(text: str) -> DeviceId:
    """Device ids are free text that clients choose; only what could not be stored is refused."""
    if not text:
        raise Malformed("a device ID must not be empty")
    if len(text) > DEVICE_ID_BYTES_MAX or byte_length(text) > DEVICE_ID_BYTES_MAX:
        raise Malformed(f"a device ID must not exceed {DEVICE_ID_BYTES_MAX} bytes")
    if "\0" in text:
        raise Malformed("a device ID must not contain NUL")
    return DeviceId(text)


def parse_key_id(text: str) -> KeyId:
    """An ``ed25519`` key identifier whose version has only the characters ``[a-zA-Z0-9_]``.

    Spec: server-server-api/#publishing-keys
    """
    if not _KEY_ID.fullmatch(text):
        raise Malformed("a signing key ID must be 'ed25519:' and one or more of a-z, A-Z, 0-9 and _")
    return KeyId(text)


def check_namespaced_id(text: str) -> str:
    """Spec: appendices/#common-namespaced-identifier-grammar"""
    if not _NAMESPACED_ID.fullmatch(text):
        raise Malformed("an identifier must be a letter a-z and at most 254 more of a-z, 0-9 and -_.")
    return text


def server_name_of(identifier: str) -> ServerName:
    """The domain after the first ``:``; raises :class:`Malformed` when there is none (hashes as IDs have none)."""
    _, colon, domain = identifier.partition(":")
    if not colon:
        raise Malformed("the identifier has no domain")
    return ServerName(domain)


def localpart_of(identifier: str) -> str:
    """What stands between the sigil and the first ``:`` (or the end)."""
    return identifier[1:].partition(":")[0]


def _parse_id_with_domain(text: str, sigil: str, what: str) -> None:
    if not text.startswith(sigil):
        raise Malformed(f"{what} must start with '{sigil}'")
    if len(text) > ID_BYTES_MAX or byte_length(text) > ID_BYTES_MAX:
        raise Malformed(f"{what} must not exceed {ID_BYTES_MAX} bytes")
    localpart, colon, domain = text.partition(":")
    if not colon:
        raise Malformed(f"{what} must have a ':' and a domain")
    if "\0" in localpart:
        raise Malformed(f"{what} must not contain NUL")
    parse_server_name(domain)
