"""Where the time of one send, one long-poll and one initial sync goes: the tables of docs/profile.md.

    python -m bench.profile_page

prints them as Markdown. The server runs with timers around the functions in ``PARTS``. Each part counts its own CPU
time, in the thread that it runs in and without the parts that it calls; a part that waits for something does not count
the waiting. The timers themselves cost about a microsecond for each call, and that lands in the part around it.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.compare import Plan
from bench.driver.load import Limits
from bench.driver.process import read_usage
from bench.driver.scene import build_scene
from bench.driver.workloads import WORKLOADS, Stage, Workload
from bench.servers import Ours, Running, default_cache, prepare_server

TOLD: Final = signal.SIGUSR1
"""Write down what was counted, and begin anew."""

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "HTTP: reading the request": (
        "conduit_py.http.connection:Connection._next_head",
        "conduit_py.http.connection:Connection._begin",
        "conduit_py.http.connection:Connection._receive",
        "conduit_py.http.connection:Connection._pump",
    ),
    "HTTP: writing the reply": ("conduit_py.http.connection:Connection._send",),
    "HTTP: finding the handler, and the rest": ("conduit_py.http.app:App.asgi_app",),
    "authentication": ("conduit_py.api.auth:Authenticator.require_user",),
    "the send: locks, turn, transaction id": ("conduit_py.service.rooms.send:SendService.send_message",),
    "putting the event together": ("conduit_py.service.rooms.append:RoomAppend.create_event",),
    "hash, signature, format": ("conduit_py.service.rooms.append:Append.sign",),
    "authorization rules": ("conduit_py.service.rooms.append:check_event",),
    "rows of the event and its indexes": (
        "conduit_py.service.rooms.room_writer:RoomWriter.stage_event",
        "conduit_py.service.rooms.room_writer:RoomWriter.plan_ends",
        "conduit_py.service.rooms.room_writer:RoomWriter.stage_ends",
    ),
    "queues of servers and application services": (
        "conduit_py.service.rooms.room_writer:RoomWriter.stage_outgoing",
        "conduit_py.service.appservices.queue:AppServiceQueue.stage_event",
    ),
    "push rules, unread counts": ("conduit_py.service.rooms.unread:UnreadService.stage",),
    "after the commit: callbacks, wake-ups": ("conduit_py.storage.writer:Writer._settle",),
    "LMDB: rows into the transaction (other thread)": ("kvschema.engine.lmdb:LmdbEngine._apply_nested",),
    "LMDB: the commit (other thread, CPU alone)": ("kvschema.engine.lmdb:LmdbEngine.apply",),
    "the sync: waiting and tokens": ("conduit_py.service.sync.service:SyncService.sync",),
    "messages to the device that it has": ("conduit_py.service.e2ee.to_device:ToDeviceService.acknowledge",),
    "reply: what rooms to look at": (
        "conduit_py.service.sync.build:plan_everything",
        "conduit_py.service.sync.build:plan_changes",
    ),
    "reply: device lists, keys, messages to the device": ("conduit_py.service.sync.build:read_device_news",),
    "reply: presence": ("conduit_py.service.sync.build:SyncBuilder._build_presence",),
    "reply: timelines": ("conduit_py.service.sync.sections:_read_window",),
    "reply: events of timelines as JSON": ("conduit_py.service.sync.sections:_render_timeline",),
    "reply: choosing state": (
        "conduit_py.service.sync.sections:read_state",
        "conduit_py.service.sync.sections:choose_state",
        "conduit_py.service.sync.sections:choose_members",
    ),
    "reply: state as JSON": ("conduit_py.service.sync.sections:RoomSection.render_more",),
    "reply: summary, unread counts, receipts": (
        "conduit_py.service.sync.sections:build_summary",
        "conduit_py.service.sync.sections:RoomSection.render",
    ),
    "reply: messages that woke it": ("conduit_py.service.sync.build:SyncBuilder.build_messages",),
    "reply: the rest": (
        "conduit_py.service.sync.build:SyncBuilder.build",
        "conduit_py.service.sync.build:Reply.render",
    ),
}

TABLES: Final = (
    ("send1", "One send, in a room of 20", "conduit_py.service.rooms.send:SendService.send_message"),
    (
        "fanout",
        "One long-poll, from its request to the message it waited for",
        "conduit_py.service.sync.service:SyncService.sync",
    ),
    ("initial", "One initial sync, 8 rooms of 20", "conduit_py.service.sync.service:SyncService.sync"),
)
"""Workload, title, and whose calls are counted as the number of times."""


class Timers:
    """In the server."""

    def __init__(self) -> None:
        self._stacks = threading.local()
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    @contextmanager
    def running(self, part: str) -> Generator[None, None, None]:
        stack: list[float] | None = getattr(self._stacks, "stack", None)
        if stack is None:
            stack = self._stacks.stack = []
        stack.append(0.0)
        began = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - began
            inner = stack.pop()
            self.seconds[part] = self.seconds.get(part, 0.0) + spent - inner
            if stack:
                stack[-1] += spent

    def wrap(self, part: str, place: str) -> None:
        module_name, _, path = place.partition(":")
        owner: Any = importlib.import_module(module_name)
        *classes, name = path.split(".")
        for each in classes:
            owner = getattr(owner, each)
        function = getattr(owner, name)

        def note() -> None:
            self.calls[place] = self.calls.get(place, 0) + 1

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def timed(*args: Any, **kwargs: Any) -> Any:
                note()
                return await _Steps(self, part, function(*args, **kwargs).__await__())

        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def timed(*args: Any, **kwargs: Any) -> Any:
                note()
                return (yield from _Steps(self, part, function(*args, **kwargs)))

        else:

            @functools.wraps(function)
            def timed(*args: Any, **kwargs: Any) -> Any:
                note()
                with self.running(part):
                    return function(*args, **kwargs)

        setattr(owner, name, timed)


class _Steps:
    """A coroutine or a generator of which only the running is timed, and not the waiting."""

    def __init__(self, timers: Timers, part: str, steps: Generator[Any, Any, Any]) -> None:
        self._timers, self._part, self._steps = timers, part, steps

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """What the interpreter asks of whatever is awaited; the end comes as ``StopIteration``."""
        with self._timers.running(self._part):
            return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        with self._timers.running(self._part):
            return self._steps.throw(*error)

    def close(self) -> None:
        self._steps.close()


def serve(arguments: list[str], output: Path) -> None:
    """Run the server with timers; each ``TOLD`` adds a line to ``output``."""
    timers = Timers()
    for part, places in PARTS.items():
        for place in places:
            timers.wrap(part, place)

    def tell(*_: object) -> None:
        with output.open("a") as file:
            print(json.dumps({"seconds": timers.seconds, "calls": timers.calls}), file=file, flush=True)
        timers.seconds, timers.calls = {}, {}

    signal.signal(TOLD, tell)
    sys.argv = ["conduit_py", *arguments]
    importlib.import_module("conduit_py.__main__").main()


def measure(seconds: float) -> str:
    """The tables."""
    server = prepare_server("ours", default_cache())
    assert isinstance(server, Ours), "the first name in prepare_server"
    with tempfile.TemporaryDirectory(prefix="conduit_py-profile-") as name:
        directory = Path(name)
        output = directory / "timers"
        timed = replace(server, command=("-m", "bench.profile_page", "--serve", str(output)))
        with timed.start(directory) as running:
            plan = Plan(seconds=seconds)
            scene = build_scene(running.address, running.take_accounts(), room_version=plan.room_version)
            limits = Limits(seconds=seconds, warm_s=plan.warm_s, count_max=10**6)
            stage = Stage(scene=scene, limits=limits, readers=1, gauges=running.gauges)
            by_key = {workload.key: workload for workload in WORKLOADS}
            return "\n".join(_table(running, output, stage, by_key[key], *rest) for key, *rest in TABLES)


def _tell(running: Running, output: Path) -> dict[str, Any]:
    pid = running.gauges.pid
    assert pid is not None
    before = output.stat().st_size if output.exists() else 0
    os.kill(pid, TOLD)
    while not output.exists() or output.stat().st_size == before:
        time.sleep(0.05)
    found: dict[str, Any] = json.loads(output.read_text().splitlines()[-1])
    return found


def _table(running: Running, output: Path, stage: Stage, workload: Workload, title: str, counted: str) -> str:
    pid = running.gauges.pid
    assert pid is not None
    _tell(running, output)
    before = read_usage(pid).cpu_s
    workload.run(stage)
    cpu_s = read_usage(pid).cpu_s - before
    found = _tell(running, output)
    times = found["calls"][counted]
    lines = [f"## {title}", "", "| Part | us |", "|---|---:|"]
    for part in PARTS:
        spent_us = found["seconds"].get(part, 0.0) / times * 1e6
        if spent_us >= 1:
            lines.append(f"| {part} | {spent_us:.0f} |")
    timed_s = sum(found["seconds"].values())
    lines.append(f"| everything else: the scheduler, the kernel, the timers | {(cpu_s - timed_s) / times * 1e6:.0f} |")
    lines.append(f"| **CPU time in all** | **{cpu_s / times * 1e6:.0f}** |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="The tables of docs/profile.md.")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured for each table (default: 4)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.serve is not None:
        serve(rest, options.serve)
    else:
        print(measure(options.seconds))


if __name__ == "__main__":
    main()
