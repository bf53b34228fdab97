"""Listening, limits on connections, and stopping."""

from __future__ import annotations

import logging
import socket
import ssl
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from conduit_py.http import HttpConfig, Request, Routes
from conduit_py.http.tls import Tls
from tests.http.story import LONG_S, SHORT_S, Story, says_hello
from tests.http.wire import Wire, app_of, head, serving

CONFIG = HttpConfig(hosts=("127.0.0.1",))


@pytest.fixture
def story() -> Story:
    return Story()


async def refuses_connections(wire: Wire) -> bool:
    try:
        await wire.connect()
    except OSError:
        return True
    return False


async def test_every_address_is_reported_and_served(story: Story) -> None:
    async with serving(story.app, replace(CONFIG, hosts=("127.0.0.1", "127.0.0.2"))) as wire:
        assert [url.rsplit(":", 1)[0] for url in wire.urls] == ["http://127.0.0.1", "http://127.0.0.2"]
        for at in range(2):
            peer = await wire.connect(at=at)
            assert (await peer.ask(head("GET /hello"))).status == 200


async def test_address_in_use_is_an_error(story: Story) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = replace(CONFIG, port=taken.getsockname()[1])
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            async with serving(story.app, config):
                pass


def test_config_without_an_address_refused() -> None:
    with pytest.raises(ValueError, match="no address"):
        HttpConfig()


async def test_peer_address_is_told() -> None:
    def declare(routes: Routes) -> None:
        @routes.get("/address")
        async def address(request: Request) -> dict[str, Any]:
            return {"address": request.remote_addr}

    async with serving(app_of(declare)) as wire:
        peer = await wire.connect()
        assert (await peer.ask(head("GET /address"))).json() == {"address": "127.0.0.1"}


async def test_unix_socket_is_for_user_and_group_and_goes_with_the_server(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with serving(story.app, HttpConfig(unix_socket=path)) as wire:
        assert wire.urls == (f"unix:{path}",)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        peer = await wire.connect_unix(str(path))
        assert (await peer.ask(head("GET /hello"))).status == 200
    assert not path.exists()


async def test_stale_unix_socket_is_replaced(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with serving(story.app, HttpConfig(unix_socket=path)) as wire:
        peer = await wire.connect_unix(str(path))
        assert (await peer.ask(head("GET /hello"))).status == 200


async def test_unix_socket_of_a_running_server_is_left_alone(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with serving(story.app, HttpConfig(unix_socket=path)) as wire:
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            async with serving(story.app, HttpConfig(unix_socket=path)):
                pass
        peer = await wire.connect_unix(str(path))
        assert (await peer.ask(head("GET /hello"))).status == 200


async def test_file_at_the_path_of_a_unix_socket_is_left_alone(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        async with serving(story.app, HttpConfig(unix_socket=path)):
            pass
    assert path.read_text() == "data"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> HttpConfig:
    issued = authority.issue_cert("localhost")
    certificate, private_key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(private_key))
    return replace(CONFIG, tls=Tls(certificate, private_key))


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_tls_serves_http_1_1_alone(story: Story, tls: HttpConfig, trusting: ssl.SSLContext) -> None:
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(story.app, tls) as wire:
        assert wire.urls[0].startswith("https://")
        peer, stream = await wire.connect_tls(trusting)
        assert stream.selected_alpn_protocol() == "http/1.1"
        for _ in range(2):
            assert (await peer.ask(head("GET /hello"))).status == 200
        assert len((await peer.ask(head("GET /large"))).body) == 50_000_000
        assert (await peer.ask(head("GET /hello", "Connection: close"))).status == 200
        assert await peer.is_closed()


async def test_tls_hang_up_cancels_the_handler(story: Story, tls: HttpConfig, trusting: ssl.SSLContext) -> None:
    async with serving(story.app, tls) as wire:
        peer, _ = await wire.connect_tls(trusting)
        await peer.send(head("GET /wait"))
        await story.is_waiting.wait()
        peer.hang_up()
        await story.was_cancelled.wait()


async def test_plain_request_to_tls_ends_one_connection(
    story: Story, tls: HttpConfig, trusting: ssl.SSLContext
) -> None:
    async with serving(story.app, tls) as wire:
        plain = await wire.connect()
        await plain.send(head("GET /hello"))
        await plain.read_to_end()
        peer, _ = await wire.connect_tls(trusting)
        assert (await peer.ask(head("GET /hello"))).status == 200


async def test_stalled_handshake_is_closed(story: Story, tls: HttpConfig) -> None:
    async with serving(story.app, tls, handshake_s=SHORT_S, keep_alive_s=LONG_S) as wire:
        assert await (await wire.connect()).is_closed()


async def test_oldest_idle_connection_makes_room(story: Story) -> None:
    async with serving(story.app, replace(CONFIG, connections_max=2), keep_alive_s=LONG_S) as wire:
        busy, idle = await wire.connect(), await wire.connect()
        await busy.send(head("GET /wait"))
        await story.is_waiting.wait()
        assert (await idle.ask(head("GET /hello"))).status == 200
        assert await says_hello(wire)
        assert await idle.is_closed()
        story.go.set()
        assert (await busy.receive()).status == 200


async def test_connection_waits_while_all_are_in_use(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conduit_py.http.server.ROOM_PAUSE_S", LONG_S)
    async with serving(story.app, replace(CONFIG, connections_max=1)) as wire:
        busy = await wire.connect()
        await busy.send(head("GET /wait", "Connection: close"))
        await story.is_waiting.wait()
        waiting = await wire.connect()
        await waiting.send(head("GET /hello"))
        story.go.set()
        assert (await busy.receive()).status == 200
        assert (await waiting.receive()).status == 200


async def test_accepting_goes_on_after_the_system_ran_out_of_descriptors(
    story: Story, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(24, "Too many open files"), ConnectionAbortedError(103, "aborted")]
    accept = socket.socket.accept

    def failing(self: socket.socket) -> tuple[socket.socket, Any]:
        if failures:
            raise failures.pop(0)
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    monkeypatch.setattr("conduit_py.http.server.ACCEPT_PAUSE_S", SHORT_S)
    async with serving(story.app) as wire:
        assert await says_hello(wire)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_stop_closes_idle_connections_and_refuses_new_ones(story: Story) -> None:
    async with serving(story.app, keep_alive_s=LONG_S) as wire:
        used, fresh = await wire.connect(), await wire.connect()
        assert (await used.ask(head("GET /hello"))).status == 200
        wire.stop.set()
        assert await used.is_closed()
        assert await fresh.is_closed()
        await wire.ended.wait()
        assert await refuses_connections(wire)


async def test_stop_lets_a_request_finish(story: Story) -> None:
    async with serving(story.app, replace(CONFIG, grace_s=LONG_S)) as wire:
        peer = await wire.connect()
        await peer.send(head("GET /wait"))
        await story.is_waiting.wait()
        wire.stop.set()
        story.go.set()
        reply = await peer.receive()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        await wire.ended.wait()


async def test_stop_cancels_what_outlasts_its_grace(story: Story) -> None:
    async with serving(story.app, replace(CONFIG, grace_s=SHORT_S)) as wire:
        peer = await wire.connect()
        await peer.send(head("GET /wait"))
        await story.is_waiting.wait()
        wire.stop.set()
        await story.was_cancelled.wait()
        await wire.ended.wait()
        assert await peer.is_closed()


async def test_stop_does_not_wait_for_a_peer_that_does_not_read(story: Story) -> None:
    async with serving(story.app, replace(CONFIG, grace_s=SHORT_S), send_stall_s=LONG_S) as wire:
        peer = await wire.connect(receive_buffer=4096)
        await peer.send(head("GET /large"))
        assert await peer.stream.receive_some(1)
        wire.stop.set()
        await wire.ended.wait()
