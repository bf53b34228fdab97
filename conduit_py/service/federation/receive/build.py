"""What receives and fetches events, built in dependency order."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.config import Config
from conduit_py.matrix.ids import ServerName
from conduit_py.service.federation.build import Federation
from conduit_py.service.federation.receive.backfill import Backfill
from conduit_py.service.federation.receive.missing import MissingEventsFetcher
from conduit_py.service.federation.receive.room_events import RoomEvents
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.users.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiving:
    """What others build on."""

    room_events: RoomEvents
    backfill: Backfill


def build_receiving(config: Config, store: Store, writes: RoomWrites, federation: Federation) -> Receiving:
    """Of one server."""
    missing = MissingEventsFetcher(
        store.database,
        writes,
        federation.client,
        federation.checks,
        prev_events_max=config.max_fetch_prev_events,
        now_ms=store.now_ms,
    )
    return Receiving(
        room_events=RoomEvents(
            store.database, writes, federation.checks, missing, server_name=ServerName(config.server_name)
        ),
        backfill=Backfill(store.database, writes, federation.client, missing, now_ms=store.now_ms),
    )
