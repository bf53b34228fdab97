"""The rooms right below a space, and their order.

Spec: client-server-api/#ordering-of-children-within-a-space
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.data import timeline
from conduit_py.data.rooms import Room
from conduit_py.data.spaces import SPACE_CHILD, get_child_events
from conduit_py.data.state import get_current_pdu
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.storage.database import Snapshot

__all__ = ["CHILDREN_MAX", "SPACE_CHILD", "Child", "get_children", "order_children"]

CHILDREN_MAX: Final = 1000
"""Children of one space that are told and followed, the first in order."""

_ORDER = re.compile(r"[\x20-\x7e]{1,50}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """An ``m.space.child`` event that names servers to join through."""

    room_id: RoomId
    sender: UserId
    content: Mapping[str, Any]
    origin_server_ts: int

    @property
    def via(self) -> Sequence[Any]:
        via = self.content["via"]
        return via if isinstance(via, list) else ()

    def to_json(self) -> dict[str, Any]:
        """The event as it stands in ``children_state``."""
        return {
            "type": SPACE_CHILD,
            "state_key": self.room_id,
            "sender": self.sender,
            "content": self.content,
            "origin_server_ts": self.origin_server_ts,
        }


def get_children(snapshot: Snapshot, room: Room, *, suggested_only: bool) -> list[Child]:
    """The children of a space that is held here, in their order; none for what is no space."""
    create = get_current_pdu(snapshot, room.short, "m.room.create", "")
    if create is None or create.content.get("type") != "m.space":
        return []
    events = (timeline.get_pdu(snapshot, event) for event in get_child_events(snapshot, room.state_id))
    children = (
        Child(
            room_id=RoomId(event.state_key or ""),
            sender=event.sender,
            content=event.content,
            origin_server_ts=event.origin_server_ts,
        )
        for event in events
        if _names_servers(event.content) and (event.state_key or "").startswith("!")
    )
    return order_children(child for child in children if not suggested_only or child.content.get("suggested") is True)


def order_children(children: Iterable[Child]) -> list[Child]:
    """In the order in which they are shown, as many as are told at the most."""
    return sorted(children, key=_sort_key)[:CHILDREN_MAX]


def _names_servers(content: Mapping[str, Any]) -> bool:
    """An event without servers to join through takes the child out of the space."""
    via = content.get("via")
    return isinstance(via, list) and bool(via)


def _sort_key(child: Child) -> tuple[bool, str, int, str]:
    order = child.content.get("order")
    valid = order if isinstance(order, str) and _ORDER.fullmatch(order) else None
    return valid is None, valid or "", child.origin_server_ts, child.room_id
