"""A server that is watched: numbers on a Unix socket, and traces for a collector that is not there."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.rig.process import ServerProcess
from tests.rig.wire import WireClient


def read_metrics(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(65_536), b"")).decode()


@pytest.mark.slow
def test_watched_server_works_and_stops_in_time(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    path = tmp_path / "metrics.sock"
    environment = {
        "CONDUIT_METRICS_ADDRESS": str(path),
        "CONDUIT_ALLOW_JAEGER": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    with ServerProcess(tmp_path / "server", environment) as server:
        server.start()
        with WireClient(server.address) as client:
            assert client.request("GET", "/versions")[0] in (200, 404)
            body = {"username": "alice", "password": "correct horse", "auth": {"type": "m.login.dummy"}}
            client.post("register", json=body)
        told = read_metrics(path)
        assert re.search(r'conduit_py_http_requests_total\{method="POST",route="\S+/register",status="200"\} 1\n', told)
        assert re.search(r'conduit_py_database_bytes\{of="trees"\} [1-9]', told)
        server.stop()
    assert not path.exists()
