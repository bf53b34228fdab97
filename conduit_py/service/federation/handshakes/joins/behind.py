"""A server in the room that has not heard yet of a ban would let the banned user in.

To everybody else that join is nothing, and the user would be in a room that nobody else takes part in. What bans a user
of ours is sent to us, and stays here when we are out of the room: by what the other server proposes as the join, it can
be told whether it knows of it.

What else such a server has not heard of, such as that nobody may come in uninvited any more, only the others know.
"""

from __future__ import annotations

from collections.abc import Iterable

from conduit_py.data import members, short_ids, timeline
from conduit_py.data.auth_chain import get_auth_events
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import BAN
from kvschema.catalog.rooms import ShortEventId

CHANGES_MAX = 100
"""Memberships of one user that are followed back."""


def is_behind(snapshot: Snapshot, join: Pdu) -> bool:
    """Does a join come after what the user was before the ban that we know of?"""
    room, user = short_ids.get_room(snapshot, join.room_id), short_ids.get_user(snapshot, UserId(join.sender))
    standing = None if room is None or user is None else members.get_membership(snapshot, user, room)
    if standing is None or standing[0] != BAN or not standing[1].event:
        return False
    named = [timeline.get_event(snapshot, event_id) for event_id in join.auth_events]
    known = _find_membership(snapshot, join, named)
    if known is None:
        # What takes the ban back may be among what we do not hold.
        return None not in named
    event = _find_membership(snapshot, join, get_auth_events(snapshot, standing[1].event))
    for _ in range(CHANGES_MAX):
        if event is None or event == known:
            return event is not None
        event = _find_membership(snapshot, join, get_auth_events(snapshot, event))
    return False


def _find_membership(snapshot: Snapshot, join: Pdu, events: Iterable[ShortEventId | None]) -> ShortEventId | None:
    """The membership event of the user among others."""
    for event in events:
        if event is not None:
            pdu = timeline.get_pdu(snapshot, event)
            if (pdu.type, pdu.state_key) == (join.type, join.state_key):
                return event
    return None
