"""Cross-signing keys of users, and the signatures that users uploaded about keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conduit_py.data.digest import digest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import e2ee
from kvschema.catalog.e2ee import MASTER, SELF_SIGNING, USER_SIGNING, Signature, SignatureId, UserUsage
from kvschema.catalog.rooms import ShortUserId

__all__ = [
    "MASTER",
    "SELF_SIGNING",
    "USER_SIGNING",
    "Signature",
    "count_signatures",
    "get_key",
    "scan_signatures",
    "stage_key",
    "stage_key_removed",
    "stage_signature",
    "stage_signatures_removed",
]


def get_key(snapshot: Snapshot, user: ShortUserId, usage: int) -> dict[str, Any] | None:
    """As the user uploaded it."""
    key: dict[str, Any] | None = e2ee.CROSS_SIGNING_KEYS.get(snapshot, UserUsage(user, usage))
    return key


def stage_key(turn: Turn, user: ShortUserId, usage: int, key: dict[str, Any]) -> None:
    turn.batch.put(e2ee.CROSS_SIGNING_KEYS, UserUsage(user, usage), key)


def stage_key_removed(turn: Turn, user: ShortUserId, usage: int) -> None:
    turn.batch.delete(e2ee.CROSS_SIGNING_KEYS, UserUsage(user, usage))


def scan_signatures(snapshot: Snapshot, signer: ShortUserId, owner: ShortUserId, target: str) -> Iterator[Signature]:
    """What ``signer`` says of a key of ``owner``, named by device id or public key."""
    for _, row in e2ee.SIGNATURES.scan(snapshot, signer, owner, digest(target)):
        yield row


def count_signatures(snapshot: Snapshot, signer: ShortUserId) -> int:
    """Costs their number."""
    return sum(1 for _ in e2ee.SIGNATURES.scan_keys(snapshot, signer))


def stage_signature(turn: Turn, signer: ShortUserId, owner: ShortUserId, row: Signature) -> None:
    turn.batch.put(e2ee.SIGNATURES, SignatureId(signer, owner, digest(row.target), digest(row.by)), row)


def stage_signatures_removed(
    snapshot: Snapshot,
    turn: Turn,
    signer: ShortUserId,
    owner: ShortUserId | None = None,
    *,
    target: str | None = None,
    by: str | None = None,
) -> None:
    """Remove what ``signer`` said: of one owner or of all, of one key or of all, with one key or with all."""
    leading = (signer,) if owner is None else (signer, owner)
    for key, row in e2ee.SIGNATURES.scan(snapshot, *leading):
        if target in (None, row.target) and by in (None, row.by):
            turn.batch.delete(e2ee.SIGNATURES, key)
