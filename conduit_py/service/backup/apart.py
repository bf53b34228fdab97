"""Runs work on copies in a process of its own, and passes on what it tells.

The process is a fresh Python that is given this one's module path, so that it finds the program wherever that was
started from, a zipapp too. Order and messages are lines of JSON.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

import orjson
import trio

from conduit_py.service.backup.messages import Died, Finding, Impossible, Kind, Message, Progress, Tell

_BOOT: Final = (
    "import json, sys; order = json.loads(sys.stdin.buffer.readline()); sys.path[:] = order['path']; "
    "from conduit_py.service.backup.apart import obey; obey(order)"
)
LINE_BYTES_MAX: Final = 1 << 20
STDERR_BYTES_MAX: Final = 64 * 1024
WATCH_S: Final = 0.5
NICENESS: Final = 5
"""The server goes first where there are few cores."""
_FROM_OUTSIDE: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Work = Callable[..., Mapping[str, Any]]
"""Takes ``tell`` and the order's arguments. Raises ``Impossible``."""


async def run_apart(module: str, function: str, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Have a function of a module run, and return what it returns. It ends when this is cancelled.

    Raises ``Impossible`` where it does, and ``Died``.
    """
    order = {"path": sys.path, "parent": os.getpid(), "module": module, "function": function, "arguments": arguments}
    answers: list[Mapping[str, Any]] = []
    last_words = bytearray()
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            [sys.executable, "-P", "-c", _BOOT],
            stdin=orjson.dumps(order) + b"\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        process: trio.Process | None = None
        why = ""
        try:
            process = await nursery.start(start)
        except OSError as error:
            # The system has no room for one more, or the program was removed while it ran.
            why = str(error)
        if process is not None:
            assert process.stdout is not None
            assert process.stderr is not None
            nursery.start_soon(_read_stderr, process.stderr, last_words)
            await _read_lines(process.stdout, lambda line: _hear(line, tell, answers))
    if process is None:
        raise Impossible(f"a process for the work cannot be started: {why}")
    # Whoever did the work may have been ended right after it.
    if not answers:
        raise _obituary(process.returncode or 0, bytes(last_words))
    refusal = answers[0].get("refusal")
    if refusal is not None:
        raise Impossible(refusal)
    return answers[0]


def _hear(line: bytes, tell: Tell, answers: list[Mapping[str, Any]]) -> None:
    match orjson.loads(line):
        case {"finding": kind, "text": text}:
            tell(Finding(Kind(kind), text))
        case {"step": step, "done": done, "total": total}:
            tell(Progress(step, done, total))
        case {"answer": answer}:
            answers.append(answer)


async def _read_lines(stream: trio.abc.ReceiveStream, hear: Callable[[bytes], None]) -> None:
    waiting = bytearray()
    async for chunk in stream:
        waiting += chunk
        *lines, rest = waiting.split(b"\n")
        for line in lines:
            hear(bytes(line))
        waiting = bytearray(rest)
        assert len(waiting) < LINE_BYTES_MAX


async def _read_stderr(stream: trio.abc.ReceiveStream, kept: bytearray) -> None:
    async for chunk in stream:
        kept += chunk
        del kept[:-STDERR_BYTES_MAX]


def _obituary(code: int, last_words: bytes) -> Died:
    if code < 0:
        return Died(f"was ended by {signal.Signals(-code).name}", is_killed=-code in _FROM_OUTSIDE)
    lines = last_words.decode(errors="replace").strip().splitlines()
    return Died(f"ended early: {lines[-1] if lines else f'with {code}'}", is_killed=False)


def obey(order: Mapping[str, Any]) -> None:
    """The other side: do what the line on standard input says."""
    os.nice(NICENESS)
    threading.Thread(target=_end_with, args=(order["parent"],), daemon=True).start()
    # What was begun is cleaned up.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    work: Work = getattr(import_module(order["module"]), order["function"])
    try:
        answer = work(_tell_on, **order["arguments"])
    except (Impossible, OSError) as error:
        answer = {"refusal": str(error)}
    _write({"answer": answer})


def _end_with(parent: int) -> None:
    """Who gave the order may be killed, and whoever comes next gives it again."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


def _tell_on(message: Message) -> None:
    match message:
        case Finding(kind, text):
            _write({"finding": kind, "text": text})
        case Progress(step, done, total):
            _write({"step": step, "done": done, "total": total})


def _write(line: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
    sys.stdout.buffer.flush()
