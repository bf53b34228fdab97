"""Pushers: ``kvschema.catalog.push``."""

from __future__ import annotations

from collections.abc import Iterator

from conduit_py.data.consistency.derived import compare_tree
from conduit_py.data.pushers import make_key
from conduit_py.storage.database import Snapshot
from kvschema.catalog import push, users
from kvschema.catalog.push import PusherKey, PushkeyUser
from kvschema.catalog.users import UserDevice


def check_pushers(snapshot: Snapshot) -> Iterator[str]:
    """A pusher stands under its app id and pushkey, is of a device that there is, and has got somewhere."""
    for key, pusher in push.SENDERKEY_PUSHER.scan(snapshot):
        if key != make_key(key.user, pusher.app_id, pusher.pushkey):
            yield f"senderkey_pusher: {key} is the pusher of {pusher.pushkey!r}"
        if pusher.device_id and not users.USERDEVICEID_METADATA.has(snapshot, UserDevice(key.user, pusher.device_id)):
            yield f"senderkey_pusher: {key} is of the device {pusher.device_id!r}, which there is not"
        if not push.SENDERKEY_PUSHED.has(snapshot, key):
            yield f"senderkey_pusher: {key} has got nowhere"


def check_pushkeys(snapshot: Snapshot) -> Iterator[str]:
    return compare_tree(
        snapshot,
        push.PUSHKEY_USER,
        ((PushkeyUser(key.digest, key.user), None) for key in push.SENDERKEY_PUSHER.scan_keys(snapshot)),
        lambda key, _: push.SENDERKEY_PUSHER.has(snapshot, PusherKey(key.user, key.digest)),
    )


def check_pushed(snapshot: Snapshot) -> Iterator[str]:
    """Only pushers that there are have got somewhere, and none is ahead of everything."""
    for key, pushed in push.SENDERKEY_PUSHED.scan(snapshot):
        if not push.SENDERKEY_PUSHER.has(snapshot, key):
            yield f"senderkey_pushed: {key} is no pusher"
        if pushed.pos > snapshot.pos:
            yield f"senderkey_pushed: {key} has got to {pushed.pos}, and the store only to {snapshot.pos}"
