"""One room being written to in one turn: an event and all that it causes, laid over the snapshot.

What is written in one batch: the event's row and place, the state after it, the room's ends and its current state, the
indexes of members, relations and words, and unread counts. ``append`` writes events of ours with it, ``receive`` those
of other servers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from conduit_py.data import rooms, search, timeline
from conduit_py.data.auth_chain import stage_auth_events
from conduit_py.data.relations import Child, RelationWrites, build_child
from conduit_py.data.rooms import Room
from conduit_py.data.row_fields import DUMMY
from conduit_py.data.short_ids import ShortIds
from conduit_py.data.state import LooseState
from conduit_py.data.state_at import HIDDEN, stage_state_at
from conduit_py.matrix.ids import EventId, ServerName, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.search_words import count_words
from conduit_py.service.appservices.queue import AppServiceQueue
from conduit_py.service.hub import SyncHub
from conduit_py.service.news import Message, Messages
from conduit_py.service.rooms.current_state import CurrentState, LargeMove
from conduit_py.service.rooms.policy import PolicyServers
from conduit_py.service.rooms.prepared import Prepared, TooLarge, Way
from conduit_py.service.rooms.redactions import REDACTION, Redactions
from conduit_py.service.rooms.resolution import Resolutions, Resolver
from conduit_py.service.rooms.unread import Noticed, UnreadService
from conduit_py.service.sending.outbox import Outbox
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortStateKey, ShortUserId, StateId
from kvschema.catalog.timeline import OUTLIER, REJECTED, EventRow

StageJoined = Callable[[Turn, ShortUserId, ShortRoomId], None]
"""Told of each local user who joins a room."""


def announce_nothing(turn: Turn, user: ShortUserId, room: ShortRoomId) -> None:
    """For a server that tells others nothing."""


StageSent = Callable[[Snapshot, Turn, ShortRoomId, ShortEventId, Pdu], None]
"""Told of each event that this server sends. Raises ``Forbidden`` for one that it must not."""


def note_nothing(snapshot: Snapshot, turn: Turn, room: ShortRoomId, event: ShortEventId, pdu: Pdu) -> None:
    """For a server without an Admin Room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterTools:
    """What it takes to write to rooms. One per server."""

    server_name: ServerName
    short_ids: ShortIds
    hub: SyncHub
    unread: UnreadService
    outbox: Outbox
    appservices: AppServiceQueue
    resolutions: Resolutions
    policies: PolicyServers
    now_ms: Callable[[], int]
    stage_joined: StageJoined = announce_nothing
    stage_sent: StageSent = note_nothing


@dataclass(frozen=True, slots=True)
class Ends:
    """How a room ends once an event has been accepted."""

    extremities: tuple[ShortEventId, ...]
    state: LooseState | None
    """The current state then; None for the state after the event."""
    move: LargeMove | None = None
    """How to get there, all but the event's own entry, where that is much."""


class RoomWriter:
    """Lives no longer than its turn. ``finish`` must be called when everything is staged."""

    def __init__(
        self, tools: WriterTools, snapshot: Snapshot, turn: Turn, room: Room, prepared: Prepared | None = None
    ) -> None:
        self.tools = tools
        self.snapshot = snapshot
        self.turn = turn
        self.room = room
        self.current = CurrentState(tools.short_ids, tools.server_name, snapshot, turn, room)
        self.events = self.current.events
        self._prepared = Prepared() if prepared is None else prepared
        self.resolver = Resolver(
            tools.resolutions, room.version, self.events, self.current.keys, self.current.chain, self._prepared
        )
        self.extremities = room.extremities
        self._relations = RelationWrites(snapshot, turn)
        # No method of this object, which nobody but the garbage collector would part from itself again.
        self._child = partial(_build_child, tools.short_ids, snapshot, turn, room.short)
        self._redactions = Redactions(snapshot, turn, room, self.current, self._relations, self._child)
        self._is_changed = False
        self._messages: list[tuple[ShortEventId, EventRow, Pdu]] | None = []
        """What was stored, as long as everybody in the room gets it as it is."""

    def state_after(self, pdu: Pdu, event: ShortEventId, before: LooseState) -> LooseState:
        """The state after an event that is not rejected."""
        if pdu.state_key is None:
            return before
        key = self.current.keys.intern(pdu.type, pdu.state_key)
        return LooseState(before.base, {**before.changes, key: event})

    def stage_event(
        self,
        pdu: Pdu,
        event: ShortEventId,
        *,
        pos: int,
        before: LooseState,
        flags: int = 0,
        is_just_made: bool = False,
    ) -> EventRow:
        """Store an event, at a place of the timeline if it has one (``pos``), following the state ``before``.

        Of one that was ``is_just_made``, in this turn, nobody can know.
        """
        state_after, replaces = self._name_state(pdu, event, before, flags)
        redaction = None if is_just_made else self._find_redaction(pdu)
        json = pdu.json if redaction is None else redact(pdu.json, self.room.version)
        client, federation = timeline.split_pdu(json)
        row = EventRow(
            timeline.row_flags(pdu, self.room.version) | flags,
            self.room.short,
            pos,
            state_after,
            replaces or ShortEventId(0),
            redaction or ShortEventId(0),
            pdu.event_id,
            client,
            federation,
        )
        timeline.stage_event(self.turn, event, row, ts_ms=pdu.origin_server_ts)
        if pdu.state_key is not None:
            stage_auth_events(self.turn, event, self.events.find_auth_events(pdu))
        if redaction is not None or flags & REJECTED:
            pdu = timeline.pdu_of_row(row, self.room.room_id, self.room.version)
        self.events.add(event, row, pdu)
        if pos and not flags & HIDDEN:
            self._stage_indexes(pdu, event, row)
            self._note_message(pdu, event, row, is_just_made=is_just_made)
        return row

    def _note_message(self, pdu: Pdu, event: ShortEventId, row: EventRow, *, is_just_made: bool) -> None:
        if pdu.state_key is not None or pdu.type in (REDACTION, DUMMY) or not is_just_made:
            self._messages = None
        elif self._messages is not None:
            self._messages.append((event, row, pdu))

    def _find_redaction(self, pdu: Pdu) -> ShortEventId | None:
        """What has redacted an event that is only now stored, or stored anew with its place."""
        known = self.events.find(pdu.event_id)
        before = None if known is None else self.events.get_row(known).redacted_by
        return before or self._redactions.take_early(pdu)

    def _name_state(
        self, pdu: Pdu, event: ShortEventId, before: LooseState, flags: int
    ) -> tuple[StateId, ShortEventId | None]:
        """The name of the state after an event, and what the event replaces in the one before it."""
        if flags & OUTLIER:
            return StateId(0), None
        after, replaces = before, None
        if pdu.state_key is not None:
            key = self.current.keys.intern(pdu.type, pdu.state_key)
            replaces = self.current.chain.get_loose(before, key)
            if not flags & REJECTED:
                after = self.state_after(pdu, event, before)
        if not after.changes:
            return after.base, replaces
        self.current.chain.stage(self.turn, StateId(event), after.base, after.changes)
        return StateId(event), replaces

    def _stage_indexes(self, pdu: Pdu, event: ShortEventId, row: EventRow) -> None:
        self._is_changed = True
        search.stage_words(self.turn, self.room.short, row.pos, count_words(pdu.type, pdu.content))
        child = self._child(pdu, event, row.pos)
        if child is not None:
            self._relations.stage(child)
        if pdu.type == REDACTION:
            self._redactions.apply(pdu, event, row.state_after)

    # The ends of the room.

    def plan_ends(
        self,
        pdu: Pdu,
        event: ShortEventId,
        before: LooseState,
        *,
        is_end: bool = True,
        ends_max: int | None = None,
        may_wait: bool = True,
    ) -> Ends:
        """What accepting an event makes of the ends of the room. Stages nothing.

        ``is_end`` is false for an event that others refer to already. Of more ends than ``ends_max`` the oldest go.
        Raises ``TooLarge`` if it ``may_wait``. One that may not follows the current state, to which all ends have led.
        """
        referred = set(pdu.prev_events)
        kept = tuple(old for old in self.extremities if self.events.get_event_id(old) not in referred and old != event)
        if ends_max is not None:
            kept = kept[-ends_max + 1 :]
        extremities = (*kept, event) if is_end else kept
        after = self.state_after(pdu, event, before)
        if extremities == (event,):
            return Ends(extremities, None, self._plan_move(pdu, after) if may_wait else None)
        if extremities == self.extremities or not extremities:
            return Ends(self.extremities, LooseState(self.current.state_id))
        states = [LooseState(self.events.get_row(old).state_after) for old in kept]
        if is_end:
            states.append(after)
        new = None if pdu.state_key is None else (event, pdu)
        try:
            resolved = self.resolver.resolve(states, new=new)
            return Ends(extremities, resolved, self._plan_move(pdu, resolved))
        except TooLarge:
            if may_wait:
                raise
            # What the event changes holds until the next one from elsewhere, for which all is resolved again.
            return Ends(extremities, None)

    def _plan_move(self, pdu: Pdu, state: LooseState) -> LargeMove | None:
        """How the current state becomes another, if that is much. Raises ``TooLarge`` if it was not prepared."""
        if not self.resolver.is_large(LooseState(self.current.state_id), state):
            return None
        key, after = None, state
        if pdu.state_key is not None:
            key = self.current.keys.intern(pdu.type, pdu.state_key)
            after = LooseState(state.base, {other: event for other, event in state.changes.items() if other != key})
        way = Way(room=self.room.short, before=self.current.state_id, after=after, key=key)
        move = self._prepared.moves.get(way.name)
        if move is None:
            raise TooLarge(way)
        return move

    def stage_ends(self, ends: Ends, row: EventRow, after: LooseState) -> None:
        """The event of ``row`` was staged as the newest of the timeline: the room ends with it as planned."""
        state = ends.state
        differing = None
        if state is None or state == after:
            # The state after the event, which has a name. Mostly the event follows the current state.
            differing = after.changes.keys() if after.base == self.current.state_id else None
            state = LooseState(row.state_after)
        self._move(ends, state, row.pos, differing)
        if self.current.state_id != row.state_after:
            stage_state_at(self.turn, self.room.short, row.pos, self.current.state_id)

    def stage_ends_behind(self, ends: Ends) -> None:
        """An event was staged that is not the newest: the room may have fewer ends now, and another state for that."""
        if ends.extremities == self.extremities or ends.state is None:
            return
        before, pos = self.current.state_id, self.turn.take_pos()
        self._move(ends, ends.state, pos)
        if self.current.state_id != before:
            stage_state_at(self.turn, self.room.short, pos, self.current.state_id)

    def _move(
        self, ends: Ends, state: LooseState, pos: int, differing: Collection[ShortStateKey] | None = None
    ) -> None:
        """``differing`` are the keys whose entries change, if that is known."""
        rooms.stage_extremities(self.turn, self.room.short, self.extremities, ends.extremities)
        self.extremities = ends.extremities
        chain, before = self.current.chain, LooseState(self.current.state_id)
        if ends.move is not None:
            own = ends.move.key_left_out
            differing = {own} if own and chain.get_loose(before, own) != chain.get_loose(state, own) else ()
        elif differing is None:
            differing = chain.get_differing(before, state)
        if not differing and not ends.move and state.changes:
            return
        name = state.base
        if state.changes:
            name = StateId(self.turn.take_pos())
            chain.stage(self.turn, name, state.base, state.changes)
        if name != self.current.state_id:
            changes = {key: chain.get_loose(state, key) or ShortEventId(0) for key in differing}
            self.current.move(name, changes, pos, ends.move)

    def find_held(self, event_ids: Sequence[EventId]) -> list[ShortEventId]:
        """Those of an event's predecessors that are here with their state."""
        found = (self.events.find(event_id) for event_id in event_ids)
        return [event for event in found if event is not None and self._is_held(self.events.get_row(event))]

    def _is_held(self, row: EventRow) -> bool:
        return row.room == self.room.short and not row.flags & OUTLIER

    # Telling.

    def stage_outgoing(self, pdu: Pdu, event: ShortEventId) -> None:
        """Queue a new event for the servers that were in the room before it, or are after it.

        The server of a user who was only invited, or knocked, is told what becomes of that.
        """
        told = {*self.current.servers.take_told(), *_server_of_member(pdu)}
        self.tools.outbox.stage_pdu(self.snapshot, self.turn, self.room.short, event, pdu, told)

    def notify(self, pdu: Pdu, event: ShortEventId, pos: int) -> None:
        """Count a new event as unread for those whose push rules say so, and queue it for application services."""
        noticed = Noticed(
            room=self.room.short,
            room_id=self.room.room_id,
            pdu=pdu,
            pos=pos,
            power_levels=self.current.power_levels(),
            member_count=self.current.member_count,
            get_state=self.current.get,
        )
        joined = self.current.scan_local_joined()
        self.tools.unread.stage(self.snapshot, self.turn, noticed, joined)
        self.tools.appservices.stage_event(self.snapshot, self.turn, self.room.short, event, pdu, joined)

    def finish(self) -> None:
        """Everything is staged: wake those who may see it once it has landed."""
        if self._is_changed:
            for user in self.current.scan_newly_joined():
                self.tools.stage_joined(self.turn, user, self.room.short)
            woken = self.current.scan_local_joined() | self.current.standings.keys()
            self.tools.hub.stage_events(
                self.turn, self.room.short, woken, state=self.current.state_id, messages=self._build_messages()
            )

    def _build_messages(self) -> Messages | None:
        """All that is new in the room, if that is messages."""
        if not self._messages or any(row.state_after != self.current.state_id for _, row, _ in self._messages):
            return None
        timeline = tuple(
            Message.of_row(event, row, sender=pdu.sender, sent_ms=pdu.origin_server_ts)
            for event, row, pdu in self._messages
        )
        members = (self.current.get_event("m.room.member", message.sender) for message in timeline)
        start = self._messages[0][1].pos - 1
        return Messages.of(self.room.room_id, timeline, start, frozenset(filter(None, members)))


def _server_of_member(pdu: Pdu) -> Iterator[ServerName]:
    if pdu.type == "m.room.member" and pdu.state_key is not None and ":" in pdu.state_key:
        yield server_name_of(pdu.state_key)


def _build_child(
    ids: ShortIds, snapshot: Snapshot, turn: Turn, room: ShortRoomId, pdu: Pdu, event: ShortEventId, pos: int
) -> Child | None:
    """The event as one that relates to another, None for most."""
    if "m.relates_to" not in pdu.content:
        return None
    return build_child(
        room=room,
        event=event,
        pos=pos,
        sender=ids.intern_user(snapshot, turn, pdu.sender),
        type=pdu.type,
        ts_ms=pdu.origin_server_ts,
        content=pdu.content,
    )
