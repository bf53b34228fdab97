"""The driver reads replies right however they arrive, and talks to this machine only."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.driver.wire import (
    Address,
    Connection,
    DriverError,
    Reply,
    ReplyParser,
    Unrecognized,
    WrongReply,
    encode_request,
    next_batch_of,
    wrong_reply,
)

BODY = b'{"event_id":"$abc"}'
HEAD = b"HTTP/1.1 200 OK\r\nServer: test\r\n"
WITH_LENGTH = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n7\r\n" + BODY[:7] + b"\r\nC;x=y\r\n" + BODY[7:] + b"\r\n0\r\n\r\n"


def feed(pieces: list[bytes]) -> list[Reply]:
    parser = ReplyParser()
    return [reply for piece in pieces if (reply := parser.feed(piece)) is not None]


@pytest.mark.parametrize("wire", [WITH_LENGTH, CHUNKED], ids=["length", "chunks"])
@given(data=st.data())
def test_reply_in_any_pieces_is_read_once(wire: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1))))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert feed(pieces) == [Reply(200, BODY)]


def test_connection_is_ready_for_the_next_reply() -> None:
    empty = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    assert feed([WITH_LENGTH, CHUNKED, empty]) == [Reply(200, BODY), Reply(200, BODY), Reply(404, b"")]


def test_no_content_needs_no_length() -> None:
    assert feed([b"HTTP/1.1 204 No Content\r\nServer: test\r\n\r\n"]) == [Reply(204, b"")]


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        HEAD + b"\r\n",
        HEAD + b"Content-Length: 999999999999\r\n\r\n",
        WITH_LENGTH + b"more",
        CHUNKED + b"more",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        b"x" * 70_000,
    ],
)
def test_reply_that_cannot_be_measured_is_refused(wire: bytes) -> None:
    with pytest.raises(DriverError):
        feed([wire])


def test_closed_connection_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Connection(Address("127.0.0.1", listener.getsockname()[1])) as connection,
    ):
        listener.accept()[0].close()
        with pytest.raises(DriverError, match="closed"):
            connection.receive()


def test_request_carries_token_and_body() -> None:
    request = encode_request("PUT", "/a%20b", token="secret", body={"body": "é"})
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /a%20b HTTP/1.1\r\nHost: ")
    assert b"\r\nAuthorization: Bearer secret" in head
    assert body == '{"body":"é"}'.encode()
    assert b"\r\nContent-Length: %d" % len(body) in head


def test_next_batch_is_found_without_parsing() -> None:
    assert next_batch_of(b'{"rooms":{},"next_batch": "s1_2"}') == "s1_2"
    assert next_batch_of(b"{}") is None


def test_wrong_reply_tells_what_it_is() -> None:
    assert type(wrong_reply(Reply(404, b'{"errcode":"M_UNRECOGNIZED"}'))) is Unrecognized
    assert type(wrong_reply(Reply(404, b'{"errcode":"M_NOT_FOUND"}'))) is WrongReply
    assert "rate limits" in str(wrong_reply(Reply(429, b"{}")))


@pytest.mark.parametrize("reply", [Reply(403, b"{}"), Reply(200, b"[]")])
def test_reply_that_is_no_object_is_wrong(reply: Reply) -> None:
    with pytest.raises(WrongReply):
        reply.object()


@pytest.mark.parametrize("host", ["example.org", "192.0.2.1", "0.0.0.0", ""])
def test_other_machines_are_refused(host: str) -> None:
    with pytest.raises(DriverError, match="loopback"):
        Address.loopback(host, 80)


def test_this_machine_is_accepted() -> None:
    assert Address.loopback("localhost", 80) == Address("127.0.0.1", 80)
    assert Address.loopback("127.0.0.2", 80).host == "127.0.0.2"
