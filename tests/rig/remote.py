"""Other servers as a test wants them, in place of the client that asks them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import trio

from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.service.rooms.history import History, NoHistory

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A request to another server."""

    method: str
    destination: str
    segments: tuple[str, ...]
    """Of the path, decoded, below ``/_matrix``."""
    query: Mapping[str, list[str]]
    content: Mapping[str, Any] | None


class LateHistory:
    """Fetches nothing, until a test says who does."""

    def __init__(self) -> None:
        self.source: History = NoHistory()

    async def fill(self, room_id: RoomId, pos: int) -> bool:
        return await self.source.fill(room_id, pos)


@dataclass
class Remotes:
    """Servers by name, each a function that answers, or raises ``Refused``. Others cannot be reached.

    Without any it stands for the client of a server that does not federate.
    """

    servers: dict[str, Callable[[Question], Json]] = field(default_factory=dict)
    asked: list[Question] = field(default_factory=list)
    history: LateHistory = field(default_factory=LateHistory)

    async def fetch(
        self,
        method: str,
        destination: ServerName,
        path: str,
        *,
        content: Mapping[str, Any] | None = None,
        timeout_s: float = 0,
        bytes_max: int = 0,
        is_signed: bool = True,
        texts_of: Collection[str] = (),
    ) -> Json:
        await trio.lowlevel.checkpoint()
        if not self.servers:
            raise Refused(403, "M_FORBIDDEN", "this server does not talk with other servers")
        way, _, query = path.partition("?")
        segments = tuple(unquote(segment) for segment in way.split("/")[2:])
        question = Question(method, destination, segments, parse_qs(query), content)
        self.asked.append(question)
        if destination not in self.servers:
            raise Unreachable(f"{destination} cannot be asked")
        return with_texts(self.servers[destination](question), texts_of)


def with_texts(answer: Json, names: Collection[str]) -> Json:
    """The answer with the entries of some lists as they would have come."""
    texts = {name: answer[name] for name in names if isinstance(answer.get(name), list)}
    texts = {
        name: [json.dumps(entry).encode() for entry in entries if isinstance(entry, list | dict)]
        for name, entries in texts.items()
    }
    return {**{name: value for name, value in answer.items() if name not in names}, **texts}
