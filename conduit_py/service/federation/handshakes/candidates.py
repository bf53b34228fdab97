"""Which servers are asked to help a user into a room, or out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from conduit_py.data import members, short_ids
from conduit_py.matrix.ids import Malformed, RoomId, ServerName, parse_server_name, server_name_of
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import Membership
from kvschema.catalog.rooms import ShortUserId

CANDIDATES_MAX: Final = 10
"""Servers that are asked one after the other. Each may take its time not to answer."""
KNOWN_MAX: Final = 5
"""Of those that were in the room when we last were."""


def choose_candidates(
    snapshot: Snapshot, room_id: RoomId, user: ShortUserId, via: Iterable[ServerName], *, own: ServerName
) -> list[ServerName]:
    """The servers to ask, the most promising first: ``via`` is what the user or an alias names.

    Spec: client-server-api/#post_matrixclientv3joinroomidoralias
    """
    room = short_ids.get_room(snapshot, room_id)
    standing = None if room is None else members.get_membership(snapshot, user, room)
    named = [*_servers_of_standing(standing[1] if standing is not None else None), *via]
    if room is not None:
        named += islice(members.scan_servers(snapshot, room), KNOWN_MAX)
    if ":" in room_id:
        named.append(server_name_of(room_id))
    chosen = dict.fromkeys(name for name in named if name != own and _is_server_name(name))
    return list(chosen)[:CANDIDATES_MAX]


def _servers_of_standing(membership: Membership | None) -> Iterator[ServerName]:
    """Who invited, and whoever else is seen in what came with the invite or knock."""
    if membership is None:
        return
    events: list[Any] = membership.stripped_state or []
    senders = [membership.sender, *(event.get("sender") for event in events if isinstance(event, dict))]
    for sender in senders:
        if isinstance(sender, str) and ":" in sender:
            yield server_name_of(sender)


def _is_server_name(name: str) -> bool:
    try:
        parse_server_name(name)
    except Malformed:
        return False
    return True
