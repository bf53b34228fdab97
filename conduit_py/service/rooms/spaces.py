"""The rooms of a space and of the spaces in it, walked depth first.

A token says how many rooms were told, so each page walks the tree from its root again: nothing is kept between
requests, and rooms that come or go meanwhile shift what follows by as many. Each room is told once, where the walk
meets it first, which ends loops as well.

Spec: client-server-api/#spaces
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import trio

from conduit_py.data import members, rooms
from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import RoomId, ServerName, server_name_of
from conduit_py.service.errors import Forbidden, InvalidParam, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.previews import (
    build_summary,
    may_preview,
    may_preview_remote,
    may_server_preview,
)
from conduit_py.service.rooms.remote_spaces import Answer, RemoteRoom, RemoteSpaces
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.space_children import Child, get_children
from conduit_py.storage.database import Database, Snapshot

LIMIT_DEFAULT = 50
LIMIT_MAX = 100
"""Rooms in one answer, however many were asked for."""
DEPTH_MAX = 50
"""Spaces within spaces; also what a request gets that names no depth."""
WALKED_MAX = 5000
"""Rooms looked at for one answer. What lies beyond them is not told."""
REMOTE_FETCHES_MAX = 30
"""Rooms that other servers are asked for on account of one request."""
REMOTE_TIMEOUT_S = 30.0
"""For all of them together. What was not told by then is left out; the next request may find it."""
ROOMS_PER_SLICE = 50
"""Rooms looked at before others get their turn: about 10 ms."""

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

    def __init__(self, database: Database, remote: RemoteSpaces, *, server_name: ServerName) -> None:
        self._database = database
        self._remote = remote
        self._server_name = server_name

    async def get_hierarchy(self, requester: Requester, room_id: RoomId, query: HierarchyQuery) -> dict[str, Any]:
        """One page of a space and what is in it, in the order of the tree. Raises ``Forbidden`` or ``InvalidParam``.

        Rooms that the requester may not know of are left out, with all that is only found through them. Of rooms that
        this server is not in, those are asked that the space names.

        Spec: client-server-api/#get_matrixclientv1roomsroomidhierarchy
        """
        limit = _limit(query.limit)
        max_depth = DEPTH_MAX if query.max_depth is None else min(query.max_depth, DEPTH_MAX)
        told = _parse_token(query, max_depth)
        root = _Step(room_id, 0, [server_name_of(room_id)] if ":" in room_id else [])
        walk = _Walk(requester, root, max_depth=max_depth, suggested_only=query.suggested_only, skip=told)
        with trio.move_on_after(REMOTE_TIMEOUT_S):
            await self._walk(walk, wanted=limit + 1, fetches_max=REMOTE_FETCHES_MAX)
        walk.asks_nobody = True
        await self._walk(walk, wanted=limit + 1, fetches_max=0)
        if not walk.is_root_told:
            raise Forbidden(f"{room_id} is not a room that {requester.user_id} may look into")
        answer: dict[str, Any] = {"rooms": walk.found[:limit]}
        if len(walk.found) > limit:
            answer["next_batch"] = f"{told + limit}_{max_depth}_{int(query.suggested_only)}"
        return answer

    async def _walk(self, walk: _Walk, *, wanted: int, fetches_max: int) -> None:
        while walk.goes_on and len(walk.found) < wanted:
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                walk.go_on(snapshot, ROOMS_PER_SLICE, wanted=wanted)
            if walk.lacks is not None:
                if not fetches_max:
                    walk.asks_nobody = True
                else:
                    fetches_max -= 1
                    room_id, via = walk.lacks.room_id, walk.lacks.via
                    answer = await self._remote.fetch(room_id, via, suggested_only=walk.suggested_only)
                    walk.learn(room_id, answer)

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
            summary = {**build_summary(snapshot, room), "children_state": [child.to_json() for child in children]}
        told: list[dict[str, Any]] = []
        hidden: list[RoomId] = []
        for start in range(0, len(children), ROOMS_PER_SLICE):
            await trio.lowlevel.checkpoint()
            with self._database.snapshot() as snapshot:
                for child in children[start : start + ROOMS_PER_SLICE]:
                    below = self._get_live(snapshot, child.room_id)
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


class _Step(NamedTuple):
    """A room to visit."""

    room_id: RoomId
    depth: int
    via: Sequence[Any]


class _Walk:
    """One walk through a space, in as many steps as it takes."""

    def __init__(self, requester: Requester, root: _Step, *, max_depth: int, suggested_only: bool, skip: int) -> None:
        self._requester = requester
        self._max_depth = max_depth
        self.suggested_only = suggested_only
        self._skip = skip
        self._ahead = [root]
        self._seen: set[RoomId] = set()
        self._asked: set[RoomId] = set()
        self._remote: dict[RoomId, RemoteRoom | None] = {}
        self.found: list[dict[str, Any]] = []
        self.is_root_told = False
        self.lacks: _Step | None = None
        """The room that comes next, if other servers have to be asked for it."""
        self.asks_nobody = False

    @property
    def goes_on(self) -> bool:
        return bool(self._ahead) and len(self._seen) < WALKED_MAX

    def learn(self, asked_for: RoomId, answer: Answer) -> None:
        """What other servers told when they were asked for a room."""
        self._asked.add(asked_for)
        for room_id, room in answer.items():
            known = self._remote.get(room_id)
            # What is known in full, or at all, is better than what is not.
            if known is None or (room is not None and known.children is None):
                self._remote[room_id] = room

    def go_on(self, snapshot: Snapshot, steps: int, *, wanted: int) -> None:
        """Look at some more rooms, unless ``wanted`` have been found, or one is lacking."""
        self.lacks = None
        for _ in range(steps):
            if not self.goes_on or len(self.found) >= wanted:
                return
            step = self._ahead.pop()
            if step.room_id in self._seen:
                continue
            if not self._visit(snapshot, step):
                self._ahead.append(step)
                self.lacks = step
                return
            self._seen.add(step.room_id)

    def _visit(self, snapshot: Snapshot, step: _Step) -> bool:
        """False if other servers have to be asked first."""
        room = get_live_room(snapshot, step.room_id)
        if room is not None:
            if may_preview(snapshot, self._requester, room):
                children = get_children(snapshot, room, suggested_only=self.suggested_only)
                self._tell(step, build_summary(snapshot, room), children)
            return True
        remote = self._remote.get(step.room_id)
        if self._is_lacking(step) and not self.asks_nobody:
            return False
        if remote is not None and may_preview_remote(snapshot, self._requester, remote.summary):
            self._tell(step, remote.summary, remote.children or ())
        return True

    def _is_lacking(self, step: _Step) -> bool:
        """Is there something to ask other servers about the room?"""
        if step.room_id in self._asked:
            return False
        if step.room_id not in self._remote:
            return True
        remote = self._remote[step.room_id]
        return remote is not None and remote.children is None and step.depth < self._max_depth

    def _tell(self, step: _Step, summary: dict[str, Any], children: Sequence[Child]) -> None:
        self.is_root_told = True
        if self._skip:
            self._skip -= 1
        else:
            self.found.append({**summary, "children_state": [child.to_json() for child in children]})
        if step.depth < self._max_depth:
            self._ahead += [_Step(child.room_id, step.depth + 1, child.via) for child in reversed(children)]


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
