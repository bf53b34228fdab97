"""Devices and keys of users of other servers, as far as they are held: which lists there are, and which are outdated.

The keys themselves are where those of local users are: ``device_keys`` and ``cross_signing``.
"""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data import cross_signing, device_keys
from conduit_py.matrix.ids import ServerName
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee
from kvschema.catalog.e2ee import OutdatedList, RemoteList
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import ByUser

__all__ = [
    "RemoteList",
    "get_list",
    "get_next_outdated_server",
    "is_outdated",
    "scan_lists",
    "scan_outdated",
    "stage_forgotten",
    "stage_list",
    "stage_outdated",
]

_LAST = ShortUserId((1 << 64) - 1)


def get_list(snapshot: Snapshot, user: ShortUserId) -> RemoteList | None:
    return e2ee.REMOTE_LISTS.get(snapshot, ByUser(user))


def scan_lists(snapshot: Snapshot, *, after: ShortUserId | None) -> Iterator[tuple[ShortUserId, RemoteList]]:
    """Every list, past that of a user."""
    for key, row in e2ee.REMOTE_LISTS.scan(snapshot, after=None if after is None else ByUser(after)):
        yield key.user, row


def is_outdated(snapshot: Snapshot, server_name: ServerName, user: ShortUserId) -> bool:
    return e2ee.OUTDATED_LISTS.has(snapshot, OutdatedList(server_name, user))


def scan_outdated(snapshot: Snapshot, server_name: ServerName) -> Iterator[ShortUserId]:
    """Users of a server who have to be asked for again."""
    for key in e2ee.OUTDATED_LISTS.scan_keys(snapshot, server_name):
        yield key.user


def get_next_outdated_server(snapshot: Snapshot, after: ServerName | None) -> ServerName | None:
    """The next server with outdated lists, in the order of names."""
    last = None if after is None else OutdatedList(after, _LAST)
    for key in e2ee.OUTDATED_LISTS.scan_keys(snapshot, after=last):
        return ServerName(key.server_name)
    return None


def stage_list(turn: Turn, server_name: ServerName, user: ShortUserId, row: RemoteList) -> None:
    """What is held is what the server says now."""
    turn.batch.put(e2ee.REMOTE_LISTS, ByUser(user), row)
    turn.batch.delete(e2ee.OUTDATED_LISTS, OutdatedList(server_name, user))


def stage_outdated(turn: Turn, server_name: ServerName, user: ShortUserId) -> None:
    """The list has to be asked for again."""
    turn.batch.put(e2ee.OUTDATED_LISTS, OutdatedList(server_name, user), turn.take_pos())


def stage_forgotten(snapshot: Snapshot, turn: Turn, server_name: ServerName, user: ShortUserId) -> None:
    """Remove a list with its keys."""
    for device_id, _ in device_keys.scan_keys(snapshot, user):
        device_keys.stage_removed(turn, user, device_id)
    for usage in (cross_signing.MASTER, cross_signing.SELF_SIGNING):
        cross_signing.stage_key_removed(turn, user, usage)
    turn.batch.delete(e2ee.REMOTE_LISTS, ByUser(user))
    turn.batch.delete(e2ee.OUTDATED_LISTS, OutdatedList(server_name, user))
