"""Giving a command to the server that runs, or doing it where none does."""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import click
import orjson

from conduit_py.commands.options import Refused
from conduit_py.commands.running import run
from conduit_py.config import Config
from conduit_py.log import setup_logging
from conduit_py.service.admin.commands import Answer, Call
from conduit_py.service.admin.wire import SOCKET_NAME, reachable
from kvschema.errors import StorageError

Tell = Callable[[int, int], None]
"""How far the server is: what is done, of how much."""


def give(config: Config, words: Sequence[str], *, secret_name: str = "Secret") -> None:
    """Have a command done and say what came of it. Raises ``Refused`` with why it was not.

    A text that the command needs is read from standard input.
    """
    with _Bar() as bar:
        answer = _ask(config, words, None, bar.tell)
    if answer.wants_body:
        if sys.stdin.isatty():
            click.echo("Give the text that belongs to the command, and Ctrl-D at its end:", err=True)
        body = sys.stdin.read()
        with _Bar() as bar:
            answer = _ask(config, words, body, bar.tell)
    if not answer.ok:
        raise Refused(answer.text)
    click.echo(answer.text)
    if answer.secret is not None:
        click.echo(f"{secret_name}: {answer.secret}\nIt is shown only this once.")


def _ask(config: Config, words: Sequence[str], body: str | None, tell: Tell) -> Answer:
    answer = _ask_server(config, words, body, tell)
    return _do_alone(config, words, body) if answer is None else answer


def _ask_server(config: Config, words: Sequence[str], body: str | None, tell: Tell) -> Answer | None:
    """None where no server runs."""
    path = config.database_path / SOCKET_NAME
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        try:
            with reachable(path) as address:
                connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise Refused(f"the server at {path} cannot be asked: {error.strerror}") from None
        request = {"command": shlex.join(words), "body": body}
        connection.sendall(orjson.dumps(request) + b"\n")
        with connection.makefile("rb") as lines:
            for line in lines:
                message: dict[str, Any] = orjson.loads(line)
                if "progress" not in message:
                    return Answer(**message)
                tell(message["progress"]["done"], message["progress"]["total"])
    raise Refused("the server has stopped before it answered: nobody knows how far it came")


def _do_alone(config: Config, words: Sequence[str], body: str | None) -> Answer:
    # Imported here: it is the whole server.
    from conduit_py.server import command_alone

    setup_logging("error", config.log_format)
    try:
        return run(command_alone, config, words, Call(is_private=True, body=body))
    except* (StorageError, OSError) as group:
        error = group.exceptions[0]
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise Refused(str(error)) from None


class _Bar:
    """On a terminal, once something is told."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)

    def tell(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(done - self._done)
        self._done = done
