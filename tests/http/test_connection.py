"""Connections are kept, closed, and cut off when they should be."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from conduit_py.http import HttpLimits, Request, Routes, Streamed
from conduit_py.http.connection import Connection, _head_of
from conduit_py.http.transport import PlainStream
from tests.http.story import LONG_S, SHORT_S, Story, says_hello
from tests.http.wire import app_of, head, serving


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


@pytest.mark.parametrize("request_head", [head("GET /hello", "Connection: close"), b"GET /hello HTTP/1.0\r\n\r\n"])
async def test_whole_replies_are_as_h11_prints_them(
    story: Story, monkeypatch: pytest.MonkeyPatch, request_head: bytes
) -> None:
    received = []
    monkeypatch.setattr("conduit_py.http.connection._http_date", lambda second: b"today")
    async with serving(story.app, keep_alive_s=LONG_S) as wire:
        for _ in range(2):
            peer = await wire.connect()
            await peer.send(request_head)
            lines = (await peer.read_to_end()).split(b"\r\n")
            received.append(
                sorted(line.partition(b": ")[0] if line.startswith(b"x-request-id") else line for line in lines)
            )
            monkeypatch.setattr(Connection, "_whole_reply", lambda self, start, body: None)

    assert received[0] == received[1]
    assert b"Connection: close" in received[0]


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


async def test_head_leaves_nothing_behind_for_the_next_reply(story: Story) -> None:
    async with serving(story.app) as wire:
        peer = await wire.connect()
        await peer.send(head("HEAD /hello") + b"nonsense\r\n\r\n")
        assert (await peer.receive(method="HEAD")).status == 200
        reply = await peer.receive()
        assert (reply.status, reply.json()["errcode"]) == (400, "M_UNKNOWN")


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


@pytest.mark.parametrize(("size", "is_taken"), [(1, False), (2000, True)])
async def test_body_that_trickles_in_is_not_waited_for(
    size: int, is_taken: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """On a stream in memory, whose time is the mocked clock's. Something comes in time for each ``body_stall_s``."""

    def declare(routes: Routes) -> None:
        @routes.put("/upload")
        async def upload(request: Request) -> dict[str, Any]:
            return {"length": len(await request.get_data())}

    ours, theirs = trio.testing.memory_stream_pair()
    limits = HttpLimits(body_stall_s=5, body_grace_s=20, body_bytes_per_s_min=1000)
    app: Any = app_of(declare)
    connection = Connection(ours, app, limits, peers=(None, None), is_stopping=lambda: False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await theirs.send_all(head("PUT /upload", "Connection: close", f"Content-Length: {100 * size}"))
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(100):
                await trio.sleep(2)
                await theirs.send_all(b"x" * size)
        received = b"".join([bytes(data) async for data in theirs])
    assert received.endswith(b'{"length":%d}' % (100 * size)) is is_taken
    assert trio.current_time() == pytest.approx(200 if is_taken else 22, abs=1)


async def test_stalled_body_that_nobody_reads_is_closed(story: Story) -> None:
    async with serving(story.app, body_stall_s=SHORT_S, keep_alive_s=LONG_S) as wire:
        peer = await wire.connect()
        reply = await peer.ask(head("PUT /ignore", "Content-Length: 10"))
        assert reply.status == 401
        assert await peer.is_closed()


@pytest.mark.parametrize(
    "pieces",
    [
        [head("GET /poll", "Connection: close")],
        [head("PUT /upload", "Connection: close", "Content-Length: 4"), b"ab", b"cd"],
        [head("GET /stream", "Connection: close")],
    ],
)
async def test_slow_handler_is_not_hurried(pieces: list[bytes], autojump_clock: trio.testing.MockClock) -> None:
    """On a stream in memory, whose time is the mocked clock's. The limits are those of a peer that is waited for."""

    def declare(routes: Routes) -> None:
        @routes.get("/poll")
        async def poll(request: Request) -> dict[str, Any]:
            await trio.sleep(600)
            return {}

        @routes.put("/upload")
        async def upload(request: Request) -> dict[str, Any]:
            await request.get_data()
            await trio.sleep(600)
            return {}

        @routes.get("/stream")
        async def stream(request: Request) -> Streamed:
            return Streamed(chunks(), "text/plain")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        await trio.sleep(600)
        yield b"two"

    ours, theirs = trio.testing.memory_stream_pair()
    limits = HttpLimits(keep_alive_s=5, head_s=5, body_stall_s=5, send_stall_s=5)
    app: Any = app_of(declare)
    connection = Connection(ours, app, limits, peers=(None, None), is_stopping=lambda: False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        for piece in pieces:
            await theirs.send_all(piece)
            await trio.sleep(1)
        received = b"".join([bytes(data) async for data in theirs])
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith((b"\r\n\r\n{}", b"3\r\ntwo\r\n0\r\n\r\n"))
    assert 600 <= trio.current_time() <= 603


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


async def asgi_breaks_the_header_of_a_whole_reply(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"a", b"b\r\nc: d"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
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
        asgi_breaks_the_header_of_a_whole_reply,
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


async def test_heads_that_are_alike_are_printed_once(story: Story) -> None:
    _head_of.cache_clear()
    async with serving(story.app) as wire:
        peer = await wire.connect()
        for _ in range(3):
            await peer.ask(head("GET /hello"))

    assert _head_of.cache_info().misses == 1
