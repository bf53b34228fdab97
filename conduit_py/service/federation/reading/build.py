"""The services that answer other servers about rooms."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_py.service.federation.reading.events import EventReads
from conduit_py.service.federation.reading.states import StateReads
from conduit_py.storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the handlers call."""

    events: EventReads
    states: StateReads


def build_reading(database: Database) -> Reading:
    return Reading(events=EventReads(database), states=StateReads(database))
