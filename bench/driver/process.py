"""What a server used so far: its processes from ``/proc``, and what it counts itself."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from bench.driver.wire import Address, Connection, encode_request

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
SYNCS = re.compile(rb"^conduit_py_database_syncs_total ([0-9.e+]+)$", re.MULTILINE)


class Memory(NamedTuple):
    """In MiB, added up over the processes."""

    rss_anon: float
    """Private memory: what the server itself holds."""
    rss: float
    """All resident pages, those of files among them (an LMDB map, libraries), which the system can drop."""
    rss_peak: float


class Usage(NamedTuple):
    """Counted from the start of the server, or between two moments."""

    cpu_s: float = 0.0
    """User and system time."""
    written_bytes: int = 0
    """Sent to the disk, as the system counts for the processes: pages that were made dirty."""
    syncs: float | None = None
    """How often the server waited for the disk; None: it does not say."""

    def since(self, earlier: Usage) -> Usage:
        is_known = self.syncs is not None and earlier.syncs is not None
        return Usage(
            self.cpu_s - earlier.cpu_s,
            self.written_bytes - earlier.written_bytes,
            (self.syncs or 0.0) - (earlier.syncs or 0.0) if is_known else None,
        )


@dataclass(frozen=True, slots=True)
class Gauges:
    """Where to read what a server uses."""

    pid: int | None = None
    """The root of its processes; None: not known."""
    metrics: Address | None = None
    """Where it serves its own counters, in Prometheus' text format."""

    def read(self) -> Usage:
        usage = Usage() if self.pid is None else read_usage(self.pid)
        return usage if self.metrics is None else usage._replace(syncs=read_syncs(self.metrics))


def read_syncs(address: Address) -> float | None:
    """None when nothing listens there, as in versions of ours that did not count yet, or the counter is missing."""
    try:
        with Connection(address) as connection:
            reply = connection.exchange(encode_request("GET", "/metrics"))
    except ConnectionRefusedError:
        return None
    found = SYNCS.search(reply.body)
    return None if found is None else float(found[1])


def process_tree(pid: int) -> list[int]:
    """``pid`` and all that descend from it and live."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := stat_fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def stat_fields(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the state on; none when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rsplit(")", 1)[1].split()


def read_usage(pid: int) -> Usage:
    """Of ``pid`` and its descendants, those included that ended and were waited for."""
    ticks, written = 0, 0
    for each in process_tree(pid):
        fields = stat_fields(each)
        if fields:
            ticks += int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
            written += sum(value for name, value in _numbers(each, "io") if name == "write_bytes")
    return Usage(ticks * TICK_S, written)


def read_memory(pid: int) -> Memory:
    total = dict.fromkeys(("RssAnon", "VmRSS", "VmHWM"), 0)
    for each in process_tree(pid):
        for name, kib in _numbers(each, "status"):
            if name in total:
                total[name] += kib
    return Memory(*(kib / 1024 for kib in total.values()))


def _numbers(pid: int, file: str) -> Iterator[tuple[str, int]]:
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            yield name, int(words[0])


def wait_calm(pid: int, *, seconds_max: float = 10.0) -> None:
    """Return when the processes used less than a twentieth of a core for half a second, or after ``seconds_max``."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        before = read_usage(pid)
        time.sleep(0.5)
        if read_usage(pid).since(before).cpu_s < 0.025:
            return
