"""Asking other servers for keys: all at once, within the client's timeout, and telling who did not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import trio

from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.outbound.errors import RemoteError

TIMEOUT_MS_DEFAULT: Final = 10_000
"""Spec: client-server-api/#post_matrixclientv3keysquery"""
TIMEOUT_MS_MAX: Final = 30_000
SERVERS_AT_ONCE: Final = 100
"""That one request asks at a time."""

Json = Mapping[str, Any]
Asked = Mapping[UserId, Any]
Fetch = Callable[[ServerName, Asked], Awaitable[Json]]
"""Sends what a client asked of one server's users, and returns what that server answered. Raises ``RemoteError``."""


class KeySource(Protocol):
    """How other servers are asked. All of it raises ``RemoteError``."""

    async def fetch_keys(self, server_name: ServerName, device_ids: Asked) -> dict[str, Any]: ...

    async def fetch_claimed(self, server_name: ServerName, algorithms: Asked) -> dict[str, Any]: ...

    async def fetch_devices(self, server_name: ServerName, user_id: UserId) -> dict[str, Any]: ...


@dataclass(slots=True)
class Answers:
    """What came back."""

    answers: dict[ServerName, Json] = field(default_factory=dict)
    failures: dict[ServerName, dict[str, str]] = field(default_factory=dict)


async def fetch_all(fetch: Fetch, asked: Mapping[ServerName, Asked], *, timeout_ms: int | None) -> Answers:
    """Ask every server at the same time."""
    result = Answers()
    wanted_ms = TIMEOUT_MS_DEFAULT if timeout_ms is None else timeout_ms
    deadline = trio.current_time() + min(wanted_ms, TIMEOUT_MS_MAX) / 1000
    limiter = trio.CapacityLimiter(SERVERS_AT_ONCE)

    async def ask(server_name: ServerName, what: Asked) -> None:
        error = "The server did not answer in time"
        with trio.move_on_at(deadline):
            async with limiter:
                try:
                    result.answers[server_name] = await fetch(server_name, what)
                except RemoteError as failure:
                    error = str(failure)
        if server_name not in result.answers:
            result.failures[server_name] = {"errcode": "M_UNKNOWN", "error": error}

    if asked:
        async with trio.open_nursery() as nursery:
            for server_name, what in asked.items():
                nursery.start_soon(ask, server_name, what)
    return result
