"""Events of other servers, judged and added to a room.

What is given here has been checked as far as one can without the room (``service.federation.checks``), and all that it
refers to has been fetched, or could not be. What is left are the checks on receipt that need the room:

===  ===================================================  =============================================================
4.   allowed by its auth events                           else *rejected*: stored, has no place, changes nothing
5.   allowed by the state before it                       else *rejected*
6.   allowed by the current state                         else *soft-failed*: stored, its state counts for those that
                                                          refer to it, has no place and is no end of the room
7.   signed by the room's policy server, if it has one    else *soft-failed*
===  ===================================================  =============================================================

The state before an event is what the states after its predecessors resolve to. Where some of these are missing, the
state before the event as another server tells it takes their part, and a gap is left in the timeline.

Spec: server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from conduit_py.data import gaps, timeline
from conduit_py.data.rooms import EXTREMITIES_MAX
from conduit_py.data.state import EMPTY, LooseState
from conduit_py.matrix.auth.rules import check_auth_events, check_event
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.policy_server import POLICY, verify_policy_signature
from conduit_py.matrix.signing import InvalidSignature
from conduit_py.service.rooms.policy import find_policy_server
from conduit_py.service.rooms.room_writer import RoomWriter
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import OUTLIER, REJECTED, SOFT_FAILED, EventRow, Gap


class Standing(Enum):
    """What became of an event."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SOFT_FAILED = "soft-failed"
    OUTLIER = "outlier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An event with what is known of its surroundings."""

    pdu: Pdu
    told: LooseState | None = None
    """The state before it as others tell it. Counts only where one of its predecessors is missing."""
    is_way_in: bool = False
    """The event is how this server comes into the room: what was told is the room's state, whatever is held of it."""
    place: int | None = None
    """Its place in the timeline if it is history; None for a new event."""
    gap_pos: int | None = None
    """Where the gap is that it is put into."""
    must_be_accepted: bool = False
    """Do not even store it otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    event_id: EventId
    event: ShortEventId
    standing: Standing
    reason: str | None = None
    """Why it was not accepted."""
    is_new: bool = True
    """False for an event that was here already."""


class MissingEvents(Exception):
    """The event cannot be judged without these. Nothing was staged."""

    def __init__(self, event_ids: Sequence[EventId]) -> None:
        super().__init__(f"without {', '.join(event_ids)} the event cannot be judged")
        self.event_ids = event_ids


class RoomReceive:
    """Receives into one room in one turn. ``finish`` must be called when everything is staged."""

    def __init__(self, writer: RoomWriter) -> None:
        self.writer = writer
        self._room = writer.room
        self._events = writer.events
        self._gaps = dict(gaps.scan_gaps(writer.snapshot, writer.room.short))

    def receive(self, arrival: Arrival) -> Receipt:
        """Judge and stage one event.

        Raises ``MissingEvents``, and ``TooLarge`` if something has to be worked out first; then no event was staged.
        """
        pdu = arrival.pdu
        known = self._events.find(pdu.event_id)
        row = None if known is None else self._events.get_row(known)
        if known is not None and row is not None and row.room != self._room.short:
            return _of_another_room(pdu, known)
        if known is not None and row is not None and not row.flags & OUTLIER:
            return Receipt(event_id=pdu.event_id, event=known, standing=_standing_of(row), is_new=False)
        auth_events = self._require_auth_events(pdu)
        before = self._state_before(arrival)
        event = self._choose_short(known, auth_events)
        reason = self._check_first(pdu) or self._check_auth_events(pdu, auth_events) or self._check_state(pdu, before)
        flags = REJECTED
        if reason is None and arrival.place is None:
            reason, flags = self._check_now(arrival, before), SOFT_FAILED
        if reason is not None:
            if not arrival.must_be_accepted:
                self._stage_refused(pdu, known, event, before, flags)
                self._shrink_gap(arrival)
            standing = Standing.REJECTED if flags == REJECTED else Standing.SOFT_FAILED
            return Receipt(event_id=pdu.event_id, event=event, standing=standing, reason=reason)
        if arrival.place is not None:
            self._put_back(pdu, known, event, before, arrival.place)
            self._shrink_gap(arrival)
        else:
            self._accept(pdu, known, event, before)
        return Receipt(event_id=pdu.event_id, event=event, standing=Standing.ACCEPTED)

    def receive_outlier(self, pdu: Pdu) -> Receipt:
        """Store an event that is needed to judge others: it gets no place, and no state.

        Raises ``MissingEvents``: its auth events come first.
        """
        known = self._events.find(pdu.event_id)
        if known is not None:
            row = self._events.get_row(known)
            if row.room != self._room.short:
                return _of_another_room(pdu, known)
            standing = _standing_of(row)
            return Receipt(event_id=pdu.event_id, event=known, standing=standing, is_new=False)
        auth_events = self._require_auth_events(pdu)
        reason = self._check_first(pdu) or self._check_auth_events(pdu, auth_events)
        flags = OUTLIER if reason is None else OUTLIER | REJECTED
        event = ShortEventId(self.writer.turn.take_pos())
        self.writer.stage_event(pdu, event, pos=0, before=LooseState(EMPTY), flags=flags)
        if pdu.state_key is not None:
            # It may be an entry of a state that is laid out before the event gets its place.
            self.writer.current.keys.intern(pdu.type, pdu.state_key)
        standing = Standing.OUTLIER if reason is None else Standing.REJECTED
        return Receipt(event_id=pdu.event_id, event=event, standing=standing, reason=reason)

    def finish(self) -> None:
        """Everything is staged: wake those who may see it once it has landed."""
        self.writer.finish()

    # What it is judged by.

    def _require_auth_events(self, pdu: Pdu) -> list[ShortEventId]:
        found = {event_id: self._events.find(event_id) for event_id in pdu.auth_events}
        missing = [event_id for event_id, event in found.items() if event is None]
        if missing:
            raise MissingEvents(missing)
        return [event for event in found.values() if event is not None]

    def _state_before(self, arrival: Arrival) -> LooseState:
        if arrival.told is not None and arrival.is_way_in:
            return arrival.told
        pdu = arrival.pdu
        held = self.writer.find_held(pdu.prev_events)
        states = [LooseState(self._events.get_row(event).state_after) for event in held]
        if len(held) < len(set(pdu.prev_events)):
            if arrival.told is None:
                raise MissingEvents(self._find_missing(pdu))
            states.append(arrival.told)
        return self.writer.resolver.resolve(states) if states else LooseState(EMPTY)

    def _find_missing(self, pdu: Pdu) -> list[EventId]:
        return [event_id for event_id in dict.fromkeys(pdu.prev_events) if not self.writer.find_held([event_id])]

    def _check_first(self, pdu: Pdu) -> str | None:
        """No rule forbids a second beginning of a room, and it would be allowed by what it follows: nothing."""
        create = self.writer.current.get("m.room.create", "")
        if pdu.type != "m.room.create" or create is None or create.event_id == pdu.event_id:
            return None
        return f"the room begins with {create.event_id}"

    def _check_auth_events(self, pdu: Pdu, auth_events: Sequence[ShortEventId]) -> str | None:
        pdus = [self._events.get_pdu(event) for event in auth_events]
        denied = check_auth_events(self._room.version, pdu, pdus)
        if denied is None:
            by_key = {(auth_event.type, auth_event.state_key): auth_event for auth_event in pdus}

            def get_state(type: str, state_key: str) -> Pdu | None:
                found = by_key.get((type, state_key))
                return self._get_create() if found is None and type == "m.room.create" else found

            denied = check_event(self._room.version, pdu, get_state)
        return None if denied is None else denied.why

    def _get_create(self) -> Pdu | None:
        """The create event where no event names it among its auth events: the room is named after it."""
        if self._room.version.auth.create_in_auth_events:
            return None
        event = self._events.find(EventId("$" + self._room.room_id[1:]))
        return None if event is None else self._events.get_pdu(event)

    def _check_state(self, pdu: Pdu, state: LooseState) -> str | None:
        chain, keys = self.writer.current.chain, self.writer.current.keys

        def get_state(type: str, state_key: str) -> Pdu | None:
            key = keys.find(type, state_key)
            event = None if key is None else chain.get_loose(state, key)
            return None if event is None else self._events.get_pdu(event)

        denied = check_event(self._room.version, pdu, get_state)
        return None if denied is None else denied.why

    def _check_now(self, arrival: Arrival, before: LooseState) -> str | None:
        """Checks 6 and 7.

        Behind a gap the current state that we know may be of long ago, and the one before the event is what somebody
        told: the event must be allowed by what both resolve to.
        """
        state = LooseState(self.writer.current.state_id)
        if arrival.told is not None and self._find_missing(arrival.pdu):
            state = self.writer.resolver.resolve([state, before])
        return self._check_state(arrival.pdu, state) or self._check_policy(arrival.pdu)

    def _check_policy(self, pdu: Pdu) -> str | None:
        """Spec: server-server-api/#validating-policy-server-signatures"""
        policy = self.writer.current.get(*POLICY)
        policy_server = find_policy_server(self.writer.snapshot, self._room.short, policy)
        if policy_server is None:
            return None
        try:
            verify_policy_signature(pdu.json, self._room.version, policy_server)
        except InvalidSignature as error:
            return str(error)
        return None

    # What becomes of it.

    def _choose_short(self, known: ShortEventId | None, auth_events: Sequence[ShortEventId]) -> ShortEventId:
        """The short id that the event has as an outlier, unless one of its auth events was stored after it."""
        if known is not None and known > max(auth_events, default=ShortEventId(0)):
            return known
        return ShortEventId(self.writer.turn.take_pos())

    def _forget_outlier(self, known: ShortEventId | None, event: ShortEventId) -> None:
        if known is None:
            return
        if known != event:
            timeline.stage_moved(self.writer.turn, known)
        self.writer.turn.changes(("event", event), ("pdu", event), ("facts", event))

    def _stage_refused(
        self, pdu: Pdu, known: ShortEventId | None, event: ShortEventId, before: LooseState, flags: int
    ) -> None:
        self._forget_outlier(known, event)
        self.writer.stage_event(pdu, event, pos=0, before=before, flags=flags)
        self._note_arrived(pdu.event_id)

    def _accept(self, pdu: Pdu, known: ShortEventId | None, event: ShortEventId, before: LooseState) -> None:
        writer, missing = self.writer, self._find_missing(pdu)
        is_end = not any(pdu.event_id in gap.missing for gap in self._gaps.values())
        ends = writer.plan_ends(pdu, event, before, is_end=is_end, ends_max=EXTREMITIES_MAX)
        self._forget_outlier(known, event)
        self._note_arrived(pdu.event_id)
        pos = int(event)
        if missing:
            writer.turn.skip_pos(gaps.GAP_PLACES)
        if missing or event == known:
            pos = writer.turn.take_pos()
        if missing:
            self._stage_gap(pos, self._build_gap(pos, missing))
        row = writer.stage_event(pdu, event, pos=pos, before=before)
        writer.stage_ends(ends, row, writer.state_after(pdu, event, before))
        if not row.redacted_by:
            writer.notify(pdu, event, pos)

    def _build_gap(self, pos: int, missing: Sequence[EventId]) -> Gap:
        if timeline.get_last_pos(self.writer.snapshot, self._room.short):
            return gaps.build_gap(pos - 1, pos - gaps.GAP_PLACES, missing)
        return gaps.build_gap(gaps.FIRST_PLACE, gaps.LAST_PLACE, missing)

    def _put_back(
        self, pdu: Pdu, known: ShortEventId | None, event: ShortEventId, before: LooseState, place: int
    ) -> None:
        """Put an event of before into its gap. What it follows is no end of the room, if it was one till now."""
        ends = self.writer.plan_ends(pdu, event, before, is_end=False)
        self._forget_outlier(known, event)
        self.writer.stage_event(pdu, event, pos=place, before=before)
        self.writer.stage_ends_behind(ends)

    def _shrink_gap(self, arrival: Arrival) -> None:
        """One more event of before is here: what it follows is what is missing now."""
        pdu, pos = arrival.pdu, arrival.gap_pos
        gap = None if pos is None else self._gaps.get(pos)
        if pos is not None and gap is not None and arrival.place is not None:
            missing = dict.fromkeys([*gap.missing, *self._find_missing(pdu)])
            gap = gaps.build_gap(min(gap.next_pos, arrival.place - 1), gap.last_pos, missing)
            self._stage_gap(pos, gap)
        self._note_arrived(pdu.event_id)

    def move_gap(self, pos: int) -> None:
        """What is missing before the event at ``pos`` is missing before the oldest that was put into its gap."""
        gap = self._gaps.get(pos)
        if gap is None:
            return
        newer = timeline.scan_timeline(self.writer.snapshot, self._room.short, after=gap.next_pos)
        oldest = next((place for place, _ in newer), pos)
        if oldest != pos:
            gaps.stage_gap_removed(self.writer.turn, self._room.short, pos)
            self._stage_gap(oldest, gap)

    def _stage_gap(self, pos: int, gap: Gap) -> None:
        self._gaps[pos] = gap
        gaps.stage_gap(self.writer.turn, self._room.short, pos, gap)

    def _note_arrived(self, event_id: EventId) -> None:
        """The event is not missing any more."""
        for pos, gap in list(self._gaps.items()):
            if event_id not in gap.missing:
                continue
            missing = [other for other in gap.missing if other != event_id]
            if missing:
                self._stage_gap(pos, gap._replace(missing=missing))
            else:
                del self._gaps[pos]
                gaps.stage_gap_removed(self.writer.turn, self._room.short, pos)


def _of_another_room(pdu: Pdu, known: ShortEventId) -> Receipt:
    """In rooms of version 1 and 2 a server names its events as it likes, and may give two of them one name."""
    reason = "there is an event of that id in another room"
    return Receipt(event_id=pdu.event_id, event=known, standing=Standing.REJECTED, reason=reason, is_new=False)


def _standing_of(row: EventRow) -> Standing:
    if row.flags & REJECTED:
        return Standing.REJECTED
    if row.flags & OUTLIER:
        return Standing.OUTLIER
    return Standing.SOFT_FAILED if row.flags & SOFT_FAILED else Standing.ACCEPTED
