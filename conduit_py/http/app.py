"""The application: a QuartTrio app that answers its declared routes by itself.

Quart gives each request two contexts, seven signals and a Werkzeug routing pass, which costs more than a small
operation does. Declared ``Routes`` are dispatched around all of that: find the route, call the handler with the request
and the path's parameters, turn what it returns or raises into a reply. Whatever no declared route matches goes to
Quart when something is registered there the ordinary way.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection, Iterable
from typing import cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart_trio import QuartTrio

from conduit_py.http.cors import PREFLIGHT
from conduit_py.http.errors import ClientDisconnected, HttpError, Refusal, Unrecognized
from conduit_py.http.held import Shelf
from conduit_py.http.reply import Reply, render, render_refusal
from conduit_py.http.request import Network, Request
from conduit_py.http.router import Router
from conduit_py.http.routes import Route, Routes
from conduit_py.log import get_logger
from conduit_py.observe.requests import NEWS, RequestWatch, Tally

__all__ = ["App", "Translate"]

logger = logging.getLogger(__name__)
_access = get_logger("conduit_py.http.access")

Translate = Callable[[Exception], Exception | None]
"""Turns an exception of a layer below into a refusal, or answers ``None`` when it is none."""


class App(QuartTrio):
    """All operations of the server as one ASGI application.

    :param routes: raises ``DuplicateRoute`` if two handlers answer the same method and path.
    :param request_bytes_max: largest request body; 413 ``M_TOO_LARGE`` beyond.
    :param refusals: exception classes with the attributes of ``Refusal``; they are answered as they say.
    :param translate: asked about every other exception; what it returns is answered in its place.
    :param watch: told of every request.
    :param trusted_proxies: whose ``X-Request-Id`` is taken over; everybody else's requests are named here.
    """

    def __init__(
        self,
        routes: Iterable[Routes],
        *,
        request_bytes_max: int,
        refusals: tuple[type[Exception], ...] = (),
        translate: Translate = lambda error: None,
        watch: RequestWatch | None = None,
        trusted_proxies: Collection[Network] = (),
    ) -> None:
        super().__init__("conduit_py", static_folder=None)
        self.operations: tuple[Route, ...] = tuple(route for group in routes for route in group)
        self._router = Router(self.operations)
        self._request_bytes_max = request_bytes_max
        self._refusals: tuple[type[Exception], ...] = (HttpError, *refusals)
        self._translate = translate
        self._watch = watch or RequestWatch()
        self._trusted_proxies = trusted_proxies
        self._shelf = Shelf()

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await super().asgi_app(scope, receive, send)
            return
        request = Request(
            scope,
            receive,
            bytes_max=self._request_bytes_max,
            shelf=self._shelf,
            trusted_proxies=self._trusted_proxies,
        )
        with contextlib.suppress(ClientDisconnected), self._watch.begin(request.id, request.method) as tally:
            reply = await self._answer(request, tally)
            if reply is None:
                await super().asgi_app(scope, receive, send)
                return
            reply.headers.append((b"x-request-id", request.id.encode("ascii")))
            tally.answer(reply.status)
            await _send(reply, send, is_head=request.method == "HEAD")
            if tally.has_waited_for(NEWS):
                # Many were woken by the same news: each gets its reply before anything else is done for any of them.
                await trio.lowlevel.cancel_shielded_checkpoint()
            if _access.isEnabledFor(logging.DEBUG):
                _log_access(request, reply, tally)

    async def _answer(self, request: Request, tally: Tally) -> Reply | None:
        """None for what Quart may know."""
        if request.method == "OPTIONS":
            return Reply(204, list(PREFLIGHT))
        try:
            route, arguments = self._router.match(request.method, request.raw_path)
            tally.route = route.template
            return render(await route.handler(request, **arguments))
        except Unrecognized as error:
            return None if next(self.url_map.iter_rules(), None) is not None else render_refusal(error)
        except ClientDisconnected:
            raise  # nobody is there to be answered
        except Exception as error:
            return self._reply_to(error, request)
        finally:
            request.release()

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


def _log_access(request: Request, reply: Reply, tally: Tally) -> None:
    """One line for each request, on ``debug``: who asks what is nobody's business by default."""
    _access.debug(
        "answered",
        peer=request.remote_addr or "unix",
        method=request.method,
        uri=request.safe_uri,
        status=reply.status,
        bytes=len(reply.body),
        ms=round(tally.spent_s * 1000, 1),
    )
