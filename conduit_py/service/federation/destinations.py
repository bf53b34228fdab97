"""What hosts said about their servers, kept across restarts."""

from __future__ import annotations

from conduit_py.data import destinations
from conduit_py.log import get_logger
from conduit_py.outbound.resolve import KnownDelegation
from conduit_py.service.users.store import Store
from kvschema.catalog.federation import Delegation
from kvschema.errors import StorageFull

_log = get_logger(__name__)


class StoredDelegations:
    """One per server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, host: str) -> KnownDelegation | None:
        """What is known of the host, its time over or not."""
        with self._store.snapshot() as snapshot:
            row = destinations.get_delegation(snapshot, host)
        return None if row is None else KnownDelegation(*row)

    async def put(self, host: str, known: KnownDelegation) -> None:
        """Remember it. On a full disk it is asked for again the next time."""
        row = Delegation(known.delegated, known.expires_ms, known.failures, known.usable_until_ms)
        try:
            async with self._store.writer.turn() as turn:
                with self._store.snapshot() as snapshot:
                    destinations.stage_delegation(snapshot, turn, host, row)
        except StorageFull:
            _log.debug("there is no room to remember where a server is", host=host)
