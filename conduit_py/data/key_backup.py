"""Backups of room keys, which the client encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee
from kvschema.catalog.e2ee import BackedUpKey, Backup, BackupId, BackupKeyId
from kvschema.catalog.rooms import ShortUserId

__all__ = [
    "BackedUpKey",
    "Backup",
    "BackupKeyId",
    "get_backup",
    "get_current",
    "get_key",
    "get_next_deleted",
    "scan_backups",
    "scan_keys",
    "stage_backup",
    "stage_deleted",
    "stage_forgotten",
    "stage_key",
    "stage_key_removed",
    "stage_keys_removed",
]

_NEVER = (1 << 63) - 1


def get_backup(snapshot: Snapshot, user: ShortUserId, version: int) -> Backup | None:
    """Deleted ones as well."""
    return e2ee.BACKUPS.get(snapshot, BackupId(user, version))


def get_current(snapshot: Snapshot, user: ShortUserId) -> tuple[int, Backup] | None:
    """The newest version that was not deleted."""
    for key, backup in e2ee.BACKUPS.scan(snapshot, user, after=BackupId(user, _NEVER), reverse=True):
        if not backup.is_deleted:
            return key.version, backup
    return None


def scan_backups(snapshot: Snapshot, user: ShortUserId) -> Iterator[tuple[int, Backup]]:
    """Oldest first, deleted ones as well."""
    for key, backup in e2ee.BACKUPS.scan(snapshot, user):
        yield key.version, backup


def stage_backup(turn: Turn, user: ShortUserId, version: int, backup: Backup) -> None:
    turn.batch.put(e2ee.BACKUPS, BackupId(user, version), backup)


def stage_forgotten(turn: Turn, user: ShortUserId, version: int) -> None:
    """Remove the last trace of a version that was deleted."""
    turn.batch.delete(e2ee.BACKUPS, BackupId(user, version))


def stage_deleted(turn: Turn, user: ShortUserId, version: int, backup: Backup) -> None:
    """Mark a version as deleted. Its keys are removed by ``stage_keys_removed``."""
    stage_backup(turn, user, version, backup._replace(auth_data="{}", key_count=0, is_deleted=True))
    turn.batch.put(e2ee.DELETED_BACKUPS, BackupId(user, version), None)


def stage_keys_removed(snapshot: Snapshot, turn: Turn, user: ShortUserId, version: int, *, limit: int) -> bool:
    """Remove up to ``limit`` keys of a deleted version. True when there are no more."""
    keys = list(islice(e2ee.BACKUP_KEYS.scan_keys(snapshot, user, version), limit))
    for key in keys:
        turn.batch.delete(e2ee.BACKUP_KEYS, key)
    if len(keys) == limit:
        return False
    turn.batch.delete(e2ee.DELETED_BACKUPS, BackupId(user, version))
    return True


def get_next_deleted(snapshot: Snapshot) -> BackupId | None:
    """A deleted version that has keys left."""
    return next(e2ee.DELETED_BACKUPS.scan_keys(snapshot), None)


def get_key(snapshot: Snapshot, user: ShortUserId, version: int, room_id: str, session_id: str) -> BackedUpKey | None:
    return e2ee.BACKUP_KEYS.get(snapshot, BackupKeyId(user, version, room_id, session_id))


def scan_keys(
    snapshot: Snapshot, user: ShortUserId, version: int, room_id: str | None, *, after: BackupKeyId | None = None
) -> Iterator[tuple[BackupKeyId, BackedUpKey]]:
    """Keys of one room or of all, room by room, past ``after``."""
    leading = (user, version) if room_id is None else (user, version, room_id)
    return e2ee.BACKUP_KEYS.scan(snapshot, *leading, after=after)


def stage_key(turn: Turn, key_id: BackupKeyId, key: BackedUpKey) -> None:
    turn.batch.put(e2ee.BACKUP_KEYS, key_id, key)


def stage_key_removed(turn: Turn, key_id: BackupKeyId) -> None:
    turn.batch.delete(e2ee.BACKUP_KEYS, key_id)
