"""``GET /_matrix/federation/v1/media/download/{mediaId}`` and ``.../thumbnail/{mediaId}``"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.errors import Refused
from conduit_py.outbound.http import HttpReply
from kvschema.engine import Engine
from tests.contract import check_response
from tests.rig.client import Client
from tests.rig.images import decode, moving, plain, png_that_claims
from tests.rig.media import create, upload
from tests.rig.network import Network, open_network

MEDIA = "/_matrix/federation/v1/media"


@pytest.fixture
async def network(make_engine: Callable[[], Engine], tmp_path: Path) -> AsyncIterator[Network]:
    path = str(tmp_path / "{name}")
    async with open_network(make_engine, "one.test", "two.test", MEDIA__PATH=path) as network:
        yield network


@pytest.fixture
async def alice(network: Network) -> Client:
    return await network["one.test"].register("alice")


def media_id(uri: str) -> str:
    return uri.rpartition("/")[2]


async def ask(network: Network, path: str) -> HttpReply:
    """What one.test answers two.test. Raises ``Refused``."""
    client = network["two.test"].built.federation.client
    async with client.fetch_stream(ServerName("one.test"), MEDIA + path, timeout_s=30) as answer:
        reply = await answer.read(10_000_000)
    check_response("GET", MEDIA + path, reply.status, None, reply.headers["content-type"])
    return reply


async def refusal(network: Network, path: str) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        await ask(network, path)
    return caught.value.status, caught.value.errcode


def parts(reply: HttpReply) -> tuple[Message, Message]:
    """As another implementation than ours reads them."""
    assert reply.headers["content-length"] == str(len(reply.body))
    whole = b"Content-Type: " + reply.headers["content-type"].encode() + b"\r\n\r\n" + reply.body
    message = BytesParser().parsebytes(whole)
    assert message.get_content_type() == "multipart/mixed"
    assert not message.defects
    payload = message.get_payload()
    assert isinstance(payload, list)
    first, second = payload
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert (first.get_content_type(), first.get_payload(decode=True)) == ("application/json", b"{}")
    return first, second


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(1, 10)) * 60_000], ids=len)
async def test_get_content_gives_an_object_and_the_file(
    network: Network, alice: Client, content: bytes, autojump_clock: MockClock
) -> None:
    uri = await upload(alice, content, "text/plain; charset=utf-8", "War and Peace.txt")
    reply = await ask(network, f"/download/{media_id(uri)}")
    _, file = parts(reply)
    assert file["content-type"] == "text/plain; charset=utf-8"
    assert file["content-disposition"] == 'inline; filename="War and Peace.txt"'
    assert reply.body.count(b"\r\n\r\n" + content + b"\r\n--") == 1


async def test_get_content_of_a_type_that_may_run_is_an_attachment(
    network: Network, alice: Client, autojump_clock: MockClock
) -> None:
    _, file = parts(await ask(network, f"/download/{media_id(await upload(alice, b'x', 'text/html'))}"))
    assert file["content-disposition"] == "attachment"


async def test_get_content_boundary_is_another_each_time(
    network: Network, alice: Client, autojump_clock: MockClock
) -> None:
    uri = await upload(alice, b"x")
    replies = [await ask(network, f"/download/{media_id(uri)}") for _ in range(3)]
    assert len({reply.headers["content-type"] for reply in replies}) == 3


@pytest.mark.parametrize(
    "what", ["download/nothing", "download/a.b", "download/..%2Fa", "thumbnail/nothing?width=1&height=1"]
)
async def test_get_content_that_there_is_not(network: Network, what: str, autojump_clock: MockClock) -> None:
    assert await refusal(network, f"/{what}") == (404, "M_NOT_FOUND")


async def test_get_content_of_a_third_server_is_not_served(network: Network, autojump_clock: MockClock) -> None:
    """Though it is stored: two.test has it of one.test, and gives only what is its own."""
    alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
    uri = await upload(alice, b"x")
    assert (await bob.request("GET", f"/_matrix/client/v1/media/download/one.test/{media_id(uri)}")).body == b"x"
    client = network["one.test"].built.federation.client
    with pytest.raises(Refused, match="M_NOT_FOUND"):
        async with client.fetch_stream(ServerName("two.test"), f"{MEDIA}/download/{media_id(uri)}", timeout_s=30):
            pass


async def test_get_content_is_for_servers_alone(network: Network, alice: Client, autojump_clock: MockClock) -> None:
    uri = await upload(alice, b"x")
    for path in (f"{MEDIA}/download/{media_id(uri)}", f"{MEDIA}/thumbnail/{media_id(uri)}?width=1&height=1"):
        for who in (network["one.test"].client(), alice):
            assert (await who.request("GET", path)).outcome == (401, "M_UNAUTHORIZED")


async def test_get_content_waits_for_an_upload(network: Network, alice: Client, autojump_clock: MockClock) -> None:
    uri = await create(alice)
    assert await refusal(network, f"/download/{media_id(uri)}?timeout_ms=1000") == (504, "M_NOT_YET_UPLOADED")
    replies: list[HttpReply] = []

    async def wait() -> None:
        replies.append(await ask(network, f"/download/{media_id(uri)}?timeout_ms=15000"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(10)
        path = f"/_matrix/media/v3/upload/one.test/{media_id(uri)}"
        assert (await alice.request("PUT", path, body=b"late")).status == 200
    assert parts(replies[0])[1].get_payload() == "late"


@pytest.mark.parametrize("query", ["?timeout_ms=soon", "?timeout_ms=-1"])
async def test_get_content_with_a_wrong_parameter(
    network: Network, alice: Client, query: str, autojump_clock: MockClock
) -> None:
    uri = await upload(alice, b"x")
    assert await refusal(network, f"/download/{media_id(uri)}{query}") == (400, "M_INVALID_PARAM")


async def test_get_content_is_counted_by_server(
    make_engine: Callable[[], Engine], tmp_path: Path, autojump_clock: MockClock
) -> None:
    settings = {"RATE_LIMITS__ENABLED": "true", "RATE_LIMITS__MEDIA_FETCH__BURST": "2"}
    path = str(tmp_path / "{name}")
    async with open_network(make_engine, "one.test", "two.test", chance=None, MEDIA__PATH=path, **settings) as network:
        uri = await upload(await network["one.test"].register("alice"), b"x")
        for _ in range(2):
            await ask(network, f"/download/{media_id(uri)}")
        assert await refusal(network, f"/download/{media_id(uri)}") == (429, "M_LIMIT_EXCEEDED")


async def test_get_content_thumbnail_has_the_size_that_is_wanted(
    network: Network, alice: Client, autojump_clock: MockClock
) -> None:
    uri = await upload(alice, plain(400, 300), "image/png")
    for _ in ("made", "stored"):
        _, file = parts(await ask(network, f"/thumbnail/{media_id(uri)}?width=32&height=32&method=crop"))
        assert (file["content-type"], file["content-disposition"]) == ("image/jpeg", "inline; filename=thumbnail.jpeg")


async def test_get_content_thumbnail_moves_if_it_may(
    network: Network, alice: Client, autojump_clock: MockClock
) -> None:
    uri = await upload(alice, moving(100, 100), "image/gif")
    reply = await ask(network, f"/thumbnail/{media_id(uri)}?width=32&height=32&animated=true")
    _, file = parts(reply)
    assert file["content-type"] == "image/webp"
    start = reply.body.index(b"RIFF")
    assert getattr(decode(reply.body[start:]), "n_frames", 1) == 4


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("?width=32", "M_MISSING_PARAM"),
        ("?width=0&height=1", "M_INVALID_PARAM"),
        ("?width=-1&height=1", "M_INVALID_PARAM"),
        ("?width=1&height=1.5", "M_INVALID_PARAM"),
        ("?width=1&height=1&method=stretch", "M_INVALID_PARAM"),
        ("?width=1&height=1&animated=1", "M_INVALID_PARAM"),
    ],
)
async def test_get_content_thumbnail_with_a_wrong_parameter(
    network: Network, alice: Client, query: str, errcode: str, autojump_clock: MockClock
) -> None:
    uri = await upload(alice, plain(100, 100), "image/png")
    assert await refusal(network, f"/thumbnail/{media_id(uri)}{query}") == (400, errcode)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"text", (400, "M_UNKNOWN")), (png_that_claims(30_000, 30_000), (413, "M_TOO_LARGE"))],
    ids=["no image", "too large"],
)
async def test_get_content_thumbnail_of_what_has_none(
    network: Network, alice: Client, content: bytes, expected: tuple[int, str], autojump_clock: MockClock
) -> None:
    uri = await upload(alice, content, "image/png")
    assert await refusal(network, f"/thumbnail/{media_id(uri)}?width=1&height=1") == expected
