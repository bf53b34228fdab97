"""Numbers about the running server, in Prometheus' text format.

`Metrics` declares every name; one is made for each server, so that several servers in one process do not mix. The kinds
are our own: three small classes, where the usual client library brings a global registry, collectors and a web server.

Counting is safe from every thread. Labels have few values by design (method, route, outcome); should one get out of
hand all the same, further values are counted together as ``other``.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

LABEL_SETS_MAX: Final = 1000
"""Series of one metric; about 200 bytes each, and what Prometheus keeps of them grows for ever."""

OTHER: Final = "other"

REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

DISK_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)

LOOP_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

Labels = tuple[str, ...]


class Metric(Protocol):
    """Something that can be rendered."""

    name: str
    help: str
    type: str

    def lines(self) -> Iterator[str]:
        """The samples, one a line."""
        ...


class _Labelled:
    """Values by label set, bounded in number."""

    def __init__(self, name: str, help_text: str, labels: Labels) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self._lock = threading.Lock()

    def _key(self, values: Labels, known: Mapping[Labels, object]) -> Labels:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} takes the labels {self.labels}, got {values}")
        return values if values in known or len(known) < LABEL_SETS_MAX else (OTHER,) * len(self.labels)


class Counter(_Labelled):
    """A number that only grows."""

    type = "counter"

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        super().__init__(name, help_text, labels)
        self._values: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, *values: str, amount: float = 1) -> None:
        """Count ``amount`` more under these label values."""
        if amount < 0:
            raise ValueError(f"{self.name} cannot shrink")
        with self._lock:
            key = self._key(values, self._values)
            self._values[key] = self._values.get(key, 0) + amount

    def get(self, *values: str) -> float:
        """What was counted under these label values."""
        return self._values.get(values, 0)

    def lines(self) -> Iterator[str]:
        """One sample for each label set."""
        with self._lock:
            samples = list(self._values.items())
        for values, value in samples:
            yield _sample(self.name, self.labels, values, value)


class Gauge:
    """A number that goes up and down: set from outside, or asked for when rendered. Unset, it is left out."""

    type = "gauge"

    def __init__(self, name: str, help_text: str, read: Callable[[], float | None] | None = None) -> None:
        self.name = name
        self.help = help_text
        self._lock = threading.Lock()
        self._value: float | None = None
        self._read = read

    def set(self, value: float) -> None:
        """The number is ``value`` now."""
        self._value = value

    def add(self, amount: float) -> None:
        """The number is ``amount`` more, or less, than it was."""
        with self._lock:
            self._value = (self._value or 0) + amount

    def read_from(self, read: Callable[[], float | None]) -> None:
        """Ask ``read`` whenever the number is rendered; it must not wait. `None` leaves the number out."""
        self._read = read

    def get(self) -> float | None:
        """The number as it would be rendered."""
        return self._value if self._read is None else self._read()

    def lines(self) -> Iterator[str]:
        """One sample, or none."""
        value = self.get()
        if value is not None:
            yield _sample(self.name, (), (), value)


class ReadCounter(Gauge):
    """A number that only grows and is counted elsewhere."""

    type = "counter"


class ReadSamples:
    """Numbers by one label that are kept elsewhere. ``read`` must not wait, and gives few labels."""

    def __init__(self, name: str, help_text: str, label: str, *, is_counter: bool = False) -> None:
        self.name = name
        self.help = help_text
        self.type = "counter" if is_counter else "gauge"
        self._label = label
        self._read: Callable[[], Mapping[str, float]] = dict

    def read_from(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Ask ``read`` whenever the numbers are rendered."""
        self._read = read

    def lines(self) -> Iterator[str]:
        """One sample for each label."""
        for value, number in self._read().items():
            yield _sample(self.name, (self._label,), (value,), number)


class Histogram(_Labelled):
    """How often a measure fell into each of a few ranges."""

    type = "histogram"

    def __init__(self, name: str, help_text: str, buckets: tuple[float, ...], labels: Labels = ()) -> None:
        """``buckets`` are the upper ends of the ranges, ascending; one more range has no end."""
        if list(buckets) != sorted(set(buckets)):
            raise ValueError(f"the buckets of {name} must ascend")
        super().__init__(name, help_text, labels)
        self.buckets = buckets
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, *values: str) -> None:
        """Count one measure under these label values."""
        with self._lock:
            key = self._key(values, self._counts)
            counts = self._counts.setdefault(key, [0] * (len(self.buckets) + 1))
            counts[bisect_left(self.buckets, value)] += 1
            self._sums[key] = self._sums.get(key, 0) + value

    def lines(self) -> Iterator[str]:
        """For each label set: how many measures were at most each bucket's end, their sum and their number."""
        with self._lock:
            samples = [(values, tuple(counts), self._sums[values]) for values, counts in self._counts.items()]
        for values, counts, total in samples:
            below = 0
            for end, count in zip((*self.buckets, math.inf), counts, strict=True):
                below += count
                yield _sample(f"{self.name}_bucket", (*self.labels, "le"), (*values, _number(end)), below)
            yield _sample(f"{self.name}_sum", self.labels, values, total)
            yield _sample(f"{self.name}_count", self.labels, values, below)


class Metrics:
    """Every number of one server. This is the one place where names are given."""

    def __init__(self) -> None:
        self.http_requests = Counter(
            "conduit_py_http_requests_total", "Requests answered.", ("method", "route", "status")
        )
        self.http_seconds = Histogram(
            "conduit_py_http_request_seconds", "Time from request to answer.", REQUEST_SECONDS, ("route",)
        )
        self.rate_limited = Counter("conduit_py_rate_limited_total", "Requests over a rate limit.", ("limit",))
        self.pushes = Counter("conduit_py_pushes_total", "Requests to push gateways.", ("outcome",))
        self.sync_waiting = Gauge("conduit_py_sync_waiting", "Syncs waiting for news.")
        self.commits = ReadCounter("conduit_py_database_commits_total", "Writes on disk.")
        self.commit_groups = ReadCounter("conduit_py_database_syncs_total", "Groups of writes that shared an fsync.")
        self.commit_seconds = Histogram(
            "conduit_py_database_commit_seconds", "From the queue of writes to the disk.", DISK_SECONDS
        )
        self.sync_seconds = Histogram(
            "conduit_py_database_sync_seconds", "One group of writes, its fsync included.", DISK_SECONDS
        )
        self.commits_waiting = Gauge("conduit_py_database_commits_waiting", "Writes that are queued or want to be.")
        self.disk_full = Gauge("conduit_py_disk_full", "1 while writes are refused for want of room.")
        self.database_bytes = ReadSamples(
            "conduit_py_database_bytes",
            "Bytes: of the database in trees, in pages that were ever used, in its map, and what is free on its disk.",
            "of",
        )
        self.media_bytes = ReadSamples(
            "conduit_py_media_bytes", "Bytes of media files by scope, as the last hourly sweep found them.", "scope"
        )
        self.received_pdus = ReadSamples(
            "conduit_py_received_pdus_total",
            "Events in transactions of other servers; dropped got an error for an answer.",
            "outcome",
            is_counter=True,
        )
        self.server_requests = ReadSamples(
            "conduit_py_server_requests_total", "Requests to other servers.", "outcome", is_counter=True
        )
        self.sending_waiting = ReadSamples(
            "conduit_py_sending_waiting", "What waits to be sent to other servers, about.", "kind"
        )
        self.sending_destinations = ReadSamples(
            "conduit_py_sending_destinations", "Other servers that something waits for or that fail.", "state"
        )
        self.copies_cut = ReadCounter(
            "conduit_py_copies_cut_total",
            "Times that a copy of the data directory, had one been made, lost what it was promised.",
        )
        self.cache_bytes = Gauge("conduit_py_cache_bytes", "Memory of decoded objects.")
        self.cache_hits = ReadCounter("conduit_py_cache_hits_total", "Looks into the object cache that found it.")
        self.cache_misses = ReadCounter("conduit_py_cache_misses_total", "Looks into the object cache that did not.")
        self.loop_seconds = Histogram(
            "conduit_py_loop_turn_seconds", "Turns of the event loop of 5 ms or more: everybody waits.", LOOP_SECONDS
        )
        self.process_memory = Gauge("process_resident_memory_bytes", "Memory of the process.", _resident_bytes)
        self.process_anonymous = Gauge(
            "conduit_py_anonymous_memory_bytes", "Memory of the process without the database's file.", _anonymous_bytes
        )
        self.process_cpu = ReadCounter("process_cpu_seconds_total", "Processor time of the process.", _cpu_seconds)
        self.process_files = Gauge("process_open_fds", "Open files and sockets.", _open_files)

    def render(self) -> str:
        """The page that Prometheus fetches; its type is `CONTENT_TYPE`."""
        return "".join(_page(metric) for metric in vars(self).values())


def _page(metric: Metric) -> str:
    head = (f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.type}")
    return "".join(f"{line}\n" for line in (*head, *metric.lines()))


def _sample(name: str, labels: Labels, values: Labels, value: float) -> str:
    pairs = (f'{label}="{_escaped(text, quotes=True)}"' for label, text in zip(labels, values, strict=True))
    return f"{name}{{{','.join(pairs)}}} {_number(value)}" if labels else f"{name} {_number(value)}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) else repr(float(value))


def _resident_bytes() -> float | None:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None  # Not Linux.
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _anonymous_bytes() -> float | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), None)
    return None if kib is None else int(kib) * 1024


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def _open_files() -> float | None:
    if not sys.platform.startswith("linux"):
        return None
    return len(os.listdir("/proc/self/fd"))
