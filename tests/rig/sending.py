"""Queues for other servers that nobody empties, and what needs one."""

from __future__ import annotations

from conduit_py.matrix.ids import ServerName
from conduit_py.service.hub import SyncHub
from conduit_py.service.presence import PresenceRules, PresenceService
from conduit_py.service.rooms.typing import TypingService
from conduit_py.service.sending.backlog import Backlogs
from conduit_py.service.sending.outbox import Outbox
from conduit_py.service.users.store import Store
from tests.rig.bridge import no_ephemeral


def open_outbox(server_name: ServerName) -> Outbox:
    """What goes into it stays there."""
    return Outbox(
        Backlogs(), server_name=server_name, is_forbidden=lambda name: False, is_allowed=True, now_ms=lambda: 0
    )


def make_presence(
    store: Store, hub: SyncHub, server_name: ServerName, typing: TypingService, *, is_local: bool = False
) -> PresenceService:
    rules = PresenceRules(
        is_local=is_local, is_incoming=False, is_outgoing=False, idle_ms=300_000, offline_ms=1_800_000
    )
    return PresenceService(store, hub, open_outbox(server_name), no_ephemeral(), rules, next_change=typing.next_change)
