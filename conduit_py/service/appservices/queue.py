"""Putting events into the queues of the application services that are interested in them.

An event's rows land with the event. Who is interested is decided then: by the room and its aliases, by who sent the
event or is its subject, and by who is in the room.

Spec: application-service-api/#registration
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import trio

from conduit_py.data import appservices as data
from conduit_py.data import rooms, short_ids
from conduit_py.log import get_logger
from conduit_py.matrix.appservices import Registration, matches
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.appservice_registry import AppServices
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.appservices import EVENTS_QUEUED_MAX
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId

_log = get_logger(__name__)

REMEMBERED_MAX: Final = 100_000
"""Users of whom is remembered whether they are an application service's."""
GIVEN_UP: Final = EVENTS_QUEUED_MAX // 100
"""How many of the oldest make room at once where too many wait."""


class AppServiceQueue:
    """One per server. How much waits is counted in memory, and read once from the store."""

    def __init__(self, appservices: AppServices) -> None:
        self._appservices = appservices
        self._theirs: dict[tuple[str, ShortUserId], bool] = {}
        self._waiting: dict[str, int] = {}
        self._woken: dict[str, trio.Event] = {}

    def forget(self, appservice_id: str) -> None:
        """There is no such application service any more, or another one of that id."""
        self._waiting.pop(appservice_id, None)
        for key in [key for key in self._theirs if key[0] == appservice_id]:
            del self._theirs[key]

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
            if appservice.url is not None and self._is_interested(snapshot, appservice, room, pdu, joined):
                self._stage(snapshot, turn, appservice.id, event)

    def _stage(self, snapshot: Snapshot, turn: Turn, appservice_id: str, event: ShortEventId) -> None:
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
        woken = self._woken.get(appservice_id)
        if woken is not None:
            woken.set()

    def _is_interested(
        self,
        snapshot: Snapshot,
        appservice: Registration,
        room: ShortRoomId,
        pdu: Pdu,
        joined: Collection[ShortUserId],
    ) -> bool:
        if any(self._appservices.has_user(appservice, user_id) for user_id in _concerned(pdu)):
            return True
        if matches(appservice.rooms, pdu.room_id):
            return True
        if any(self._is_theirs(snapshot, appservice, user) for user in joined):
            return True
        return bool(appservice.aliases) and any(
            matches(appservice.aliases, alias) for alias in rooms.scan_aliases(snapshot, room)
        )

    def _is_theirs(self, snapshot: Snapshot, appservice: Registration, user: ShortUserId) -> bool:
        """What namespaces a user is in never changes, so it is looked up once."""
        key = (appservice.id, user)
        known = self._theirs.get(key)
        if known is None:
            if len(self._theirs) >= REMEMBERED_MAX:
                self._theirs.clear()
            user_id = UserId(short_ids.get_user_id(snapshot, user))
            known = self._theirs[key] = self._appservices.has_user(appservice, user_id)
        return known


def _concerned(pdu: Pdu) -> Iterator[UserId]:
    """Who sent an event, and whose membership it is."""
    yield pdu.sender
    if pdu.type == "m.room.member" and pdu.state_key is not None:
        yield UserId(pdu.state_key)
