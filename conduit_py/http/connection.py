"""One HTTP/1.1 connection: bytes of a stream in, calls of an ASGI application out, and no harm done in between.

Two tasks share a connection. ``_pump`` alone receives: it moves bytes into a bounded inbox and cancels everything when
the peer hangs up, so a long-poll whose client has gone ends at once. ``_serve`` takes bytes out of the inbox, has h11
parse them, and runs the application, one request after the other. Nothing is received while the inbox is full, which
is all the back-pressure there is: an upload is as fast as its handler reads.

Time limits are one deadline, that of the nursery the two tasks live in. It stands at infinity except while ``_serve``
waits for the peer, for a request, for the rest of its head, for body bytes or for room to send. A request that waits
for something else, as a long-poll does, has no deadline.

What ends a connection ends it by cancelling that nursery or by returning from ``_serve``. What a peer does wrong is
answered, where an answer is still possible, and ends this connection alone.
"""

from __future__ import annotations

import functools
import logging
import math
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NoReturn
from urllib.parse import unquote

import h11
import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    HTTPResponseStartEvent,
    HTTPScope,
)

from conduit_py.http.config import HttpLimits
from conduit_py.http.cors import CORS
from conduit_py.http.transport import PlainStream

__all__ = ["Connection", "Peers"]

logger = logging.getLogger(__name__)

RECEIVE_BYTES: Final = 64 * 1024
HEADS_MAX: Final = 256
"""Heads of replies that are kept printed, about 400 bytes each."""
SEND_SLICE_BYTES: Final = 64 * 1024
"""What a slow peer must take within ``send_stall_s`` through TLS, which does not report progress in smaller steps."""

_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_BODILESS: Final = frozenset({204, 304})
_VERSIONS: Final = frozenset({b"1.0", b"1.1"})
_UNUSUAL: Final = frozenset({b"HEAD", b"CONNECT"})
"""Methods whose replies have no body, or are none of HTTP."""
_CONTINUE: Final = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
_END: Final = h11.EndOfMessage()
_OWN_HEADERS: Final = frozenset({b"content-length", b"x-request-id"})
"""What no two replies have alike."""
_PRINTABLE: Final = re.compile(rb"[!-~]*")
_NO_BODY: Final = h11.Response(status_code=200, headers=[(b"content-length", b"0")])
_CLOSE: Final = (b"connection", b"close")
_LENGTH_LAST: Final = (b"content-length", b"0")
_ANY_REQUEST: Final = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
_REFUSAL_BODY: Final = b'{"errcode":"M_UNKNOWN","error":"The server cannot read this request"}'
_REFUSAL_HEADERS: Final = [
    *CORS,
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_REFUSAL_BODY)),
    _CLOSE,
]

Peers = tuple[tuple[str, int] | None, tuple[str, int] | None]
"""Address of the client and of the server; ``None`` for a unix socket."""


class _PeerGone(Exception):
    """Nobody is there to take what was to be sent."""


class Connection:
    """Serves one peer. ``run`` ends with the connection and raises nothing the peer could cause."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        app: ASGIFramework,
        limits: HttpLimits,
        *,
        peers: Peers,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._stream = stream
        self._plain = stream if isinstance(stream, PlainStream) else None
        self._app = app
        self._limits = limits
        self._client, self._server = peers
        self._is_stopping = is_stopping
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes_max)
        self._scope = trio.CancelScope()

        self._inbox = b""
        self._arrived = trio.lowlevel.ParkingLot()
        self._taken = trio.lowlevel.ParkingLot()
        self._is_discarding = False

        self.is_idle = True
        """Between two requests: nobody is hurt when it is closed."""

        # Of the request being served:
        self._headers: list[tuple[bytes, bytes]] = []
        self._is_head = self._is_usual = False
        self._received = bytearray()
        self._body_left_s = 0.0
        self._is_serving = False
        self._has_whole_request = False
        self._has_told_end = False
        self._may_drain = False
        self._reply_start: HTTPResponseStartEvent | None = None
        self._has_whole_reply = False
        self._is_reply_untold = False
        """h11 does not know of the reply yet."""

    async def run(self) -> None:
        """Serve until either side ends the connection; the stream is closed then."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    if isinstance(self._stream, trio.SSLStream):
                        await self._shake_hands(self._stream)
                    nursery.start_soon(self._pump)
                    await self._serve()
                    if isinstance(self._stream, trio.SSLStream):
                        self._wait_at_most(self._limits.linger_s)
                        await self._stream.aclose()  # tells the peer that nothing is missing
                    nursery.cancel_scope.cancel()
        except* _PeerGone:
            pass
        except* Exception:
            logger.exception("A connection failed")
        finally:
            if self._plain is not None and self._reply_start is not None and not self._has_whole_reply:
                self._plain.reset_on_close()  # a reply that breaks off must not look whole
            await trio.aclose_forcefully(self._stream)

    async def _shake_hands(self, stream: trio.SSLStream[trio.abc.Stream]) -> None:
        self._wait_at_most(self._limits.handshake_s)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            raise _PeerGone from error

    def close_if_idle(self) -> bool:
        """End the connection unless a request is on its way; whether it was ended."""
        if self.is_idle:
            self._scope.cancel()
        return self.is_idle

    def _wait_at_most(self, seconds: float) -> None:
        self._scope.deadline = trio.current_time() + seconds

    # Receiving

    async def _pump(self) -> None:
        limit = self._limits.buffered_bytes_max
        while True:
            if len(self._inbox) >= limit and not self._is_discarding:
                if self._is_serving and self._has_whole_request:
                    break  # behind so much that is pipelined, a hang-up could not be seen any more
                await self._taken.park()
                continue
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            if not data:
                break
            if not self._is_discarding:
                self._inbox += data
                self._arrived.unpark()
        self._scope.cancel()

    async def _feed(self) -> int:
        """Give h11 what has arrived, waiting until something has. Returns how much it was."""
        while not self._inbox:
            await self._arrived.park()
        length = len(self._inbox)
        self._h11.receive_data(self._inbox)
        self._inbox = b""
        self._taken.unpark()
        return length

    async def _next_head(self) -> h11.Request | None:
        """The next request, or None when there will be none."""
        self._is_serving = False  # what is said of the last request is not of what arrives now
        if self._h11.trailing_data[0]:
            await trio.lowlevel.checkpoint()  # pipelined requests must not keep other connections waiting
        else:
            self._wait_at_most(self._limits.keep_alive_s)
            self.is_idle = not self._inbox
            await self._feed()
            self.is_idle = False
        event = self._h11.next_event()
        if event is h11.NEED_DATA:
            self._wait_at_most(self._limits.head_s)
            while event is h11.NEED_DATA:
                await self._feed()
                event = self._h11.next_event()
        self._scope.deadline = math.inf
        return event if type(event) is h11.Request else None

    def _advance(self) -> bool:
        """Take one event of the body; False if bytes are missing for that."""
        event = self._h11.next_event()
        if type(event) is h11.Data:
            self._received += event.data
        elif type(event) is h11.EndOfMessage:
            self._has_whole_request = True
        return event is not h11.NEED_DATA

    async def _wait_for_body(self) -> None:
        if self._h11.they_are_waiting_for_100_continue:
            await self._transmit(self._h11.send(_CONTINUE))
        began = trio.current_time()
        self._wait_at_most(min(self._limits.body_stall_s, self._body_left_s))
        length = await self._feed()
        self._scope.deadline = math.inf
        left_s = self._body_left_s + began - trio.current_time() + length / self._limits.body_bytes_per_s_min
        self._body_left_s = min(left_s, self._limits.body_grace_s)

    # Serving

    async def _serve(self) -> None:
        """Answer requests until none may follow."""
        try:
            while not self._is_stopping() and (head := await self._next_head()):
                status = self._begin(head)
                if status is not None:
                    await self._refuse(status)
                await self._app(self._asgi_scope(head), self._receive, self._send)
                if not await self._may_continue():
                    break
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
        if self._has_whole_reply and not self._has_whole_request:
            await self._linger()

    def _begin(self, head: h11.Request) -> int | None:
        """Set up for ``head``; the status to refuse it with, if it must be."""
        self._headers = list(head.headers)
        self._is_head = head.method == b"HEAD"
        self._is_usual = head.http_version == b"1.1" and head.method not in _UNUSUAL and not self._may_close()
        self._is_serving = True
        self._received.clear()
        self._body_left_s = self._limits.body_grace_s
        self._has_whole_request = self._has_told_end = False
        self._reply_start = None
        self._has_whole_reply = False
        status = self._why_not(head)
        if status is None:
            self._advance()
            self._may_drain = not self._has_whole_request and self._is_drainable()
        return status

    def _why_not(self, head: h11.Request) -> int | None:
        """What h11 lets pass: HTTP/2.0, long lines that came in one piece, two framings of one body."""
        names = [name for name, _ in self._headers]
        if head.http_version not in _VERSIONS:
            return 505
        if len(head.target) > self._limits.target_bytes_max:
            return 414
        if sum(map(len, names)) + sum([len(value) for _, value in self._headers]) > self._limits.head_bytes_max:
            return 431
        if b"transfer-encoding" in names and b"content-length" in names:
            return 400
        return None

    def _may_close(self) -> bool:
        """Whether the client asks for this to be the last request, or for something else about the connection."""
        return any(name == b"connection" and value.lower() != b"keep-alive" for name, value in self._headers)

    def _is_drainable(self) -> bool:
        """Whether what a handler leaves unread of the body is worth reading for the sake of the connection."""
        if self._h11.they_are_waiting_for_100_continue:
            return False
        length = next((int(value) for name, value in self._headers if name == b"content-length"), None)
        return length is not None and length <= self._limits.drained_bytes_max

    def _asgi_scope(self, head: h11.Request) -> HTTPScope:
        path, _, query = _origin_form(head.target).partition(b"?")
        text = path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "http_version": head.http_version.decode("ascii"),
            "method": head.method.decode("ascii"),
            "scheme": "https" if self._plain is None else "http",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "client": self._client,
            "server": self._server,
            "state": ConnectionState({}),
            "extensions": {},
        }

    async def _receive(self) -> ASGIReceiveEvent:
        """ASGI's receive. It never tells of a hang-up: the application is cancelled instead."""
        if self._has_told_end:
            await trio.sleep_forever()
        try:
            while not self._received and not self._has_whole_request:
                if not self._advance():
                    await self._wait_for_body()
            if not self._has_whole_request:
                self._advance()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
        body = bytes(self._received)
        self._received.clear()
        self._has_told_end = self._has_whole_request
        return {"type": "http.request", "body": body, "more_body": not self._has_told_end}

    async def _send(self, message: ASGISendEvent) -> None:
        """ASGI's send. Nothing leaves before the first part of the body is known, so a small reply is one packet."""
        if message["type"] == "http.response.start":
            if self._reply_start is not None:
                raise RuntimeError("a second reply to one request")
            self._reply_start = message
            return
        if message["type"] != "http.response.body" or self._reply_start is None or self._has_whole_reply:
            raise RuntimeError(f"{message['type']} is out of place")
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if not more and (whole := self._whole_reply(self._reply_start, body)) is not None:
            await self._transmit(whole)
            self._has_whole_reply = self._is_reply_untold = True
            return
        pieces: list[bytes] = []
        if self._h11.our_state is h11.SEND_RESPONSE:
            pieces.append(self._head(self._reply_start, length=None if more else len(body)))
        if body and not self._is_head and self._reply_start["status"] not in _BODILESS:
            pieces += self._h11.send_with_data_passthrough(h11.Data(data=body)) or ()
        if not more:
            pieces.append(self._h11.send(_END))
        if len(body) > SEND_SLICE_BYTES:  # copying it would cost more than a second system call
            for piece in pieces:
                await self._transmit(piece)
        else:
            await self._transmit(b"".join(pieces))
        if more:
            await trio.lowlevel.checkpoint()
        else:
            self._has_whole_reply = True

    def _whole_reply(self, start: HTTPResponseStartEvent, body: bytes) -> bytes | None:
        """Head and body as nearly all replies have them; None for one that h11 must put together.

        h11 takes half of the time of a small request to check and print a head, so it does that once for heads that
        are alike. What it is told of a reply is that there was one, when the client has it.
        """
        status = start["status"]
        if self._h11.our_state is not h11.SEND_RESPONSE or len(body) > SEND_SLICE_BYTES:
            return None
        if not self._is_usual or status in _BODILESS:
            return None
        if self._is_stopping() or not (self._has_whole_request or self._may_drain):
            return None
        alike: list[tuple[bytes, bytes]] = []
        own = {b"date": _http_date(int(time.time()))}
        for pair in start["headers"]:
            if pair[0] in _OWN_HEADERS and pair[0] not in own and _PRINTABLE.fullmatch(pair[1]):
                own[pair[0]] = pair[1]
            else:
                alike.append(pair)
        if own.get(b"content-length") != b"%d" % len(body):
            return None
        more = b"".join([b"%s: %s\r\n" % pair for pair in own.items()])
        return b"%s%s\r\n%s" % (_head_of(status, tuple(alike)), more, body)

    def _tell_reply(self) -> None:
        self._is_reply_untold = False
        self._h11.send(_NO_BODY)
        self._h11.send(_END)

    def _head(self, start: HTTPResponseStartEvent, *, length: int | None) -> bytes:
        headers = [*start["headers"], (b"date", _http_date(int(time.time())))]
        status = start["status"]
        if length is not None and status not in _BODILESS and all(name != b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % length))
        if self._is_stopping() or not (self._has_whole_request or self._may_drain):
            headers.append(_CLOSE)
        return self._h11.send(h11.Response(status_code=status, headers=headers, reason=_REASONS.get(status, b"")))

    async def _transmit(self, data: bytes) -> None:
        """Send all of ``data``, as long as the peer keeps taking some. Raises ``_PeerGone``."""
        try:
            sent = self._plain.send_now(data) if self._plain is not None else 0
            if sent < len(data):
                await self._transmit_slowly(memoryview(data)[sent:])
                self._scope.deadline = math.inf
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _PeerGone from error

    async def _transmit_slowly(self, data: memoryview) -> None:
        while data:
            self._wait_at_most(self._limits.send_stall_s)
            if self._plain is not None:
                await self._plain.wait_send_all_might_not_block()
                data = data[self._plain.send_now(data) :]
            else:
                await self._stream.send_all(data[:SEND_SLICE_BYTES])
                data = data[SEND_SLICE_BYTES:]

    # Ending

    async def _may_continue(self) -> bool:
        """After the application has returned: whether another request may follow, skipping what it left unread."""
        if not self._has_whole_reply:
            raise RuntimeError("the application returned without a whole reply")
        if self._is_reply_untold:
            self._tell_reply()
        if self._h11.our_state is not h11.DONE:
            return False
        while not self._has_whole_request:
            if not self._advance():
                await self._wait_for_body()
            self._received.clear()
        if self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self._is_head = False
        self._headers = []
        return True

    async def _refuse(self, status: int) -> NoReturn:
        """Answer what cannot be served, if an answer may still be given, and end the connection."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self._is_reply_untold:
            reply = self._h11.send(
                h11.Response(status_code=status, headers=_REFUSAL_HEADERS, reason=_REASONS.get(status, b""))
            )
            if not self._is_head:
                reply += self._h11.send(h11.Data(data=_REFUSAL_BODY))
            await self._transmit(reply + self._h11.send(_END))
        await self._linger()

    async def _linger(self) -> NoReturn:
        """Let the peer read the last reply while it still sends: closing at once could destroy it on its way."""
        self._is_discarding = True
        self._inbox = b""
        self._taken.unpark()
        self._wait_at_most(self._limits.linger_s)
        if self._plain is not None:
            self._plain.send_eof_now()
        await trio.sleep_forever()


def _origin_form(target: bytes) -> bytes:
    """Path and query of a request target: a client may name the whole URL, as it would to a proxy."""
    if not target.lower().startswith((b"http://", b"https://")):
        return target
    _, _, rest = target.partition(b"://")
    _, slash, path = rest.partition(b"/")
    return slash + path or b"/"


@functools.lru_cache(maxsize=HEADS_MAX)
def _head_of(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Status line and headers as h11 prints them, without the empty line. Raises ``h11.LocalProtocolError``."""
    printer = h11.Connection(h11.SERVER)
    printer.receive_data(_ANY_REQUEST)
    printer.next_event()
    response = h11.Response(status_code=status, headers=[*headers, _LENGTH_LAST], reason=_REASONS.get(status, b""))
    head, _, _ = printer.send(response).rpartition(b"content-length:")
    return head


@functools.lru_cache(maxsize=1)
def _http_date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")
