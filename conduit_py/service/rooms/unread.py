"""Unread counts: which events notified which local user and have not been read.

One row per user and notifying event, written with the event. Counts are therefore exact for every thread, a receipt
removes what it covers, and nothing is recomputed later.

Spec: client-server-api/#receiving-notifications
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from conduit_py.data import short_ids, timeline
from conduit_py.data.notified import stage_notified, stage_notified_removed
from conduit_py.matrix.ids import EventId, RoomId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.push.evaluate import CompiledRuleset, prepare_event
from conduit_py.matrix.relations import find_thread_root
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import receipts
from kvschema.catalog.receipts import Unread, UserRoomPos
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId

GetRuleset = Callable[[Snapshot, ShortUserId, UserId], CompiledRuleset]
"""A user's push rules, ready to be evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """An event in its room, as push rules see it."""

    room: ShortRoomId
    room_id: RoomId
    pdu: Pdu
    pos: int
    power_levels: PowerLevels
    member_count: int
    get_state: Callable[[str, str], Pdu | None]


class UnreadService:
    """Stages unread rows. One per server."""

    def __init__(self, get_ruleset: GetRuleset) -> None:
        self._get_ruleset = get_ruleset

    def stage(self, snapshot: Snapshot, turn: Turn, noticed: Noticed, readers: Iterable[ShortUserId]) -> None:
        """Evaluate the push rules of every local joined member. The sender has read what is there by answering.

        Who is ignored notifies nobody: what they send is not shown.
        """
        pdu = noticed.pdu
        levels = noticed.power_levels
        notifications = (levels.content or {}).get("notifications")
        prepared = prepare_event(
            {key: pdu.json[key] for key in timeline.CLIENT_KEYS if key in pdu.json}
            | {"event_id": pdu.event_id, "room_id": noticed.room_id},
            room_id=noticed.room_id,
            member_count=noticed.member_count,
            sender_power_level=levels.of_user(pdu.sender),
            notification_levels=notifications if isinstance(notifications, dict) else {},
        )
        thread: ShortEventId | None = None
        for user in readers:
            user_id = short_ids.get_user_id(snapshot, user)
            if user_id == pdu.sender:
                # The membership event of a new display name is written by the server, into rooms not even looked at.
                if pdu.type != "m.room.member" or pdu.state_key != user_id:
                    stage_read(snapshot, turn, user, noticed.room, until=noticed.pos, thread=None)
                continue
            ruleset = self._get_ruleset(snapshot, user, user_id)
            name = _display_name(noticed, user_id) if ruleset.asks_for_display_name else None
            outcome = ruleset.evaluate(prepared, display_name=name)
            if outcome.notify and pdu.sender not in get_ignored_users(snapshot, user):
                if thread is None:
                    thread = _thread_of(snapshot, noticed)
                key = UserRoomPos(user, noticed.room, noticed.pos)
                turn.batch.put(receipts.USERROOMPOS_UNREAD, key, Unread(thread, outcome.highlight))
                stage_notified(turn, key, is_highlight=outcome.highlight, actions=outcome.actions)


def _display_name(noticed: Noticed, user_id: UserId) -> str | None:
    member = noticed.get_state("m.room.member", user_id)
    name = None if member is None else member.content.get("displayname")
    return name if isinstance(name, str) else None


def _thread_of(snapshot: Snapshot, noticed: Noticed) -> ShortEventId:
    """The root of the thread that the event belongs to, 0 for the main timeline."""

    def find(event_id: EventId) -> tuple[ShortEventId, Pdu] | None:
        found = timeline.find_row(snapshot, event_id)
        if found is None or found[1].room != noticed.room:
            return None
        return found[0], timeline.get_pdu(snapshot, found[0])

    def get_content(event_id: EventId) -> Mapping[str, Any] | None:
        related = find(event_id)
        return None if related is None else related[1].content

    root = find_thread_root(noticed.pdu.content, get_content)
    found = None if root is None else find(root)
    return ShortEventId(0) if found is None else found[0]


def stage_unnoticed(turn: Turn, room: ShortRoomId, pos: int, users: Iterable[ShortUserId]) -> None:
    """Count an event for nobody any more: it was redacted."""
    for user in users:
        turn.batch.delete(receipts.USERROOMPOS_UNREAD, UserRoomPos(user, room, pos))
        stage_notified_removed(turn, user, pos)


def stage_read(
    snapshot: Snapshot,
    turn: Turn,
    user: ShortUserId,
    room: ShortRoomId,
    *,
    until: int,
    thread: ShortEventId | None,
) -> None:
    """Forget what the user has read: all up to a place, or what of it lies in one thread (0 for the main one)."""
    stop = UserRoomPos(user, room, until)
    for key, unread in receipts.USERROOMPOS_UNREAD.scan(snapshot, user, room, until=stop):
        if thread is None or unread.thread == thread:
            turn.batch.delete(receipts.USERROOMPOS_UNREAD, key)
