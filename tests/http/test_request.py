"""What a handler reads of a request."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypercorn.typing import ASGIReceiveEvent

from conduit_py.http import BadJson, ClientDisconnected, NotJson, Request, TooLarge, parse_json_object, scrub_query
from conduit_py.http.held import Shelf
from conduit_py.http.request import JSON_DEPTH_MAX


def request_of(*chunks: bytes, bytes_max: int = 100, query: bytes = b"", client: Any = None, **headers: str) -> Request:
    """A request whose body comes in ``chunks``; then the client hangs up."""
    messages: list[ASGIReceiveEvent] = [
        {"type": "http.request", "body": chunk, "more_body": at < len(chunks) - 1} for at, chunk in enumerate(chunks)
    ]

    async def receive() -> ASGIReceiveEvent:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    scope: Any = {
        "method": "PUT",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": query,
        "scheme": "http",
        "http_version": "1.1",
        "client": client,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    return Request(scope, receive, bytes_max=bytes_max, shelf=Shelf())


async def test_get_data_joins_what_comes() -> None:
    request = request_of(b"a", b"", b"bc")
    assert await request.get_data() == b"abc"
    assert await request.get_data() == b"abc"


async def test_body_iterates_what_comes() -> None:
    assert [chunk async for chunk in request_of(b"a", b"", b"bc").body] == [b"a", b"bc"]


async def test_body_too_large_by_count_refused() -> None:
    request = request_of(b"x" * 60, b"x" * 60)
    with pytest.raises(TooLarge):
        await request.get_data()


async def test_body_too_large_by_content_length_refused_unread() -> None:
    request = request_of(content_length="101")
    with pytest.raises(TooLarge):
        await request.get_data()


async def test_body_bound_of_a_handler_is_the_smaller_one() -> None:
    with pytest.raises(TooLarge):
        await request_of(b"x" * 11).get_data(bytes_max=10)
    with pytest.raises(TooLarge):
        await request_of(b"x" * 101).get_data(bytes_max=1000)
    assert await request_of(b"x" * 10).get_data(bytes_max=10) == b"x" * 10


async def test_body_of_a_client_that_hung_up_ends_in_an_exception() -> None:
    with pytest.raises(ClientDisconnected):
        await request_of().get_data()


async def test_json_object_parses() -> None:
    assert await request_of(b'{"a": [1, "\xc3\xa9"]}').json_object() == {"a": [1, "é"]}


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b'{"a": NaN}', b"\xff", b'{"a": "\xff"}', b"{} {}"])
async def test_json_object_not_json(body: bytes) -> None:
    with pytest.raises(NotJson):
        await request_of(body).json_object()


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"1", b"null", b"true"])
async def test_json_object_bad_json_when_no_object(body: bytes) -> None:
    with pytest.raises(BadJson):
        await request_of(body).json_object()


async def test_json_object_may_be_empty_where_asked_for() -> None:
    assert await request_of(b"").json_object(may_be_empty=True) == {}
    with pytest.raises(NotJson):
        await request_of(b"{").json_object(may_be_empty=True)


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_json_depth_is_bounded() -> None:
    parse_json_object(nested(JSON_DEPTH_MAX))
    with pytest.raises(BadJson, match="nested"):
        parse_json_object(nested(JSON_DEPTH_MAX + 1))


def test_json_as_deep_as_a_body_can_be_is_refused() -> None:
    with pytest.raises((BadJson, NotJson)):
        parse_json_object(nested(2_000_000))


def test_json_may_be_wide() -> None:
    assert len(parse_json_object(b'{"a":[' + b",".join([b"{}"] * 10_000) + b"]}")["a"]) == 10_000


def test_headers_are_found_in_any_case() -> None:
    headers = request_of(authorization="Bearer x", content_type="application/json").headers
    assert headers["Authorization"] == headers.get("AUTHORIZATION") == "Bearer x"
    assert headers.get("missing") is None
    assert dict(headers) == {"authorization": "Bearer x", "content-type": "application/json"}
    assert len(headers) == 2


def test_args_are_decoded() -> None:
    request = request_of(query=b"a=1&a=2&b=%C3%A9+x&empty=")
    assert request.args["a"] == "1"
    assert request.args.getlist("a") == ["1", "2"]
    assert request.args.get("b") == "é x"
    assert request.args.get("empty") == ""
    assert request.args.get("missing") is None


def test_paths() -> None:
    request = request_of(query=b"access_token=secret&since=s1")
    assert (request.path, request.raw_path) == ("/a b", b"/a%20b")
    assert request.raw_uri == "/a%20b?access_token=secret&since=s1"
    assert request.safe_uri == "/a%20b?access_token=…&since=s1"


@pytest.mark.parametrize("query", ["access_token=secret", "a=b&access%5Ftoken=secret", "access_token=secret=secret&c"])
def test_scrub_query_leaves_no_token(query: str) -> None:
    assert "secret" not in scrub_query(query)


def test_scrub_query_leaves_the_rest() -> None:
    assert scrub_query("") == ""
    assert scrub_query("a=b&access_token=x&c=%20") == "a=b&access_token=…&c=%20"


LOCAL = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7, 10.1.1.1", "198.51.100.7"),
        ("127.0.0.1", "10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("127.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, nonsense", "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        (None, "198.51.100.7", "198.51.100.7"),
        (None, None, ""),
    ],
)
def test_client_address(peer: str | None, forwarded: str | None, address: str) -> None:
    headers: dict[str, Any] = {"x_forwarded_for": forwarded} if forwarded is not None else {}
    request = request_of(client=(peer, 1234) if peer is not None else None, **headers)
    assert request.client_address(LOCAL) == address


def test_request_ids_differ() -> None:
    one, two = request_of(), request_of()
    assert one.id == one.id != two.id
