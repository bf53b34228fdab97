"""The rooms of a space and of the spaces in it, walked depth first.

A token says how many rooms were told, so each page walks the tree from its root again: nothing is kept between
requests, and rooms that come or go meanwhile shift what follows by as many. Each room is told once, where the walk
meets it first, which ends loops as well.

Spec: client-server-api/#spaces
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import trio

from conduit_py.data import members, rooms, timeline
from conduit_py.data.rooms import Room
from conduit_py.data.spaces import get_child_events
from conduit_py.data.state import get_current_pdu
from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.errors import Forbidden, InvalidParam, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.previews import build_summary, may_preview, may_server_preview
from conduit_py.storage.database import Database, Snapshot

LIMIT_DEFAULT = 50
LIMIT_MAX = 100
"""Rooms in one answer, however many were asked for."""
DEPTH_MAX = 50
"""Spaces within spaces; also what a request gets that names no depth."""
WALKED_MAX = 5000
"""Rooms looked at for one answer. What lies beyond them is not told."""
CHILDREN_MAX = 1000
"""Children of one space that are told and followed, the first in order."""
ROOMS_PER_SLICE = 50
"""Rooms looked at before others get their turn: about 10 ms."""

_ORDER = re.compile(r"[\x20-\x7e]{1,50}")
_TOKEN = re.compile(r"([0-9]{1,6})_([0-9]{1,3})_([01])", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchyQuery:
    """What is asked for."""

    limit: int | None = None
    max_depth: int | None = None
    suggested_only: bool = False
    from_token: str | None = None


class SpaceService:
    """One per server."""

    def __init__(self, database: Database, *, server_name: ServerName) -> None:
        self._database = database
        self._server_name = server_name

    async def get_hierarchy(self, requester: Requester, room_id: RoomId, query: HierarchyQuery) -> dict[str, Any]:
        """One page of a space and what is in it, in the order of the tree. Raises ``Forbidden`` or ``InvalidParam``.

        Rooms that the requester may not know of are left out, with all that is only found through them.

        Spec: client-server-api/#get_matrixclientv1roomsroomidhierarchy
        """
        limit = _limit(query.limit)
        max_depth = DEPTH_MAX if query.max_depth is None else min(query.max_depth, DEPTH_MAX)
        told = _parse_token(query, max_depth)
        walk = _Walk(requester, room_id, max_depth=max_depth, suggested_only=query.suggested_only, skip=told)
        with self._database.snapshot() as snapshot:
            root = rooms.get_room(snapshot, room_id)
            if root is None or not may_preview(snapshot, requester, root):
                raise Forbidden(f"{room_id} is not a room that {requester.user_id} may look into")
        while walk.goes_on and len(walk.found) <= limit:
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                walk.go_on(snapshot, ROOMS_PER_SLICE, wanted=limit + 1)
        answer: dict[str, Any] = {"rooms": walk.found[:limit]}
        if len(walk.found) > limit:
            answer["next_batch"] = f"{told + limit}_{max_depth}_{int(query.suggested_only)}"
        return answer

    async def get_for_server(self, origin: ServerName, room_id: RoomId, *, suggested_only: bool) -> dict[str, Any]:
        """A room, and the rooms right below it if it is a space, for another server. Raises ``NotFound``.

        Children that this server is not in are left out: what it holds of them may have changed.

        Spec: server-server-api/#get_matrixfederationv1hierarchyroomid
        """
        with self._database.snapshot() as snapshot:
            room = self._get_live(snapshot, room_id)
            if room is None or not may_server_preview(snapshot, origin, room):
                raise NotFound(f"{room_id} is not a room that {origin} may look into")
            children = get_children(snapshot, room, suggested_only=suggested_only)
            summary = {**build_summary(snapshot, room), "children_state": [_strip(child) for child in children]}
        told: list[dict[str, Any]] = []
        hidden: list[RoomId] = []
        for start in range(0, len(children), ROOMS_PER_SLICE):
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                for child in children[start : start + ROOMS_PER_SLICE]:
                    below = self._get_live(snapshot, RoomId(child.state_key or ""))
                    if below is not None and may_server_preview(snapshot, origin, below):
                        told.append(build_summary(snapshot, below))
                    elif below is not None:
                        hidden.append(below.room_id)
        return {"room": summary, "children": told, "inaccessible_children": hidden}

    def _get_live(self, snapshot: Snapshot, room_id: RoomId) -> Room | None:
        """A room that this server is in."""
        room = rooms.get_room(snapshot, room_id)
        is_in = room is not None and members.is_server_joined(snapshot, room.short, self._server_name)
        return room if is_in else None


class _Walk:
    """One walk through a space, in as many steps as it takes."""

    def __init__(self, requester: Requester, root: RoomId, *, max_depth: int, suggested_only: bool, skip: int) -> None:
        self._requester = requester
        self._max_depth = max_depth
        self._suggested_only = suggested_only
        self._skip = skip
        self._ahead = [(root, 0)]
        self._seen: set[RoomId] = set()
        self.found: list[dict[str, Any]] = []

    @property
    def goes_on(self) -> bool:
        return bool(self._ahead) and len(self._seen) < WALKED_MAX

    def go_on(self, snapshot: Snapshot, steps: int, *, wanted: int) -> None:
        """Look at some more rooms, unless ``wanted`` have been found."""
        for _ in range(steps):
            if not self.goes_on or len(self.found) >= wanted:
                return
            room_id, depth = self._ahead.pop()
            if room_id not in self._seen:
                self._seen.add(room_id)
                self._visit(snapshot, room_id, depth)

    def _visit(self, snapshot: Snapshot, room_id: RoomId, depth: int) -> None:
        room = rooms.get_room(snapshot, room_id)
        if room is None or not may_preview(snapshot, self._requester, room):
            return
        children = get_children(snapshot, room, suggested_only=self._suggested_only)
        if self._skip:
            self._skip -= 1
        else:
            self.found.append({**build_summary(snapshot, room), "children_state": [_strip(it) for it in children]})
        if depth < self._max_depth:
            self._ahead += [(RoomId(child.state_key or ""), depth + 1) for child in reversed(children)]


def get_children(snapshot: Snapshot, room: Room, *, suggested_only: bool) -> list[Pdu]:
    """The ``m.space.child`` events of a space, in the order of its children; none for what is no space.

    Spec: client-server-api/#ordering-of-children-within-a-space
    """
    create = get_current_pdu(snapshot, room.short, "m.room.create", "")
    if create is None or create.content.get("type") != "m.space":
        return []
    found = (timeline.get_pdu(snapshot, event) for event in get_child_events(snapshot, room.state_id))
    children = [
        child for child in found if _is_child(child) and (not suggested_only or child.content.get("suggested") is True)
    ]
    return sorted(children, key=_sort_key)[:CHILDREN_MAX]


def _is_child(event: Pdu) -> bool:
    """An event without servers to join through takes the child out of the space."""
    via = event.content.get("via")
    return isinstance(via, list) and bool(via) and (event.state_key or "").startswith("!")


def _sort_key(child: Pdu) -> tuple[bool, str, int, str]:
    order = child.content.get("order")
    valid = order if isinstance(order, str) and _ORDER.fullmatch(order) else None
    return valid is None, valid or "", child.origin_server_ts, child.state_key or ""


def _strip(child: Pdu) -> Mapping[str, Any]:
    return {
        "type": child.type,
        "state_key": child.state_key,
        "sender": child.sender,
        "content": child.content,
        "origin_server_ts": child.origin_server_ts,
    }


def _limit(limit: int | None) -> int:
    if limit == 0:
        raise InvalidParam("limit must be above zero")
    return LIMIT_DEFAULT if limit is None else min(limit, LIMIT_MAX)


def _parse_token(query: HierarchyQuery, max_depth: int) -> int:
    """How many rooms were told already. Raises ``InvalidParam``."""
    if query.from_token is None:
        return 0
    token = _TOKEN.fullmatch(query.from_token)
    if token is None:
        raise InvalidParam("from must be a token that was handed out by this server")
    told, depth, suggested = (int(part) for part in token.groups())
    if (depth, bool(suggested)) != (max_depth, query.suggested_only):
        raise InvalidParam("suggested_only and max_depth cannot change on paginated requests")
    return told
