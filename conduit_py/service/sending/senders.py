"""A task for each server that something waits for, started when there is work and ended when there is none.

A server that failed last time is tried again when its time has come, or when it shows itself (``heard_from``). Attempts
on failing servers have places of their own, so that they never keep those waiting that are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

import trio

from conduit_py.data import sending
from conduit_py.log import get_logger
from conduit_py.matrix.ids import ServerName
from conduit_py.service.sending.backlog import Backlog, Backlogs
from conduit_py.service.sending.destination import Delivery
from conduit_py.service.users.store import Store
from conduit_py.slices import portions
from kvschema.errors import StorageFull

_log = get_logger(__name__)

SENDING_MAX: Final = 64
"""Transactions on their way at the same time, to as many servers."""
STARTED_AT_ONCE: Final = 100
"""Tasks begun between two steps of the event loop, about 5 ms: one message may be for thousands of servers."""
CONTACT_PAUSE_MS: Final = 30_000
"""A server that talks to us and cannot be reached is not tried more often."""
FULL_DISK_PAUSE_MS: Final = 60_000
PAUSE_MAX_S: Final = 3600.0
"""Times are by the wall clock, which may be set: it is looked at again so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationStatus:
    """How sending to one server stands."""

    server_name: ServerName
    events: int
    """How many wait, about."""
    edus: int
    is_behind: bool
    """So many waited that only the last event of each room is sent from then on."""
    is_sending: bool
    failures: int
    """In a row."""
    failing_since_ms: int
    """0: it is not."""
    retry_ms: int
    """When it is tried again."""


@dataclass(frozen=True, slots=True, order=True)
class _Later:
    retry_ms: int
    backlog: Backlog = field(compare=False)


class Senders:
    """One per server. ``run`` is owned by the nursery tree.

    :param requests_max: requests to other servers at the same time, for whatever; sending takes half of them at most.
    :param is_allowed: whether this server talks with others at all.
    """

    def __init__(
        self, store: Store, backlogs: Backlogs, delivery: Delivery, *, requests_max: int, is_allowed: bool
    ) -> None:
        self._store = store
        self._backlogs = backlogs
        self._delivery = delivery
        self._is_allowed = is_allowed
        places = max(min(SENDING_MAX, requests_max // 2), 2)
        self._places = trio.Semaphore(places - places // 4)
        self._places_of_failing = trio.Semaphore(max(places // 4, 1))
        self._later: list[_Later] = []
        """A heap: who is tried again when. One whose time was changed is in it for each of its times."""

    def heard_from(self, server_name: ServerName) -> None:
        """The server is there: it has just sent a request of its own."""
        backlog = self._backlogs.get(server_name)
        if backlog is None or not backlog.state.failures or backlog.is_running:
            return
        retry_ms = min(backlog.state.retry_ms, backlog.attempted_ms + CONTACT_PAUSE_MS)
        backlog.state = backlog.state._replace(failures=0, retry_ms=retry_ms)
        self._backlogs.wake(backlog)
        self._backlogs.forget_idle(backlog)

    def retry(self, server_name: ServerName) -> bool:
        """Try a server now, however often it failed. False if nothing waits for it."""
        backlog = self._backlogs.get(server_name)
        if backlog is None or not backlog.has_work:
            return False
        backlog.state = backlog.state._replace(failures=0, retry_ms=0)
        self._backlogs.wake(backlog)
        return True

    def get_status(self, server_name: ServerName) -> DestinationStatus:
        """Of any server; most are idle."""
        return _status_of(self._backlogs.get(server_name) or Backlog(server_name))

    def is_failing(self, server_name: ServerName) -> bool:
        """Could the server not be reached when it was tried last?"""
        backlog = self._backlogs.get(server_name)
        return backlog is not None and backlog.state.failing_since_ms > 0

    def scan_statuses(self) -> Iterator[DestinationStatus]:
        """Of all servers that something waits for or that fail."""
        for backlog in self._backlogs:
            yield _status_of(backlog)

    async def run(self) -> None:
        """Send for as long as the server runs."""
        if not self._is_allowed:
            await trio.sleep_forever()
        await self._load()
        async with trio.open_nursery() as nursery:
            while True:
                kick = self._backlogs.rearm()
                for backlogs in portions(self._take_due(), STARTED_AT_ONCE):
                    for backlog in backlogs:
                        backlog.is_running = True
                        nursery.start_soon(self._drain, backlog)
                    await trio.lowlevel.checkpoint()
                with trio.move_on_after(self._until_next_s()):
                    await kick.wait()

    async def _load(self) -> None:
        """Find out what the last run left."""
        with self._store.snapshot() as snapshot:
            names = set(sending.scan_servers(snapshot))
        for name in sorted(names):
            backlog = self._backlogs.open(name)
            with self._store.snapshot() as snapshot:
                backlog.state = sending.get_sending(snapshot, name)
                backlog.events = sending.count_events(snapshot, name)
                backlog.is_behind = bool(sending.scan_last_events(snapshot, name, 1))
                backlog.edus = 0
                for pos, edu in sending.scan_edus(snapshot, name):
                    backlog.edus += 1
                    if edu.replaces:
                        backlog.replaceable[edu.replaces] = pos
            self._backlogs.wake(backlog)
            await trio.lowlevel.checkpoint()

    def _take_due(self) -> list[Backlog]:
        now_ms = self._store.now_ms()
        candidates = self._backlogs.take_woken()
        while self._later and self._later[0].retry_ms <= now_ms:
            candidates.append(heappop(self._later).backlog)
        due: dict[ServerName, Backlog] = {}
        for backlog in candidates:
            retry_ms = backlog.state.retry_ms
            if backlog.is_running or not backlog.has_work:
                continue
            if retry_ms <= now_ms:
                due[backlog.server_name] = backlog
            elif backlog.scheduled_ms != retry_ms:
                backlog.scheduled_ms = retry_ms
                heappush(self._later, _Later(retry_ms, backlog))
        return list(due.values())

    def _until_next_s(self) -> float:
        if not self._later:
            return PAUSE_MAX_S
        return min(max(self._later[0].retry_ms - self._store.now_ms(), 0) / 1000, PAUSE_MAX_S)

    async def _drain(self, backlog: Backlog) -> None:
        try:
            while backlog.has_work and backlog.state.retry_ms <= self._store.now_ms():
                async with self._choose_place(backlog):
                    await self._delivery.send_some(backlog)
        except StorageFull:
            # The writer has told of it. What was sent is sent again, under the same id.
            backlog.state = backlog.state._replace(retry_ms=self._store.now_ms() + FULL_DISK_PAUSE_MS)
        finally:
            backlog.is_running = False
        self._backlogs.wake(backlog)
        self._backlogs.forget_idle(backlog)

    def _choose_place(self, backlog: Backlog) -> AbstractAsyncContextManager[None]:
        return self._places_of_failing if backlog.state.failing_since_ms else self._places


def _status_of(backlog: Backlog) -> DestinationStatus:
    state = backlog.state
    return DestinationStatus(
        server_name=backlog.server_name,
        events=backlog.events,
        edus=backlog.edus,
        is_behind=backlog.is_behind,
        is_sending=backlog.is_running,
        failures=state.failures,
        failing_since_ms=state.failing_since_ms,
        retry_ms=state.retry_ms,
    )
