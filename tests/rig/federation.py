"""Servers as processes of their own that reach one another over TLS on loopback, as behind web proxies.

Before each server stands a link: it has the server's certificate, ends TLS, and passes what comes on to the server's
plain port. A server is named ``localhost:PORT`` after the port of its link, and trusts the authority of the test.
Clients go past the link, to ``server.process.address``.

    with open_federation(tmp_path, 2) as (one, two):
        alice = one.register("alice")
        two.link.cut()
        two.process.kill()
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import trustme

from tests.rig.process import ServerProcess, check_files
from tests.rig.wire import WireClient, register

CHUNK_BYTES = 1 << 16
HANDSHAKE_S_MAX = 10
CONNECTIONS_MAX = 200
"""Waiting to be taken by a link."""
FIRST_HOST = 21
DEFAULT_PORT = 8448
"""Spec: server-server-api/#resolving-server-names"""


class Link:
    """The way from other servers to one. Works until ``cut``, and again after ``heal``."""

    def __init__(self, context: ssl.SSLContext, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._context = context
        self._listener = socket.create_server(address, backlog=CONNECTIONS_MAX)
        self.port: int = self._listener.getsockname()[1]
        self.target: tuple[str, int] | None = None
        """Where the server listens; None refuses connections."""
        self._is_cut = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Drop every connection and take no more."""
        with self._lock:
            self._is_cut = True
            dropped, self._open = self._open, set()
        for connection in dropped:
            _end(connection)

    def heal(self) -> None:
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        self.cut()
        _end(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                self._listener.close()
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if self._is_cut or self.target is None:
            connection.close()
            return
        connection.settimeout(HANDSHAKE_S_MAX)
        try:
            connection = self._context.wrap_socket(connection, server_side=True)
            behind = socket.create_connection(self.target)
        except OSError:
            connection.close()
            return
        secured = connection
        secured.settimeout(None)
        if not self._keep(secured, behind):
            return
        back = threading.Thread(target=_pump, args=(behind, secured), daemon=True)
        back.start()
        _pump(secured, behind)
        back.join()
        with self._lock:
            self._open -= {secured, behind}
        secured.close()
        behind.close()

    def _keep(self, *connections: socket.socket) -> bool:
        """Whether the link was not cut meanwhile."""
        with self._lock:
            if not self._is_cut:
                self._open.update(connections)
                return True
        for connection in connections:
            _end(connection)
            connection.close()
        return False


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Bytes one way until either side ends; then both have ended."""
    with suppress(OSError, ValueError):
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
    _end(source)
    _end(sink)


def _end(connection: socket.socket) -> None:
    """Wake whoever reads from it or writes to it, who closes it when nobody else does any more.

    Closed under somebody, its number would soon be that of another file, which TLS might still write an alert to.
    """
    with suppress(OSError):
        # Of a TLS socket too this is the plain one's.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class FederatedServer:
    """A server behind its link. Made by ``open_federation``."""

    def __init__(self, directory: Path, name: str, link: Link, ca_file: Path, more: dict[str, str]) -> None:
        self.link = link
        self.name = name
        self.process = ServerProcess(
            directory,
            {
                "CONDUIT_SERVER_NAME": self.name,
                "CONDUIT_ALLOW_FEDERATION": "true",
                "CONDUIT_TRUSTED_SERVERS": "[]",
                "CONDUIT_IP_RANGE_DENYLIST": "[]",
                "CONDUIT_CA_CERTIFICATES": str(ca_file),
                **more,
            },
        )

    def start(self) -> None:
        self.process.start()
        self.link.target = self.process.address

    def restart(self, *, kill: bool = True) -> None:
        """Go down, by SIGKILL unless told otherwise, and come back with the same files at the same address."""
        if kill:
            self.process.kill()
        else:
            self.process.stop()
        self.start()

    def client(self, access_token: str | None = None) -> WireClient:
        return WireClient(self.process.address, access_token)

    def register(self, name: str) -> User:
        """A new account."""
        return User(self, register(self.process.address, name))


class User(WireClient):
    """Somebody with an account, over a real socket."""

    def __init__(self, server: FederatedServer, session: dict[str, Any]) -> None:
        super().__init__(server.process.address, session["access_token"])
        self.server = server
        self.user_id: str = session["user_id"]
        self.device_id: str = session["device_id"]


def write_certificate(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """What a server with a certificate for these names speaks TLS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@contextmanager
def open_federation(
    directory: Path, count: int, *, authority: trustme.CA | None = None, has_ports: bool = True, **more: str
) -> Iterator[tuple[FederatedServer, ...]]:
    """So many running servers. ``more``: variables of configuration, such as ``CONDUIT_LOG="debug"``.

    Without ``has_ports`` they are named ``127.0.0.N``, and are reached at the port that is for servers without one.
    At the end each is stopped, which must go well, and its files are checked.
    """
    authority = authority or trustme.CA()
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with ExitStack() as stack:
        servers = []
        for index in range(count):
            host = "localhost" if has_ports else f"127.0.0.{FIRST_HOST + index}"
            address = ("127.0.0.1", 0) if has_ports else (host, DEFAULT_PORT)
            link = Link(write_certificate(authority, host), address)
            stack.callback(link.close)
            name = f"{host}:{link.port}" if has_ports else host
            server = FederatedServer(directory / f"server{index}", name, link, ca_file, more)
            stack.enter_context(server.process)
            server.start()
            servers.append(server)
        yield tuple(servers)
        for server in servers:
            server.process.stop()
            assert check_files(server.process.data) == []
