"""What an application service says of itself in its registration, and what it is interested in.

Spec: application-service-api/#registration
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conduit_py.matrix.ids import ID_BYTES_MAX, Malformed

NAMESPACES_MAX: Final = 100
"""In one list of a registration: each is tried on every event."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """Ids that an application service is interested in."""

    pattern: re.Pattern[str]
    exclusive: bool
    """Nobody else makes or deletes such ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One application service."""

    id: str
    url: str | None
    """Where it is asked; None if it wants to hear of nothing."""
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    sender_localpart: str
    users: tuple[Namespace, ...] = ()
    aliases: tuple[Namespace, ...] = ()
    rooms: tuple[Namespace, ...] = ()
    rate_limited: bool = True
    receive_ephemeral: bool = False
    protocols: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.id


def matches(namespaces: tuple[Namespace, ...], text: str, *, is_exclusive: bool = False) -> bool:
    """Is the id in one of the namespaces, ``is_exclusive``: in one that is exclusive? Patterns match from the start."""
    return any(it.pattern.match(text) for it in namespaces if it.exclusive or not is_exclusive)


def parse_registration(document: Any) -> Registration:
    """Raises ``Malformed``."""
    if not isinstance(document, dict):
        raise Malformed("a registration is a table of keys and values")
    url = document.get("url")
    if url is not None and not (isinstance(url, str) and re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", url)):
        raise Malformed("url must be an address that begins with http:// or https://, or null")
    namespaces = document.get("namespaces")
    if not isinstance(namespaces, dict):
        raise Malformed("namespaces must be a table with users, aliases and rooms")
    appservice_id = _text(document, "id")
    if len(appservice_id.encode()) > ID_BYTES_MAX or "\0" in appservice_id:
        raise Malformed(f"id must not exceed {ID_BYTES_MAX} bytes")
    return Registration(
        id=appservice_id,
        url=url,
        as_token=_text(document, "as_token"),
        hs_token=_text(document, "hs_token"),
        sender_localpart=_text(document, "sender_localpart"),
        users=_namespaces(namespaces, "users"),
        aliases=_namespaces(namespaces, "aliases"),
        rooms=_namespaces(namespaces, "rooms"),
        rate_limited=_flag(document, "rate_limited", default=True),
        # Older registrations name it after the draft.
        receive_ephemeral=_flag(document, "receive_ephemeral", default=False)
        or _flag(document, "de.sorunome.msc2409.push_ephemeral", default=False),
        protocols=_protocols(document.get("protocols")),
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name} must be text")
    return value


def _flag(document: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = document.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise Malformed(f"{name} must be true or false")
    return value


def _protocols(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(it, str) for it in value):
        raise Malformed("protocols must be a list of names")
    return tuple(value)


def _namespaces(namespaces: Mapping[str, Any], name: str) -> tuple[Namespace, ...]:
    items = namespaces.get(name)
    if items is None:
        return ()
    if not isinstance(items, list) or len(items) > NAMESPACES_MAX:
        raise Malformed(f"namespaces.{name} must be a list of at most {NAMESPACES_MAX} namespaces")
    return tuple(_namespace(item, name) for item in items)


def _namespace(item: Any, name: str) -> Namespace:
    match item:
        case {"regex": str(regex), "exclusive": bool(exclusive)}:
            try:
                return Namespace(re.compile(regex), exclusive)
            except re.error as error:
                raise Malformed(f"namespaces.{name}: {regex} is no regular expression: {error}") from None
        case _:
            raise Malformed(f"namespaces.{name}: a namespace has a regex, and exclusive, which is true or false")
