"""Putting events into the queues of the application services that are interested in them.

An event's rows land with the event. Who is interested is decided then: by the room and its aliases, by who sent the
event or is its subject, and by who is in the room.

Spec: application-service-api/#registration
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import orjson
import trio

from conduit_py.data import appservices as data
from conduit_py.data.timeline import CLIENT_KEYS
from conduit_py.log import get_logger
from conduit_py.matrix.appservices import matches
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.interest import Interest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.appservices import EVENTS_QUEUED_MAX
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId

_log = get_logger(__name__)

SHOWN_BYTES_MAX: Final = 16 * 1024
"""Of the state of a room that goes with an invite from it. Most have about 3 KiB, and anybody may send one."""
_SHOWN: Final = {"invite": "invite_room_state", "knock": "knock_room_state"}
GIVEN_UP: Final = EVENTS_QUEUED_MAX // 100
"""How many of the oldest make room at once where too many wait."""


class AppServiceQueue:
    """One per server. How much waits is counted in memory, and read once from the store."""

    def __init__(self, appservices: AppServices) -> None:
        self._appservices = appservices
        self.interest = Interest(appservices)
        self._waiting: dict[str, int] = {}
        self._woken: dict[str, trio.Event] = {}

    def forget(self, appservice_id: str) -> None:
        """There is no such application service any more, or another one of that id."""
        self._waiting.pop(appservice_id, None)
        self.interest.forget(appservice_id)

    def listen(self, appservice_id: str) -> trio.Event:
        """Is set when something more waits for the application service. Take it before looking."""
        event = self._woken[appservice_id] = trio.Event()
        return event

    def note_sent(self, appservice_id: str, count: int) -> None:
        """So many were acknowledged."""
        if appservice_id in self._waiting:
            self._waiting[appservice_id] -= count

    def stage_event(
        self,
        snapshot: Snapshot,
        turn: Turn,
        room: ShortRoomId,
        event: ShortEventId,
        pdu: Pdu,
        joined: Collection[ShortUserId],
    ) -> None:
        """Queue an event that is staged in this turn. ``joined`` are the users of this server in its room."""
        for appservice in self._appservices:
            if appservice.url is None:
                continue
            is_theirs = any(self._appservices.has_user(appservice, user_id) for user_id in _concerned(pdu))
            if is_theirs or self.interest.is_in_room(snapshot, appservice, room, pdu.room_id, joined):
                self._stage(snapshot, turn, appservice.id, event)

    def stage_outside(self, snapshot: Snapshot, turn: Turn, pdu: Pdu, shown: Sequence[Any]) -> None:
        """Queue an event of a room that we do not take part in, with what its users are shown of the room."""
        for appservice in self._appservices:
            is_theirs = any(self._appservices.has_user(appservice, user_id) for user_id in _concerned(pdu))
            if appservice.url is not None and (is_theirs or matches(appservice.rooms, pdu.room_id)):
                self._stage(snapshot, turn, appservice.id, orjson.dumps(_outside_event(pdu, shown)))

    def _stage(self, snapshot: Snapshot, turn: Turn, appservice_id: str, event: ShortEventId | bytes) -> None:
        if appservice_id not in self._waiting:
            self._waiting[appservice_id] = data.count_events(snapshot, appservice_id)
        if self._waiting[appservice_id] >= EVENTS_QUEUED_MAX:
            self._stage_given_up(snapshot, turn, appservice_id)
        data.stage_event(turn, appservice_id, turn.take_pos(), event)
        turn.on_landed(lambda: self._note_landed(appservice_id))

    def _stage_given_up(self, snapshot: Snapshot, turn: Turn, appservice_id: str) -> None:
        """Drop the oldest. What is on its way stays: a transaction never changes."""
        sending = data.get_sending(snapshot, appservice_id)
        waiting = data.scan_events(snapshot, appservice_id, after=0 if sending is None else sending.until)
        oldest = [pos for (pos, _), _ in zip(waiting, range(GIVEN_UP), strict=False)]
        data.stage_events_removed(turn, appservice_id, oldest)
        turn.on_landed(lambda: self._note_given_up(appservice_id, len(oldest)))

    def _note_given_up(self, appservice_id: str, count: int) -> None:
        if appservice_id in self._waiting:
            self._waiting[appservice_id] -= count
        _log.warning("too much waits for an application service: the oldest is given up", appservice=appservice_id)

    def _note_landed(self, appservice_id: str) -> None:
        if appservice_id in self._waiting:
            self._waiting[appservice_id] += 1
        self.wake(appservice_id)

    def wake(self, appservice_id: str) -> None:
        """Something waits for the application service."""
        woken = self._woken.get(appservice_id)
        if woken is not None:
            woken.set()


def _outside_event(pdu: Pdu, shown: Sequence[Any]) -> dict[str, Any]:
    """As clients get it. Spec: client-server-api/#mroommember"""
    event = {key: pdu.json[key] for key in CLIENT_KEYS if key in pdu.json}
    event |= {"event_id": pdu.event_id, "room_id": pdu.room_id}
    name = _SHOWN.get(str(pdu.content.get("membership")))
    return event if name is None else event | {"unsigned": {name: list(_cut(shown))}}


def _cut(shown: Sequence[Any]) -> Iterator[Any]:
    """As much as fits; the others are left out."""
    left = SHOWN_BYTES_MAX
    for event in shown:
        size = len(orjson.dumps(event))
        if size <= left:
            left -= size
            yield event


def _concerned(pdu: Pdu) -> Iterator[UserId]:
    """Who sent an event, and whose membership it is."""
    yield pdu.sender
    if pdu.type == "m.room.member" and pdu.state_key is not None:
        yield UserId(pdu.state_key)
