"""Media of this server, for other servers: ``/_matrix/federation/v1/media``

Spec: server-server-api/#content-repository
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator

from conduit_py.api.content import disposition
from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.api.media_query import read_flag, read_method, read_size, read_timeout
from conduit_py.http.reply import Answer, Raw, Streamed
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import ServerName
from conduit_py.service.media.fetch import Asked, Content, FetchService, parse_mxc
from conduit_py.service.media.thumbnails import ThumbnailService
from conduit_py.service.users.throttle import Throttle

BOUNDARY_BYTES = 16
"""Random, so that no content has the boundary in it."""


def routes(
    auth: ServerAuthenticator,
    fetch: FetchService,
    thumbnails: ThumbnailService,
    throttle: Throttle,
    *,
    server_name: ServerName,
) -> Routes:
    """The operations of this module."""
    routes = Routes("content_repository")

    async def admit(request: Request) -> None:
        throttle(("media_fetch", await auth.require_server(request)))

    def read_asked(request: Request, media_id: str) -> Asked:
        return Asked(mxc=parse_mxc(server_name, media_id), timeout_ms=read_timeout(request), allow_remote=False)

    @routes.get("/_matrix/federation/v1/media/download/<media_id>")
    async def get_content(request: Request, media_id: str) -> Answer:
        await admit(request)
        content = await fetch.get_content(read_asked(request, media_id))
        return await serve_parts(fetch, content)

    @routes.get("/_matrix/federation/v1/media/thumbnail/<media_id>")
    async def get_content_thumbnail(request: Request, media_id: str) -> Answer:
        await admit(request)
        width, height = read_size(request)
        content, data = await thumbnails.get_thumbnail(
            read_asked(request, media_id),
            width=width,
            height=height,
            method=read_method(request),
            is_animated=read_flag(request, "animated"),
        )
        return await serve_parts(fetch, content, data=data)

    return routes


async def serve_parts(fetch: FetchService, content: Content, *, data: bytes | None = None) -> Answer:
    """The answer with an empty object and the content. ``data`` is the content where it is in memory already.

    Raises ``NotFound``.
    """
    boundary = secrets.token_hex(BOUNDARY_BYTES)
    head = (
        f"--{boundary}\r\n"
        "Content-Type: application/json\r\n\r\n"
        "{}\r\n"
        f"--{boundary}\r\n"
        f"Content-Type: {content.content_type}\r\n"
        f"Content-Disposition: {disposition(content.content_type, content.filename)}\r\n\r\n"
    ).encode("ascii")
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    body = data if data is not None else await fetch.read(content, 0, content.size)
    content_type = f"multipart/mixed; boundary={boundary}"
    if isinstance(body, bytes):
        return Raw(head + body + tail, content_type)
    return Streamed(_join(head, body, tail), content_type, length=len(head) + content.size + len(tail))


async def _join(head: bytes, chunks: AsyncGenerator[bytes, None], tail: bytes) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(chunks):
        yield head
        async for chunk in chunks:
            yield chunk
        yield tail
