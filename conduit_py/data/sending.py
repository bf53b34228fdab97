"""What waits to be sent to other servers: events and EDUs, each in a queue per server, and how sending stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final

from conduit_py.matrix.ids import ServerName
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import members, sending
from kvschema.catalog.federation import ByServer
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, StreamPos
from kvschema.catalog.sending import QueuedEdu, Sending, ServerPos, ServerRoom

NAMES_REMEMBERED: Final = 20_000
"""Servers whose names are remembered as they stand in keys: 3 MB, for rooms with members on thousands of them."""
IDLE = Sending()
_POS_MAX = StreamPos((1 << 64) - 1)


def scan_servers(snapshot: Snapshot) -> Iterator[ServerName]:
    """Servers that anything is known of here, some more than once. Costs their number."""
    for tree in (sending.SERVERNAMEPOS_EVENT, sending.SERVERNAMEPOS_EDU):
        key = next(tree.scan_keys(snapshot), None)
        while key is not None:
            yield ServerName(key.server_name)
            key = next(tree.scan_keys(snapshot, after=ServerPos(key.server_name, _POS_MAX)), None)
    room = next(sending.SERVERNAMEROOM_EVENT.scan_keys(snapshot), None)
    while room is not None:
        yield ServerName(room.server_name)
        last = ServerRoom(room.server_name, ShortRoomId(_POS_MAX))
        room = next(sending.SERVERNAMEROOM_EVENT.scan_keys(snapshot, after=last), None)
    for server in sending.SERVERNAME_SENDING.scan_keys(snapshot):
        yield ServerName(server.server_name)


def get_sending(snapshot: Snapshot, server_name: ServerName) -> Sending:
    return sending.SERVERNAME_SENDING.get(snapshot, ByServer(server_name)) or IDLE


def stage_sending(turn: Turn, server_name: ServerName, row: Sending) -> None:
    """What is idle leaves no row."""
    if row == IDLE:
        turn.batch.delete(sending.SERVERNAME_SENDING, ByServer(server_name))
    else:
        turn.batch.put(sending.SERVERNAME_SENDING, ByServer(server_name), row)


def scan_events(
    snapshot: Snapshot, server_name: ServerName, *, after: int = 0, until: int = _POS_MAX
) -> Iterator[tuple[StreamPos, ShortEventId]]:
    """Queued events in order, past a place of the queue and up to another."""
    start, stop = ServerPos(server_name, StreamPos(after)), ServerPos(server_name, StreamPos(until))
    for key, event in sending.SERVERNAMEPOS_EVENT.scan(snapshot, server_name, after=start, until=stop):
        yield key.pos, ShortEventId(event)


def count_events(snapshot: Snapshot, server_name: ServerName) -> int:
    """Costs their number."""
    return sum(1 for _ in sending.SERVERNAMEPOS_EVENT.scan_keys(snapshot, server_name))


def stage_event(turn: Turn, server_name: ServerName, pos: int, event: ShortEventId) -> None:
    """Put an event at the end of the queue: ``pos`` was taken in this turn."""
    turn.batch.put(sending.SERVERNAMEPOS_EVENT, ServerPos(server_name, StreamPos(pos)), event)


def stage_event_for_all(turn: Turn, server_names: Sequence[ServerName], pos: int, event: ShortEventId) -> None:
    """The same for many servers at once."""
    key = sending.SERVERNAMEPOS_EVENT.key
    place = key.encode(ServerPos("", StreamPos(pos)))[len(key.prefix(("",))) :]
    turn.batch.put_same(sending.SERVERNAMEPOS_EVENT, [_get_prefix(name) + place for name in server_names], event)


@lru_cache(NAMES_REMEMBERED)
def _get_prefix(server_name: ServerName) -> bytes:
    return sending.SERVERNAMEPOS_EVENT.key.prefix((server_name,))


def stage_events_removed(turn: Turn, server_name: ServerName, places: Iterable[int]) -> None:
    for pos in places:
        turn.batch.delete(sending.SERVERNAMEPOS_EVENT, ServerPos(server_name, StreamPos(pos)))


def scan_last_events(snapshot: Snapshot, server_name: ServerName, limit: int) -> list[tuple[ShortRoomId, ShortEventId]]:
    """The first rooms in which a server is behind, with the last event of each that it is to be sent."""
    rows = sending.SERVERNAMEROOM_EVENT.scan(snapshot, server_name)
    return [(key.room, ShortEventId(event)) for key, event in islice(rows, limit)]


def stage_last_event(turn: Turn, server_name: ServerName, room: ShortRoomId, event: ShortEventId) -> None:
    turn.batch.put(sending.SERVERNAMEROOM_EVENT, ServerRoom(server_name, room), event)


def stage_last_event_removed(turn: Turn, server_name: ServerName, room: ShortRoomId, event: ShortEventId) -> None:
    """The batch is refused (``PreconditionFailed``) if there is a later one by then."""
    key = ServerRoom(server_name, room)
    turn.batch.require(sending.SERVERNAMEROOM_EVENT, key, event)
    turn.batch.delete(sending.SERVERNAMEROOM_EVENT, key)


def scan_edus(
    snapshot: Snapshot, server_name: ServerName, *, after: int = 0, until: int = _POS_MAX
) -> Iterator[tuple[StreamPos, QueuedEdu]]:
    """Queued EDUs in order, past a place of the queue and up to another."""
    start, stop = ServerPos(server_name, StreamPos(after)), ServerPos(server_name, StreamPos(until))
    for key, edu in sending.SERVERNAMEPOS_EDU.scan(snapshot, server_name, after=start, until=stop):
        yield key.pos, edu


def stage_edu(turn: Turn, server_name: ServerName, pos: int, edu: QueuedEdu) -> None:
    """Put an EDU at the end of the queue: ``pos`` was taken in this turn."""
    turn.batch.put(sending.SERVERNAMEPOS_EDU, ServerPos(server_name, StreamPos(pos)), edu)


def stage_edus_removed(turn: Turn, server_name: ServerName, places: Iterable[int]) -> None:
    for pos in places:
        turn.batch.delete(sending.SERVERNAMEPOS_EDU, ServerPos(server_name, StreamPos(pos)))


def stage_server_removed(snapshot: Snapshot, turn: Turn, server_name: ServerName) -> None:
    """Forget all that waits for a server."""
    stage_events_removed(turn, server_name, (pos for pos, _ in scan_events(snapshot, server_name)))
    stage_edus_removed(turn, server_name, (pos for pos, _ in scan_edus(snapshot, server_name)))
    for room in sending.SERVERNAMEROOM_EVENT.scan_keys(snapshot, server_name):
        turn.batch.delete(sending.SERVERNAMEROOM_EVENT, room)
    stage_sending(turn, server_name, IDLE)


def shares_room(snapshot: Snapshot, server_name: ServerName) -> bool:
    """Does the server have joined members in any room that we know?"""
    return next(members.SERVERROOMIDS.scan_keys(snapshot, server_name), None) is not None
