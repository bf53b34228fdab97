"""The socket that the command line gives commands through. See ``wire`` for what is said on it.

Who may open it is settled by the file's mode, 0600 from its first moment on, and asked of the system once more for each
connection: whoever runs the server, and root. The data directory is locked, so a socket that is there already is what a
killed server left.

A command that was begun is brought to its end, also if whoever gave it hangs up.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
import orjson
import trio

from conduit_py.log import get_logger
from conduit_py.service.admin.commands import Answer, Call, Dispatcher, split
from conduit_py.service.admin.wire import LINE_BYTES_MAX, reachable

_log = get_logger(__name__)

MODE: Final = 0o600
AT_ONCE_MAX: Final = 8
"""Commands at a time. More of them wait."""
REQUEST_S_MAX: Final = 30
"""For the line with the command to come."""
PROGRESS_S: Final = 0.2
"""Between two lines that say how far a command is."""
BACKLOG: Final = 16
_CHUNK_BYTES: Final = 65_536
_CREDENTIALS: Final = struct.Struct("3i")
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class AdminSocket:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self, dispatcher: Dispatcher, path: Path) -> None:
        self._dispatcher = dispatcher
        self._path = path
        self._limiter = trio.CapacityLimiter(AT_ONCE_MAX)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answers for as long as the server runs. Raises ``OSError`` where the socket cannot be made."""
        with _listening(self._path) as listener:
            async with trio.open_nursery() as nursery:
                await nursery.start(trio.serve_listeners, self._serve, [trio.SocketListener(listener)])
                task_status.started()

    async def _serve(self, stream: trio.SocketStream) -> None:
        if not _may_command(stream.socket):
            _log.warning("somebody else tried to give commands through the admin socket")
            return
        line = b""
        with suppress(*_GONE), trio.move_on_after(REQUEST_S_MAX):
            line = await _read_line(stream)
        if line:
            await self._answer(stream, line)

    async def _answer(self, stream: trio.SocketStream, line: bytes) -> None:
        progress = _Progress()
        async with trio.open_nursery() as nursery, self._limiter:
            nursery.start_soon(progress.run, stream)
            answer = await self._obey(line, progress)
            nursery.cancel_scope.cancel()
        with suppress(*_GONE):
            # What an answer shows is for rooms; of a terminal nobody knows what it can show.
            said = asdict(answer)
            del said["attachment"]
            await _send(stream, said)

    async def _obey(self, line: bytes, progress: _Progress) -> Answer:
        try:
            request = orjson.loads(line)
            words, body = split(request["command"]), request.get("body")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return Answer(text="This is no command.", ok=False)
        except click.UsageError as error:
            return Answer(text=error.format_message(), ok=False)
        return await self._dispatcher.run(words, Call(is_private=True, body=body, report=progress.report))


class _Progress:
    """Tells whoever waits how far a command is: the newest, and not too often."""

    def __init__(self) -> None:
        self._newest = (0, 0)
        self._has_news = trio.Event()

    def report(self, done: int, total: int) -> None:
        self._newest = (done, total)
        self._has_news.set()

    async def run(self, stream: trio.SocketStream) -> None:
        with suppress(*_GONE):
            while True:
                await self._has_news.wait()
                self._has_news = trio.Event()
                done, total = self._newest
                await _send(stream, {"progress": {"done": done, "total": total}})
                await trio.sleep(PROGRESS_S)


@contextmanager
def _listening(path: Path) -> Iterator[trio.socket.SocketType]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # The file is made with this mode, so there is no moment at which others may open it.
        os.fchmod(listener.fileno(), MODE)
        path.unlink(missing_ok=True)
        with reachable(path) as address:
            listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        with trio.socket.from_stdlib_socket(listener) as wrapped:
            yield wrapped
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _may_command(connection: trio.socket.SocketType) -> bool:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return is_allowed(uid)


def is_allowed(uid: int) -> bool:
    return uid in (os.geteuid(), 0)


async def _read_line(stream: trio.SocketStream) -> bytes:
    """Nothing if it does not end, or is too long."""
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = await stream.receive_some(_CHUNK_BYTES)
        if not chunk or len(line) + len(chunk) > LINE_BYTES_MAX:
            return b""
        line += chunk
    return bytes(line)


async def _send(stream: trio.SocketStream, message: dict[str, Any]) -> None:
    await stream.send_all(orjson.dumps(message) + b"\n")
