"""Whatever a peer does ends its own connection at most, in time, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from conduit_py.http import App, HttpLimits, Raw, Request, Routes, Streamed
from conduit_py.http.connection import Connection
from conduit_py.http.transport import PlainStream
from tests.http.wire import Peer, Wire, app_of, head, serving

LONG_S = 3600
"""A limit that must not be what ends the connection."""

SHORT_S = 0.05


class Story:
    """Handlers that a test watches and holds."""

    def __init__(self) -> None:
        self.is_waiting = trio.Event()
        self.was_cancelled = trio.Event()
        self.go = trio.Event()
        self.body = b""

    def declare(self, routes: Routes) -> None:
        @routes.get("/hello")
        async def hello(request: Request) -> dict[str, Any]:
            return {"hello": "world"}

        @routes.get("/wait")
        async def wait(request: Request) -> dict[str, Any]:
            self.is_waiting.set()
            try:
                await self.go.wait()
            finally:
                if not self.go.is_set():
                    self.was_cancelled.set()
            return {}

        @routes.put("/echo")
        async def echo(request: Request) -> Raw:
            return Raw(await request.get_data(), "text/plain")

        @routes.put("/ignore")
        async def ignore(request: Request) -> tuple[dict[str, Any], int]:
            return {}, 401

        @routes.put("/late")
        async def late(request: Request) -> dict[str, Any]:
            self.is_waiting.set()
            await self.go.wait()
            self.body = await request.get_data()
            return {"length": len(self.body)}

        @routes.get("/large")
        async def large(request: Request) -> Raw:
            return Raw(b"x" * 50_000_000, "text/plain")

        @routes.get("/stream")
        async def stream(request: Request) -> Streamed:
            return Streamed(self.chunks(), "text/plain")

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"one "
        await trio.lowlevel.checkpoint()
        yield b"two"

    @property
    def app(self) -> App:
        return app_of(self.declare)


@pytest.fixture
def story() -> Story:
    return Story()


async def says_hello(wire: Wire) -> bool:
    peer = await wire.connect()
    return (await peer.ask(head("GET /hello"))).status == 200


async def test_connection_is_kept_for_the_next_request(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        for _ in range(3):
            assert (await peer.ask(head("GET /hello"))).json() == {"hello": "world"}


async def test_idle_connection_is_closed(story: Story) -> None:
    async with serving(story.app, keep_alive_s=SHORT_S, head_s=LONG_S) as wire:
        peer = await wire.connect()
        assert (await peer.ask(head("GET /hello"))).status == 200
        assert await peer.is_closed()


async def test_connection_without_a_request_is_closed(story: Story) -> None:
    async with serving(story.app, keep_alive_s=SHORT_S, head_s=LONG_S) as wire:
        assert await (await wire.connect()).is_closed()


async def test_connection_close_is_honoured(story: Story) -> None:
    async with serving(story.app, keep_alive_s=LONG_S) as wire:
        peer = await wire.connect()
        reply = await peer.ask(head("GET /hello", "Connection: close"))
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await peer.is_closed()


async def test_http_1_0_is_closed_behind_the_reply(story: Story) -> None:
    async with serving(story.app, keep_alive_s=LONG_S) as wire:
        peer = await wire.connect()
        await peer.send(b"GET /hello HTTP/1.0\r\n\r\n")
        assert (await peer.receive()).status == 200
        assert await peer.is_closed()


async def test_http_1_0_body_without_length_ends_with_the_connection(story: Story) -> None:
    async with serving(story.app, keep_alive_s=LONG_S) as wire:
        peer = await wire.connect()
        await peer.send(b"GET /stream HTTP/1.0\r\n\r\n")
        received = b"".join([chunk async for chunk in peer.stream])
        assert received.endswith(b"\r\n\r\none two")
        assert b"transfer-encoding" not in received


async def test_hang_up_without_a_request_closes(story: Story) -> None:
    async with serving(story.app, keep_alive_s=LONG_S) as wire:
        peer = await wire.connect()
        peer.hang_up()
        assert await peer.is_closed()


async def test_pipelined_requests_are_answered_in_order(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        requests = [head("PUT /echo", f"Content-Length: {len(str(number))}") + b"%d" % number for number in range(20)]
        await peer.send(b"".join(requests))
        assert [(await peer.receive()).body for _ in range(20)] == [b"%d" % number for number in range(20)]


async def test_head_has_the_headers_of_get_and_no_body(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        await peer.send(head("HEAD /hello") + head("HEAD /stream") + head("GET /hello"))
        first = await peer.receive(method="HEAD")
        assert (first.body, first.headers["content-length"]) == (b"", "17")
        assert (await peer.receive(method="HEAD")).body == b""
        assert (await peer.receive()).json() == {"hello": "world"}


async def test_whole_url_as_target_is_understood(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        assert (await peer.ask(head("GET http://one.test/hello"))).status == 200


async def test_small_reply_is_one_write(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    send_now = PlainStream.send_now

    def counting(self: PlainStream, data: bytes | memoryview) -> int:
        writes.append(len(data))
        return send_now(self, data)

    monkeypatch.setattr(PlainStream, "send_now", counting)
    async with serving(story.app) as wire:
        assert await says_hello(wire)
    assert len(writes) == 1


@pytest.mark.parametrize("behind", [b"", head("GET /hello"), b"x" * 1000])
async def test_hang_up_cancels_the_handler(story: Story, behind: bytes) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        await peer.send(head("GET /wait") + behind)
        await story.is_waiting.wait()
        peer.hang_up()
        await story.was_cancelled.wait()


async def test_reset_cancels_the_handler(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        await peer.send(head("GET /wait"))
        await story.is_waiting.wait()
        await peer.reset()
        await story.was_cancelled.wait()


async def test_too_much_behind_a_request_ends_the_connection(story: Story) -> None:
    async with serving(story.app, buffered_bytes_max=10_000) as wire:
        peer = await wire.connect()
        await peer.send(head("GET /wait"))
        await story.is_waiting.wait()
        await peer.send(b"x" * 100_000)
        await story.was_cancelled.wait()
        assert await peer.is_closed()
        assert await says_hello(wire)


PRIOR_KNOWLEDGE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /h\xc3\xa9llo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G\xc3\xa9T /hello HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nA: \x00\r\n\r\n", 400),
        (head("PUT /echo", "Content-Length: -1"), 400),
        (head("PUT /echo", "Content-Length: 1", "Content-Length: 2"), 400),
        (head("PUT /echo", "Content-Length: 3", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (head("PUT /echo", "Transfer-Encoding: gzip"), 501),
        (head("PUT /echo", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
        (head("PUT /echo", "Transfer-Encoding: chunked") + b"1\r\naXX", 400),
        (PRIOR_KNOWLEDGE, 505),
        (head("GET /" + "x" * 20_000), 414),
        (head("GET /hello", "A: " + "x" * 40_000), 431),
        (b"GET /hello HTTP/1.1\r\nA: " + b"x" * 70_000, 431),
    ],
)
async def test_unreadable_request_ends_one_connection(story: Story, request_: bytes, status: int) -> None:
    async with serving(story.app) as wire:
        bystander = await wire.connect()
        assert (await bystander.ask(head("GET /hello"))).status == 200
        peer = await wire.connect()
        reply = await peer.ask(request_)
        assert reply.status == status
        assert reply.headers["access-control-allow-origin"] == "*"
        assert await peer.is_closed()
        assert (await bystander.ask(head("GET /hello"))).status == 200
        assert await says_hello(wire)


async def test_unreadable_chunk_ends_the_request_of_a_waiting_handler(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        await peer.send(head("PUT /echo", "Transfer-Encoding: chunked") + b"1\r\na\r\n")
        assert (await peer.ask(b"nonsense\r\n")).status == 400
        assert await peer.is_closed()


@pytest.mark.parametrize("behind", [b"", b"\x81", b"x" * 200])
@pytest.mark.parametrize("headers", [UPGRADE, WEBSOCKET])
async def test_upgrade_is_ignored(story: Story, headers: tuple[str, ...], behind: bytes) -> None:
    async with serving(story.app, head_s=SHORT_S) as wire:
        peer = await wire.connect()
        assert (await peer.ask(head("GET /hello", *headers) + behind)).status == 200
        if not behind:
            assert (await peer.ask(head("GET /hello"))).status == 200
        assert await says_hello(wire)


@pytest.mark.parametrize("target", ["one.test:443", "/hello"])
async def test_connect_is_refused(story: Story, target: str) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        assert (await peer.ask(head(f"CONNECT {target}"))).status in (404, 405)
        assert await says_hello(wire)


async def test_stalled_head_is_closed(story: Story) -> None:
    async with serving(story.app, head_s=SHORT_S, keep_alive_s=LONG_S) as wire:
        peer = await wire.connect()
        await peer.send(b"GET /hello HTTP/1.1\r\nHost:")
        assert await peer.is_closed()


async def test_stalled_body_is_closed(story: Story) -> None:
    async with serving(story.app, body_stall_s=SHORT_S, keep_alive_s=LONG_S) as wire:
        peer = await wire.connect()
        await peer.send(head("PUT /echo", "Content-Length: 10") + b"12345")
        assert await peer.is_closed()


async def test_stalled_body_that_nobody_reads_is_closed(story: Story) -> None:
    async with serving(story.app, body_stall_s=SHORT_S, keep_alive_s=LONG_S) as wire:
        peer = await wire.connect()
        reply = await peer.ask(head("PUT /ignore", "Content-Length: 10"))
        assert reply.status == 401
        assert await peer.is_closed()


async def test_long_poll_is_not_hurried(autojump_clock: trio.testing.MockClock) -> None:
    """On a stream in memory, whose time is the mocked clock's."""

    def declare(routes: Routes) -> None:
        @routes.get("/poll")
        async def poll(request: Request) -> dict[str, Any]:
            await trio.sleep(600)
            return {}

    ours, theirs = trio.testing.memory_stream_pair()
    limits = HttpLimits(keep_alive_s=5, head_s=5, body_stall_s=5, send_stall_s=5)
    app: Any = app_of(declare)
    connection = Connection(ours, app, limits, peers=(None, None), is_stopping=lambda: False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await theirs.send_all(head("GET /poll"))
        reply = await theirs.receive_some()
        assert bytes(reply).startswith(b"HTTP/1.1 200")
        answered = trio.current_time()
        assert await theirs.receive_some() == b""
    assert answered == pytest.approx(600)
    assert trio.current_time() == pytest.approx(605)


async def test_peer_that_does_not_read_is_cut_off(story: Story) -> None:
    async with serving(story.app, send_stall_s=SHORT_S) as wire:
        peer = await wire.connect(receive_buffer=4096)
        await peer.send(head("GET /large"))
        assert await peer.stream.receive_some(1)
        with trio.move_on_after(4 * SHORT_S):
            await story.go.wait()
        assert len(await peer.read_to_end()) < 50_000_000
        assert peer.was_reset


async def test_slow_peer_that_reads_gets_everything(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect(receive_buffer=256 * 1024)
        assert len((await peer.ask(head("GET /large"))).body) == 50_000_000


@pytest.mark.parametrize("framing", ["Content-Length: 300000", "Transfer-Encoding: chunked"])
async def test_body_arrives_whole(story: Story, framing: str) -> None:
    body = bytes(range(250)) * 1200
    sent = body if "Length" in framing else b"493e0\r\n" + body + b"\r\n0\r\n\r\n"
    async with serving(story.app) as wire:
        peer = await wire.connect()
        await peer.send(head("PUT /echo", framing))
        await peer.send(sent)
        assert (await peer.receive()).body == body
        assert (await peer.ask(head("GET /hello"))).status == 200


async def test_body_that_nobody_reads_is_held_back(story: Story) -> None:
    """What a peer can hand over is bounded by buffers; without a bound all of it would be taken."""
    length = 30_000_000
    sent = 0

    async def upload(peer: Peer) -> None:
        nonlocal sent
        chunk = b"x" * 10_000
        while sent < length:
            await peer.send(chunk)
            sent += len(chunk)

    app = app_of(story.declare, request_bytes_max=length)
    async with serving(app) as wire, trio.open_nursery() as nursery:
        peer = await wire.connect()
        await peer.send(head("PUT /late", f"Content-Length: {length}"))
        await story.is_waiting.wait()
        nursery.start_soon(upload, peer)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert sent < length / 2
        story.go.set()
        assert (await peer.receive()).json() == {"length": length}
        assert sent == length


async def test_unread_small_body_keeps_the_connection(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        reply = await peer.ask(head("PUT /ignore", "Content-Length: 5"))
        assert (reply.status, "connection" in reply.headers) == (401, False)
        await peer.send(b"12345")
        assert (await peer.ask(head("GET /hello"))).status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 90000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(("path", "status"), [("/ignore", 401), ("/echo", 413)])
async def test_reply_before_the_end_of_an_upload_is_received(
    story: Story, path: str, status: int, framing: str
) -> None:
    block = b"x" * 100_000

    async def upload(peer: Peer) -> None:
        try:
            while True:
                await peer.send(block if "Length" in framing else b"186a0\r\n" + block + b"\r\n")
        except trio.BrokenResourceError:
            return  # the server has had enough

    async with serving(story.app, linger_s=SHORT_S) as wire, trio.open_nursery() as nursery:
        peer = await wire.connect()
        await peer.send(head(f"PUT {path}", framing))
        nursery.start_soon(upload, peer)
        reply = await peer.receive()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
    assert story.body == b""


async def test_continue_is_sent_when_the_body_is_wanted(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        assert (await peer.ask(head("PUT /echo", "Content-Length: 5", "Expect: 100-continue"))).status == 100
        assert (await peer.ask(b"12345")).body == b"12345"


async def test_continue_is_not_sent_when_it_is_not(story: Story) -> None:
    async with serving(story.app, linger_s=SHORT_S) as wire:
        peer = await wire.connect()
        reply = await peer.ask(head("PUT /ignore", "Content-Length: 5", "Expect: 100-continue"))
        assert (reply.status, reply.headers["connection"]) == (401, "close")
        assert await peer.is_closed()


async def asgi_fails(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("broken")


async def asgi_answers_nothing(scope: Any, receive: Any, send: Any) -> None:
    return


async def asgi_breaks_off(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ValueError("broken")


async def asgi_promises_more(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"half"})


async def asgi_breaks_the_header(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]})
    await send({"type": "http.response.body", "body": b""})


async def asgi_fails_in_a_nursery(scope: Any, receive: Any, send: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asgi_fails, scope, receive, send)
        await trio.sleep_forever()


@pytest.mark.parametrize(
    "app",
    [
        asgi_fails,
        asgi_answers_nothing,
        asgi_breaks_off,
        asgi_promises_more,
        asgi_breaks_the_header,
        asgi_fails_in_a_nursery,
    ],
)
async def test_failing_application_ends_one_connection(app: Any, expect_errors: list[logging.LogRecord]) -> None:
    async with serving(app) as wire:
        for _ in range(2):
            peer = await wire.connect()
            await peer.send(head("GET /"))
            assert not (await peer.read_to_end()).endswith(b"0\r\n\r\n")
    assert len(expect_errors) == 2


async def test_reply_that_breaks_off_is_reset_not_ended(expect_errors: list[logging.LogRecord]) -> None:
    """A peer of HTTP/1.0 would take the end of the connection for the end of the body."""
    async with serving(asgi_breaks_off) as wire:
        peer = await wire.connect()
        await peer.send(b"GET / HTTP/1.0\r\n\r\n")
        await peer.read_to_end()
        assert peer.was_reset
