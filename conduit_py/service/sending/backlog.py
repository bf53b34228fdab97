"""What is known in memory of what waits for other servers.

The rows are what counts. The numbers here say when there is something to do, and are put right whenever the rows show
something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

from conduit_py.data.sending import IDLE
from conduit_py.matrix.ids import ServerName
from kvschema.catalog.sending import EVENTS_QUEUED_MAX, Sending

PASSING_MAX = 100
"""EDUs that wait for a server in memory: as many as a transaction holds."""


@dataclass(frozen=True, slots=True)
class PassingEdu:
    """An EDU that is not written down."""

    json: bytes
    """Canonical JSON."""
    until_ms: int
    """Later it tells nothing."""


@dataclass(slots=True, eq=False)
class Backlog:
    """Of one server."""

    server_name: ServerName
    state: Sending = IDLE
    events: int = 0
    """Queued, in flight or not."""
    edus: int = 0
    is_behind: bool = False
    """There are rooms of which only the last event is remembered."""
    replaceable: dict[bytes, int] = field(default_factory=dict)
    """Places of queued EDUs that have a name."""
    passing: dict[bytes, PassingEdu] = field(default_factory=dict)
    is_running: bool = False
    """A task is at it."""
    attempted_ms: int = 0
    """When it was last tried."""
    scheduled_ms: int = 0
    """For when the next attempt was last planned."""

    @property
    def has_work(self) -> bool:
        return bool(self.state.txn_id or self.events or self.edus or self.is_behind or self.passing)

    @property
    def is_full(self) -> bool:
        """Further events are remembered by their room."""
        return self.is_behind or self.events >= EVENTS_QUEUED_MAX

    def pass_on(self, name: bytes, edu: PassingEdu) -> None:
        """Hold an EDU for the next transaction; a later one of the same name takes its place."""
        self.passing.pop(name, None)
        self.passing[name] = edu
        if len(self.passing) > PASSING_MAX:
            del self.passing[next(iter(self.passing))]

    def take_passing(self, now_ms: int, limit: int) -> list[bytes]:
        """The oldest of what is held and still true. What is over is forgotten."""
        taken = list(self.passing)[:limit]
        edus = [self.passing.pop(name) for name in taken]
        return [edu.json for edu in edus if edu.until_ms > now_ms]


class Backlogs:
    """Of all servers that something waits for or that fail. One per server, shared by who stages and who sends."""

    def __init__(self) -> None:
        self._backlogs: dict[ServerName, Backlog] = {}
        self._woken: dict[ServerName, None] = {}
        self._kick = trio.Event()

    def __iter__(self) -> Iterator[Backlog]:
        return iter(self._backlogs.values())

    def __len__(self) -> int:
        return len(self._backlogs)

    def get(self, server_name: ServerName) -> Backlog | None:
        return self._backlogs.get(server_name)

    def open(self, server_name: ServerName) -> Backlog:
        """Of a server that may not have one yet."""
        backlog = self._backlogs.get(server_name)
        if backlog is None:
            backlog = self._backlogs[server_name] = Backlog(server_name)
        return backlog

    def forget_idle(self, backlog: Backlog) -> None:
        if not backlog.has_work and not backlog.state.failures and not backlog.is_running:
            self._backlogs.pop(backlog.server_name, None)

    def wake(self, backlog: Backlog) -> None:
        """There is something to do for the server, or the time of the next attempt has changed."""
        self._woken[backlog.server_name] = None
        self._kick.set()

    def rearm(self) -> trio.Event:
        """Set when somebody is woken from now on. Call it before ``take_woken``."""
        self._kick = trio.Event()
        return self._kick

    def take_woken(self) -> list[Backlog]:
        woken, self._woken = self._woken, {}
        return [backlog for name in woken if (backlog := self._backlogs.get(name)) is not None]
