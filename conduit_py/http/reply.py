"""What a handler may return, and what becomes of it on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from conduit_py.http.cors import CORS
from conduit_py.http.errors import Refusal

__all__ = ["Answer", "Json", "Raw", "Reply", "Streamed", "render", "render_refusal"]

Json = dict[str, Any] | list[Any]

JSON_TYPE: Final = "application/json"
_JSON_HEADERS: Final = ((b"content-type", JSON_TYPE.encode()), *CORS)


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are a body already, such as JSON put together from stored events."""

    body: bytes
    content_type: str = JSON_TYPE
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Streamed:
    """A body that is sent while it comes into being.

    ``chunks`` is closed when the client hangs up or everything is sent. If it raises, the connection is reset, so the
    client sees that the body is not whole. Tell ``length`` if it is known: a client then sees how far it is.
    """

    chunks: AsyncIterable[bytes]
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


Answer = Json | Raw | Streamed | tuple[Json, int]
"""Return value of a handler: JSON with status 200, JSON with another status, or one of the two above."""

HeaderPairs = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Reply:
    """An answer in the form ASGI takes."""

    status: int
    headers: HeaderPairs
    body: bytes = b""
    chunks: AsyncIterable[bytes] | None = None


def render(answer: Answer) -> Reply:
    """Raises ``TypeError`` for what is no answer or cannot be JSON."""
    if isinstance(answer, Raw):
        return Reply(answer.status, _headers(answer.content_type, answer.headers, len(answer.body)), answer.body)
    if isinstance(answer, Streamed):
        headers = _headers(answer.content_type, answer.headers, answer.length)
        return Reply(answer.status, headers, chunks=answer.chunks)
    status = 200
    if isinstance(answer, tuple):
        answer, status = answer
    if not isinstance(answer, dict | list):
        raise TypeError(f"a handler returned {type(answer).__name__}")
    return _json_reply(answer, status)


def render_refusal(refusal: Refusal) -> Reply:
    """Spec: client-server-api/#standard-error-response"""
    # Interactive authentication that goes on has no errcode: nothing was done wrong.
    error = {"errcode": refusal.errcode, "error": str(refusal)} if refusal.errcode else {}
    reply = _json_reply({**error, **refusal.extra}, refusal.status)
    reply.headers += _pairs(refusal.headers)
    return reply


def _json_reply(value: Json, status: int) -> Reply:
    body = orjson.dumps(value)
    return Reply(status, [*_JSON_HEADERS, (b"content-length", b"%d" % len(body))], body)


def _headers(content_type: str, more: Mapping[str, str], length: int | None) -> HeaderPairs:
    headers = [*_JSON_HEADERS] if content_type == JSON_TYPE else [_type_header(content_type), *CORS]
    if more:
        headers += _pairs(more)
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return headers


def _type_header(content_type: str) -> tuple[bytes, bytes]:
    return b"content-type", content_type.encode("latin-1")


def _pairs(headers: Mapping[str, str]) -> HeaderPairs:
    return [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
