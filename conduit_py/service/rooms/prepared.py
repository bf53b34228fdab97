"""What may take too long for one step of the event loop: what it is, and what was found.

A turn that comes upon such a thing is told whether it was prepared; if not, it raises ``TooLarge``. See ``groundwork``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from conduit_py.data.state import LooseState
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.state_res import StateKey, StateMap
from conduit_py.service.rooms.current_state import LargeMove
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortStateKey, StateId

NEW: Final = ShortEventId(-1)
"""Stands for an event that has no short id yet."""

Resolved = Mapping[StateKey, EventId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """States that differ, and how."""

    room_version: RoomVersion
    states: tuple[LooseState, ...]
    """With ``NEW`` for an event that has no short id yet."""
    conflicted: tuple[StateMap, ...]
    known: Mapping[EventId, Pdu]
    """Events that are in a state and not stored yet."""

    @property
    def name(self) -> Hashable:
        """The same for the same states, whatever short ids new events get."""
        return *self.known, *self.states

    @property
    def size(self) -> int:
        return sum(map(len, self.conflicted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """States that may differ in much."""

    room_version: RoomVersion
    states: tuple[LooseState, ...]
    new: Pdu | None
    """An event that is not stored yet: ``NEW`` in those of the states that it is in."""

    @property
    def name(self) -> Hashable:
        new = None if self.new is None else self.new.event_id
        return new, *self.states


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """From a room's current state to another, which may differ in much."""

    room: ShortRoomId
    before: StateId
    after: LooseState
    key: ShortStateKey | None
    """An entry that is left out: that of the event that is being staged."""

    @property
    def name(self) -> Hashable:
        return self.before, self.after, self.key


Work = Conflict | Spread | Way


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was worked out for events of one room, by name, as long as its lock is held."""

    resolved: dict[Hashable, LooseState] = field(default_factory=dict)
    moves: dict[Hashable, LargeMove] = field(default_factory=dict)


class TooLarge(Exception):
    """Something has to be worked out first: ``Groundwork.do``. No event was staged.

    Short ids may have been, which are in what is to be worked out: the turn must end as any other.
    """

    def __init__(self, work: Work) -> None:
        super().__init__("this takes too long to work out between two steps of the event loop")
        self.work = work
