"""Uploaded filters, by their digest: the same filter of a user is stored once."""

from __future__ import annotations

from conduit_py.data.digest import DIGEST_BYTES, digest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import UserDigest

__all__ = ["DIGEST_BYTES", "count_filters", "get_filter", "hash_filter", "stage_all_removed", "stage_filter"]


def hash_filter(filter_json: str) -> bytes:
    return digest(filter_json)


def get_filter(snapshot: Snapshot, user: ShortUserId, filter_digest: bytes) -> str | None:
    """The filter as JSON text."""
    return users.USERFILTERID_FILTER.get(snapshot, UserDigest(user, filter_digest))


def count_filters(snapshot: Snapshot, user: ShortUserId) -> int:
    return sum(1 for _ in users.USERFILTERID_FILTER.scan_keys(snapshot, user))


def stage_all_removed(snapshot: Snapshot, turn: Turn, user: ShortUserId) -> None:
    for key in users.USERFILTERID_FILTER.scan_keys(snapshot, user):
        turn.batch.delete(users.USERFILTERID_FILTER, key)


def stage_filter(turn: Turn, user: ShortUserId, filter_json: str) -> None:
    turn.batch.put(users.USERFILTERID_FILTER, UserDigest(user, hash_filter(filter_json)), filter_json)
