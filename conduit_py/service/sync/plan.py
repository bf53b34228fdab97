"""Which rooms a reply has to look at, and what of them is new.

This is what an idle poll costs, so it touches the store a few times whatever the number of rooms: one scan each for
changes of membership and of account data, and for every joined room one dict lookup in the hub.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import cast

from conduit_py.data import account_data, members, receipts, short_ids, timeline
from conduit_py.matrix.ids import RoomId
from conduit_py.service.hub import SyncHub
from conduit_py.service.rooms.ignored import blocks_invites
from conduit_py.service.rooms.typing import TypingService
from conduit_py.service.sync.since import View
from conduit_py.storage.database import Snapshot
from kvschema.catalog.account_data import GLOBAL_ROOM, AccountData
from kvschema.catalog.members import BAN, INVITE, JOIN, KNOCK, LEAVE, Farewell, Membership
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

_JOINED_BYTES = 100
"""Of one room in a cached set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomEntry:
    """One room that a reply may speak of."""

    room: ShortRoomId
    kind: int
    membership: Membership | None = None
    """None for rooms that were and are joined."""
    after: int | None
    """The client has the timeline up to here; None for a room that is new to it."""
    is_full: bool
    """All of its state is wanted."""
    has_news: bool
    """Something landed in it since the last reply. Account data and typing are not counted."""


@dataclass(slots=True)
class Plan:
    todo: deque[RoomEntry]
    global_data: list[AccountData]
    room_data: dict[ShortRoomId, list[AccountData]] = field(default_factory=dict)
    """What changed; rooms that are new to the client are read whole."""
    typing: frozenset[ShortRoomId] = frozenset()
    farewells: list[Farewell] = field(default_factory=list)
    """Rooms that the user has left since, and that are not here any more."""


def get_joined_rooms(snapshot: Snapshot, user: ShortUserId) -> frozenset[ShortRoomId]:
    """The rooms a local user is joined to. ``members.stage_member`` drops the cached set when it changes."""
    key = ("joined", user)
    cached = snapshot.cache.get(key, snapshot.pos)
    if cached is None:
        cached = frozenset(room for room, _ in members.scan_rooms(snapshot, user, JOIN))
        snapshot.cache.put(key, cached, _JOINED_BYTES * len(cached), snapshot.pos)
    return cast("frozenset[ShortRoomId]", cached)


def plan_everything(snapshot: Snapshot, view: View, typing: TypingService) -> Plan:
    """For a client that has nothing, or nothing that can be used."""
    user = view.requester.user
    kinds = (JOIN, INVITE, KNOCK, *((LEAVE, BAN) if view.filter.room.include_leave else ()))
    todo = deque(
        RoomEntry(room=room, kind=kind, membership=row, after=None, is_full=True, has_news=True)
        for kind in kinds
        for room, row in members.scan_rooms(snapshot, user, kind)
        if not row.forgotten and _is_welcome(snapshot, view, kind, row)
    )
    global_data = list(account_data.scan_in_room(snapshot, user, GLOBAL_ROOM))
    return Plan(todo, global_data, typing=frozenset(typing.get_changed(0)))


def plan_changes(snapshot: Snapshot, view: View, since: int, hub: SyncHub, typing: TypingService) -> Plan:
    """For a client that knows everything up to ``since``."""
    user, token = view.requester.user, view.request.since
    plan = Plan(deque(), [])
    for _, data in account_data.scan_since(snapshot, user, since):
        if data.room == GLOBAL_ROOM:
            plan.global_data.append(data)
        else:
            plan.room_data.setdefault(data.room, []).append(data)
    joined = get_joined_rooms(snapshot, user)
    told = token.typing if token is not None and token.boot == typing.boot else 0
    plan.typing = joined.intersection(typing.get_changed(told))
    changed = members.get_changes(snapshot, user, after=since, until=view.until)
    for room, change in changed.items():
        entry = _plan_changed(snapshot, view, since, room, change.kind)
        if entry is not None:
            plan.todo.append(entry)
    plan.farewells = [
        farewell
        for farewell in members.scan_farewells(snapshot, user, after=since, until=view.until)
        if not _has_come_back(snapshot, user, farewell)
    ]
    is_full = view.request.full_state
    for room in joined:
        if room in changed:
            continue
        has_news = hub.get_room_pos(snapshot, room, read_room_pos) > since
        if has_news or is_full or room in plan.room_data or room in plan.typing:
            entry = RoomEntry(room=room, kind=JOIN, after=since, is_full=is_full, has_news=has_news)
            plan.todo.append(entry)
    return plan


def read_room_pos(snapshot: Snapshot, room: ShortRoomId) -> int:
    """The last position at which anything landed in a room, as the store tells."""
    return max(timeline.get_last_pos(snapshot, room), receipts.get_last_pos(snapshot, room))


def _plan_changed(snapshot: Snapshot, view: View, since: int, room: ShortRoomId, kind: int) -> RoomEntry | None:
    """A room that the user came to or went from since the last reply."""
    found = members.get_membership(snapshot, view.requester.user, room)
    if found is None or not _is_welcome(snapshot, view, kind, found[1]):
        return None
    is_gone = kind in (LEAVE, BAN)
    # Whoever was in the room at ``since`` has its state until then; whoever came back since then has holes in it.
    return RoomEntry(
        room=room, kind=kind, membership=found[1], after=since if is_gone else None, is_full=not is_gone, has_news=True
    )


def _has_come_back(snapshot: Snapshot, user: ShortUserId, farewell: Farewell) -> bool:
    """Does the user have to do with the room again, after it was removed?"""
    room = short_ids.get_room(snapshot, RoomId(farewell.room_id))
    return room is not None and members.get_membership(snapshot, user, room) is not None


def _is_welcome(snapshot: Snapshot, view: View, kind: int, row: Membership) -> bool:
    if kind != INVITE:
        return True
    return row.sender not in view.ignored and not blocks_invites(snapshot, view.requester.user)
