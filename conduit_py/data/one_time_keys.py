"""One-time and fallback keys of devices.

Counts are kept by differences inside the write, so claims that run at the same time need not know of each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from conduit_py.data.digest import digest
from conduit_py.matrix.ids import DeviceId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee
from kvschema.catalog.e2ee import DeviceAlgorithm, FallbackKey, IssuedKey, OneTimeKey, OneTimeKeyId
from kvschema.catalog.rooms import ShortUserId, StreamPos
from kvschema.catalog.users import UserDevice

__all__ = [
    "FallbackKey",
    "OneTimeKey",
    "OneTimeKeyId",
    "Supply",
    "get_counts",
    "get_fallback",
    "get_supply",
    "is_issued",
    "scan_fallbacks",
    "scan_unclaimed",
    "scan_unclaimed_of_device",
    "stage_all_dropped",
    "stage_claimed",
    "stage_device_removed",
    "stage_fallback",
    "stage_fallback_used",
    "stage_issued_forgotten",
    "stage_issued_pruned",
    "stage_uploaded",
]

_SUPPLY_BYTES = 500


def scan_unclaimed(
    snapshot: Snapshot, user: ShortUserId, device_id: str, algorithm: str
) -> Iterator[tuple[OneTimeKeyId, OneTimeKey]]:
    """What is left to claim, in the order of upload."""
    return e2ee.ONE_TIME_KEYS.scan(snapshot, user, device_id, algorithm)


def scan_unclaimed_of_device(
    snapshot: Snapshot, user: ShortUserId, device_id: str
) -> Iterator[tuple[OneTimeKeyId, OneTimeKey]]:
    """The same of every algorithm."""
    return e2ee.ONE_TIME_KEYS.scan(snapshot, user, device_id)


def get_counts(snapshot: Snapshot, user: ShortUserId, device_id: str) -> dict[str, int]:
    """How many keys of each algorithm are left; algorithms without any are not there."""
    return {key.algorithm: number for key, number in e2ee.ONE_TIME_KEY_COUNT.scan(snapshot, user, device_id)}


@dataclass(frozen=True, slots=True)
class Supply:
    """What a device has left to be claimed."""

    counts: dict[str, int]
    unused_fallbacks: list[str]
    """Algorithms."""
    last_claim: int
    """Position at which it last lost a one-time key, or a fallback key was first used; 0 for never."""


def get_supply(snapshot: Snapshot, user: ShortUserId, device_id: str) -> Supply:
    """Every /sync asks for it, so it is cached."""
    key = _cache_key(user, device_id)
    cached: Supply | None = snapshot.cache.get(key, snapshot.pos)
    if cached is None:
        fallbacks = [algorithm for algorithm, row in scan_fallbacks(snapshot, user, device_id) if not row.is_used]
        last_claim = e2ee.LAST_CLAIM.get(snapshot, UserDevice(user, device_id)) or 0
        cached = Supply(get_counts(snapshot, user, device_id), fallbacks, last_claim)
        snapshot.cache.put(key, cached, _SUPPLY_BYTES, snapshot.pos)
    return cached


def _cache_key(user: ShortUserId, device_id: str) -> tuple[str, ShortUserId, str]:
    return ("key_supply", user, device_id)


def is_issued(snapshot: Snapshot, user: ShortUserId, device_id: str, algorithm: str, key: OneTimeKey) -> bool:
    """Was this very key handed out not too long ago?"""
    return e2ee.ISSUED_KEYS.has(snapshot, _issued(user, device_id, algorithm, key))


def stage_uploaded(turn: Turn, user: ShortUserId, device_id: DeviceId, algorithm: str, key: OneTimeKey) -> None:
    """Add a key that is not there yet. Under the account's lock."""
    turn.changes(_cache_key(user, device_id))
    turn.batch.put(e2ee.ONE_TIME_KEYS, OneTimeKeyId(user, device_id, algorithm, StreamPos(turn.take_pos())), key)
    turn.batch.add(e2ee.ONE_TIME_KEY_COUNT, DeviceAlgorithm(user, device_id, algorithm), 1)


def stage_claimed(turn: Turn, key_id: OneTimeKeyId, key: OneTimeKey) -> None:
    """Hand out a key. The batch is refused (``PreconditionFailed``) if it has gone meanwhile."""
    pos = turn.take_pos()
    turn.changes(_cache_key(key_id.user, key_id.device_id))
    turn.batch.require(e2ee.ONE_TIME_KEYS, key_id, key)
    turn.batch.delete(e2ee.ONE_TIME_KEYS, key_id)
    turn.batch.add(e2ee.ONE_TIME_KEY_COUNT, DeviceAlgorithm(key_id.user, key_id.device_id, key_id.algorithm), -1)
    turn.batch.put(e2ee.ISSUED_KEYS, _issued(key_id.user, key_id.device_id, key_id.algorithm, key), pos)
    turn.batch.put(e2ee.LAST_CLAIM, UserDevice(key_id.user, key_id.device_id), pos)


def stage_issued_forgotten(turn: Turn, key_id: OneTimeKeyId, key: OneTimeKey) -> None:
    """Forget that a key was handed out: its device is gone."""
    turn.batch.delete(e2ee.ISSUED_KEYS, _issued(key_id.user, key_id.device_id, key_id.algorithm, key))


def stage_issued_pruned(snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
    """Forget which keys were handed out, but for the newest."""
    issued = sorted((pos, key) for key, pos in e2ee.ISSUED_KEYS.scan(snapshot, user, device_id))
    for _, key in issued[: -e2ee.ISSUED_KEYS_PER_DEVICE_MAX]:
        turn.batch.delete(e2ee.ISSUED_KEYS, key)


def get_fallback(snapshot: Snapshot, user: ShortUserId, device_id: str, algorithm: str) -> FallbackKey | None:
    return e2ee.FALLBACK_KEYS.get(snapshot, DeviceAlgorithm(user, device_id, algorithm))


def scan_fallbacks(snapshot: Snapshot, user: ShortUserId, device_id: str) -> Iterator[tuple[str, FallbackKey]]:
    """Fallback keys of a device by algorithm."""
    for key, fallback in e2ee.FALLBACK_KEYS.scan(snapshot, user, device_id):
        yield key.algorithm, fallback


def stage_fallback(turn: Turn, user: ShortUserId, device_id: DeviceId, algorithm: str, key: FallbackKey) -> None:
    turn.changes(_cache_key(user, device_id))
    turn.batch.put(e2ee.FALLBACK_KEYS, DeviceAlgorithm(user, device_id, algorithm), key)


def stage_fallback_used(turn: Turn, user: ShortUserId, device_id: str, algorithm: str, key: FallbackKey) -> None:
    """Note the first use. The batch is refused (``PreconditionFailed``) if the key is another or used meanwhile."""
    where = DeviceAlgorithm(user, device_id, algorithm)
    turn.changes(_cache_key(user, device_id))
    turn.batch.require(e2ee.FALLBACK_KEYS, where, key)
    turn.batch.put(e2ee.FALLBACK_KEYS, where, key._replace(is_used=True))
    turn.batch.put(e2ee.LAST_CLAIM, UserDevice(user, device_id), turn.take_pos())


def stage_device_removed(snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
    """Everything of a device that goes away."""
    turn.changes(_cache_key(user, device_id))
    for key_id, _ in e2ee.ONE_TIME_KEYS.scan(snapshot, user, device_id):
        turn.batch.delete(e2ee.ONE_TIME_KEYS, key_id)
    for issued in e2ee.ISSUED_KEYS.scan_keys(snapshot, user, device_id):
        turn.batch.delete(e2ee.ISSUED_KEYS, issued)
    for where in e2ee.ONE_TIME_KEY_COUNT.scan_keys(snapshot, user, device_id):
        turn.batch.delete(e2ee.ONE_TIME_KEY_COUNT, where)
    for where in e2ee.FALLBACK_KEYS.scan_keys(snapshot, user, device_id):
        turn.batch.delete(e2ee.FALLBACK_KEYS, where)
    turn.batch.delete(e2ee.LAST_CLAIM, UserDevice(user, device_id))


def stage_all_dropped(snapshot: Snapshot, turn: Turn, *, limit: int) -> bool:
    """Drop up to ``limit`` one-time keys, of whatever devices, and treat fallback keys as used. False at the end.

    For a copy of the data that was put back: keys may have been handed out since it was made.
    """
    todo = limit
    for key_id in e2ee.ONE_TIME_KEYS.scan_keys(snapshot):
        if not todo:
            return True
        todo -= 1
        turn.changes(_cache_key(key_id.user, key_id.device_id))
        turn.batch.delete(e2ee.ONE_TIME_KEYS, key_id)
        turn.batch.add(e2ee.ONE_TIME_KEY_COUNT, DeviceAlgorithm(key_id.user, key_id.device_id, key_id.algorithm), -1)
    for where, fallback in e2ee.FALLBACK_KEYS.scan(snapshot):
        if fallback.is_used:
            continue
        if not todo:
            return True
        todo -= 1
        turn.changes(_cache_key(where.user, where.device_id))
        turn.batch.put(e2ee.FALLBACK_KEYS, where, fallback._replace(is_used=True))
    return False


def _issued(user: ShortUserId, device_id: str, algorithm: str, key: OneTimeKey) -> IssuedKey:
    return IssuedKey(user, device_id, digest(algorithm, key.key_id, key.key))
