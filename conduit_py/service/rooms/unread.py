"""Push rules at work: whom an event notifies, written with the event as one row.

Most members have the push rules that everybody starts with, which speak of their user only where the event names
somebody: a mention or an invite. So an event is judged once for all of these members, again for those it names, and
for every member with rules or ignored users of one's own.

Spec: client-server-api/#receiving-notifications, client-server-api/#push-rules
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import orjson

from conduit_py.data import notified, short_ids, timeline, users
from conduit_py.data.apart import get_users_apart
from conduit_py.data.members import MemberChange
from conduit_py.matrix.ids import EventId, RoomId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.push.defaults import default_ruleset
from conduit_py.matrix.push.evaluate import NO_ACTIONS, CompiledRuleset, PreparedEvent, PushOutcome, prepare_event
from conduit_py.matrix.relations import find_thread_root
from conduit_py.matrix.stripped_state import get_stripped
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.receipts import Notified
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId

_NOBODY = UserId("")
_NO_USER = ShortUserId(0)
_ANYBODYS_RULES = CompiledRuleset(default_ruleset(_NOBODY), _NOBODY)
"""The rules that everybody starts with, for a user whom no event names."""

StageRing = Callable[[Turn, ShortRoomId, Set[ShortUserId]], None]
"""These users' pushers may have something to do when the batch has landed: something happened in a room."""


def ring_nobody(turn: Turn, room: ShortRoomId, users: Set[ShortUserId]) -> None:
    """A ``StageRing`` where nothing is pushed."""


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
    """Stages who is notified. One per server."""

    def __init__(self, get_ruleset: GetRuleset, stage_ring: StageRing = ring_nobody) -> None:
        self._get_ruleset = get_ruleset
        self._stage_ring = stage_ring

    def stage(self, snapshot: Snapshot, turn: Turn, noticed: Noticed, readers: Set[ShortUserId]) -> None:
        """Notify local joined members, and a local user who is invited.

        A sender has read what was there by answering. Who is ignored notifies nobody: what they send is not shown.
        """
        sender = _get_reading_sender(snapshot, noticed, readers)
        groups = self._judge(snapshot, noticed, readers)
        if sender or groups:
            row = Notified(
                thread=_thread_of(snapshot, noticed) if groups else notified.MAIN_TIMELINE,
                sender=sender,
                groups=[[group.is_highlight, group.actions, notified.pack_users(group.users)] for group in groups],
            )
            notified.stage_notified(turn, noticed.room, noticed.pos, row)
        relieved = _scan_relieved(snapshot, noticed)
        self._stage_ring(turn, noticed.room, {sender, *relieved}.union(*(group.users for group in groups)))

    def stage_invited(
        self, snapshot: Snapshot, turn: Turn, room_id: RoomId, user_id: UserId, invite: MemberChange
    ) -> None:
        """Notify a local user of an invite to a room that we are not in, of which only a glimpse is there."""
        event = get_stripped(invite.stripped_state, "m.room.member", user_id)
        prepared = prepare_event(
            {**event, "event_id": invite.event_id, "room_id": room_id},
            room_id=room_id,
            member_count=0,
            sender_power_level=0,
            notification_levels={},
        )
        outcome = self._get_ruleset(snapshot, invite.user, user_id).evaluate(prepared, display_name=None)
        if outcome.notify and invite.sender not in get_ignored_users(snapshot, invite.user):
            groups = [[outcome.highlight, list(outcome.actions), notified.pack_users((invite.user,))]]
            row = Notified(notified.MAIN_TIMELINE, _NO_USER, groups)
            notified.stage_notified(turn, invite.room, invite.pos, row)
            self._stage_ring(turn, invite.room, {invite.user})

    def _judge(self, snapshot: Snapshot, noticed: Noticed, readers: Set[ShortUserId]) -> list[_Group]:
        groups = _Groups()
        sender = {short_ids.get_user(snapshot, noticed.pdu.sender)}
        named = set(_scan_named(snapshot, noticed, readers)) - sender
        alone = (readers & get_users_apart(snapshot)) - sender | named
        others = readers - alone - sender
        if not (alone or others):
            # All of a new room, as long as nobody else is in it.
            return []
        prepared = _prepare(noticed)
        if others:
            groups.add(_ANYBODYS_RULES.evaluate(prepared, display_name=None), others)
        for user in alone:
            groups.add(self._judge_for(snapshot, noticed, prepared, user), (user,))
        return groups.get_all()

    def _judge_for(
        self, snapshot: Snapshot, noticed: Noticed, prepared: PreparedEvent, user: ShortUserId
    ) -> PushOutcome:
        user_id = short_ids.get_user_id(snapshot, user)
        ruleset = self._get_ruleset(snapshot, user, user_id)
        name = _display_name(noticed, user_id) if ruleset.asks_for_display_name else None
        outcome = ruleset.evaluate(prepared, display_name=name)
        if outcome.notify and noticed.pdu.sender in get_ignored_users(snapshot, user):
            return NO_ACTIONS
        return outcome


@dataclass(slots=True)
class _Group:
    is_highlight: bool
    actions: list[Any]
    users: set[ShortUserId] = field(default_factory=set)


class _Groups:
    """Users by how they are notified."""

    def __init__(self) -> None:
        self._by_actions: dict[bytes, _Group] = {}

    def add(self, outcome: PushOutcome, users: Iterable[ShortUserId]) -> None:
        if not outcome.notify:
            return
        actions = list(outcome.actions)
        key = b"%d%s" % (outcome.highlight, orjson.dumps(actions))
        self._by_actions.setdefault(key, _Group(outcome.highlight, actions)).users.update(users)

    def get_all(self) -> list[_Group]:
        return list(self._by_actions.values())


def _prepare(noticed: Noticed) -> PreparedEvent:
    pdu, levels = noticed.pdu, noticed.power_levels
    notifications = (levels.content or {}).get("notifications")
    return prepare_event(
        {key: pdu.json[key] for key in timeline.CLIENT_KEYS if key in pdu.json}
        | {"event_id": pdu.event_id, "room_id": noticed.room_id},
        room_id=noticed.room_id,
        member_count=noticed.member_count,
        sender_power_level=levels.of_user(pdu.sender),
        notification_levels=notifications if isinstance(notifications, dict) else {},
    )


def _get_reading_sender(snapshot: Snapshot, noticed: Noticed, readers: Set[ShortUserId]) -> ShortUserId:
    """The local member who has read the room by sending the event, 0 for none."""
    pdu = noticed.pdu
    if _is_member_event(noticed) and pdu.state_key == pdu.sender:
        # The membership event of a new display name is written by the server, into rooms not even looked at.
        return _NO_USER
    user = short_ids.get_user(snapshot, pdu.sender)
    return user if user is not None and user in readers else _NO_USER


def _scan_named(snapshot: Snapshot, noticed: Noticed, readers: Set[ShortUserId]) -> Iterator[ShortUserId]:
    """Local users of whom the default rules speak in particular: who is mentioned, and who is invited."""
    pdu = noticed.pdu
    mentions = pdu.content.get("m.mentions")
    user_ids = mentions.get("user_ids") if isinstance(mentions, Mapping) else None
    for user_id in user_ids if isinstance(user_ids, list | tuple) else ():
        user = short_ids.get_user(snapshot, UserId(user_id)) if isinstance(user_id, str) else None
        if user is not None and user in readers:
            yield user
    if _is_member_event(noticed) and pdu.state_key is not None and pdu.content.get("membership") == "invite":
        invited = users.get_local(snapshot, UserId(pdu.state_key))
        if invited is not None:
            yield invited[0]


def _scan_relieved(snapshot: Snapshot, noticed: Noticed) -> Iterator[ShortUserId]:
    """Who may have less unread than before: whoever goes, and whom that notified which is redacted."""
    pdu = noticed.pdu
    if _is_member_event(noticed):
        user = short_ids.get_user(snapshot, UserId(pdu.state_key or ""))
        if user is not None:
            yield user
    elif pdu.redacts is not None:
        target = timeline.find_row(snapshot, pdu.redacts)
        row = None if target is None else notified.get_notified(snapshot, noticed.room, max(target[1].pos, 0))
        if row is not None:
            yield from notified.scan_users(row)


def _is_member_event(noticed: Noticed) -> bool:
    return noticed.pdu.type == "m.room.member"


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
