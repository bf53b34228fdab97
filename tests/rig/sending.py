"""Queues for other servers that nobody empties."""

from __future__ import annotations

from conduit_py.matrix.ids import ServerName
from conduit_py.service.sending.backlog import Backlogs
from conduit_py.service.sending.outbox import Outbox


def open_outbox(server_name: ServerName) -> Outbox:
    """What goes into it stays there."""
    return Outbox(
        Backlogs(), server_name=server_name, is_forbidden=lambda name: False, is_allowed=True, now_ms=lambda: 0
    )
