"""One room being written to in one turn: every accepted event goes through here.

An event and all that it causes land in one batch: its row, its place, the state after it, the membership indexes,
forward extremities, unread counts. ``RoomAppend`` lays what was staged over the snapshot, so that several events (all
of createRoom) can be decided on and staged in one turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conduit_py.data import members, rooms, search, state, timeline
from conduit_py.data.auth_chain import stage_auth_events
from conduit_py.data.members import KIND_OF, MemberChange, Standing
from conduit_py.data.notified import stage_unnoticed
from conduit_py.data.relations import Child, RelationWrites, build_child
from conduit_py.data.rooms import Room
from conduit_py.data.short_ids import ShortIds, get_room
from conduit_py.data.state import StateChain
from conduit_py.data.state_at import HIDDEN
from conduit_py.matrix.auth.rules import check_event
from conduit_py.matrix.auth.select import select_auth_types
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.event_builder import build_event, sign_and_hash
from conduit_py.matrix.event_format import TooLarge as EventTooLarge
from conduit_py.matrix.ids import EventId, Malformed, RoomId, ServerName, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.search_words import count_words
from conduit_py.matrix.signing import SigningKey
from conduit_py.matrix.stripped_state import build_stripped_state, stripped_state_keys
from conduit_py.service.errors import BadJson, Forbidden, TooLarge
from conduit_py.service.hub import SyncHub
from conduit_py.service.rooms.unread import Noticed, UnreadService
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortEventId, ShortUserId, StateId, StreamPos
from kvschema.catalog.timeline import EventRow

PREV_EVENTS_MAX = 20
"""Spec: rooms/v12/#event-format-1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """What it takes to write to rooms. One per server."""

    server_name: ServerName
    signing_key: SigningKey
    short_ids: ShortIds
    hub: SyncHub
    unread: UnreadService
    now_ms: Callable[[], int]
    new_event_id: Callable[[], EventId]
    """Random event ids, for room versions 1 and 2."""

    def sign(self, proto: Mapping[str, Any], version: RoomVersion) -> Pdu:
        """Hash and sign an event of ours. Raises ``TooLarge`` or ``BadJson``."""
        event_id = self.new_event_id() if version.event_format.event_id_format == "random" else None
        try:
            return sign_and_hash(proto, version, self.server_name, self.signing_key, event_id=event_id)
        except EventTooLarge as error:
            raise TooLarge(str(error)) from None
        except Malformed as error:
            raise BadJson(str(error)) from None

    def begin(self, snapshot: Snapshot, turn: Turn, room: Room) -> RoomAppend:
        """Write to a room that exists. The caller holds its lock."""
        return RoomAppend(self, snapshot, turn, room)

    def begin_new(
        self,
        snapshot: Snapshot,
        turn: Turn,
        *,
        version: RoomVersion,
        room_id: RoomId | None,
        creator: UserId,
        content: Mapping[str, Any],
    ) -> RoomAppend:
        """Write to a new room, whose ``m.room.create`` is staged here.

        ``room_id`` is None where the id is the hash of this event. Raises ``TooLarge``, ``BadJson`` or ``Forbidden``.
        """
        now_ms = self.now_ms()
        create = self._build_create(version, room_id, creator, content, now_ms)
        # From version 12 on the id of a room is the hash of this event: without a millisecond between them, two rooms
        # that are made with the same content would be one.
        while get_room(snapshot, create.room_id) is not None:
            now_ms += 1
            create = self._build_create(version, room_id, creator, content, now_ms)
        rooms.stage_new(turn, create.room_id)
        short = self.short_ids.intern_room(snapshot, turn, create.room_id, version.id)
        begun = RoomAppend(self, snapshot, turn, Room(short, create.room_id, version, state.EMPTY, ()))
        begun.append(create)
        return begun

    def _build_create(
        self, version: RoomVersion, room_id: RoomId | None, creator: UserId, content: Mapping[str, Any], now_ms: int
    ) -> Pdu:
        proto = build_event(
            room_version=version,
            room_id=room_id,
            type="m.room.create",
            sender=creator,
            state_key="",
            content=content,
            prev_events=[],
            auth_events=[],
            depth=1,
            origin_server_ts=now_ms,
        )
        return self.sign(proto, version)


class RoomAppend:
    """See the module. Made by ``Append.begin``; lives no longer than its turn.

    ``finish`` must be called when everything is staged, while the snapshot is open.
    """

    def __init__(self, append: Append, snapshot: Snapshot, turn: Turn, room: Room) -> None:
        self._append = append
        self._snapshot = snapshot
        self._turn = turn
        self.room = room
        self._chain = StateChain(snapshot)
        self._state_id = room.state_id
        self._extremities = room.extremities
        self._changed: dict[tuple[str, str], ShortEventId] = {}
        self._pdus: dict[ShortEventId, Pdu] = {}
        self._shorts: dict[EventId, ShortEventId] = {}
        self._standings: dict[ShortUserId, Standing] = {}
        """Local users whose membership was changed here, as it is now."""
        self._joined_before: frozenset[ShortUserId] | None = None
        self._joined_difference = 0
        self._relations = RelationWrites(snapshot, turn)

    # Reading, with what was staged on top.

    def get_state(self, type: str, state_key: str) -> Pdu | None:
        """One entry of the room's state as it is after what was staged."""
        event = self._get_state_event(type, state_key)
        return None if event is None else self._get_pdu(event)

    def _get_state_event(self, type: str, state_key: str) -> ShortEventId | None:
        changed = self._changed.get((type, state_key))
        return changed or state.get_current(self._snapshot, self.room.short, type, state_key)

    def _get_pdu(self, event: ShortEventId) -> Pdu:
        return self._pdus.get(event) or timeline.get_pdu(self._snapshot, event)

    @property
    def server_name(self) -> ServerName:
        """Of this server."""
        return self._append.server_name

    def get_membership(self, user_id: UserId) -> str:
        """``leave`` for a user the room has never seen."""
        member = self.get_state("m.room.member", user_id)
        membership = None if member is None else member.content.get("membership")
        return membership if isinstance(membership, str) else "leave"

    def find_same(self, *, sender: UserId, type: str, state_key: str, content: Mapping[str, Any]) -> EventId | None:
        """The event of an entry of the state, if it is from the same sender and says exactly the same already."""
        current = self.get_state(type, state_key)
        if current is None or current.sender != sender or current.content != content:
            return None
        # To Python, 1 and true are equal.
        said, wanted = (encode_canonical_json(it, strict=False) for it in (current.content, content))
        return current.event_id if said == wanted else None

    def power_levels(self) -> PowerLevels:
        levels = self.get_state("m.room.power_levels", "")
        create = self.get_state("m.room.create", "")
        return PowerLevels.of_room(self.room.version, None if levels is None else levels.content, create)

    # Deciding.

    def create_event(
        self,
        *,
        sender: UserId,
        type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        redacts: EventId | None = None,
        origin_server_ts: int | None = None,
    ) -> Pdu:
        """A signed event that follows what is here. Raises ``TooLarge`` or ``BadJson``; ``append`` checks the rules.

        Raises ``Forbidden`` for what no rule forbids and nobody may send: a second create event, a redaction as state.
        """
        if type == "m.room.create":
            raise Forbidden("m.room.create is the first event of a room, and there is no second")
        if type == "m.room.redaction" and state_key is not None:
            raise Forbidden("a redaction is not part of the state")
        version = self.room.version
        auth_types = select_auth_types(version, type=type, sender=sender, state_key=state_key, content=content)
        auth_events = [pdu for auth_type in auth_types if (pdu := self.get_state(*auth_type)) is not None]
        previous = []
        for event in self._extremities[-PREV_EVENTS_MAX:]:
            previous.append(self._get_pdu(event))
            self._shorts[previous[-1].event_id] = event
        proto = build_event(
            room_version=version,
            room_id=self.room.room_id,
            type=type,
            sender=sender,
            state_key=state_key,
            content=content,
            prev_events=[pdu.event_id for pdu in previous],
            auth_events=[pdu.event_id for pdu in auth_events],
            depth=1 + max((pdu.depth for pdu in previous), default=0),
            origin_server_ts=self._append.now_ms() if origin_server_ts is None else origin_server_ts,
            redacts=redacts,
        )
        return self._append.sign(proto, version)

    # Staging.

    def append(self, pdu: Pdu) -> ShortEventId:
        """Accept an event that the rules allow: it becomes the newest of the timeline and, if it is state, current.

        Raises ``Forbidden``.
        """
        denied = check_event(self.room.version, pdu, self.get_state)
        if denied is not None:
            raise Forbidden(denied.why)
        pos = self._turn.take_pos()
        event = ShortEventId(pos)
        replaces = None
        if pdu.state_key is not None:
            replaces = self._get_state_event(pdu.type, pdu.state_key)
            self._stage_state(pdu.type, pdu.state_key, event)
            stage_auth_events(self._turn, event, map(self._require_event, pdu.auth_events))
        client, federation = timeline.split_pdu(pdu.json)
        row = EventRow(
            timeline.row_flags(pdu, self.room.version),
            self.room.short,
            pos,
            self._state_id,
            replaces or ShortEventId(0),
            ShortEventId(0),
            pdu.event_id,
            client,
            federation,
        )
        timeline.stage_event(self._turn, event, row, ts_ms=pdu.origin_server_ts)
        search.stage_words(self._turn, self.room.short, pos, count_words(pdu.type, pdu.content))
        self._pdus[event] = pdu
        self._stage_extremities(pdu, event)
        child = self._child(pdu, event, pos)
        if child is not None:
            self._relations.stage(child)
        if pdu.type == "m.room.member" and pdu.state_key is not None:
            self._stage_member(pdu, UserId(pdu.state_key), event, replaces)
        elif pdu.type == "m.room.redaction":
            self._stage_redaction(pdu, event)
        self._append.unread.stage(self._snapshot, self._turn, self._noticed(pdu, pos), self.scan_local_joined())
        return event

    def _require_event(self, event_id: EventId) -> ShortEventId:
        event = self._shorts.get(event_id) or timeline.get_event(self._snapshot, event_id)
        assert event is not None, f"{event_id} is an auth event, and not stored"
        return event

    def _stage_state(self, type: str, state_key: str, event: ShortEventId) -> None:
        short = self._append.short_ids.intern_state_key(self._snapshot, self._turn, type, state_key)
        after = StateId(event)
        self._chain.stage(self._turn, after, self._state_id, {short: event})
        state.stage_current(self._turn, self.room.short, after, {short: event})
        self._state_id = after
        self._changed[type, state_key] = event

    def _stage_extremities(self, pdu: Pdu, event: ShortEventId) -> None:
        referred = {
            self._shorts.get(event_id) or timeline.get_event(self._snapshot, event_id) for event_id in pdu.prev_events
        }
        after = (*(old for old in self._extremities if old not in referred), event)
        rooms.stage_extremities(self._turn, self.room.short, self._extremities, after)
        self._extremities = after
        self._shorts[pdu.event_id] = event

    def _child(self, pdu: Pdu, event: ShortEventId, pos: int) -> Child | None:
        """The event as one that relates to another, None for most."""
        if "m.relates_to" not in pdu.content:
            return None
        return build_child(
            room=self.room.short,
            event=event,
            pos=pos,
            sender=self._append.short_ids.intern_user(self._snapshot, self._turn, pdu.sender),
            type=pdu.type,
            ts_ms=pdu.origin_server_ts,
            content=pdu.content,
        )

    def _stage_member(self, pdu: Pdu, user_id: UserId, event: ShortEventId, replaces: ShortEventId | None) -> None:
        before = None if replaces is None else self._get_pdu(replaces).content.get("membership")
        server_name = server_name_of(user_id)
        change = MemberChange(
            room=self.room.short,
            user=self._append.short_ids.intern_user(self._snapshot, self._turn, user_id),
            server_name=server_name,
            is_local=server_name == self._append.server_name,
            before=KIND_OF.get(before) if isinstance(before, str) else None,
            after=KIND_OF[pdu.content["membership"]],
            event=event,
            pos=StreamPos(event),
            sender=pdu.sender,
            stripped_state=self._stripped_state(pdu),
        )
        old = self._get_standing(change.user) if change.is_local else None
        new = members.stage_member(self._turn, change, old)
        self._joined_difference += (change.after == JOIN) - (change.before == JOIN)
        if new is not None:
            self._standings[change.user] = new

    def _get_standing(self, user: ShortUserId) -> Standing | None:
        return self._standings.get(user) or members.get_membership(self._snapshot, user, self.room.short)

    def _stripped_state(self, pdu: Pdu) -> list[Any] | None:
        """What an invited or knocking user is shown of the room. Spec: client-server-api/#stripped-state"""
        membership = pdu.content["membership"]
        if membership not in ("invite", "knock"):
            return None
        keys = stripped_state_keys(pdu.sender if membership == "invite" else None)
        events = [shown.json for key in keys if (shown := self.get_state(*key)) is not None]
        return build_stripped_state(events, pdu.json)

    def _stage_redaction(self, redaction: Pdu, event: ShortEventId) -> None:
        """Strip the target, if the sender may: one's own event, or by the power to redact.

        Spec: rooms/v3/#handling-redactions
        """
        target = None if redaction.redacts is None else timeline.find_row(self._snapshot, redaction.redacts)
        if target is None or target[1].room != self.room.short or target[1].redacted_by:
            return
        short, row = target
        pdu = timeline.get_pdu(self._snapshot, short)
        levels = self.power_levels()
        is_own = server_name_of(pdu.sender) == server_name_of(redaction.sender)
        if not is_own and levels.of_user(redaction.sender) < levels.to_redact():
            return
        child = self._child(pdu, short, row.pos) if row.pos and not row.flags & HIDDEN else None
        if child is not None:
            self._relations.unstage(child)
        search.stage_words_removed(self._turn, self.room.short, row.pos, count_words(pdu.type, pdu.content))
        if row.pos > 0:  # Fetched history notifies nobody.
            stage_unnoticed(self._snapshot, self._turn, self.room.short, row.pos)
        client, federation = timeline.split_pdu(redact(pdu.json, self.room.version))
        timeline.stage_row(self._turn, short, row._replace(redacted_by=event, client=client, federation=federation))

    def _noticed(self, pdu: Pdu, pos: int) -> Noticed:
        joined = members.get_member_count(self._snapshot, self.room.short, JOIN)
        return Noticed(
            room=self.room.short,
            room_id=self.room.room_id,
            pdu=pdu,
            pos=pos,
            power_levels=self.power_levels(),
            member_count=joined + self._joined_difference,
            get_state=self.get_state,
        )

    def scan_local_joined(self) -> set[ShortUserId]:
        """Local users that are joined after what was staged."""
        if self._joined_before is None:
            self._joined_before = members.get_local_joined(self._snapshot, self.room.short)
        joined = set(self._joined_before)
        for user, (kind, _) in self._standings.items():
            joined.discard(user) if kind != JOIN else joined.add(user)
        return joined

    def finish(self) -> None:
        """Everything is staged: wake those who may see it once it has landed."""
        woken = self.scan_local_joined() | self._standings.keys()
        self._append.hub.stage_room(self._turn, self.room.short, woken)
