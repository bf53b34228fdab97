"""What events were allowed by: their auth events, and all of those in turn.

A state event is stored only after its auth events, so along a chain short ids fall. ``resolution`` leans on that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from conduit_py.data.timeline import get_event, get_pdu
from conduit_py.matrix.pdu import Pdu
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import timeline
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import ByShortEvent

_CACHED_BYTES = 150


def get_auth_events(snapshot: Snapshot, event: ShortEventId) -> tuple[ShortEventId, ...]:
    """The auth events of a stored event, those that are not stored left out."""
    name = ("authevents", event)
    cached = snapshot.cache.get(name, snapshot.pos)
    if cached is None:
        cached = timeline.SHORTEVENTID_AUTHEVENTS.get(snapshot, ByShortEvent(event))
        if cached is None:
            return tuple(find_auth_events(snapshot, get_pdu(snapshot, event)))
        snapshot.cache.put(name, cached, _CACHED_BYTES, snapshot.pos)
    return cast("tuple[ShortEventId, ...]", cached)


def find_auth_events(snapshot: Snapshot, pdu: Pdu) -> Iterator[ShortEventId]:
    """Those auth events of any event that are stored."""
    for event_id in pdu.auth_events:
        short = get_event(snapshot, event_id)
        if short is not None:
            yield short


def scan_auth_chain(snapshot: Snapshot, events: Iterable[ShortEventId]) -> Iterator[ShortEventId]:
    """The auth chain of all ``events`` together, each event of it once, in no order.

    Without ``events`` themselves, unless one is in the chain of another. Costs its length.
    """
    stack = list({auth_event for event in events for auth_event in get_auth_events(snapshot, event)})
    seen = set(stack)
    while stack:
        event = stack.pop()
        yield event
        for auth_event in get_auth_events(snapshot, event):
            if auth_event not in seen:
                seen.add(auth_event)
                stack.append(auth_event)


def stage_auth_events(turn: Turn, event: ShortEventId, auth_events: Iterable[ShortEventId]) -> None:
    """Note what a state event was allowed by."""
    turn.changes(("authevents", event))
    turn.batch.put(timeline.SHORTEVENTID_AUTHEVENTS, ByShortEvent(event), tuple(auth_events))
