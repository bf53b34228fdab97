"""What waits to be sent to application services, and how sending stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from operator import itemgetter

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import appservices
from kvschema.catalog.appservices import AppServicePos, AppServiceSending, ByAppService, InstanceRoom
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, StreamPos

_POS_MAX = (1 << 64) - 1


def scan_registrations(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """The ids and the texts of the registrations that were given by command."""
    for key, text in appservices.APPSERVICEID_REGISTRATION.scan(snapshot):
        yield key.appservice_id, text


def stage_registration(turn: Turn, appservice_id: str, text: str | None) -> None:
    """None forgets it."""
    if text is None:
        turn.batch.delete(appservices.APPSERVICEID_REGISTRATION, ByAppService(appservice_id))
    else:
        turn.batch.put(appservices.APPSERVICEID_REGISTRATION, ByAppService(appservice_id), text)


def scan_events(
    snapshot: Snapshot, appservice_id: str, *, after: int = 0, until: int = _POS_MAX
) -> Iterator[tuple[int, ShortEventId | bytes]]:
    """Queued events in order, past a place of the queue and up to another. Those of rooms not held here are JSON."""
    start, stop = (AppServicePos(appservice_id, StreamPos(pos)) for pos in (after, until))
    held = appservices.APPSERVICEIDPOS_EVENT.scan(snapshot, appservice_id, after=start, until=stop)
    outside = appservices.APPSERVICEIDPOS_OUTSIDE.scan(snapshot, appservice_id, after=start, until=stop)
    waiting: list[Iterator[tuple[int, ShortEventId | bytes]]] = [
        ((key.pos, ShortEventId(event)) for key, event in held),
        ((key.pos, text) for key, text in outside),
    ]
    return merge(*waiting, key=itemgetter(0))


def count_events(snapshot: Snapshot, appservice_id: str) -> int:
    """Costs their number."""
    trees = (appservices.APPSERVICEIDPOS_EVENT, appservices.APPSERVICEIDPOS_OUTSIDE)
    return sum(1 for tree in trees for _ in tree.scan_keys(snapshot, appservice_id))


def stage_event(turn: Turn, appservice_id: str, pos: int, event: ShortEventId | bytes) -> None:
    key = AppServicePos(appservice_id, StreamPos(pos))
    if isinstance(event, bytes):
        turn.batch.put(appservices.APPSERVICEIDPOS_OUTSIDE, key, event)
    else:
        turn.batch.put(appservices.APPSERVICEIDPOS_EVENT, key, event)


def stage_events_removed(turn: Turn, appservice_id: str, places: Iterable[int]) -> None:
    for pos in places:
        key = AppServicePos(appservice_id, StreamPos(pos))
        turn.batch.delete(appservices.APPSERVICEIDPOS_EVENT, key)
        turn.batch.delete(appservices.APPSERVICEIDPOS_OUTSIDE, key)


def get_sending(snapshot: Snapshot, appservice_id: str) -> AppServiceSending | None:
    """The transaction on its way, None if there is none."""
    return appservices.APPSERVICEID_SENDING.get(snapshot, ByAppService(appservice_id))


def stage_sending(turn: Turn, appservice_id: str, row: AppServiceSending | None) -> None:
    if row is None:
        turn.batch.delete(appservices.APPSERVICEID_SENDING, ByAppService(appservice_id))
    else:
        turn.batch.put(appservices.APPSERVICEID_SENDING, ByAppService(appservice_id), row)


def scan_listed(snapshot: Snapshot, instance_id: str) -> Iterator[ShortRoomId]:
    """Rooms in the directory of a network."""
    for key in appservices.INSTANCEIDROOMID.scan_keys(snapshot, instance_id):
        yield key.room


def scan_listed_anywhere(snapshot: Snapshot) -> Iterator[ShortRoomId]:
    """Rooms in the directories of all networks, some more than once."""
    for key in appservices.INSTANCEIDROOMID.scan_keys(snapshot):
        yield key.room


def is_listed(snapshot: Snapshot, instance_id: str, room: ShortRoomId) -> bool:
    return appservices.INSTANCEIDROOMID.has(snapshot, InstanceRoom(instance_id, room))


def stage_listed(turn: Turn, instance_id: str, room: ShortRoomId, *, is_listed: bool) -> None:
    """List a room in the directory of a network, or take it off."""
    if is_listed:
        turn.batch.put(appservices.INSTANCEIDROOMID, InstanceRoom(instance_id, room), None)
    else:
        turn.batch.delete(appservices.INSTANCEIDROOMID, InstanceRoom(instance_id, room))
