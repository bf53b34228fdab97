"""Which number of the metrics is kept by which part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from conduit_py.api.app import Operations
from conduit_py.metrics import Metrics
from conduit_py.service.hub import SyncHub
from conduit_py.service.media.retention import MediaSweep
from conduit_py.service.sending.senders import Senders
from conduit_py.service.users.store import Store


def watch_store(store: Store, hub: SyncHub) -> Metrics:
    """Metrics with what there is before there are services."""
    metrics = Metrics()
    cache, writer, engine = store.database.cache, store.writer, store.database.engine
    metrics.cache_bytes.read_from(lambda: cache.bytes)
    metrics.cache_hits.read_from(lambda: cache.hits)
    metrics.cache_misses.read_from(lambda: cache.misses)
    metrics.commits.read_from(lambda: writer.commits)
    metrics.commit_groups.read_from(lambda: writer.groups)
    metrics.commits_waiting.read_from(lambda: writer.waiting)
    metrics.disk_full.read_from(lambda: float(writer.is_full))
    metrics.database_bytes.read_from(engine.measure)
    metrics.sync_waiting.read_from(lambda: hub.waiting)
    writer.observe_commit = metrics.commit_seconds.observe
    writer.observe_group = metrics.sync_seconds.observe
    return metrics


def watch_services(metrics: Metrics, built: Operations) -> None:
    """What the services keep."""
    metrics.received_pdus.read_from(lambda: built.receiver.received)
    metrics.server_requests.read_from(lambda: built.federation.client.asked)
    metrics.media_bytes.read_from(lambda: _media_bytes(built.media.sweep))
    metrics.sending_waiting.read_from(lambda: waiting_by_kind(built.sending.senders))
    metrics.sending_destinations.read_from(lambda: destinations_by_state(built.sending.senders))


def _media_bytes(sweep: MediaSweep) -> Mapping[str, float]:
    return {"unused" if scope is None else scope.value: number for scope, number in sweep.bytes_by_scope.items()}


def waiting_by_kind(senders: Senders) -> Mapping[str, float]:
    """How much waits to be sent, to all servers together."""
    waiting = Counter(events=0, edus=0)
    for status in senders.scan_statuses():
        waiting.update(events=status.events, edus=status.edus)
    return waiting


def destinations_by_state(senders: Senders) -> Mapping[str, float]:
    """How many servers something waits for, by how sending to them stands."""
    states = Counter(sending=0, failing=0, waiting=0)
    for status in senders.scan_statuses():
        states["sending" if status.is_sending else "failing" if status.failing_since_ms else "waiting"] += 1
    return states
