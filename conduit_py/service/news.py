"""What a commit tells those who wait for it, where that is more than that there is something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from conduit_py.matrix.sync_token import format_place
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.timeline import EventRow

_AGE = b',"unsigned":{"age":'


class Message(NamedTuple):
    """One event of a timeline."""

    event: ShortEventId
    sender: str
    sent_ms: int
    head: bytes
    """Up to its age."""

    @classmethod
    def of_row(cls, event: ShortEventId, row: EventRow, *, sender: str, sent_ms: int) -> Message:
        """An event that is passed on as it is stored."""
        head = b'{%s,"event_id":%s%s' % (row.client, orjson.dumps(row.event_id), _AGE)
        return cls(event, sender, sent_ms, head)


@dataclass(frozen=True, slots=True)
class Messages:
    """New messages of a room, as everybody in it gets them."""

    room_id: str
    timeline: tuple[Message, ...]
    start: int
    """The place right before them."""
    senders: frozenset[str]
    members: frozenset[ShortEventId]
    """Membership events of the senders."""
    room_json: bytes
    prev_batch: bytes
    """The token of the start."""

    @classmethod
    def of(cls, room_id: str, timeline: tuple[Message, ...], start: int, members: frozenset[ShortEventId]) -> Messages:
        senders = frozenset(message.sender for message in timeline)
        return cls(room_id, timeline, start, senders, members, orjson.dumps(room_id), format_place(start).encode())


class RoomNews(NamedTuple):
    """What a waiter was woken for, where that is nothing but rooms."""

    rooms: Mapping[ShortRoomId, int]
    """Rooms in which something landed, with a position up to which the waiter had been woken for all of it."""
    pos: int
    """Whatever landed up to here and may be new for the waiter's user is in these rooms."""
    messages: Messages | None = None
    """All events among it, where that is known; they left the state of the one room as it was."""
