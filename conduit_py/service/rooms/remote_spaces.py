"""Spaces and rooms that this server is not in, as servers in them tell: asked for, and kept for some minutes.

A server that is asked for a space tells of the rooms right below it as well, so a space of a hundred rooms costs one
request. What is kept is what that server tells this one; what a user is shown of it is decided for each user.

Spec: server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.matrix.ids import Malformed, RoomId, ServerName, parse_room_id, parse_server_name, parse_user_id
from conduit_py.outbound.errors import RemoteError
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_queries import Hierarchy, fetch_hierarchy
from conduit_py.service.rooms.remote_rooms import CHILDREN_MAX, parse_summary
from conduit_py.service.rooms.space_children import SPACE_CHILD, Child, order_children

KEPT_MS: Final = 5 * 60_000
"""Spec: server-server-api/#get_matrixfederationv1hierarchyroomid ("should be cached for a period of time")"""
KEPT_FAILED_MS: Final = 60_000
KEPT_ROOMS_MAX: Final = 2000
"""Rooms in all the answers that are kept; about 2 KiB each."""
SERVERS_ASKED_MAX: Final = 3
"""Servers that are asked for one room, in turn."""


@dataclass(frozen=True, slots=True)
class RemoteRoom:
    """A room that this server is not in."""

    summary: dict[str, Any]
    children: Sequence[Child] | None
    """None for a space of which only the summary is known, because it came as a child of another."""


Answer = Mapping[RoomId, RemoteRoom | None]
"""The room that was asked for, and its children; None for one that cannot be seen from here."""


class RemoteSpaces:
    """One per server."""

    def __init__(self, fetcher: Fetcher, *, server_name: ServerName, now_ms: Callable[[], int]) -> None:
        self._fetcher = fetcher
        self._server_name = server_name
        self._now_ms = now_ms
        self._kept: OrderedDict[tuple[RoomId, bool], tuple[int, Answer]] = OrderedDict()
        self._kept_rooms = 0

    async def fetch(self, room_id: RoomId, via: Sequence[Any], *, suggested_only: bool) -> Answer:
        """The room, which is always among what is answered, and the rooms right below. Never raises for silence."""
        key = (room_id, suggested_only)
        kept = self._kept.get(key)
        if kept is not None and self._now_ms() < kept[0]:
            return kept[1]
        answer: Answer = {room_id: None}
        kept_ms = KEPT_FAILED_MS
        for server_name in self._choose_servers(via):
            try:
                hierarchy = await fetch_hierarchy(self._fetcher, server_name, room_id, suggested_only=suggested_only)
            except RemoteError:
                continue
            answer, kept_ms = _parse_answer(room_id, hierarchy), KEPT_MS
            break
        self._keep(key, self._now_ms() + kept_ms, answer)
        return answer

    def _choose_servers(self, via: Sequence[Any]) -> list[ServerName]:
        names: dict[ServerName, None] = {}
        for name in via[: 10 * SERVERS_ASKED_MAX]:
            try:
                names[parse_server_name(name if isinstance(name, str) else "")] = None
            except Malformed:
                continue
        return [name for name in names if name != self._server_name][:SERVERS_ASKED_MAX]

    def _keep(self, key: tuple[RoomId, bool], until_ms: int, answer: Answer) -> None:
        old = self._kept.pop(key, None)
        self._kept_rooms += len(answer) - (0 if old is None else len(old[1]))
        self._kept[key] = (until_ms, answer)
        while self._kept_rooms > KEPT_ROOMS_MAX:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._kept_rooms -= len(dropped)


def _parse_answer(room_id: RoomId, hierarchy: Hierarchy) -> Answer:
    answer: dict[RoomId, RemoteRoom | None] = {}
    for raw in hierarchy.children[:CHILDREN_MAX]:
        summary = parse_summary(raw)
        if summary is not None:
            is_space = summary.get("room_type") == "m.space"
            answer[summary["room_id"]] = RemoteRoom(summary, None if is_space else ())
    for hidden in hierarchy.inaccessible_children[:CHILDREN_MAX]:
        answer[RoomId(hidden)] = None
    summary = parse_summary(hierarchy.room)
    children = hierarchy.room.get("children_state")
    is_space = summary is not None and summary.get("room_type") == "m.space" and isinstance(children, list)
    told = _parse_children(children) if is_space and isinstance(children, list) else ()
    answer[room_id] = None if summary is None else RemoteRoom(summary, told)
    return answer


def _parse_children(raw: Sequence[Any]) -> list[Child]:
    found: dict[RoomId, Child] = {}
    for event in raw[:CHILDREN_MAX]:
        child = _parse_child(event)
        if child is not None:
            found.setdefault(child.room_id, child)
    return order_children(found.values())


def _parse_child(event: Any) -> Child | None:
    """A stripped ``m.space.child`` with servers to join through, None for anything else."""
    if not isinstance(event, Mapping) or event.get("type") != SPACE_CHILD:
        return None
    content, sent_ms = event.get("content"), event.get("origin_server_ts")
    via = content.get("via") if isinstance(content, Mapping) else None
    if not isinstance(via, list) or not via or type(sent_ms) is not int:
        return None
    try:
        room_id, sender = parse_room_id(str(event.get("state_key"))), parse_user_id(str(event.get("sender")))
    except Malformed:
        return None
    return Child(room_id=room_id, sender=sender, content=dict(content or {}), origin_server_ts=sent_ms)
