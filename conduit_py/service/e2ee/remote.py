"""Asking other servers for keys: all at once, within the client's timeout, and telling who did not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from conduit_py.matrix.ids import ServerName

TIMEOUT_MS_DEFAULT: Final = 10_000
"""Spec: client-server-api/#post_matrixclientv3keysquery"""
TIMEOUT_MS_MAX: Final = 30_000

Json = Mapping[str, Any]
Fetch = Callable[[ServerName, Json], Awaitable[Json]]
"""Sends what a client asked of one server's users, and returns what that server answered. Raises ``Unreachable``."""


class Unreachable(Exception):
    """A server did not answer, or not with what it was asked for."""


async def fetch_from_nobody(server_name: ServerName, asked: Json) -> Json:
    """For a server that does not federate."""
    await trio.lowlevel.checkpoint()
    raise Unreachable("This server does not talk to other servers")


@dataclass(slots=True)
class Answers:
    """What came back."""

    answers: dict[ServerName, Json] = field(default_factory=dict)
    failures: dict[ServerName, dict[str, str]] = field(default_factory=dict)


async def fetch_all(fetch: Fetch, asked: Mapping[ServerName, Json], *, timeout_ms: int | None) -> Answers:
    """Ask every server at the same time."""
    result = Answers()
    wanted_ms = TIMEOUT_MS_DEFAULT if timeout_ms is None else timeout_ms
    deadline = trio.current_time() + min(wanted_ms, TIMEOUT_MS_MAX) / 1000

    async def ask(server_name: ServerName, what: Json) -> None:
        error = "The server did not answer in time"
        with trio.move_on_at(deadline):
            try:
                result.answers[server_name] = await fetch(server_name, what)
            except Unreachable as unreachable:
                error = str(unreachable)
        if server_name not in result.answers:
            result.failures[server_name] = {"errcode": "M_UNKNOWN", "error": error}

    if asked:
        async with trio.open_nursery() as nursery:
            for server_name, what in asked.items():
                nursery.start_soon(ask, server_name, what)
    return result
