"""What a server is told of a room that one of its users has joined: the state before, and its auth chain.

A large room has tens of thousands of events. They are read and sent a few at a time, and never all held.

Spec: server-server-api/#put_matrixfederationv2send_joinroomideventid
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, TypeVar

import orjson
import trio

from conduit_py.data import members, short_ids, state, timeline
from conduit_py.data.auth_chain import find_auth_events, get_auth_events
from conduit_py.data.rooms import Room
from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.storage.database import Database, Snapshot
from kvschema.catalog.members import INVITE, JOIN
from kvschema.catalog.rooms import ShortEventId, ShortStateKey

EVENTS_PER_STEP: Final = 200
"""Events read and written before other tasks get a turn."""
HEROES: Final = 5
SCANNED_MAX: Final = 200
"""Members among which heroes are chosen."""

T = TypeVar("T")

_MEMBER = "m.room.member"
_NAMES = (("m.room.name", "name"), ("m.room.canonical_alias", "alias"))


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """Made by ``of`` right after the join."""

    database: Database
    room_id: RoomId
    event: Pdu
    server_name: ServerName
    servers: list[ServerName]
    state: list[tuple[ShortStateKey, ShortEventId]]
    omit_members: bool
    heroes: frozenset[ShortEventId]
    """Members that are told even if members are omitted."""

    @classmethod
    def of(
        cls,
        database: Database,
        snapshot: Snapshot,
        room: Room,
        join: Pdu,
        *,
        server_name: ServerName,
        servers: list[ServerName],
        omit_members: bool,
    ) -> JoinAnswer:
        """The state before ``join``, which is stored. ``servers`` are those that were in the room then."""
        found = timeline.find_row(snapshot, join.event_id)
        assert found is not None, f"{join.event_id} was accepted, and is not stored"
        entries = state.StateChain(snapshot).entries(found[1].state_after)
        own_key = short_ids.get_state_key(snapshot, _MEMBER, join.sender)
        if own_key is not None:
            entries.pop(own_key, None)
            if found[1].replaces:
                entries[own_key] = found[1].replaces
        return cls(
            database=database,
            room_id=room.room_id,
            event=join,
            server_name=server_name,
            servers=servers,
            state=list(entries.items()),
            omit_members=omit_members,
            heroes=_choose_heroes(snapshot, room, join) if omit_members else frozenset(),
        )

    async def stream(self) -> AsyncIterator[bytes]:
        """The answer as JSON, part by part."""
        told = [event async for event in self._scan_told()]
        yield b'{"origin":%s,"members_omitted":%s,"servers_in_room":%s,"event":%s,"state":[' % (
            orjson.dumps(self.server_name),
            b"true" if self.omit_members else b"false",
            orjson.dumps(self.servers),
            self._render_join(),
        )
        auth_events: set[ShortEventId] = set()
        separator = b""
        for step in _steps(told):
            with self.database.snapshot() as snapshot:
                part = self._render(snapshot, step)
                auth_events.update(_auth_events_of(snapshot, step))
                if not separator:
                    auth_events.update(find_auth_events(snapshot, self.event))
            yield separator + part
            separator = b","
        yield b'],"auth_chain":['
        async for part in self._stream_chain(auth_events, set(told) if self.omit_members else set()):
            yield part
        yield b"]}"

    def _render_join(self) -> bytes:
        with self.database.snapshot() as snapshot:
            event = timeline.get_event(snapshot, self.event.event_id)
            assert event is not None, "events are never deleted"
            return self._render(snapshot, [event])

    def _render(self, snapshot: Snapshot, events: Iterable[ShortEventId]) -> bytes:
        return b",".join(timeline.federation_json(timeline.require_row(snapshot, it), self.room_id) for it in events)

    async def _scan_told(self) -> AsyncIterator[ShortEventId]:
        """The state that is told: all of it, or all but most members."""
        for step in _steps(self.state):
            with self.database.snapshot() as snapshot:
                told = [
                    event
                    for state_key, event in step
                    if not self.omit_members
                    or event in self.heroes
                    or short_ids.get_state_key_record(snapshot, state_key).type != _MEMBER
                ]
            for event in told:
                yield event
            await trio.lowlevel.checkpoint()

    async def _stream_chain(self, found: set[ShortEventId], told: set[ShortEventId]) -> AsyncIterator[bytes]:
        """The auth chain that begins with ``found``, without what was told already."""
        todo, seen = list(found - told), found | told
        separator = b""
        while todo:
            step, todo = todo[-EVENTS_PER_STEP:], todo[:-EVENTS_PER_STEP]
            with self.database.snapshot() as snapshot:
                part = self._render(snapshot, step)
                for event in _auth_events_of(snapshot, step):
                    if event not in seen:
                        seen.add(event)
                        todo.append(event)
            yield separator + part
            separator = b","
            await trio.lowlevel.checkpoint()


def _steps(events: list[T]) -> Iterable[list[T]]:
    for at in range(0, len(events), EVENTS_PER_STEP):
        yield events[at : at + EVENTS_PER_STEP]


def _auth_events_of(snapshot: Snapshot, events: Iterable[ShortEventId]) -> Iterable[ShortEventId]:
    for event in events:
        yield from get_auth_events(snapshot, event)


def _choose_heroes(snapshot: Snapshot, room: Room, join: Pdu) -> frozenset[ShortEventId]:
    """Whom the room would be named after, the user who joins left out. Nobody for a room with a name.

    Spec: client-server-api/#get_matrixclientv3sync_response-200_roomsummary
    """
    for event_type, key in _NAMES:
        named = state.get_current_pdu(snapshot, room.short, event_type, "")
        if named is not None and named.content.get(key):
            return frozenset()
    present = chain(
        members.scan_members(snapshot, room.short, JOIN), members.scan_members(snapshot, room.short, INVITE)
    )
    own = short_ids.get_user(snapshot, join.sender)
    events = sorted(event for user, event in islice(present, SCANNED_MAX) if user != own)
    return frozenset(events[:HEROES])
