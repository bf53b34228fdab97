"""What receives, built in dependency order."""

from __future__ import annotations

from conduit_py.config import Config
from conduit_py.service.federation.build import Federation
from conduit_py.service.federation.receive.missing import MissingEventsFetcher
from conduit_py.service.federation.receive.receiver import EduHandlers, Receiver, TakeOutside
from conduit_py.service.federation.receive.room_events import RoomEvents
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.users.store import Store


def build_receiver(
    config: Config,
    store: Store,
    writes: RoomWrites,
    federation: Federation,
    *,
    edu_handlers: EduHandlers,
    take_outside: TakeOutside,
) -> Receiver:
    """Its ``run`` belongs into the nursery tree."""
    missing = MissingEventsFetcher(
        store.database,
        writes,
        federation.client,
        federation.checks,
        prev_events_max=config.max_fetch_prev_events,
        now_ms=store.now_ms,
    )
    room_events = RoomEvents(store.database, writes, federation.checks, missing)
    return Receiver(store, room_events, edu_handlers, take_outside)
