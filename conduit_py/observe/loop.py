"""Notices when the event loop stands still, and says what held it up.

A turn of the loop runs every task that has something to do, one after the other; everybody else waits for its end. An
instrument takes the time of each turn, which costs a microsecond; the tasks are not timed one by one, because that
would cost as much for every step of every request. What ran is found out by a thread instead: it looks every
``SLOW_TURN_S`` and, when a turn has lasted that long, takes down where the loop's thread stands. When nothing happens
for a while the thread sleeps; not at once, because waking it takes the interpreter from whoever has something to do. It
asks ``faulthandler``, which looks at all frames in one go: the frame objects of a thread that
runs on meanwhile are no safe ground to walk on.

A full run of the garbage collector may fall on any line; how much of a slow turn it took is told along with the line,
and so is how much of it the loop's thread ran at all: a host that is short of processors makes every turn slow.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import trio

from conduit_py.log import get_logger
from conduit_py.observe.seldom import Seldom

_log = get_logger(__name__)

SLOW_TURN_S: Final = 0.05
"""A turn of the loop that is longer is warned of."""
SILENCE_S: Final = 10.0
"""Without a turn of the loop for so long, nobody looks at it until there is one."""
WARNING_EVERY_S: Final = 10.0
COUNTED_TURN_S: Final = 0.005
"""Shorter turns are not counted: there are thousands of them in a second."""
WINDOW_S: Final = 10.0
"""How far back ``lag_s`` looks: this long at least, twice as long at most."""
FRAMES_MAX: Final = 8
_ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("conduit_py", "kvschema")
_FULL: Final = 2
"""The oldest generation of the garbage collector."""


class LoopWatch(trio.abc.Instrument):
    """Give it to ``trio.lowlevel.add_instrument`` in ``watching``, which also runs its thread.

    ``count`` is told of every turn of ``COUNTED_TURN_S`` or more, in seconds.
    """

    def __init__(
        self,
        count: Callable[[float], None] = lambda seconds: None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._count = count
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._seldom = Seldom(WARNING_EVERY_S, clock)
        self._started: float | None = None
        self._started_cpu = 0.0
        self._seen_at: tuple[str, ...] = ()
        self._collecting: float | None = None
        self._collected = 0.0
        self._is_asleep = False
        self._woken = threading.Event()
        self._is_over = False
        self._window_ends = 0.0
        self._longest = self._longest_before = 0.0

    @property
    def lag_s(self) -> float:
        """The longest turn of the last seconds."""
        self._move_window(self._clock())
        return max(self._longest, self._longest_before)

    # Called by trio

    def after_io_wait(self, timeout: float) -> None:
        self._started_cpu = self._cpu_clock()
        self._started = self._clock()
        if self._is_asleep:
            self._woken.set()

    def before_io_wait(self, timeout: float) -> None:
        if self._started is None:
            return
        now = self._clock()
        seconds, self._started = now - self._started, None
        if seconds >= COUNTED_TURN_S:
            self._note(seconds, now)

    def _note(self, seconds: float, now: float) -> None:
        self._move_window(now)
        self._longest = max(self._longest, seconds)
        self._count(seconds)
        seen, self._seen_at = self._seen_at, ()
        collected, self._collected = self._collected, 0.0
        if seconds >= SLOW_TURN_S and (left_out := self._seldom.ask()) is not None:
            _log.warning(
                "the event loop stood still",
                ms=round(seconds * 1000),
                cpu_ms=round((self._cpu_clock() - self._started_cpu) * 1000),
                garbage_collection_ms=round(collected * 1000),
                ran=" < ".join(seen) or "unknown",
                left_out=left_out,
            )

    def _move_window(self, now: float) -> None:
        if now >= self._window_ends:
            is_next = now < self._window_ends + WINDOW_S
            self._longest_before = self._longest if is_next else 0.0
            self._longest = 0.0
            self._window_ends = now + WINDOW_S

    # Of the garbage collector, in whichever thread it runs

    def _note_collection(self, phase: str, info: Mapping[str, Any]) -> None:
        if info["generation"] != _FULL:
            return
        if phase == "start":
            self._collecting = self._clock()
        elif self._collecting is not None:
            self._collected += self._clock() - self._collecting
            self._collecting = None

    # The thread

    def look(self, ident: int) -> None:
        """Take down where the thread ``ident`` stands if its turn is slow by now."""
        started = self._started
        if started is not None and self._clock() - started >= SLOW_TURN_S:
            places = tuple(_places(_read_stack(ident)))
            if self._started == started:
                self._seen_at = places

    def _run(self, ident: int) -> None:
        last, silent_s = -1.0, 0.0
        while not self._is_over:
            if silent_s >= SILENCE_S:
                self._sleep()
                silent_s = 0.0
            time.sleep(SLOW_TURN_S)
            self.look(ident)
            silent_s = silent_s + SLOW_TURN_S if self._started_cpu == last else 0.0
            last = self._started_cpu

    def _sleep(self) -> None:
        self._is_asleep = True  # before looking, so that a turn that begins meanwhile wakes it
        if self._started is None:
            self._woken.wait()
        self._is_asleep = False
        self._woken.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the loop that this is called in until the block ends."""
        thread = threading.Thread(target=self._run, args=(threading.get_ident(),), name="loop watch", daemon=True)
        trio.lowlevel.add_instrument(self)
        gc.callbacks.append(self._note_collection)
        thread.start()
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)
            gc.callbacks.remove(self._note_collection)
            self._is_over = True
            self._woken.set()


_FRAME: Final = re.compile(r'  File "(.*)", line (\d+) in (.*)')


def _read_stack(ident: int) -> Iterator[tuple[Path, str, str]]:
    """File, line and function of each frame of a thread, the innermost first."""
    descriptor = os.memfd_create("stacks", os.MFD_CLOEXEC)
    with open(descriptor, "r+b") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        text = file.read().decode(errors="replace")
    _, _, stack = text.partition(f"hread {ident:#018x} ")
    for line in stack.splitlines()[1:]:
        frame = _FRAME.fullmatch(line)
        if frame is None:
            return
        yield Path(frame[1]), frame[2], frame[3]


def _places(stack: Iterator[tuple[Path, str, str]]) -> Iterator[str]:
    """The innermost lines of ours, and the innermost line at all where that is not one of them."""
    found = 0
    for depth, (path, line, function) in enumerate(stack):
        is_ours = path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in _PACKAGES
        if is_ours or depth == 0:
            name = ".".join(path.relative_to(_ROOT).with_suffix("").parts) if is_ours else path.stem
            yield f"{name}:{line} {function}"
            found += 1
        if found == FRAMES_MAX:
            return
