"""How content is served: whole or a range, with the headers that keep a browser from running it.

Spec: client-server-api/#content-repository
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from conduit_py.http.reply import Answer, Raw, Streamed
from conduit_py.http.request import Request
from conduit_py.service.errors import MatrixError
from conduit_py.service.media.fetch import Content, FetchService

INLINE_TYPES: Final = frozenset(
    {
        "text/css", "text/plain", "text/csv", "application/json", "application/ld+json",
        "image/jpeg", "image/gif", "image/png", "image/apng", "image/webp", "image/avif",
        "video/mp4", "video/webm", "video/ogg", "video/quicktime",
        "audio/mp4", "audio/webm", "audio/aac", "audio/mpeg", "audio/ogg", "audio/wave", "audio/wav", "audio/x-wav",
        "audio/x-pn-wav", "audio/flac", "audio/x-flac",
    }
)  # fmt: skip
"""Spec: client-server-api/#serving-inline-content"""

GUARDS: Final = {
    "Content-Security-Policy": "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf;"
    " style-src 'unsafe-inline'; object-src 'self';",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}
CACHING: Final = "private, max-age=86400, immutable"
"""What is behind a URI never changes. A day, so that what was removed does not live on for long."""

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+")


@dataclass(frozen=True, slots=True)
class Part:
    start: int
    length: int


async def serve_content(
    request: Request, fetch: FetchService, content: Content, *, filename: str | None, data: bytes | None = None
) -> Answer:
    """The answer with the content, or the range of it that is asked for, or 304 for what the client has.

    ``data`` is the whole content where it is in memory already. Raises ``NotFound``, and 416 for a range beyond
    the end.
    """
    etag = f'"{content.file_hash.hex()}"'
    headers = {
        **GUARDS,
        "Content-Disposition": disposition(content.content_type, filename),
        "Cache-Control": CACHING,
        "ETag": etag,
        "Accept-Ranges": "bytes",
    }
    if is_listed(request.headers.get("if-none-match", ""), etag):
        return Streamed(_Nothing(), content.content_type, status=304, headers=headers)
    part = _asked_part(request, content.size, etag)
    status = 200
    if part is None:
        part = Part(0, content.size)
    else:
        status = 206
        headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{content.size}"
    if data is not None:
        body: bytes | AsyncGenerator[bytes, None] = data[part.start : part.start + part.length]
    else:
        body = await fetch.read(content, part.start, part.length)
    if isinstance(body, bytes):
        return Raw(body, content.content_type, status, headers)
    return Streamed(body, content.content_type, status, headers, length=part.length)


def disposition(content_type: str, filename: str | None) -> str:
    """The value of Content-Disposition, after RFC 6266.

    Spec: client-server-api/#get_matrixclientv1mediadownloadservernamemediaid
    """
    media_type = content_type.partition(";")[0].strip().lower()
    kind = "inline" if media_type in INLINE_TYPES else "attachment"
    if filename is None:
        return kind
    if _TOKEN.fullmatch(filename):
        return f"{kind}; filename={filename}"
    if filename.isascii() and filename.isprintable():
        escaped = filename.replace("\\", "\\\\").replace('"', '\\"')
        return f'{kind}; filename="{escaped}"'
    return f"{kind}; filename*=utf-8''{quote(filename, safe='', errors='replace')}"


def is_listed(header: str, etag: str) -> bool:
    """Does If-None-Match name the entity?"""
    return any(item.strip().removeprefix("W/") in (etag, "*") for item in header.split(","))


def _asked_part(request: Request, size: int, etag: str) -> Part | None:
    """The one range that is asked for; None for the whole, and for what RFC 9110 lets a server pass over."""
    if request.method not in ("GET", "HEAD") or request.headers.get("if-range", etag) != etag:
        return None
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise MatrixError(
            "The range lies beyond the end of the content",
            status=416,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Part(start, end - start)


class _Nothing:
    """The body of a reply that has none: not even a length of 0, which would be told of the content."""

    def __aiter__(self) -> _Nothing:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration
