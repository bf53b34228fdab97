"""Listens, accepts within a limit, and stops in order."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio
from hypercorn.typing import ASGIFramework
from hypercorn.utils import parse_socket_addr, repr_socket_addr

from conduit_py.http.config import HttpConfig
from conduit_py.http.connection import Connection, Peers
from conduit_py.http.tls import Tls
from conduit_py.http.transport import PlainStream

__all__ = ["serve_http"]

logger = logging.getLogger(__name__)

ACCEPT_PAUSE_S: Final = 0.1
"""Before accepting again when the system has no more file descriptors or memory to give."""

ROOM_PAUSE_S: Final = 0.1
"""Before looking again for an idle connection when all that may be open are in use."""

_MAPPED: Final = "::ffff:"
"""How an IPv4 address reads on a socket of both families."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def serve_http(
    app: ASGIFramework,
    config: HttpConfig,
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[tuple[str, ...]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` until ``stop`` is set and the requests then running are done, or out of grace.

    Reports the bound addresses: ``http://127.0.0.1:8008``, ``https://[::1]:8448``, ``unix:/run/conduit_py.sock``.
    Raises ``OSError`` if an address cannot be bound.
    """
    server = _Server(app, config, stop)
    async with trio.open_nursery() as serving:
        with _listening(config) as listeners:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    tls = config.tls if listener.family != socket.AF_UNIX else None
                    accepting.start_soon(server.accept, listener, tls, serving)
                task_status.started(tuple(_url(listener, config.tls) for listener in listeners))
                await stop.wait()
                accepting.cancel_scope.cancel()
        server.close_idle()
        serving.cancel_scope.deadline = trio.current_time() + config.grace_s


class _Server:
    def __init__(self, app: ASGIFramework, config: HttpConfig, stop: trio.Event) -> None:
        self._app = app
        self._config = config
        self._stop = stop
        # In the order they were accepted.
        self._connections: dict[Connection, None] = {}
        self._room = trio.lowlevel.ParkingLot()

    async def accept(self, listener: socket.socket, tls: Tls | None, serving: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener.fileno())
            await self._make_room()
            try:
                sock, _ = listener.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    logger.warning("A connection could not be accepted: %s", error)
                    await trio.sleep(ACCEPT_PAUSE_S)
                continue  # otherwise the client has gone already
            connection = self._connection(sock, None if tls is None else tls.context)
            self._connections[connection] = None
            serving.start_soon(self._run, connection)

    async def _make_room(self) -> None:
        """Wait until one more connection may be open; the oldest idle one gives way."""
        has_warned = False
        while len(self._connections) >= self._config.connections_max:
            if not any(connection.close_if_idle() for connection in self._connections) and not has_warned:
                has_warned = True
                logger.warning("All %d connections are in use", len(self._connections))
            with trio.move_on_after(ROOM_PAUSE_S):
                await self._room.park()

    def _connection(self, sock: socket.socket, context: ssl.SSLContext | None) -> Connection:
        plain = PlainStream(sock)
        return Connection(
            plain if context is None else trio.SSLStream(plain, context, server_side=True, https_compatible=True),
            self._app,
            self._config.limits,
            peers=_peers(sock),
            is_stopping=self._stop.is_set,
        )

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            del self._connections[connection]
            self._room.unpark_all()

    def close_idle(self) -> None:
        for connection in self._connections:
            connection.close_if_idle()


@contextlib.contextmanager
def _listening(config: HttpConfig) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as cleanup:
        listeners = [cleanup.enter_context(_tcp_listener(host, config)) for host in config.hosts]
        if config.unix_socket is not None:
            listeners.append(cleanup.enter_context(_unix_listener(config.unix_socket, config)))
            cleanup.callback(config.unix_socket.unlink, missing_ok=True)
        for listener in listeners:
            listener.setblocking(False)
        yield listeners


def _tcp_listener(host: str, config: HttpConfig) -> socket.socket:
    return socket.create_server(
        (host, config.port),
        family=socket.AF_INET6 if ":" in host else socket.AF_INET,
        backlog=config.backlog,
        dualstack_ipv6=host == "::" and "0.0.0.0" not in config.hosts,
    )


def _unix_listener(path: Path, config: HttpConfig) -> socket.socket:
    """Bind at ``path``, in place of a socket that nobody listens on any more."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o777 & ~config.unix_socket_mode)
    try:
        if path.is_socket() and not _is_answered(path):
            path.unlink()
        listener.bind(str(path))
        listener.listen(config.backlog)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)
    return listener


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


def _peers(sock: socket.socket) -> Peers:
    if sock.family == socket.AF_UNIX:
        return None, None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = parse_socket_addr(sock.family, sock.getpeername())
    except OSError:  # gone already, as the connection will find
        return None, None
    if client is not None:
        client = (client[0].removeprefix(_MAPPED), client[1])
    return client, parse_socket_addr(sock.family, sock.getsockname())


def _url(listener: socket.socket, tls: Tls | None) -> str:
    address = repr_socket_addr(listener.family, listener.getsockname())
    if listener.family == socket.AF_UNIX:
        return address
    return f"{'https' if tls is not None else 'http'}://{address}"
