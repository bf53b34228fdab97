"""Rooms that the user is invited to or knocks on: a glimpse of each.

Spec: client-server-api/#stripped-state
"""

from __future__ import annotations

from typing import Any

import orjson

from conduit_py.data import short_ids, state, timeline
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.stripped_state import build_stripped_state, stripped_state_keys
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import INVITE, Membership


def build_glimpse(snapshot: Snapshot, kind: int, membership: Membership) -> bytes:
    """``invite_state`` or ``knock_state``: what came with the invite, or the room as it was when we stored it."""
    events = membership.stripped_state
    if events is None:
        events = _read_state(snapshot, kind, membership)
    name = b"invite_state" if kind == INVITE else b"knock_state"
    return b'{"%s":{"events":%s}}' % (name, orjson.dumps(events))


def _read_state(snapshot: Snapshot, kind: int, membership: Membership) -> list[dict[str, Any]]:
    row = timeline.require_row(snapshot, membership.event)
    chain = state.StateChain(snapshot)
    events = []
    for key in stripped_state_keys(UserId(membership.sender) if kind == INVITE else None):
        short = short_ids.get_state_key(snapshot, *key)
        event = None if short is None else chain.get(row.state_after, short)
        if event is not None:
            events.append(timeline.client_fields(timeline.require_row(snapshot, event)))
    return build_stripped_state(events, timeline.client_fields(row))
