"""The closed loop counts what was answered, and stops at the first wrong reply."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from bench.driver.load import Client, Limits, Window, percentile, run_load
from bench.driver.process import Gauges
from bench.driver.wire import Address, DriverError, WrongReply

REPLY = b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"event_id":"$abcd"}'[:-1]
LIMITS = Limits(seconds=30.0, warm_s=0.0, count_max=40)


@contextmanager
def responder(connections: int, reply: bytes = REPLY) -> Iterator[Address]:
    """Answers each piece that comes with the same bytes, one thread for each connection."""

    def answer(peer: socket.socket) -> None:
        with peer, suppress(ConnectionError):  # a driver that stops does not read what is on the way
            while peer.recv(65536):
                peer.sendall(reply)

    def accept() -> None:
        answering = [threading.Thread(target=answer, args=(listener.accept()[0],)) for _ in range(connections)]
        for thread in answering:
            thread.start()
        for thread in answering:
            thread.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield Address("127.0.0.1", listener.getsockname()[1])
        finally:
            accepting.join()


def run(clients: int, *, limits: Limits = LIMITS, needed: bytes = b"event_id") -> tuple[Window, int]:
    """The window, and how many requests were made."""
    numbers = itertools.count()

    def next_request() -> bytes:
        return b"GET /%d HTTP/1.1\r\n\r\n" % next(numbers)

    with responder(clients) as address:
        each = Client(next_request, lambda body: needed in body)
        window = run_load(address, [each] * clients, limits, gauges=Gauges())
    return window, next(numbers)


@pytest.mark.parametrize("clients", [1, 5])
def test_every_reply_in_the_window_is_counted(clients: int) -> None:
    window, requests = run(clients)
    assert LIMITS.count_max <= window.count < LIMITS.count_max + clients
    assert requests == window.count + clients  # those on the way at the end are taken, and not counted
    assert min(window.latencies_ns) > 0
    assert window.rate == pytest.approx(window.count / window.elapsed_s)


def test_warm_up_is_bounded_by_count_and_not_counted() -> None:
    window, requests = run(1, limits=Limits(seconds=30.0, warm_s=30.0, count_max=7))
    assert window.count == 7
    assert requests == 7 + 7 + 1


def test_reply_without_what_it_needs_stops_the_run() -> None:
    with pytest.raises(WrongReply):
        run(2, needed=b"room_id")


def test_percentile_is_the_nearest_rank() -> None:
    values = list(range(100, 0, -1))
    assert [percentile(values, fraction) for fraction in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7], 0.99) == 7


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(DriverError):
        percentile([], 0.5)
