"""What one small request costs the server, and what one waiting connection does.

    python -m bench.http_edge

Prints CPU time of the server process for each request over keep-alive, driven by raw sockets, and memory for each
connection that waits in a long-poll. The driver runs in another process, so its own cost is not counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import time
from multiprocessing.connection import Connection
from typing import Any, Final

import trio

from conduit_py.http import App, HttpConfig, Json, Request, Routes, serve_http

REQUEST_BYTES_MAX: Final = 20 * 1024 * 1024
BATCH: Final = 500

HEADERS: Final = (
    b"Host: one.test\r\nAuthorization: Bearer syt_0123456789abcdef_0123456789\r\n"
    b"User-Agent: bench/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n"
)
WHOAMI: Final = b"GET /_matrix/client/v3/account/whoami HTTP/1.1\r\n" + HEADERS + b"\r\n"
BODY: Final = b'{"msgtype":"m.text","body":"hello"}'
SEND: Final = (
    b"PUT /_matrix/client/v3/rooms/%21room%3Aone.test/send/m.room.message/1 HTTP/1.1\r\n"
    + HEADERS
    + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    + BODY
)
POLL: Final = b"GET /_matrix/client/v3/sync?timeout=30000 HTTP/1.1\r\n" + HEADERS + b"\r\n"


def operations() -> Routes:
    routes = Routes("bench")

    @routes.get("/_matrix/client/v3/account/whoami")
    async def get_token_owner(request: Request) -> Json:
        assert request.headers.get("authorization")
        return {"user_id": "@alice:one.test", "device_id": "ABCDEFGH"}

    @routes.put("/_matrix/client/v3/rooms/<room_id>/send/<event_type>/<txn_id>")
    async def send_message(request: Request, room_id: str, event_type: str, txn_id: str) -> Json:
        await request.json_object()
        await trio.lowlevel.checkpoint()
        return {"event_id": "$0123456789abcdef0123456789abcdef0123456789a"}

    @routes.get("/_matrix/client/v3/sync")
    async def sync(request: Request) -> Json:
        assert request.args["timeout"]
        await trio.sleep_forever()

    return routes


def memory_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def server(pipe: Connection) -> None:
    async def main() -> None:
        app: Any = App([operations()], request_bytes_max=REQUEST_BYTES_MAX)
        config = HttpConfig(hosts=("127.0.0.1",))
        async with trio.open_nursery() as nursery:
            urls = await nursery.start(
                lambda task_status: serve_http(app, config, stop=trio.Event(), task_status=task_status)
            )
            pipe.send(int(urls[0].rsplit(":", 1)[1]))

    trio.run(main)


def exchange(sock: socket.socket, request: bytes) -> None:
    sock.sendall(request)
    reply = sock.recv(65536)
    assert reply.startswith(b"HTTP/1.1 200"), reply


def measure_requests(pid: int, port: int, request: bytes, *, connections: int, seconds: float) -> tuple[float, float]:
    """CPU microseconds of the server for each request, and requests each second."""
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for sock in socks:
        exchange(sock, request)
    cpu, started, count = cpu_s(pid), time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(BATCH // connections):
            for sock in socks:
                sock.sendall(request)
            for sock in socks:
                assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        count += BATCH // connections * connections
    elapsed = time.perf_counter() - started
    for sock in socks:
        sock.close()
    return (cpu_s(pid) - cpu) / count * 1e6, count / elapsed


def measure_polls(pid: int, port: int, count: int) -> float:
    """KiB of memory for each connection that waits."""
    before = memory_kib(pid)
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for sock in socks:
        sock.sendall(POLL)
    exchange_with = socket.create_connection(("127.0.0.1", port))
    for _ in range(3):  # answered behind all of the above
        exchange(exchange_with, WHOAMI)
    after = memory_kib(pid)
    for sock in (*socks, exchange_with):
        sock.close()
    return (after - before) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--polls", type=int, default=2000)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=server, args=(theirs,), daemon=True)
    process.start()
    port, pid = ours.recv(), process.pid
    assert pid is not None
    for name, request in (("whoami", WHOAMI), ("send", SEND)):
        for connections in (1, 25):
            cost, rate = measure_requests(pid, port, request, connections=connections, seconds=options.seconds)
            print(f"{name:8} {connections:4} connections {cost:8.0f} us CPU each {rate:8.0f} each second")
    print(f"{options.polls} long-polls {measure_polls(pid, port, options.polls):8.1f} KiB each")
    process.terminate()


if __name__ == "__main__":
    main()
