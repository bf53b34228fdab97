"""What the driver itself costs.

    python -m bench.driver.selftest

Runs the closed loop against a responder that answers every request with the same bytes, and prints the CPU time of the
driver for each request. Ends with 1 when that is above the limit. The responder runs in another process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import select
import socket
import sys
from multiprocessing.connection import Connection as Pipe
from typing import Final

from bench.driver.load import Client, Limits, percentile, run_load
from bench.driver.process import Gauges
from bench.driver.wire import RECEIVE_BYTES, Address, encode_request

DRIVER_US_MAX: Final = 60.0
REPLY: Final = (
    b"HTTP/1.1 200 OK\r\nServer: trivial\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 61\r\n\r\n"
    b'{"event_id":"$0123456789abcdef0123456789abcdef0123456789abc"}'
)


def respond(pipe: Pipe) -> None:
    """Take each piece that arrives for one request. Never returns."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    pipe.send(listener.getsockname()[1])
    peers: dict[int, socket.socket] = {}
    while True:
        for fileno, _ in poll.poll():
            if fileno == listener.fileno():
                peer = listener.accept()[0]
                peers[peer.fileno()] = peer
                poll.register(peer.fileno(), select.EPOLLIN)
            elif peers[fileno].recv(RECEIVE_BYTES):
                peers[fileno].sendall(REPLY)
            else:
                poll.unregister(fileno)
                peers.pop(fileno).close()


class Sends:
    """Requests as the send workloads make them."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self) -> bytes:
        self._number += 1
        target = f"/_matrix/client/v3/rooms/%21{'r' * 43}/send/m.room.message/{self._number}"
        return encode_request("PUT", target, token="t" * 40, body={"msgtype": "m.text", "body": "hello"})


def measure_driver(*, clients: int, seconds: float) -> tuple[float, float, float]:
    """CPU microseconds of the driver for each request, requests each second, median latency in microseconds."""
    ours, theirs = multiprocessing.Pipe()
    responder = multiprocessing.get_context("spawn").Process(target=respond, args=(theirs,), daemon=True)
    responder.start()
    theirs.close()
    try:
        address = Address("127.0.0.1", ours.recv())
        limits = Limits(seconds=seconds, warm_s=0.2, count_max=1_000_000)
        sends = [Client(Sends(), lambda body: b'"event_id"' in body) for _ in range(clients)]
        window = run_load(address, sends, limits, gauges=Gauges())
    finally:
        responder.terminate()
        responder.join()
    return window.driver_s / window.count * 1e6, window.rate, percentile(window.latencies_ns, 0.5) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description="What the driver itself costs.")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each number of clients (default: 2)")
    options = parser.parse_args()
    costs = []
    for clients in (1, 16, 64):
        cost_us, rate, p50_us = measure_driver(clients=clients, seconds=options.seconds)
        costs.append(cost_us)
        print(f"{clients:3} clients {cost_us:7.1f} us CPU each {rate:8.0f} each second, p50 {p50_us:7.0f} us")
    verdict = "within" if max(costs) < DRIVER_US_MAX else "ABOVE"
    print(f"{verdict} the limit of {DRIVER_US_MAX:.0f} us for each request")
    sys.exit(max(costs) >= DRIVER_US_MAX)


if __name__ == "__main__":
    main()
