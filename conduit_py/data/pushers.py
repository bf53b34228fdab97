"""Pushers, and how far each has got."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.digest import digest
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.push import (
    PUSHKEY_USER,
    SENDERKEY_PUSHED,
    SENDERKEY_PUSHER,
    Pushed,
    Pusher,
    PusherKey,
    PushkeyUser,
)
from kvschema.catalog.rooms import ShortUserId


def make_key(user: ShortUserId, app_id: str, pushkey: str) -> PusherKey:
    return PusherKey(user, digest(app_id, pushkey))


def get_pusher(snapshot: Snapshot, key: PusherKey) -> Pusher | None:
    return SENDERKEY_PUSHER.get(snapshot, key)


def scan_pushers(snapshot: Snapshot, user: ShortUserId) -> Iterator[tuple[PusherKey, Pusher]]:
    """Of one user."""
    return SENDERKEY_PUSHER.scan(snapshot, user)


def scan_keys(snapshot: Snapshot) -> Iterator[PusherKey]:
    """Of every pusher there is."""
    return SENDERKEY_PUSHER.scan_keys(snapshot)


def scan_others(snapshot: Snapshot, key: PusherKey) -> Iterator[PusherKey]:
    """Pushers of other users with the same app id and pushkey."""
    for other in PUSHKEY_USER.scan_keys(snapshot, key.digest):
        if other.user != key.user:
            yield PusherKey(other.user, other.digest)


def get_pushed(snapshot: Snapshot, key: PusherKey) -> Pushed:
    """How far a pusher has got. There must be one with this key."""
    pushed = SENDERKEY_PUSHED.get(snapshot, key)
    assert pushed is not None, "a pusher that has got nowhere"
    return pushed


def stage_pusher(turn: Turn, key: PusherKey, pusher: Pusher, pushed: Pushed) -> None:
    turn.batch.put(SENDERKEY_PUSHER, key, pusher)
    turn.batch.put(PUSHKEY_USER, PushkeyUser(key.digest, key.user), None)
    turn.batch.put(SENDERKEY_PUSHED, key, pushed)


def stage_pushed(turn: Turn, key: PusherKey, pusher: Pusher, pushed: Pushed) -> None:
    """The batch is refused (``PreconditionFailed``) if the pusher is not this one any more."""
    turn.batch.require(SENDERKEY_PUSHER, key, pusher)
    turn.batch.put(SENDERKEY_PUSHED, key, pushed)


def stage_removed(turn: Turn, key: PusherKey) -> None:
    turn.batch.delete(SENDERKEY_PUSHER, key)
    turn.batch.delete(PUSHKEY_USER, PushkeyUser(key.digest, key.user))
    turn.batch.delete(SENDERKEY_PUSHED, key)
