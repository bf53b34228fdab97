"""The current state of one room in one turn, and all that follows from it: who is in the room, and who was told so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit_py.data import members, state
from conduit_py.data.members import KIND_OF, MemberChange, Standing
from conduit_py.data.rooms import Room
from conduit_py.data.short_ids import ShortIds
from conduit_py.data.state import Changes, StateChain
from conduit_py.matrix.ids import ServerName, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.state_res import StateKey
from conduit_py.matrix.stripped_state import build_stripped_state, stripped_state_keys
from conduit_py.service.rooms.outgoing import JoinedServers
from conduit_py.service.rooms.staged_events import StagedEvents, StateKeys
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.members import JOIN, LEAVE
from kvschema.catalog.rooms import ShortEventId, ShortUserId, StateId, StreamPos

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
        self.standings: dict[ShortUserId, Standing] = {}
        """Local users whose membership was changed here, as it is now."""
        self._joined_before: frozenset[ShortUserId] | None = None
        self._joined_difference = 0
        self.servers = JoinedServers(snapshot, room.short)

    def get_event(self, type: str, state_key: str) -> ShortEventId | None:
        """One entry."""
        name = (type, state_key)
        if name not in self._known:
            self._known[name] = state.get_current(self._snapshot, self._room.short, type, state_key)
        return self._known[name]

    def get(self, type: str, state_key: str) -> Pdu | None:
        """One entry, as the rules read it."""
        event = self.get_event(type, state_key)
        return None if event is None else self.events.get_pdu(event)

    def power_levels(self) -> PowerLevels:
        levels = self.get("m.room.power_levels", "")
        create = self.get("m.room.create", "")
        return PowerLevels.of_room(self._room.version, None if levels is None else levels.content, create)

    def move(self, state_id: StateId, changes: Changes, pos: int) -> None:
        """The room is now in another state, which has a name and differs by ``changes``. It came about at ``pos``."""
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
            before=None if old_pdu is None else _kind_of(old_pdu.content),
            after=LEAVE if pdu is None else _kind_of(pdu.content) or LEAVE,
            event=event,
            pos=StreamPos(pos),
            sender="" if pdu is None else pdu.sender,
            stripped_state=None if pdu is None else self._stripped_state(pdu),
        )
        self.servers.note(change)
        old = self._get_standing(change.user) if change.is_local else None
        new = members.stage_member(self._turn, change, old)
        self._joined_difference += (change.after == JOIN) - (change.before == JOIN)
        if new is not None:
            self.standings[change.user] = new

    def _get_standing(self, user: ShortUserId) -> Standing | None:
        return self.standings.get(user) or members.get_membership(self._snapshot, user, self._room.short)

    def _stripped_state(self, pdu: Pdu) -> list[Any] | None:
        """What an invited or knocking user is shown of the room. Spec: client-server-api/#stripped-state"""
        membership = pdu.content.get("membership")
        if membership not in ("invite", "knock"):
            return None
        keys = stripped_state_keys(pdu.sender if membership == "invite" else None)
        events = [shown.json for key in keys if (shown := self.get(*key)) is not None]
        return build_stripped_state(events, pdu.json)

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


def _kind_of(content: Mapping[str, Any]) -> int | None:
    membership = content.get("membership")
    return KIND_OF.get(membership) if isinstance(membership, str) else None
