"""What the connection and the application lean on in pinned packages is still so."""

from __future__ import annotations

import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import h11
import pytest
import trio
from hypercorn.config import Config
from quart import Quart
from quart_trio import QuartTrio

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("package", ["hypercorn", "h11", "quart", "quart-trio"])
def test_pinned_version_is_installed(package: str) -> None:
    pins = dict(line.split("==") for line in PROJECT["dependencies"] if "==" in line)
    assert version(package) == pins[package]


def server() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=100)


def test_h11_bounds_an_incomplete_head_alone() -> None:
    """A head that came whole in one piece is not bounded by h11: the connection measures it."""
    incomplete = server()
    incomplete.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 100)
    with pytest.raises(h11.RemoteProtocolError) as refused:
        incomplete.next_event()
    assert refused.value.error_status_hint == 431
    whole = server()
    whole.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 100 + b"\r\n\r\n")
    assert isinstance(whole.next_event(), h11.Request)


def test_h11_lets_http_2_0_and_two_framings_pass() -> None:
    """Which is why the connection refuses them."""
    preface = server()
    preface.receive_data(b"PRI * HTTP/2.0\r\n\r\n")
    event = preface.next_event()
    assert isinstance(event, h11.Request)
    assert event.http_version == b"2.0"
    framed = server()
    framed.receive_data(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(framed.next_event(), h11.Request)


def test_h11_goes_on_after_an_upgrade_that_was_not_taken() -> None:
    connection = server()
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    connection.next_event()
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.next_event() is h11.PAUSED
    connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.start_next_cycle()
    assert connection.our_state is h11.IDLE


def test_h11_data_passes_through_uncopied() -> None:
    connection = server()
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.next_event()
    connection.send(h11.Response(status_code=200, headers=[("content-length", "3")]))
    body = b"abc"
    pieces = connection.send_with_data_passthrough(h11.Data(data=body))
    assert pieces is not None
    assert any(piece is body for piece in pieces)


def test_hypercorn_config_makes_no_tls_context_without_a_certificate() -> None:
    assert Config().create_ssl_context() is None


def test_quart_asks_asgi_app_for_every_request() -> None:
    assert "self.asgi_app(scope, receive, send)" in inspect.getsource(Quart.__call__)
    assert QuartTrio.asgi_app is Quart.asgi_app


def test_quart_without_static_folder_has_no_rules() -> None:
    assert list(QuartTrio("conduit_py", static_folder=None).url_map.iter_rules()) == []


async def test_trio_ssl_stream_takes_slices_of_memory() -> None:
    """A large reply is sent through TLS in slices of one buffer."""
    parameter = inspect.signature(trio.SSLStream.send_all).parameters["data"]
    assert "memoryview" in str(parameter.annotation)


def test_h11_wants_no_more_than_to_be_told_that_there_was_a_reply() -> None:
    """The connection prints whole replies itself, and asks h11 only whether the connection may go on."""
    for spoken, is_last in ((b"1.1", False), (b"1.0", True)):
        connection = server()
        connection.receive_data(b"GET / HTTP/%s\r\nHost: a\r\n\r\n" % spoken)
        connection.next_event()
        connection.next_event()
        told = connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        connection.send(h11.EndOfMessage())
        assert (b"connection: close" in told.lower()) == is_last
        assert (connection.our_state is h11.DONE) != is_last
