"""The application: a QuartTrio app that answers its declared routes by itself.

Quart gives each request two contexts, seven signals and a Werkzeug routing pass, which costs more than a small
operation does. Declared ``Routes`` are dispatched around all of that: find the route, call the handler with the request
and the path's parameters, turn what it returns or raises into a reply. Whatever no declared route matches goes to
Quart when something is registered there the ordinary way.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from typing import cast

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart_trio import QuartTrio

from conduit_py.http.cors import PREFLIGHT
from conduit_py.http.errors import ClientDisconnected, HttpError, Refusal, Unrecognized
from conduit_py.http.reply import Reply, render, render_refusal
from conduit_py.http.request import Request
from conduit_py.http.router import Router
from conduit_py.http.routes import Route, Routes

__all__ = ["App", "Translate"]

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("conduit_py.http.access")

Translate = Callable[[Exception], Exception | None]
"""Turns an exception of a layer below into a refusal, or answers ``None`` when it is none."""


Observe = Callable[[str, str, int, float], None]
"""Told of every answered request: path template (``other`` for unknown paths), method, status, seconds it took."""


class App(QuartTrio):
    """All operations of the server as one ASGI application.

    :param routes: raises ``DuplicateRoute`` if two handlers answer the same method and path.
    :param request_bytes_max: largest request body; 413 ``M_TOO_LARGE`` beyond.
    :param refusals: exception classes with the attributes of ``Refusal``; they are answered as they say.
    :param translate: asked about every other exception; what it returns is answered in its place.
    :param is_access_logged: one line for each request to the logger ``conduit_py.http.access``.
    :param observe: told of every request that was answered; must not block.
    """

    def __init__(
        self,
        routes: Iterable[Routes],
        *,
        request_bytes_max: int,
        refusals: tuple[type[Exception], ...] = (),
        translate: Translate = lambda error: None,
        is_access_logged: bool = False,
        observe: Observe = lambda route, method, status, seconds: None,
    ) -> None:
        super().__init__("conduit_py", static_folder=None)
        self.operations: tuple[Route, ...] = tuple(route for group in routes for route in group)
        self._router = Router(self.operations)
        self._request_bytes_max = request_bytes_max
        self._refusals: tuple[type[Exception], ...] = (HttpError, *refusals)
        self._translate = translate
        self._is_access_logged = is_access_logged
        self._observe = observe

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await super().asgi_app(scope, receive, send)
            return
        started = time.perf_counter()
        request = Request(scope, receive, bytes_max=self._request_bytes_max)
        template = "other"
        if request.method == "OPTIONS":
            reply = Reply(204, list(PREFLIGHT))
        else:
            try:
                route, arguments = self._router.match(request.method, scope["raw_path"])
                template = route.template
                reply = render(await route.handler(request, **arguments))
            except Unrecognized as error:
                if next(self.url_map.iter_rules(), None) is not None:
                    await super().asgi_app(scope, receive, send)
                    return
                reply = render_refusal(error)
            except ClientDisconnected:
                return
            except Exception as error:
                reply = self._reply_to(error, request)
        await _send(reply, send, is_head=request.method == "HEAD")
        seconds = time.perf_counter() - started
        self._observe(template, request.method, reply.status, seconds)
        if self._is_access_logged:
            _log_access(request, reply, seconds)

    def _reply_to(self, error: Exception, request: Request) -> Reply:
        """A refusal is answered as it says; for anything else the log has the details and the client does not."""
        refusal = self._find_refusal(error)
        if refusal is not None:
            return render_refusal(refusal)
        logger.error("Request %s failed: %s %s", request.id, request.method, request.safe_uri, exc_info=error)
        return render(({"errcode": "M_UNKNOWN", "error": f"Internal server error (request {request.id})"}, 500))

    def _find_refusal(self, error: Exception) -> Refusal | None:
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if not isinstance(error, self._refusals):
            translated = self._translate(error)
            if translated is None:
                return None
            error = translated
        return cast("Refusal", error)


async def _send(reply: Reply, send: ASGISendCallable, *, is_head: bool) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    if reply.chunks is not None:
        await _send_chunks(reply.chunks, send, is_head=is_head)
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def _send_chunks(chunks: AsyncIterable[bytes], send: ASGISendCallable, *, is_head: bool) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(chunks, AsyncGenerator):
            await stack.enter_async_context(contextlib.aclosing(chunks))
        if not is_head:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})


def _log_access(request: Request, reply: Reply, seconds: float) -> None:
    access_logger.info(
        "%s %s %s %d %d bytes %.1f ms",
        request.remote_addr or "unix",
        request.method,
        request.safe_uri,
        reply.status,
        len(reply.body),
        seconds * 1000,
    )
