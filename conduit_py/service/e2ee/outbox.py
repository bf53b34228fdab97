"""Where EDUs for other servers are put."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from conduit_py.matrix.ids import ServerName
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn


class EduOutbox(Protocol):
    """Queues an EDU in the batch of what caused it, for each destination that is not this server, in order."""

    def stage_edu(
        self,
        snapshot: Snapshot,
        turn: Turn,
        destinations: Iterable[ServerName],
        edu: Mapping[str, Any],
        *,
        replaces: bytes | None = None,
    ) -> None: ...
