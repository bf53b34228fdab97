"""A room as another server tells it becomes one that we hold.

Every event is checked as if it had come alone: its format, its signatures, and whether its auth events allow it. What
does not pass is left out. The events are stored in small batches, as outliers, which nothing refers to yet. Then the
state is made the room's current one by a single batch. Until our user's join is added, in the next, the room is one
that nobody here is in: after a crash in between, as after one before, joining just begins anew.

Spec: server-server-api/#joining-rooms, server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import trio

from conduit_py.data import members, rooms, short_ids, state, timeline
from conduit_py.data.members import KIND_OF, MemberChange
from conduit_py.data.room_image import ImageMember, RoomImage
from conduit_py.data.rooms import Room
from conduit_py.data.state import EMPTY, LooseState
from conduit_py.data.state_at import stage_state_at
from conduit_py.log import get_logger
from conduit_py.matrix.auth.rules import check_auth_events, check_event
from conduit_py.matrix.ids import EventId, Malformed, RoomId, ServerName, UserId, server_name_of
from conduit_py.matrix.json_parts import Parts, Span
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.policy_server import POLICY, parse_policy_server
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.stripped_state import build_stripped_state, stripped_state_keys
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.handshakes.joins.join_body import Aside
from conduit_py.service.federation.handshakes.joins.told_events import ToldEvents, Wanted
from conduit_py.service.federation.keys import KeyRing
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.closed import require_open
from conduit_py.service.rooms.groundwork import Groundwork
from conduit_py.service.rooms.member_events import MEMBER, membership_content
from conduit_py.service.rooms.prepared import Prepared, TooLarge, Work
from conduit_py.service.rooms.receive import Arrival, MissingEvents, Receipt, RoomReceive, Standing
from conduit_py.service.rooms.room_writer import RoomWriter
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.members import INVITE, JOIN, KNOCK, LEAVE
from kvschema.catalog.rooms import ShortEventId, ShortStateKey, StateId, StreamPos

_log = get_logger(__name__)

CHECKED_AT_ONCE: Final = 500
STORED_AT_ONCE: Final = 100
"""Events judged and staged between two steps of the event loop, about 15 ms."""
ROWS_AT_ONCE: Final = 2_000
"""Rows of the current state put together between two steps of the event loop."""
TOLD_EVERY: Final = 10_000
"""Events between two lines of the log."""

T = TypeVar("T")


class Unfit(Malformed):
    """What was told of the room cannot be its state."""


@dataclass(slots=True)
class _State:
    """The state as far as it is stored: short ids, no events."""

    entries: dict[ShortStateKey, ShortEventId] = field(default_factory=dict)
    members: list[ImageMember] = field(default_factory=list)
    local: dict[UserId, ShortEventId] = field(default_factory=dict)
    """Membership events of local users, whatever they say."""
    dropped: int = 0


class Installer:
    """One per server."""

    def __init__(self, store: Store, writes: RoomWrites, checks: Checks, keys: KeyRing, aside: Aside) -> None:
        self._store = store
        self._writes = writes
        self._tools = writes.append.tools
        self._checks = checks
        self._keys = keys
        self._aside = aside

    async def install(self, room_id: RoomId, version: RoomVersion, join: Pdu, parts: Parts) -> None:
        """Take part in the room, with ``join`` as its newest event. ``parts`` is what the other server answered.

        Raises ``Unfit`` if the answer cannot be the room's state, or does not allow the join.
        """
        told = ToldEvents(parts, room_id, version)
        spans = await self._aside(lambda: list(told.scan_spans()))
        await self._fetch_keys(told, [span for span, _ in spans])
        await self._check(told, spans)
        order = await self._aside(told.order)
        room = await self._begin(room_id, version)
        found = await self._store_events(room, told, order)
        self._require_allowed(room, join, found)
        join = await self._have_signed(room, join, found)
        gone = await self._make_current(room, join, found)
        await self._leave_again(room_id, gone - {UserId(join.sender)})
        _log.info("joined a room", room=room_id, state=len(found.entries), members=len(found.members))

    async def _fetch_keys(self, told: ToldEvents, spans: Sequence[Span]) -> None:
        """Ask for the keys of all servers at once; one after the other would take hours in a large room."""
        wanted: Wanted = {}
        now_ms = self._store.now_ms()
        for step in _steps(spans, CHECKED_AT_ONCE):
            found = await self._aside(lambda step=step: told.find_wanted_keys(step, now_ms))  # type: ignore[misc]
            for server_name, keys in found.items():
                of_server = wanted.setdefault(server_name, {})
                for key_id, until in keys.items():
                    of_server[key_id] = max(of_server.get(key_id, 0), until)
        await self._keys.fetch_many(wanted, notaries_first=True)

    async def _check(self, told: ToldEvents, spans: Sequence[tuple[Span, bool]]) -> None:
        """Keep those events whose format and signatures are right."""
        dropped = 0
        for number, step in enumerate(_steps(spans, CHECKED_AT_ONCE)):
            raws = [_parse(told.parts, span) for span, _ in step]
            checked = await self._checks.check_many(raws, told.version)
            for (span, is_state), pdu in zip(step, checked, strict=True):
                if isinstance(pdu, Pdu) and pdu.room_id == told.room_id:
                    told.add(span, pdu, is_state=is_state)
                    continue
                dropped += 1
                _log.debug("an event of a joined room is left out", room=told.room_id, why=str(pdu)[:200])
            if (number + 1) * CHECKED_AT_ONCE % TOLD_EVERY == 0:
                done = (number + 1) * CHECKED_AT_ONCE
                _log.info("joining a room: checked", room=told.room_id, events=done, of=len(spans))
        if dropped:
            _log.warning("events of a joined room are left out", room=told.room_id, events=dropped, of=len(spans))

    async def _begin(self, room_id: RoomId, version: RoomVersion) -> Room:
        """The room under its short id, with its true version."""
        store = self._store
        async with store.locks.hold(("room", room_id)), store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                require_open(snapshot, room_id)
                short = store.ids.intern_room(snapshot, turn, room_id, version.id)
                held = rooms.get_room(snapshot, room_id)
                if held is not None and held.version != version:
                    raise Unfit(f"the room has version {held.version.id}, and not {version.id}")
                if short_ids.get_room(snapshot, room_id) is not None:
                    record = short_ids.get_room_record(snapshot, short)
                    if ROOM_VERSIONS.get(record.room_version) != version:
                        rooms.stage_version(turn, short, room_id, version)
        return Room(short, room_id, version, EMPTY, ())

    # Storing.

    async def _store_events(self, room: Room, told: ToldEvents, order: Sequence[EventId]) -> _State:
        store, found, state_ids = self._store, _State(), frozenset(told.state)
        for number, step in enumerate(_steps(order, STORED_AT_ONCE)):
            pdus = await self._aside(lambda step=step: [told.build(event_id) for event_id in step])  # type: ignore[misc]
            async with store.locks.hold(("room", room.room_id)), store.writer.turn() as turn:
                with store.snapshot() as snapshot:
                    require_open(snapshot, room.room_id)
                    self._stage_events(snapshot, turn, room, pdus, state_ids, found)
            if (number + 1) * STORED_AT_ONCE % TOLD_EVERY == 0:
                done = (number + 1) * STORED_AT_ONCE
                _log.info("joining a room: stored", room=room.room_id, events=done, of=len(order))
        if found.dropped:
            _log.warning("events of a joined room are not allowed", room=room.room_id, events=found.dropped)
        return found

    def _stage_events(
        self,
        snapshot: Snapshot,
        turn: Turn,
        room: Room,
        pdus: Sequence[Pdu],
        state_ids: frozenset[EventId],
        found: _State,
    ) -> None:
        writer = RoomWriter(self._tools, snapshot, turn, room)
        receive = RoomReceive(writer)
        for pdu in pdus:
            try:
                receipt = receive.receive_outlier(pdu)
            except MissingEvents:
                found.dropped += 1
                continue
            if receipt.standing is Standing.REJECTED:
                found.dropped += 1
            elif pdu.event_id in state_ids:
                event = writer.events.find(pdu.event_id)
                assert event is not None, "it was staged"
                self._note_state(snapshot, turn, writer, pdu, event, found)
        receive.finish()

    def _note_state(
        self, snapshot: Snapshot, turn: Turn, writer: RoomWriter, pdu: Pdu, event: ShortEventId, found: _State
    ) -> None:
        if pdu.state_key is None:
            raise Unfit(f"{pdu.event_id} is told as state, and is none")
        key = writer.current.keys.intern(pdu.type, pdu.state_key)
        if found.entries.setdefault(key, event) != event:
            raise Unfit(f"two events are told as the state of {pdu.type} {pdu.state_key!r}")
        if pdu.type != MEMBER:
            return
        try:
            server_name = server_name_of(pdu.state_key)
        except Malformed:
            return  # Rules from before there were any let such events pass.
        user_id, membership = UserId(pdu.state_key), pdu.content.get("membership")
        kind = KIND_OF.get(membership) if isinstance(membership, str) else None
        is_local = server_name == self._tools.server_name
        if is_local:
            found.local[user_id] = event
        if kind in (JOIN, INVITE, KNOCK):
            user = self._store.ids.intern_user(snapshot, turn, user_id)
            found.members.append(ImageMember(user, server_name, is_local, kind, event))

    def _require_allowed(self, room: Room, join: Pdu, found: _State) -> None:
        """Is it the state of a room, and of one that lets the user join?"""
        with self._store.snapshot() as snapshot:
            get_state = partial(_get_told, snapshot, found)
            create = get_state("m.room.create", "")
            if create is None:
                raise Unfit("the room has no m.room.create event that can be believed")
            if create.content.get("room_version", "1") != room.version.id:
                raise Unfit("the room was created with another version")
            auth_events = []
            for event_id in join.auth_events:
                event = timeline.get_event(snapshot, event_id)
                if event is None:
                    raise Unfit(f"{event_id}, which allows the join, was not told")
                auth_events.append(timeline.get_pdu(snapshot, event))
            denied = check_auth_events(room.version, join, auth_events) or check_event(room.version, join, get_state)
        if denied is not None:
            raise Unfit(f"the room does not let the user join: {denied.why}")

    async def _have_signed(self, room: Room, join: Pdu, found: _State) -> Pdu:
        """The join, signed by the room's policy server if there is one and it does.

        Spec: server-server-api/#determining-if-a-policy-server-is-enabled-in-a-room
        """
        with self._store.snapshot() as snapshot:
            policy = _get_told(snapshot, found, *POLICY)
        policy_server = None if policy is None else parse_policy_server(policy.content)
        servers = {member.server_name for member in found.members if member.kind == JOIN}
        if policy_server is None or policy_server.server_name not in servers:
            return join
        [signed] = await self._tools.policies.ask(policy_server, room.version, [join])
        return signed

    # The state becomes that of the room.

    async def _make_current(self, room: Room, join: Pdu, found: _State) -> set[UserId]:
        """Returns the users who had gone, and are not gone for the other server."""
        store = self._store
        encoded = await self._aside(lambda: state.encode_first(found.entries))
        async with store.locks.hold(("room", room.room_id)):
            image, lost = await self._build_image(room, found)
            async with store.writer.turn() as turn:
                with store.snapshot() as snapshot:
                    require_open(snapshot, room.room_id)
                    name = StateId(turn.take_pos())
                    image.stage(turn, name, encoded)
                    if timeline.get_last_pos(snapshot, room.short):
                        # We were in the room before, and its state changed since without us.
                        stage_state_at(turn, room.short, int(name), name)
                    gone = self._stage_standings(snapshot, turn, room, found, lost)
            await self._add_join(room, join, LooseState(name))
        return gone

    async def _build_image(self, room: Room, found: _State) -> tuple[RoomImage, set[UserId]]:
        """The rows of the new state, and the local users of whom only the old one spoke."""
        image, lost = RoomImage(room.short), set[UserId]()
        while True:
            with self._store.snapshot() as snapshot:
                has_more = image.clear_some(snapshot, ROWS_AT_ONCE)
            if not has_more:
                break
            await trio.lowlevel.checkpoint()
        for keys in _steps(image.old_keys, ROWS_AT_ONCE):
            with self._store.snapshot() as snapshot:
                lost.update(_scan_local_members(snapshot, keys, self._tools.server_name))
            await trio.lowlevel.checkpoint()
        lost -= found.local.keys()
        for entries in _steps(list(found.entries.items()), ROWS_AT_ONCE):
            image.put_entries(entries)
            await trio.lowlevel.checkpoint()
        for present in _steps(found.members, ROWS_AT_ONCE):
            image.put_members(present)
            await trio.lowlevel.checkpoint()
        return image, lost

    def _stage_standings(
        self, snapshot: Snapshot, turn: Turn, room: Room, found: _State, lost: set[UserId]
    ) -> set[UserId]:
        """Local users are in the room as its state says. Returns those who had gone of themselves."""
        gone = set[UserId]()
        for user_id, event in found.local.items():
            pdu = timeline.get_pdu(snapshot, event)
            membership = pdu.content.get("membership")
            kind = KIND_OF.get(membership) if isinstance(membership, str) else None
            user = self._store.ids.intern_user(snapshot, turn, user_id)
            old = members.get_membership(snapshot, user, room.short)
            if kind is None or (old is not None and (old[0], old[1].event) == (kind, event)):
                continue
            if old is not None and old[0] == LEAVE and old[1].sender == user_id and kind in (JOIN, INVITE, KNOCK):
                gone.add(user_id)
            change = MemberChange(
                room=room.short,
                user=user,
                server_name=self._tools.server_name,
                is_local=True,
                before=None,
                after=kind,
                event=event,
                pos=StreamPos(turn.take_pos()),
                sender=pdu.sender,
                stripped_state=_build_glimpse(snapshot, found, pdu) if kind in (INVITE, KNOCK) else None,
            )
            members.stage_own(turn, change, old)
        for user_id in lost:
            known = short_ids.get_user(snapshot, user_id)
            standing = None if known is None else members.get_membership(snapshot, known, room.short)
            if known is not None and standing is not None:
                members.stage_unbacked(turn, known, room.short, standing)
        return gone

    async def _add_join(self, room: Room, join: Pdu, before: LooseState) -> None:
        with closing(Groundwork(self._store.database, self._store.writer, self._tools)) as groundwork:
            while isinstance(received := await self._stage_join(room, join, before, groundwork.prepared), Work):
                await groundwork.do(received)
        if received.standing is not Standing.ACCEPTED:
            raise Unfit(f"the join is {received.standing.value}: {received.reason}")

    async def _stage_join(self, room: Room, join: Pdu, before: LooseState, prepared: Prepared) -> Receipt | Work:
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                current = rooms.get_room(snapshot, room.room_id)
                assert current is not None, "it has just been stored"
                receive = RoomReceive(RoomWriter(self._tools, snapshot, turn, current, prepared))
                try:
                    received: Receipt | Work = receive.receive(Arrival(pdu=join, told=before, is_way_in=True))
                except TooLarge as error:
                    received = error.work
                receive.finish()
        return received

    async def _leave_again(self, room_id: RoomId, gone: set[UserId]) -> None:
        """Users who left, or rejected an invite, while the other server did not hear of it."""
        for user_id in gone:

            def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend, user_id: UserId = user_id) -> None:
                content = membership_content("leave", None)
                append.append(append.create_event(sender=user_id, type=MEMBER, content=content, state_key=user_id))

            await self._writes.write(room_id, stage)


def _steps(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def _get_told(snapshot: Snapshot, found: _State, type: str, state_key: str) -> Pdu | None:
    key = short_ids.get_state_key(snapshot, type, state_key)
    event = None if key is None else found.entries.get(key)
    return None if event is None else timeline.get_pdu(snapshot, event)


def _parse(parts: Parts, span: Span) -> Any:
    try:
        return parts.parse(span)
    except Malformed:
        return None


def _scan_local_members(snapshot: Snapshot, keys: Sequence[ShortStateKey], server_name: ServerName) -> Iterator[UserId]:
    """The local users among those of whom entries of a state speak."""
    suffix = f":{server_name}"
    for key in keys:
        record = short_ids.get_state_key_record(snapshot, key)
        if record.type == MEMBER and record.state_key.endswith(suffix):
            yield UserId(record.state_key)


def _build_glimpse(snapshot: Snapshot, found: _State, pdu: Pdu) -> list[Any]:
    """What an invited or knocking user is shown of the room."""
    is_invite = pdu.content.get("membership") == "invite"
    keys = (short_ids.get_state_key(snapshot, *key) for key in stripped_state_keys(pdu.sender if is_invite else None))
    events = (found.entries.get(key) for key in keys if key is not None)
    return build_stripped_state([timeline.get_pdu(snapshot, it).json for it in events if it is not None], pdu.json)
