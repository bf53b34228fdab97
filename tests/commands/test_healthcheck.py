"""``healthcheck`` asks where the configuration says the server listens."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import trustme

from conduit_py.api.health import PATH
from conduit_py.commands.healthcheck import HEALTH_PATH
from tests.commands.invoking import invoke


class _Well(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == PATH else 404)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "somebody"


class _Ill(_Well):
    status = 503


@contextmanager
def answering(server: socketserver.BaseServer) -> Iterator[None]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def healthcheck(folder: Path, *lines: str) -> tuple[int, str]:
    config = folder / "conduit.toml"
    config.write_text("\n".join(('server_name = "one.test"', *lines)))
    done = invoke("healthcheck", "-c", config)
    return done.exit_code, done.stdout + done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_server_is_well(address: str, tmp_path: Path) -> None:
    server = socketserver.TCPServer(("127.0.0.1", 0), _Well)
    port = server.server_address[1]
    with answering(server):
        code, said = healthcheck(tmp_path, f"port = {port}", f'address = "{address}"')
    assert (code, said) == (0, f"the server at 127.0.0.1:{port} is well\n")


def test_server_is_not_well(tmp_path: Path) -> None:
    server = socketserver.TCPServer(("127.0.0.1", 0), _Ill)
    port = server.server_address[1]
    with answering(server):
        code, said = healthcheck(tmp_path, f"port = {port}")
    assert code == 1
    assert said == f"the server at 127.0.0.1:{port} is not well: it answers 503 {{}}\n"


def test_nobody_answers(tmp_path: Path) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _Well) as server:
        port = server.server_address[1]
    code, said = healthcheck(tmp_path, f"port = {port}")
    assert code == 1
    assert said.startswith(f"the server at 127.0.0.1:{port} does not answer: ")


def test_server_behind_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with answering(socketserver.UnixStreamServer(str(path), _Well)):
        assert healthcheck(tmp_path, f'unix_socket_path = "{path}"') == (0, f"the server at {path} is well\n")


def test_server_that_speaks_tls(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("one.test")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = socketserver.TCPServer(("127.0.0.1", 0), _Well)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with answering(server):
        port = f"port = {server.server_address[1]}"
        code, said = healthcheck(
            tmp_path, port, f'tls.certs = "{tmp_path}/cert.pem"', f'tls.key = "{tmp_path}/key.pem"'
        )
    assert (code, said.endswith(" is well\n")) == (0, True), said


def test_port_that_the_system_chooses_is_not_known(tmp_path: Path) -> None:
    code, said = healthcheck(tmp_path, "port = 0")
    assert code == 1
    assert said.startswith("port is 0")


def test_path_is_that_of_the_server() -> None:
    """Written twice, for the command imports nothing of the server."""
    assert HEALTH_PATH == PATH
