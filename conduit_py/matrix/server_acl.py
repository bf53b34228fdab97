"""Server access control lists: which servers may take part in a room.

Spec: client-server-api/#server-access-control-lists-acls-for-rooms
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from conduit_py.matrix.globs import Glob, compile_glob, fold_case
from conduit_py.matrix.ids import ServerName

_PORT = re.compile(r":[0-9]{1,5}\Z")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


class ServerAcl:
    """A compiled ``m.room.server_acl``. Keep it while the room's event stays the same."""

    __slots__ = ("_allow", "_allow_ip_literals", "_deny")

    def __init__(self, *, allow: list[str], deny: list[str], allow_ip_literals: bool) -> None:
        self._allow = _NameList(allow)
        self._deny = _NameList(deny)
        self._allow_ip_literals = allow_ip_literals

    def allows(self, server_name: ServerName) -> bool:
        """Whether the server may make requests about the room and send events into it."""
        host = fold_case(_PORT.sub("", server_name))
        # 2. If the server name is an IP address (v4 or v6) literal, and allow_ip_literals is present and false, deny.
        if not self._allow_ip_literals and is_ip_literal(host):
            return False
        # 3. If the server name matches an entry in the deny list, deny.
        if host in self._deny:
            return False
        # 4. If the server name matches an entry in the allow list, allow.
        # 5. Otherwise, deny.
        return host in self._allow


class _NameList:
    """Patterns for folded host names. Those without a wildcard, which are most in long lists, are looked up."""

    __slots__ = ("_exact", "_globs")

    def __init__(self, patterns: list[str]) -> None:
        globs = [compile_glob(pattern, ignore_case=True) for pattern in dict.fromkeys(patterns)]
        self._exact = frozenset(glob.literal for glob in globs if glob.literal is not None)
        self._globs: tuple[Glob, ...] = tuple(glob for glob in globs if glob.literal is None)

    def __contains__(self, host: str) -> bool:
        return host in self._exact or any(glob.matches_folded(host) for glob in self._globs)


class _NoAcl(ServerAcl):
    __slots__ = ()

    def allows(self, server_name: ServerName) -> bool:
        # 1. If there is no m.room.server_acl event in the room state, allow.
        return True


NO_ACL: Final[ServerAcl] = _NoAcl(allow=[], deny=[], allow_ip_literals=True)
NOBODY: Final[ServerAcl] = ServerAcl(allow=[], deny=[], allow_ip_literals=False)
"""Denies every server."""


def parse_server_acl(content: Any) -> ServerAcl:
    """Compile the content of the event; give ``None`` when the room has none.

    A list that is missing or is no list is empty, so a broken event shuts everybody out, as the spec warns. Entries
    that are no strings match nothing.

    Spec: client-server-api/#mroomserver_acl
    """
    if content is None:
        return NO_ACL
    if not isinstance(content, Mapping):
        content = {}
    return ServerAcl(
        allow=_strings(content.get("allow")),
        deny=_strings(content.get("deny")),
        allow_ip_literals=content.get("allow_ip_literals") is not False,
    )


def is_ip_literal(host: str) -> bool:
    """Whether a server name without port is an IPv4 or a bracketed IPv6 address. Spec: appendices/#server-name"""
    return host.startswith("[") or _IPV4.fullmatch(host) is not None


def _strings(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
