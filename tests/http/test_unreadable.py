"""What a server cannot or will not read ends one connection, with an answer where one is possible."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.http import HttpLimits
from conduit_py.http.connection import Connection
from tests.http.story import SHORT_S, Story, says_hello
from tests.http.wire import head, serving

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


async def talk(app: Any, pieces: list[bytes]) -> bytes:
    """Everything a server says to a peer that sends ``pieces`` and hangs up after a while."""
    ours, theirs = trio.testing.memory_stream_pair()
    connection = Connection(ours, app, HttpLimits(), peers=(None, None), is_stopping=lambda: False)
    received = bytearray()

    async def listen() -> None:
        async for data in theirs:
            received.extend(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        nursery.start_soon(listen)
        try:
            for piece in pieces:
                await theirs.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            await theirs.send_eof()
        except trio.BrokenResourceError:
            pass  # the server has had enough
    return bytes(received)


FRAGMENTS = [
    head("GET /hello"),
    head("HEAD /hello"),
    head("PUT /echo", "Content-Length: 3"),
    head("PUT /ignore", "Transfer-Encoding: chunked"),
    head("PUT /echo", "Expect: 100-continue", "Content-Length: 1"),
    head("GET /stream", *WEBSOCKET),
    PRIOR_KNOWLEDGE,
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"\r\n",
]


@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(min_size=1, max_size=50)), min_size=1, max_size=6))
def test_whatever_a_peer_sends_is_answered_or_ends_its_connection(pieces: list[bytes]) -> None:
    """And nothing is logged: the fixture that watches the log would fail the test."""
    received = trio.run(talk, Story().app, pieces, clock=trio.testing.MockClock(autojump_threshold=0))
    assert received == b"" or received.startswith(b"HTTP/1.1 ")
