"""Where other servers are reached, as their hosts told."""

from __future__ import annotations

from heapq import nsmallest

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import federation
from kvschema.catalog.federation import ByServer, Delegation

_EVICTED = federation.DELEGATIONS_MAX // 20


def get_delegation(snapshot: Snapshot, host: str) -> Delegation | None:
    return federation.SERVERNAME_DESTINATION.get(snapshot, ByServer(host))


def stage_all_forgotten(snapshot: Snapshot, turn: Turn) -> int:
    """Ask every host again. Returns how many there were."""
    keys = list(federation.SERVERNAME_DESTINATION.scan_keys(snapshot))
    for key in keys:
        turn.batch.delete(federation.SERVERNAME_DESTINATION, key)
    return len(keys)


def stage_forgotten(turn: Turn, host: str) -> None:
    """Ask the host again."""
    turn.batch.delete(federation.SERVERNAME_DESTINATION, ByServer(host))


def stage_delegation(snapshot: Snapshot, turn: Turn, host: str, row: Delegation) -> None:
    """Store what a host said; where there are too many, those that expire first make room."""
    if snapshot.count(federation.SERVERNAME_DESTINATION.name) >= federation.DELEGATIONS_MAX:
        rows = federation.SERVERNAME_DESTINATION.scan(snapshot)
        for key, _ in nsmallest(_EVICTED, rows, key=lambda entry: entry[1].expires_ms):
            turn.batch.delete(federation.SERVERNAME_DESTINATION, key)
    turn.batch.put(federation.SERVERNAME_DESTINATION, ByServer(host), row)
