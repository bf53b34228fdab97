"""What one /sync asks, in the form the rest of this package works with."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.matrix.filters import NO_FILTER, SyncFilter
from conduit_py.matrix.sync_token import SyncToken
from conduit_py.service.requester import Requester

TIMELINE_LIMIT = 10
"""Events of a timeline where the filter names no limit."""
TIMELINE_LIMIT_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """The parameters. Spec: client-server-api/#get_matrixclientv3sync"""

    since: SyncToken | None = None
    filter: SyncFilter = NO_FILTER
    full_state: bool = False
    state_after: str | None = None
    """The name under which state up to the end of the timeline is wanted; None to get it up to its start."""
    timeout_ms: int | None = None
    set_presence: str = "online"
    """What the sync makes of the user's presence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one reply tells: whatever came after ``since``, up to ``until``. The same in all of its slices."""

    requester: Requester
    request: SyncRequest
    since: int | None
    """None to tell everything: there is no token, or it is from a history that is gone."""
    until: int
    """Position of the snapshot that the reply began with; the reply is exact as of it."""
    is_gap: bool
    """The client went on from what never happened: nothing it has can be added to."""
    now_ms: int
    ignored: frozenset[str]

    @property
    def filter(self) -> SyncFilter:
        return self.request.filter

    @property
    def timeline_limit(self) -> int:
        return self.filter.room.timeline.limit_or(TIMELINE_LIMIT, maximum=TIMELINE_LIMIT_MAX)
