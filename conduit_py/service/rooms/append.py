"""Events of this server's users, decided on and added to a room.

``RoomAppend`` lays what was staged over the snapshot, so that several events (all of createRoom) can be decided on and
staged in one turn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conduit_py.data import rooms, row_fields, state
from conduit_py.data.rooms import Room
from conduit_py.data.row_fields import DUMMY
from conduit_py.data.short_ids import get_room, get_user_id
from conduit_py.data.state import LooseState
from conduit_py.matrix.auth.rules import check_event
from conduit_py.matrix.auth.select import select_auth_types
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.event_builder import build_event, sign_and_hash
from conduit_py.matrix.event_format import TooLarge as EventTooLarge
from conduit_py.matrix.ids import EventId, Malformed, RoomId, ServerName, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import SigningKey
from conduit_py.service.errors import BadJson, Forbidden, MalformedEvent, TooLarge
from conduit_py.service.rooms.closed import require_open_for
from conduit_py.service.rooms.room_writer import RoomWriter, WriterTools
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortEventId, ShortUserId
from kvschema.catalog.timeline import EventRow

PREV_EVENTS_MAX = 20
PREV_BYTES_MAX = 128 * 1024
"""Spec: rooms/v12/#event-format-1"""
SENDERS_TRIED_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """What it takes to send to rooms. One per server."""

    tools: WriterTools
    signing_key: SigningKey
    new_event_id: Callable[[], EventId]
    """Random event ids, for room versions 1 and 2."""

    @property
    def server_name(self) -> ServerName:
        """Of this server."""
        return self.tools.server_name

    def sign(self, proto: Mapping[str, Any], version: RoomVersion) -> Pdu:
        """Hash and sign an event of ours. Raises ``TooLarge`` or ``BadJson``."""
        event_id = self.new_event_id() if version.event_format.event_id_format == "random" else None
        try:
            return sign_and_hash(proto, version, self.server_name, self.signing_key, event_id=event_id)
        except EventTooLarge as error:
            raise TooLarge(str(error)) from None
        except Malformed as error:
            raise BadJson(str(error)) from None

    def begin(self, snapshot: Snapshot, turn: Turn, room: Room, *, script: Sequence[Pdu] | None = None) -> RoomAppend:
        """Write to a room that exists. The caller holds its lock.

        With ``script``, what is written was rehearsed: the events to create are these, which others have signed since.
        """
        return RoomAppend(self, RoomWriter(self.tools, snapshot, turn, room), script=script)

    def go_on(self, writer: RoomWriter) -> RoomAppend:
        """Write to a room that something has been staged in already."""
        return RoomAppend(self, writer)

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
        now_ms = self.tools.now_ms()
        create = self._build_create(version, room_id, creator, content, now_ms)
        # From version 12 on the id of a room is the hash of this event: without a millisecond between them, two rooms
        # that are made with the same content would be one.
        while get_room(snapshot, create.room_id) is not None:
            now_ms += 1
            create = self._build_create(version, room_id, creator, content, now_ms)
        rooms.stage_new(turn, create.room_id)
        short = self.tools.short_ids.intern_room(snapshot, turn, create.room_id, version.id)
        begun = self.begin(snapshot, turn, Room(short, create.room_id, version, state.EMPTY, ()))
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


class ScriptDiffers(Exception):
    """What was rehearsed would not be written any more."""


class RoomAppend:
    """See the module. Made by ``Append.begin``; lives no longer than its turn.

    ``finish`` must be called when everything is staged, while the snapshot is open.
    """

    def __init__(self, append: Append, writer: RoomWriter, *, script: Sequence[Pdu] | None = None) -> None:
        self._append = append
        self._script = script
        self.created: list[Pdu] = []
        """Events that were made here, in order."""
        self.room = writer.room
        self.writer = writer
        self._current = writer.current

    # Reading, with what was staged on top.

    def get_state(self, type: str, state_key: str) -> Pdu | None:
        """One entry of the room's state as it is after what was staged."""
        return self._current.get(type, state_key)

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
        return self._current.power_levels()

    def scan_local_joined(self) -> set[ShortUserId]:
        """Local users that are joined after what was staged."""
        return self._current.scan_local_joined()

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
        previous = self._choose_previous()
        proto = build_event(
            room_version=version,
            room_id=self.room.room_id,
            type=type,
            sender=sender,
            state_key=state_key,
            content=content,
            prev_events=[EventId(row.event_id) for row in previous],
            auth_events=[pdu.event_id for pdu in auth_events],
            depth=1 + max(map(row_fields.get_depth, previous), default=0),
            origin_server_ts=self._append.tools.now_ms() if origin_server_ts is None else origin_server_ts,
            redacts=redacts,
        )
        pdu = self._append.sign(proto, version) if self._script is None else self._next_of_script(proto)
        self.created.append(pdu)
        return pdu

    def _choose_previous(self) -> list[EventRow]:
        """The newest ends of the room, but not many that are large: each has to be read for its depth."""
        chosen: list[EventRow] = []
        left = PREV_BYTES_MAX
        for event in self.writer.extremities[: -PREV_EVENTS_MAX - 1 : -1]:
            row = self.writer.events.get_row(event)
            left -= len(row.federation)
            if chosen and left < 0:
                break
            chosen.append(row)
        return chosen[::-1]

    def _next_of_script(self, proto: Mapping[str, Any]) -> Pdu:
        """The event that was made at this place when this was rehearsed, from all the same but the time."""
        assert self._script is not None, "only what was rehearsed has a script"
        pdu = next(iter(self._script[len(self.created) :]), None)
        if pdu is None or any(pdu.json.get(key) != proto[key] for key in proto if key != "origin_server_ts"):
            raise ScriptDiffers
        return pdu

    # Staging.

    def append(self, pdu: Pdu) -> ShortEventId:
        """Accept an event that the rules allow: it becomes the newest of the timeline and, if it is state, current.

        Raises ``Forbidden``, and ``MalformedEvent`` for what no room would take.
        """
        event, pos = self._stage(pdu)
        self.writer.notify(pdu, event, pos)
        return event

    def tie_ends(self) -> None:
        """Let an event that says nothing refer to the ends of the room, so that there are fewer of them.

        It is sent by whoever may here, if anybody may; nobody is notified of it.
        """
        for user in sorted(self.scan_local_joined())[:SENDERS_TRIED_MAX]:
            user_id = get_user_id(self.writer.snapshot, user)
            if self.power_levels().of_user(user_id) >= self.power_levels().to_send(DUMMY, is_state=False):
                with contextlib.suppress(Forbidden, BadJson, TooLarge):
                    self._stage(self.create_event(sender=user_id, type=DUMMY, content={}))
                    return

    def _stage(self, pdu: Pdu) -> tuple[ShortEventId, int]:
        writer = self.writer
        require_open_for(writer.snapshot, pdu)
        denied = check_event(self.room.version, pdu, self.get_state)
        if denied is not None:
            raise MalformedEvent(denied.why) if denied.is_malformed else Forbidden(denied.why)
        pos = writer.turn.take_pos()
        event, before = ShortEventId(pos), LooseState(self._current.state_id)
        writer.tools.stage_sent(writer.snapshot, writer.turn, self.room.short, event, pdu)
        ends = writer.plan_ends(pdu, event, before, may_wait=False)
        is_just_made = self._script is None and any(made is pdu for made in self.created)
        row = writer.stage_event(pdu, event, pos=pos, before=before, is_just_made=is_just_made)
        writer.stage_ends(ends, row, writer.state_after(pdu, event, before))
        if server_name_of(pdu.sender) == self.server_name:
            writer.stage_outgoing(pdu, event)
        return event, pos

    def finish(self) -> None:
        """Everything is staged: wake those who may see it once it has landed."""
        self.writer.finish()
