"""The current state of one room in one turn, and all that follows from it: who is in the room, and who was told so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from conduit_py.data import members, state
from conduit_py.data.members import KIND_OF, MemberChange, Standing
from conduit_py.data.rooms import Room
from conduit_py.data.short_ids import ShortIds, get_state_key_record
from conduit_py.data.state import Changes, StateChain
from conduit_py.data.timeline import get_pdu
from conduit_py.matrix.ids import ServerName, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.state_res import StateKey
from conduit_py.matrix.stripped_state import build_stripped_state, stripped_state_keys
from conduit_py.service.rooms.outgoing import JoinedServers, ServerChanges
from conduit_py.service.rooms.staged_events import StagedEvents, StateKeys
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.batch import UNPLACED, WriteBatch
from kvschema.catalog.members import JOIN, LEAVE
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortStateKey, ShortUserId, StateId, StreamPos

MEMBER = "m.room.member"


class CurrentState:
    """Lives no longer than its turn."""

    def __init__(
        self, short_ids: ShortIds, server_name: ServerName, snapshot: Snapshot, turn: Turn, room: Room
    ) -> None:
        self._short_ids = short_ids
        self._server_name = server_name
        self._snapshot = snapshot
        self._turn = turn
        self._room = room
        self.events = StagedEvents(snapshot)
        self.keys = StateKeys(short_ids, snapshot, turn)
        self.chain = StateChain(snapshot)
        self.state_id = room.state_id
        self._known: dict[StateKey, ShortEventId | None] = {}
        """Entries that were asked for: the same few are, by the rules, the push rules and whoever makes an event."""
        self._moved: list[Mapping[StateKey, ShortEventId | None]] = []
        """Thousands of entries that were changed here, the latest last."""
        self.standings: dict[ShortUserId, Standing] = {}
        """Local users whose membership was changed here, as it is now."""
        self._joined_before: frozenset[ShortUserId] | None = None
        self._joined_difference = 0
        self.servers = JoinedServers(snapshot, room.short)

    def get_event(self, type: str, state_key: str) -> ShortEventId | None:
        """One entry."""
        name = (type, state_key)
        if name not in self._known:
            self._known[name] = self._find_event(name)
        return self._known[name]

    def _find_event(self, name: StateKey) -> ShortEventId | None:
        for moved in reversed(self._moved):
            if name in moved:
                return moved[name]
        return state.get_current(self._snapshot, self._room.short, *name)

    def get(self, type: str, state_key: str) -> Pdu | None:
        """One entry, as the rules read it."""
        event = self.get_event(type, state_key)
        return None if event is None else self.events.get_pdu(event)

    def power_levels(self) -> PowerLevels:
        levels = self.get("m.room.power_levels", "")
        create = self.get("m.room.create", "")
        return PowerLevels.of_room(self._room.version, None if levels is None else levels.content, create)

    def move(self, state_id: StateId, changes: Changes, pos: int, large: LargeMove | None = None) -> None:
        """The room is now in another state, which has a name and differs by ``changes``. It came about at ``pos``.

        With ``large``, it differs by that too.
        """
        if large is not None:
            self.standings.update(large.stage(self._turn, StreamPos(pos)))
            self._moved.append(large.known)
            self._known.update({name: large.known[name] for name in self._known.keys() & large.known.keys()})
            self.servers.note(large.servers)
            self._joined_difference += sum(large.servers.joined.values())
        state.stage_current(self._turn, self._room.short, state_id, changes)
        self.state_id = state_id
        names = {self.keys.get_name(key): event for key, event in changes.items()}
        before = {name: self.get_event(*name) for name in names}
        self._known.update({name: event or None for name, event in names.items()})
        for name, event in names.items():
            if name[0] == MEMBER:
                self._stage_member(UserId(name[1]), before[name], event, pos)

    def _stage_member(self, user_id: UserId, before: ShortEventId | None, event: ShortEventId, pos: int) -> None:
        old_pdu = None if before is None else self.events.get_pdu(before)
        pdu = self.events.get_pdu(event) if event else None
        server_name = server_name_of(user_id)
        change = MemberChange(
            room=self._room.short,
            user=self._short_ids.intern_user(self._snapshot, self._turn, user_id),
            server_name=server_name,
            is_local=server_name == self._server_name,
            before=_kind_before(old_pdu),
            after=_kind_after(pdu),
            event=event,
            pos=StreamPos(pos),
            sender="" if pdu is None else pdu.sender,
            stripped_state=None if pdu is None else _build_stripped_state(pdu, self.get),
        )
        servers = ServerChanges()
        servers.note(change)
        self.servers.note(servers)
        old = self._get_standing(change.user) if change.is_local else None
        new = members.stage_member(self._turn, change, old)
        self._joined_difference += (change.after == JOIN) - (change.before == JOIN)
        if new is not None:
            self.standings[change.user] = new

    def _get_standing(self, user: ShortUserId) -> Standing | None:
        return self.standings.get(user) or members.get_membership(self._snapshot, user, self._room.short)

    @property
    def member_count(self) -> int:
        """How many users are joined."""
        return members.get_member_count(self._snapshot, self._room.short, JOIN) + self._joined_difference

    def scan_newly_joined(self) -> set[ShortUserId]:
        """Local users that were not joined before."""
        joined = {user for user, (kind, _) in self.standings.items() if kind == JOIN}
        return joined - members.get_local_joined(self._snapshot, self._room.short) if joined else joined

    def scan_local_joined(self) -> set[ShortUserId]:
        """Local users that are joined."""
        if self._joined_before is None:
            self._joined_before = members.get_local_joined(self._snapshot, self._room.short)
        joined = set(self._joined_before)
        for user, (kind, _) in self.standings.items():
            joined.discard(user) if kind != JOIN else joined.add(user)
        return joined


class LargeMove:
    """What makes a room's current state into another, where that is much: put together ahead, handed over in the turn.

    Whoever makes one holds the room's lock: what is there must not change meanwhile, the standing of local users too.
    """

    def __init__(
        self, short_ids: ShortIds, server_name: ServerName, room: ShortRoomId, key_left_out: ShortStateKey | None
    ) -> None:
        self.key_left_out = key_left_out
        """The entry of the event that is being staged, which is for the turn to change."""
        self._short_ids = short_ids
        self._server_name = server_name
        self._room = room
        self._entries = WriteBatch()
        self._members = members.RemoteMembers(room)
        self._local = members.LocalMembers()
        self.known: dict[StateKey, ShortEventId | None] = {}
        """Entries as they will be."""
        self.servers = ServerChanges()

    def __bool__(self) -> bool:
        return bool(self.known)

    def add(
        self,
        snapshot: Snapshot,
        turn: Turn,
        key: ShortStateKey,
        before: ShortEventId | None,
        after: ShortEventId | None,
        get_after: Callable[[str, str], Pdu | None],
    ) -> None:
        """One entry that changes. What ``turn`` stages is no more than the short id of a user.

        ``get_after`` finds entries as they will be, of which who is invited is shown some.
        """
        event_type, state_key = get_state_key_record(snapshot, key)
        event = after or ShortEventId(0)
        server_name = server_name_of(UserId(state_key)) if event_type == MEMBER else None
        self.known[event_type, state_key] = after
        state.put_entries(self._entries, self._room, {key: event})
        if server_name is None:
            return
        is_local = server_name == self._server_name
        pdu = None if after is None else get_pdu(snapshot, after)
        change = MemberChange(
            room=self._room,
            user=self._short_ids.intern_user(snapshot, turn, UserId(state_key)),
            server_name=server_name,
            is_local=is_local,
            before=_kind_before(None if before is None else get_pdu(snapshot, before)),
            after=_kind_after(pdu),
            event=event,
            pos=StreamPos(UNPLACED),
            sender="" if pdu is None or not is_local else pdu.sender,
            stripped_state=None if pdu is None or not is_local else _build_stripped_state(pdu, get_after),
        )
        self.servers.note(change)
        if is_local:
            self._local.add(change, members.get_membership(snapshot, change.user, self._room))
        else:
            self._members.add(change)

    def stage(self, turn: Turn, pos: StreamPos) -> Mapping[ShortUserId, Standing]:
        """Hand it over. What is returned is how local users stand now."""
        turn.batch.extend(self._entries)
        self._members.stage(turn, pos)
        return self._local.stage(turn, pos)


def _build_stripped_state(pdu: Pdu, get: Callable[[str, str], Pdu | None]) -> list[Any] | None:
    """What an invited or knocking user is shown of the room. Spec: client-server-api/#stripped-state"""
    membership = pdu.content.get("membership")
    if membership not in ("invite", "knock"):
        return None
    keys = stripped_state_keys(pdu.sender if membership == "invite" else None)
    events = [shown.json for key in keys if (shown := get(*key)) is not None]
    return build_stripped_state(events, pdu.json)


def _kind_before(pdu: Pdu | None) -> int | None:
    return None if pdu is None else _kind_of(pdu.content)


def _kind_after(pdu: Pdu | None) -> int:
    return LEAVE if pdu is None else _kind_of(pdu.content) or LEAVE


def _kind_of(content: Mapping[str, Any]) -> int | None:
    membership = content.get("membership")
    return KIND_OF.get(membership) if isinstance(membership, str) else None
