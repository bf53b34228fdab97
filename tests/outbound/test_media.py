"""Media of other servers over real TLS: in parts, elsewhere, from old servers, too large, cut off, too slow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio

from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.signing import SigningKey
from conduit_py.outbound import http as outbound_http
from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.outbound.federation import FederationClient
from conduit_py.outbound.media import REDIRECTS_MAX, Broken, MediaClient, TooLarge
from conduit_py.outbound.resolve import MemoryDelegations, Resolver
from tests.outbound.web import Answer, Asked, Internet, Machine, json_answer

TWO = ServerName("two.test:8448")
DOWNLOAD = "/_matrix/federation/v1/media/download/abc"
LEGACY = "/_matrix/media/v3/download/two.test%3A8448/abc"
BYTES_MAX = 100_000


class World:
    """A server two.test that answers as a test says, and whoever asks it."""

    def __init__(self, internet: Internet) -> None:
        self.internet = internet
        self.http = internet.client()
        federation = FederationClient(
            self.http,
            Resolver(self.http, internet.dns, MemoryDelegations(), now_ms=lambda: 0),
            server_name=ServerName("one.test"),
            signing_key=SigningKey.from_seed(KeyId("ed25519:a"), bytes(32)),
            is_forbidden=lambda server_name: server_name == "evil.test",
            is_allowed=True,
        )
        self.client = MediaClient(self.http, federation)

    async def two(self, answer: Callable[[Asked], Answer]) -> Machine:
        self.internet.name("two.test", "1.1.1.1")
        return await self.internet.put(Machine(("two.test",), answer), "1.1.1.1", 8448)

    async def cdn(self, answer: Callable[[Asked], Answer], address: str = "2.2.2.2") -> Machine:
        self.internet.name("cdn.test", address)
        return await self.internet.put(Machine(("cdn.test",), answer), address, 443)

    async def fetch(self, *, bytes_max: int = BYTES_MAX) -> tuple[str, str | None, bytes]:
        async with self.client.fetch_file(TWO, "abc", timeout_ms=1500, bytes_max=bytes_max) as file:
            return file.content_type, file.filename, b"".join([chunk async for chunk in file.chunks])


@pytest.fixture
async def world(internet: Internet) -> AsyncIterator[World]:
    world = World(internet)
    yield world
    await world.http.aclose()


def parts(second: bytes, *, content: bytes = b"", whole: bool = True) -> Answer:
    body = b"--x\r\nContent-Type: application/json\r\n\r\n{}\r\n--x\r\n" + second + b"\r\n\r\n" + content
    body += b"\r\n--x--\r\n" if whole else b""
    return 200, {"content-type": "multipart/mixed; boundary=x"}, body


def elsewhere(url: str) -> Callable[[Asked], Answer]:
    return lambda asked: parts(b"Location: " + url.encode())


async def test_file_comes_with_its_type_and_name(world: World) -> None:
    head = b"Content-Type: image/png\r\nContent-Disposition: inline; filename*=utf-8''%C3%A4.png"
    content = bytes(range(256)) * 100
    machine = await world.two(lambda asked: parts(head, content=content))
    assert await world.fetch() == ("image/png", "ä.png", content)
    (asked,) = machine.asked
    assert (asked.method, asked.target) == ("GET", DOWNLOAD + "?timeout_ms=1500")
    assert asked.headers["authorization"].startswith("X-Matrix ")
    assert asked.headers["accept-encoding"] == "identity"


async def test_file_without_headers_is_just_bytes(world: World) -> None:
    await world.two(lambda asked: parts(b"X-Y: z", content=b"x"))
    assert await world.fetch() == ("application/octet-stream", None, b"x")


async def test_thumbnail_is_asked_for_by_its_size(world: World) -> None:
    machine = await world.two(lambda asked: parts(b"Content-Type: image/png", content=b"x"))
    query = {"width": "32", "height": "16", "method": "crop"}
    async with world.client.fetch_thumbnail(TWO, "abc", query, bytes_max=10) as file:
        assert [chunk async for chunk in file.chunks] == [b"x"]
    path, _, sent = machine.asked[0].target.partition("?")
    assert path == "/_matrix/federation/v1/media/thumbnail/abc"
    assert sent == "width=32&height=16&method=crop&timeout_ms=0"


# Servers from before there were these operations


@pytest.mark.parametrize(
    "refusal",
    [
        json_answer({"errcode": "M_UNRECOGNIZED", "error": "?"}, 404),
        json_answer({"errcode": "M_UNRECOGNIZED", "error": "?"}, 400),
        (404, {}, b"<html>not found"),
    ],
)
async def test_old_server_is_asked_in_the_old_way(world: World, refusal: Answer) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.target.startswith("/_matrix/federation/"):
            return refusal
        return 200, {"content-type": "text/plain", "content-disposition": "inline; filename=a.txt"}, b"old"

    machine = await world.two(answer)
    assert await world.fetch() == ("text/plain", "a.txt", b"old")
    assert machine.asked[1].target == LEGACY + "?timeout_ms=1500&allow_remote=false"
    assert "authorization" not in machine.asked[1].headers


@pytest.mark.parametrize("status", [307, 404])
async def test_old_server_that_has_not_got_it_either(world: World, status: int) -> None:
    def answer(asked: Asked) -> Answer:
        is_new = asked.target.startswith("/_matrix/federation/")
        errcode = "M_UNRECOGNIZED" if is_new else "M_NOT_FOUND"
        return json_answer({"errcode": errcode, "error": "?"}, 404 if is_new else status)

    machine = await world.two(answer)
    with pytest.raises(Refused, match="M_NOT_FOUND"):
        await world.fetch()
    assert len(machine.asked) == 2


async def test_refusal_is_told_and_not_gone_around(world: World) -> None:
    machine = await world.two(lambda asked: json_answer({"errcode": "M_NOT_FOUND", "error": "no"}, 404))
    with pytest.raises(Refused) as caught:
        await world.fetch()
    assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")
    assert len(machine.asked) == 1


async def test_server_that_is_not_talked_to_is_not_asked(world: World) -> None:
    assert not world.client.may_ask(ServerName("evil.test"))
    assert not world.client.may_ask(ServerName("one.test"))
    assert world.client.may_ask(TWO)
    with pytest.raises(Refused, match="not talked to"):
        async with world.client.fetch_file(ServerName("evil.test"), "abc", timeout_ms=0, bytes_max=1):
            pass


# Files that are elsewhere


async def test_file_that_is_elsewhere_is_fetched_from_there(world: World) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.target == "/a?b=c":
            return 302, {"location": "/d#e"}, b""
        return 200, {"content-type": "image/png", "content-disposition": "inline; filename=c.png"}, b"from the cdn"

    await world.two(elsewhere("https://cdn.test/a?b=c"))
    cdn = await world.cdn(answer)
    assert await world.fetch() == ("image/png", "c.png", b"from the cdn")
    assert [asked.target for asked in cdn.asked] == ["/a?b=c", "/d"]
    assert all("authorization" not in asked.headers for asked in cdn.asked)


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1"])
async def test_file_that_is_said_to_be_at_a_private_address_is_not_fetched(world: World, address: str) -> None:
    cdn = await world.cdn(lambda asked: (200, {}, b"secret"), address)
    two = await world.two(elsewhere("https://cdn.test/a"))
    with pytest.raises(Broken, match="ip_range_denylist"):
        await world.fetch()
    two.answer = elsewhere(f"https://{address}/a")
    with pytest.raises(Broken, match="ip_range_denylist"):
        await world.fetch()
    assert cdn.asked == []


@pytest.mark.parametrize(
    "url",
    ["http://cdn.test/a", "/a", "ftp://cdn.test/a", "https://", "https://cdn.test:0/", "https://ä.test/", "https://["],
)
async def test_file_that_is_said_to_be_where_there_is_no_way_is_not_fetched(world: World, url: str) -> None:
    await world.two(elsewhere(url))
    with pytest.raises(Broken):
        await world.fetch()


@pytest.mark.parametrize(
    "answer",
    [
        (302, {"location": "https://cdn.test/a"}, b""),
        (302, {"location": "http://cdn.test/a"}, b""),
        (404, {}, b"nothing"),
        (206, {}, b"a part"),
        (200, {"content-encoding": "gzip"}, b"packed"),
        (302, {}, b"nowhere"),
    ],
)
async def test_file_that_is_not_where_it_is_said_to_be(world: World, answer: Answer) -> None:
    await world.two(elsewhere("https://cdn.test/a"))
    cdn = await world.cdn(lambda asked: answer)
    with pytest.raises(Broken):
        await world.fetch()
    assert len(cdn.asked) <= REDIRECTS_MAX


# What is too large, and what is none


@pytest.mark.parametrize("size", [BYTES_MAX + 1, BYTES_MAX * 3])
async def test_file_that_is_too_large_is_not_read(world: World, size: int) -> None:
    two = await world.two(lambda asked: parts(b"X: y", content=bytes(size)))
    with pytest.raises(TooLarge):
        await world.fetch()
    two.answer = elsewhere("https://cdn.test/a")
    await world.cdn(lambda asked: (200, {}, bytes(size)))
    with pytest.raises(TooLarge):
        await world.fetch()


async def test_file_of_just_the_largest_size_is_read(world: World) -> None:
    await world.two(lambda asked: parts(b"X: y", content=bytes(BYTES_MAX)))
    assert len((await world.fetch())[2]) == BYTES_MAX


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"content-type": "application/json"}, b"{}"),
        (200, {"content-type": "multipart/mixed; boundary=x", "content-encoding": "gzip"}, b"packed"),
        (202, {"content-type": "multipart/mixed; boundary=x"}, parts(b"X: y", content=b"x")[2]),
        (200, {"content-type": "multipart/mixed"}, b"--x--"),
        (200, {"content-type": "multipart/mixed; boundary=x"}, b""),
        (200, {"content-type": "multipart/mixed; boundary=x"}, b"--x\r\n\r\n" + bytes(70_000)),
        parts(b"X: y", content=b"cut off", whole=False),
    ],
)
async def test_answer_that_is_no_whole_file_is_refused(world: World, answer: Answer) -> None:
    await world.two(lambda asked: answer)
    with pytest.raises(Broken):
        await world.fetch()


async def test_connection_that_breaks_off_is_no_file(world: World) -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n%sConnection: close\r\n\r\nonly this"

    async def serve(length: bytes) -> None:
        def answer(asked: Asked) -> Answer:
            return elsewhere("https://cdn.test/a")(asked)

        await world.two(answer)
        world.internet.name("cdn.test", "2.2.2.2")
        context = world.internet.server_context("cdn.test")

        async def handle(stream: trio.SocketStream) -> None:
            tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            await tls.receive_some(10_000)
            await tls.send_all(sent % length)
            await tls.aclose()

        await world.internet.put_stream(handle, "2.2.2.2", 443)

    await serve(b"Content-Length: 1000\r\n")
    with pytest.raises(Unreachable):
        await world.fetch()
    await serve(b"")
    with pytest.raises(Broken, match="breaks off"):
        await world.fetch()


async def test_file_that_comes_too_slowly_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has less than no time, so that no test has to wait."""
    monkeypatch.setattr(outbound_http, "STREAM_GRACE_S", -1000.0)
    await world.two(lambda asked: parts(b"X: y", content=bytes(50_000)))
    with pytest.raises(Unreachable, match="in time"):
        await world.fetch()


async def test_time_is_not_counted_while_the_file_is_written(world: World) -> None:
    await world.two(lambda asked: parts(b"X: y", content=bytes(50_000)))
    async with world.client.fetch_file(TWO, "abc", timeout_ms=0, bytes_max=BYTES_MAX) as file:
        await anext(file.chunks)
        assert trio.current_effective_deadline() == float("inf")
