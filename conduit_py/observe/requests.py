"""Where the time of a request goes: told to the metrics, to the log when it was long, and to an exporter of traces.

``RequestWatch.begin`` opens a `Tally` for one request. Whatever the request waits for deep down is named there by
whoever waits, and lands in the tally of the request it is done for, in the tasks and threads it starts, too::

    with timed(COMMIT):
        await turn.done.wait()

Done for no request, it costs two looks at a context variable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, Protocol

from conduit_py.log import REQUEST_ID, get_logger
from conduit_py.observe.seldom import Seldom

_log = get_logger(__name__)

NEWS: Final = "news"
"""A long-poll waits for something to tell."""
BODY: Final = "body"
"""The client has not sent all of its request."""
COMMIT: Final = "commit"
"""Something is on its way to the disk."""
SERVERS: Final = "other_servers"
"""Another server has been asked."""
WORKERS: Final = "workers"
"""A thread or process works on it, or will when one is free."""

NOT_OURS: Final = (NEWS, BODY)
"""Waiting for these makes no request slow."""

SLOW_REQUEST_S: Final = 3.0
"""A request that takes longer is warned of."""
WARNING_EVERY_S: Final = 5.0

OTHER: Final = "other"
"""The route of a path that no operation has."""

Observe = Callable[[str, str, int, float], None]
"""Told of every answered request: path template (`OTHER` for unknown paths), method, status, and the seconds that it
took, those in which it waited for news or for its client not counted."""


class Trace(Protocol):
    """One request as an exporter of traces sees it."""

    def add(self, name: str, attributes: Mapping[str, str], started_ns: int, ended_ns: int) -> None:
        """Something that the request waited for."""
        ...

    def end(self, route: str, status: int | None) -> None:
        """The request is over; without a status it was never answered."""
        ...


class Tracer(Protocol):
    """Makes traces."""

    def begin(self, method: str, request_id: str) -> Trace: ...


class Tally:
    """One request. Made by ``RequestWatch.begin``; use it in a ``with`` block, which is the time of the request."""

    __slots__ = (
        "_answered",
        "_started",
        "_tokens",
        "_watch",
        "method",
        "request_id",
        "route",
        "seconds",
        "status",
        "trace",
    )

    def __init__(self, watch: RequestWatch, request_id: str, method: str, trace: Trace | None) -> None:
        self._watch = watch
        self._started = watch.clock()
        self._answered: float | None = None
        self._tokens: tuple[Token[str | None], Token[Tally | None]] | None = None
        self.request_id = request_id
        self.method = method
        self.trace = trace
        self.route = OTHER
        self.status: int | None = None
        self.seconds: dict[str, float] | None = None
        """By what was waited for; nothing is made for a request that waits for the first time, as thousands may."""

    def __enter__(self) -> Tally:
        self._tokens = REQUEST_ID.set(self.request_id), _tally.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tokens is not None
        self._watch.end(self)
        request_id, tally = self._tokens
        REQUEST_ID.reset(request_id)
        _tally.reset(tally)

    def answer(self, status: int) -> None:
        """The answer is known; how long its client takes to read it is no matter."""
        self.status = status
        self._answered = self._watch.clock()

    @property
    def spent_s(self) -> float:
        """From the request to its answer, or until now; what was waited for is in it."""
        return (self._watch.clock() if self._answered is None else self._answered) - self._started

    def has_waited_for(self, what: str) -> bool:
        return self.seconds is not None and what in self.seconds

    def add(self, what: str, seconds: float) -> None:
        """So long it waited for that."""
        if self.seconds is None:
            self.seconds = {}
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds


_tally: ContextVar[Tally | None] = ContextVar("tally", default=None)


class timed:  # reads as the statement it is
    """The time of the block is spent waiting for ``what``, on behalf of the request it runs for."""

    __slots__ = ("_attributes", "_started", "_started_ns", "_tally", "_what")

    def __init__(self, what: str, **attributes: str) -> None:
        self._what = what
        self._attributes = attributes
        self._started = 0.0
        self._started_ns = 0
        self._tally: Tally | None = None

    def __enter__(self) -> None:
        tally = self._tally = _tally.get()
        if tally is not None:
            self._started = time.perf_counter()
            if tally.trace is not None:
                self._started_ns = time.time_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tally = self._tally
        if tally is None:
            return
        seconds = time.perf_counter() - self._started
        tally.add(self._what, seconds)
        if tally.trace is not None:
            attributes = self._attributes if kind is None else {**self._attributes, "error": kind.__name__}
            tally.trace.add(self._what, attributes, self._started_ns, self._started_ns + int(seconds * 1e9))


class RequestWatch:
    """One per application. ``observe`` must not block; ``clock`` gives seconds."""

    def __init__(
        self,
        observe: Observe = lambda route, method, status, seconds: None,
        tracer: Tracer | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._observe = observe
        self._tracer = tracer
        self._seldom = Seldom(WARNING_EVERY_S, clock)
        self.clock = clock

    def begin(self, request_id: str, method: str) -> Tally:
        """A request has come."""
        trace = None if self._tracer is None else self._tracer.begin(method, request_id)
        return Tally(self, request_id, method, trace)

    def end(self, tally: Tally) -> None:
        """Called by the tally when its block ends."""
        waited = tally.seconds or {}
        seconds = tally.spent_s - sum(waited.get(what, 0.0) for what in NOT_OURS)
        if tally.status is not None:
            self._observe(tally.route, tally.method, tally.status, seconds)
        if seconds >= SLOW_REQUEST_S and (left_out := self._seldom.ask()) is not None:
            parts: dict[str, Any] = {
                f"{what}_ms": round(part * 1000) for what, part in waited.items() if what not in NOT_OURS
            }
            _log.warning(
                "slow request",
                method=tally.method,
                route=tally.route,
                status=tally.status or "not answered",
                ms=round(seconds * 1000),
                **parts,
                left_out=left_out,
            )
        if tally.trace is not None:
            tally.trace.end(tally.route, tally.status)
