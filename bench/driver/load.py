"""Closed loops: each client sends its next request when its last one was answered, all in one thread."""

from __future__ import annotations

import math
import select
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from bench.driver.process import Gauges, Usage
from bench.driver.wire import TIMEOUT_S, Address, Connection, DriverError, Reply, wrong_reply

NextRequest = Callable[[], bytes]
Check = Callable[[bytes], bool]


class Client(NamedTuple):
    """One of those that send again when answered."""

    next_request: NextRequest
    check: Check
    """Whether the body of a 200 has in it what it must have. Called while the clock runs: look for bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a workload is measured: after ``warm_s``, for ``seconds`` or ``count_max`` replies, what comes first."""

    seconds: float
    warm_s: float
    count_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was seen between the end of the warm-up and the end of the measurement."""

    latencies_ns: array[int]
    elapsed_s: float
    usage: Usage
    """The server's."""
    driver_s: float
    """CPU time of the driver's thread."""

    @property
    def count(self) -> int:
        return len(self.latencies_ns)

    @property
    def rate(self) -> float:
        return self.count / self.elapsed_s


def require_right(reply: Reply, check: Check) -> None:
    if reply.status != 200 or not check(reply.body):
        raise wrong_reply(reply)


def percentile(values: Sequence[int], fraction: float) -> int:
    """The nearest rank: the smallest value that is not below ``fraction`` of all."""
    if not values:
        raise DriverError("nothing was measured")
    return sorted(values)[max(math.ceil(fraction * len(values)), 1) - 1]


class Meter:
    """Reads the counters at both ends of a window."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges
        self._usage = gauges.read()
        self._driver_s = time.thread_time()
        self.started_ns = time.perf_counter_ns()

    def end(self, latencies_ns: array[int]) -> Window:
        ended_ns, driver_s = time.perf_counter_ns(), time.thread_time()
        return Window(
            latencies_ns=latencies_ns,
            elapsed_s=(ended_ns - self.started_ns) / 1e9,
            usage=self._gauges.read().since(self._usage),
            driver_s=driver_s - self._driver_s,
        )


def run_load(address: Address, clients: Sequence[Client], limits: Limits, *, gauges: Gauges) -> Window:
    """Measure ``clients``, each with a connection of its own.

    Raises: WrongReply for the first reply that is not 200 or does not pass its client's check.
    """
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(address)) for _ in clients]
        poll = stack.enter_context(select.epoll())
        for connection in connections:
            poll.register(connection.socket.fileno(), select.EPOLLIN)
        return _Loop(connections, clients, poll).run(limits, gauges)


class _Loop:
    def __init__(self, connections: Sequence[Connection], clients: Sequence[Client], poll: select.epoll) -> None:
        self._poll = poll
        self._clients = {
            connection.socket.fileno(): (connection, client)
            for connection, client in zip(connections, clients, strict=True)
        }
        self._sent_ns: dict[int, int] = {}

    def run(self, limits: Limits, gauges: Gauges) -> Window:
        for fileno in self._clients:
            self._send(fileno)
        self._turn(time.perf_counter_ns() + int(limits.warm_s * 1e9), limits.count_max)
        meter = Meter(gauges)
        latencies = self._turn(meter.started_ns + int(limits.seconds * 1e9), limits.count_max)
        window = meter.end(latencies)
        self._drain()
        return window

    def _send(self, fileno: int) -> None:
        connection, client = self._clients[fileno]
        request = client.next_request()
        self._sent_ns[fileno] = time.perf_counter_ns()
        connection.socket.sendall(request)

    def _turn(self, until_ns: int, count_max: int) -> array[int]:
        """Latencies of the replies until then. What is on the way at the end stays on the way."""
        latencies: array[int] = array("q")
        clock, sent_ns = time.perf_counter_ns, self._sent_ns
        silent_since_ns = clock()
        while (left_ns := until_ns - clock()) > 0 and len(latencies) < count_max:
            ready = self._poll.poll(left_ns / 1e9)
            if ready:
                silent_since_ns = clock()
            elif clock() - silent_since_ns > TIMEOUT_S * 1e9:
                raise DriverError(f"no reply for {TIMEOUT_S:.0f} s")
            for fileno, _ in ready:
                connection, client = self._clients[fileno]
                reply = connection.receive()
                if reply is not None:
                    latencies.append(clock() - sent_ns[fileno])
                    require_right(reply, client.check)
                    self._send(fileno)
        return latencies

    def _drain(self) -> None:
        """Take the replies that are on the way, so that the next workload starts with a calm server."""
        waiting = set(self._clients)
        while waiting:
            ready = self._poll.poll(TIMEOUT_S)
            if not ready:
                raise DriverError(f"no reply for {TIMEOUT_S:.0f} s")
            for fileno, _ in ready:
                connection, client = self._clients[fileno]
                reply = connection.receive()
                if reply is not None:
                    require_right(reply, client.check)
                    waiting.discard(fileno)
