"""One message to many waiting syncs: how long until each has it."""

from __future__ import annotations

import secrets
import select
import time
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from bench.driver.load import Meter, Window, require_right
from bench.driver.process import Gauges, read_usage
from bench.driver.scene import CLIENT, Account, message, send_target
from bench.driver.wire import (
    TIMEOUT_S,
    Address,
    Connection,
    DriverError,
    Reply,
    encode_request,
    next_batch_of,
    path_part,
    wrong_reply,
)

ROUNDS_MIN: Final = 5
ROUNDS_MAX: Final = 200
POLL_MS: Final = 30_000
CALM_S: Final = 0.05
"""A server that has not used a tick of CPU time for this long has parked its long-polls."""
CALM_S_MAX: Final = 2.0


class _Poller:
    """One user who waits for news."""

    def __init__(self, account: Account, connection: Connection) -> None:
        self.account, self.connection = account, connection
        only_token = path_part('{"room":{"timeline":{"limit":1}}}')
        target = f"{CLIENT}/sync?timeout=0&filter={only_token}"
        self._since = str(connection.call("GET", target, token=account.token)["next_batch"])
        connection.stamp_arrivals()

    def wait(self) -> None:
        target = f"{CLIENT}/sync?timeout={POLL_MS}&since={path_part(self._since)}"
        self.connection.socket.sendall(encode_request("GET", target, token=self.account.token))

    def receive(self) -> tuple[Reply | None, int]:
        """The reply, if it is whole, and when the last of it arrived."""
        reply, arrived_ns = self.connection.receive_stamped()
        if reply is not None:
            token = next_batch_of(reply.body)
            if reply.status != 200 or token is None:
                raise wrong_reply(reply)
            self._since = token
        return reply, arrived_ns


class _FanOut:
    def __init__(self, pollers: Sequence[_Poller], sender: Connection, poll: select.epoll, gauges: Gauges) -> None:
        self._pollers = {poller.connection.socket.fileno(): poller for poller in pollers}
        self._sender = sender
        self._poll = poll
        self._gauges = gauges
        for fileno in (*self._pollers, sender.socket.fileno()):
            poll.register(fileno, select.EPOLLIN)

    def settle(self) -> None:
        """Until every long-poll is parked. What comes meanwhile is old news, and is asked on from."""
        deadline = time.monotonic() + CALM_S_MAX
        cpu_s = -1.0
        while time.monotonic() < deadline:
            ready = self._poll.poll(CALM_S)
            for fileno, _ in ready:
                poller = self._pollers[fileno]
                reply, _ = poller.receive()
                if reply is not None:
                    poller.wait()
            now_s = 0.0 if self._gauges.pid is None else read_usage(self._gauges.pid).cpu_s
            if not ready and now_s == cpu_s:
                return
            cpu_s = now_s

    def deliver(self, request: bytes, text: bytes) -> list[int]:
        """Nanoseconds from before the send until each poller had the message."""
        started_ns = time.time_ns()
        self._sender.socket.sendall(request)
        latencies: list[int] = []
        waiting = {self._sender.socket.fileno(), *self._pollers}
        while waiting:
            ready = self._poll.poll(TIMEOUT_S)
            if not ready:
                raise DriverError(f"{len(waiting)} of the long-polls did not get the message in {TIMEOUT_S:.0f} s")
            for fileno, _ in ready:
                if fileno == self._sender.socket.fileno():
                    reply = self._sender.receive()
                    if reply is not None:
                        require_right(reply, lambda body: b'"event_id"' in body)
                        waiting.discard(fileno)
                    continue
                poller = self._pollers[fileno]
                reply, arrived_ns = poller.receive()
                if reply is not None and text in reply.body:
                    latencies.append(arrived_ns - started_ns)
                    waiting.discard(fileno)
                elif reply is not None:
                    poller.wait()
        return latencies


def measure_fan_out(
    address: Address,
    members: Sequence[Account],
    *,
    sender: Account,
    room_id: str,
    seconds: float,
    rounds_max: int,
    gauges: Gauges,
) -> Window:
    """Every member waits in a long-poll; ``sender`` sends once all do. The window includes the waits between."""
    run = secrets.token_hex(4)
    latencies: array[int] = array("q")
    with ExitStack() as stack:
        pollers = [_Poller(account, stack.enter_context(Connection(address))) for account in members]
        connection = stack.enter_context(Connection(address))
        fan_out = _FanOut(pollers, connection, stack.enter_context(select.epoll()), gauges)
        meter = Meter(gauges)
        deadline = time.monotonic() + seconds
        for number in range(min(rounds_max, ROUNDS_MAX)):
            if number >= ROUNDS_MIN and time.monotonic() > deadline:
                break
            for poller in pollers:
                poller.wait()
            fan_out.settle()
            text = f"fan-out {run} {number}"
            target = send_target(room_id, f"{run}-{number}")
            request = encode_request("PUT", target, token=sender.token, body=message(text))
            latencies.extend(fan_out.deliver(request, text.encode()))
        return meter.end(latencies)
