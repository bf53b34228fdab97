"""The socket that the command line gives commands through."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
import trio

from conduit_py.service.admin.commands import Answer, Call, Dispatcher
from conduit_py.service.admin.socket import AdminSocket, is_allowed
from conduit_py.service.admin.wire import LINE_BYTES_MAX, SOCKET_NAME, reachable


class Work:
    def __init__(self) -> None:
        self.has_begun, self.may_end = trio.Event(), trio.Event()
        self.is_done = False

    def build(self) -> Dispatcher:
        @click.command("work-hard")
        @click.pass_obj
        async def work_hard(call: Call) -> Answer:
            call.report(1, 3)
            call.report(2, 3)
            self.has_begun.set()
            await self.may_end.wait()
            self.is_done = True
            return Answer(text="done", secret="psst")

        @click.command("echo-body")
        @click.pass_obj
        async def echo_body(call: Call) -> Answer:
            return Answer(text=call.require_body("The text"))

        return Dispatcher({"Work": [work_hard, echo_body]}, new_id=lambda: "run")


@pytest.fixture
def work() -> Work:
    return Work()


@asynccontextmanager
async def open_socket(work: Work, path: Path) -> AsyncIterator[Path]:
    async with trio.open_nursery() as nursery:
        await nursery.start(AdminSocket(work.build(), path).run)
        yield path
        nursery.cancel_scope.cancel()


@pytest.fixture
async def path(work: Work, tmp_path: Path) -> AsyncIterator[Path]:
    async with open_socket(work, tmp_path / SOCKET_NAME) as path:
        yield path


async def connect(path: Path) -> trio.SocketStream:
    connection = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with reachable(path) as address:
        await connection.connect(address)
    return trio.SocketStream(connection)


async def ask(path: Path, raw: bytes) -> list[Any]:
    """Every line that is answered."""
    async with await connect(path) as stream:
        await stream.send_all(raw)
        received = b"".join([chunk async for chunk in stream])
    return [orjson.loads(line) for line in received.splitlines()]


def request(command: str, body: str | None = None) -> bytes:
    return orjson.dumps({"command": command, "body": body}) + b"\n"


async def test_command_is_answered_after_its_progress(work: Work, path: Path) -> None:
    work.may_end.set()
    *progress, answer = await ask(path, request("work-hard"))
    assert answer == {"text": "done", "is_table": False, "secret": "psst", "ok": True, "wants_body": False}
    assert progress in ([], [{"progress": {"done": 2, "total": 3}}])


async def test_progress_is_told_while_the_command_works(work: Work, path: Path) -> None:
    async with await connect(path) as stream:
        await stream.send_all(request("work-hard"))
        assert await stream.receive_some() == b'{"progress":{"done":2,"total":3}}\n'


async def test_body_is_asked_for_and_taken(path: Path) -> None:
    [answer] = await ask(path, request("echo-body"))
    assert (answer["ok"], answer["wants_body"]) == (False, True)
    [answer] = await ask(path, request("echo-body", "hello"))
    assert (answer["ok"], answer["text"]) == (True, "hello")


@pytest.mark.parametrize("raw", [b"nonsense\n", b"[]\n", b"{}\n", b'{"command": 3}\n', b'{"command": "\'"}\n'])
async def test_what_is_no_command_is_said_so(path: Path, raw: bytes) -> None:
    [answer] = await ask(path, raw)
    assert not answer["ok"]


async def test_line_without_end_is_not_answered(path: Path) -> None:
    async with await connect(path) as stream:
        await stream.send_all(b"x" * 1000)
        stream.socket.shutdown(socket.SHUT_WR)
        assert await stream.receive_some() == b""


async def test_line_that_is_too_long_is_not_answered(path: Path) -> None:
    async with await connect(path) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x" * (2 * LINE_BYTES_MAX))


async def test_command_is_brought_to_its_end_when_nobody_waits(work: Work, path: Path) -> None:
    async with await connect(path) as stream:
        await stream.send_all(request("work-hard"))
        await work.has_begun.wait()
    work.may_end.set()
    assert (await ask(path, request("help")))[0]["ok"]
    assert work.is_done


async def test_only_the_owner_may_open_it(path: Path) -> None:
    assert stat.S_IMODE((await trio.Path(path).stat()).st_mode) == 0o600


def test_only_the_owner_and_root_are_obeyed() -> None:
    assert is_allowed(os.geteuid())
    assert is_allowed(0)
    assert not is_allowed(os.geteuid() + 1)


async def test_socket_that_a_killed_server_left_is_replaced(work: Work, tmp_path: Path) -> None:
    left = tmp_path / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(left))
    async with open_socket(work, left) as path:
        assert (await ask(path, request("help")))[0]["ok"]
    assert not left.exists()


async def test_path_may_be_longer_than_the_system_takes(work: Work, tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 20) / ("path" * 20)
    directory.mkdir(parents=True)
    async with open_socket(work, directory / SOCKET_NAME) as path:
        assert path.is_socket()
        assert (await ask(path, request("help")))[0]["ok"]
