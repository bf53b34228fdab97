"""Request bodies: whole, held back, left unread, too large."""

from __future__ import annotations

import pytest
import trio

from tests.http.story import SHORT_S, Story
from tests.http.wire import Peer, app_of, head, serving


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


async def test_body_that_comes_all_at_once_after_another_request_arrives_whole(story: Story) -> None:
    """More than is buffered: it is not behind the request before it, which was answered."""
    body = b"x" * 100_000
    async with serving(story.app, buffered_bytes_max=100) as wire:
        peer = await wire.connect()
        for _ in range(3):
            assert (await peer.ask(head("GET /hello"))).status == 200
            await peer.send(head("PUT /echo", "Content-Length: 100000") + body)
            assert (await peer.receive()).body == body


async def test_body_that_nobody_reads_is_held_back(story: Story) -> None:
    """What a peer can hand over is bounded by buffers; without a bound all of it would be taken."""
    length = 16_000_000
    sent = 0

    async def upload(peer: Peer) -> None:
        nonlocal sent
        chunk = b"x" * 100_000
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
