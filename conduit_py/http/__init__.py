"""The HTTP edge: from sockets to handlers and back, knowing nothing of Matrix but the shape of its errors.

``server`` listens and accepts; ``connection`` is one client's HTTP/1.1 over h11 and calls an ASGI application; ``app``
is that application, a QuartTrio that dispatches the declared ``routes`` itself. A handler is an ordinary coroutine:

    routes = Routes("room_send")

    @routes.put("/_matrix/client/v3/rooms/<room_id>/send/<event_type>/<txn_id>")
    async def send_message(request: Request, room_id: str, event_type: str, txn_id: str) -> Json:
        content = await request.json_object()
        ...
        return {"event_id": event_id}

Decisions

The connection class is our own, over h11. Hypercorn's trio worker ends as a whole over one malformed request, leaves
connections open after a hang-up, cannot refuse h2c, and sends a reply in three or four pieces; quart-trio cancels the
code that would close a connection. Subclassing hypercorn's H11Protocol mends this from the outside at 1.0 ms for each
request; on h11 itself a small request costs about 0.13 ms. Hypercorn gives the ASGI types, the TLS context and the
address forms. Should a release of hypercorn pass the tests in tests/http, its worker can come back.

ASGI stands between connection and application, though both are ours: it costs two dictionaries, and each side can be
tested with, or replaced by, another.

HTTP/2 is not offered, over TLS neither, and an upgrade to h2c or WebSocket is ignored, as the protocol allows:
hypercorn's HTTP/2 has open crashes, and the proxies in front of a home server speak HTTP/1.1 to it.

Large JSON is parsed on the event loop, in slices with turns for others between them: a parser in C would keep the
interpreter to itself in a thread as well, for a second with the worst 16 MiB. What all requests together hold in memory
has a bound (``held``), because many bodies have to be read before it is known who sends them.

A half-closed connection counts as closed. A client that shuts its sending side and still waits cannot be told from one
that has gone, and the long-polls of those must end.

Declared routes bypass Quart's contexts, signals and hooks. ``quart.request`` does not exist in them; the request is an
argument. Routes registered with Quart itself work the ordinary way, for what no declared route matches.
"""

from conduit_py.http.app import App, Translate
from conduit_py.http.config import HttpConfig, HttpLimits
from conduit_py.http.errors import (
    BadJson,
    BadPath,
    ClientDisconnected,
    HttpError,
    MethodNotAllowed,
    NotJson,
    Refusal,
    TooLarge,
    Unrecognized,
)
from conduit_py.http.in_process import AppClient, ClientReply
from conduit_py.http.proxies import TrustedProxies
from conduit_py.http.reply import Answer, Json, Raw, Streamed
from conduit_py.http.request import Network, Request, parse_json_object, scrub_query
from conduit_py.http.router import DuplicateRoute
from conduit_py.http.routes import Handler, Route, Routes
from conduit_py.http.server import serve_http
from conduit_py.http.tls import Tls

__all__ = [
    "Answer",
    "App",
    "AppClient",
    "BadJson",
    "BadPath",
    "ClientDisconnected",
    "ClientReply",
    "DuplicateRoute",
    "Handler",
    "HttpConfig",
    "HttpError",
    "HttpLimits",
    "Json",
    "MethodNotAllowed",
    "Network",
    "NotJson",
    "Raw",
    "Refusal",
    "Request",
    "Route",
    "Routes",
    "Streamed",
    "Tls",
    "TooLarge",
    "Translate",
    "TrustedProxies",
    "Unrecognized",
    "parse_json_object",
    "scrub_query",
    "serve_http",
]
