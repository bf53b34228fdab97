"""Keys of devices and users, messages to devices, key backups: ``kvschema.catalog.e2ee``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from conduit_py.data.consistency.derived import compare_tree, scan_owners
from conduit_py.data.consistency.server import get_server_name
from conduit_py.data.digest import digest
from conduit_py.matrix.ids import ServerName, server_name_of
from conduit_py.storage.database import Snapshot
from kvschema.catalog import e2ee, rooms, users
from kvschema.catalog.e2ee import (
    MASTER,
    BackupId,
    ByPosition,
    DeviceAlgorithm,
    ReceivedAge,
    ReceivedMessage,
    UserUsage,
)
from kvschema.catalog.rooms import ShortUserId, StreamPos
from kvschema.catalog.users import ByUser, UserDevice
from kvschema.tree import Tree


def check_device_keys(snapshot: Snapshot) -> Iterator[str]:
    """Keys are of devices that there are, and name them."""
    for key, keys in e2ee.DEVICE_KEYS.scan(snapshot):
        if keys.get("device_id") != key.device_id:
            yield f"keyid_key: {key} holds the keys of {keys.get('device_id')}"
    yield from _without_device(snapshot, e2ee.DEVICE_KEYS, or_held=True)


def check_one_time_keys(snapshot: Snapshot) -> Iterator[str]:
    """No key is there that was handed out."""
    for where, key in e2ee.ONE_TIME_KEYS.scan(snapshot):
        issued = e2ee.IssuedKey(where.user, where.device_id, digest(where.algorithm, key.key_id, key.key))
        if e2ee.ISSUED_KEYS.has(snapshot, issued):
            yield f"onetimekeyid_onetimekeys: {where} was handed out before"
    yield from _without_device(snapshot, e2ee.ONE_TIME_KEYS)


def check_one_time_key_counts(snapshot: Snapshot) -> Iterator[str]:
    counted = Counter(
        DeviceAlgorithm(key.user, key.device_id, key.algorithm) for key in e2ee.ONE_TIME_KEYS.scan_keys(snapshot)
    )
    return compare_tree(snapshot, e2ee.ONE_TIME_KEY_COUNT, sorted(counted.items()), lambda key, _: key in counted)


def check_claims(snapshot: Snapshot) -> Iterator[str]:
    return _without_device(snapshot, e2ee.LAST_CLAIM)


def check_issued_keys(snapshot: Snapshot) -> Iterator[str]:
    return _without_device(snapshot, e2ee.ISSUED_KEYS)


def check_fallback_keys(snapshot: Snapshot) -> Iterator[str]:
    return _without_device(snapshot, e2ee.FALLBACK_KEYS)


def check_cross_signing_keys(snapshot: Snapshot) -> Iterator[str]:
    """Who has another key has a master key."""
    for key in e2ee.CROSS_SIGNING_KEYS.scan_keys(snapshot):
        if not e2ee.CROSS_SIGNING_KEYS.has(snapshot, UserUsage(key.user, MASTER)):
            yield f"userid_crosssigningkey: user {key.user} has a key and no master key"
    yield from _without_account(snapshot, e2ee.CROSS_SIGNING_KEYS, or_held=True)


def check_signatures(snapshot: Snapshot) -> Iterator[str]:
    """Signatures stand under the digests of what they name, and their signers have accounts."""
    for key, row in e2ee.SIGNATURES.scan(snapshot):
        if (digest(row.target), digest(row.by)) != (key.target_digest, key.by_digest):
            yield f"signerkeyid_signature: a signature of user {key.signer} of {row.target} has another digest"
    yield from _without_account(snapshot, e2ee.SIGNATURES)


def check_key_changes(snapshot: Snapshot) -> Iterator[str]:
    return compare_tree(
        snapshot,
        e2ee.KEY_CHANGE,
        ((ByPosition(StreamPos(pos)), int(key.user)) for key, pos in e2ee.USER_KEY_CHANGE.scan(snapshot)),
        lambda key, user: e2ee.USER_KEY_CHANGE.get(snapshot, ByUser(ShortUserId(user))) == key.pos,
    )


def check_signed_users(snapshot: Snapshot) -> Iterator[str]:
    """Of a signer and a user who was signed, only the last time is kept."""
    counted = Counter((key.user, owner) for key, owner in e2ee.SIGNED_USER.scan(snapshot))
    for (signer, owner), number in counted.items():
        if number > 1:
            yield f"signerid_signeduser: user {signer} is told {number} times of having signed {owner}"
    yield from _without_account(snapshot, e2ee.SIGNED_USER)


def check_to_device(snapshot: Snapshot) -> Iterator[str]:
    """Messages are to devices that there are."""
    return _without_device(snapshot, e2ee.TO_DEVICE)


def check_backups(snapshot: Snapshot) -> Iterator[str]:
    """Backups have as many keys as they say; a deleted one has none, or is marked."""
    counted: Counter[BackupId] = Counter()
    for key in e2ee.BACKUP_KEYS.scan_keys(snapshot):
        counted[BackupId(key.user, key.version)] += 1
    for where, backup in e2ee.BACKUPS.scan(snapshot):
        number = counted[where]
        if number != backup.key_count and not (backup.is_deleted and e2ee.DELETED_BACKUPS.has(snapshot, where)):
            yield f"backupid_backup: {where} has {number} keys instead of {backup.key_count}"
    yield from _without_account(snapshot, e2ee.BACKUPS)


def check_backup_keys(snapshot: Snapshot) -> Iterator[str]:
    """Keys are in backups that there are."""
    last = None
    for key in e2ee.BACKUP_KEYS.scan_keys(snapshot):
        where = BackupId(key.user, key.version)
        if where != last and not e2ee.BACKUPS.has(snapshot, where):
            yield f"backupkeyid_backup: {where} has keys, and there is no such backup"
        last = where


def check_remote_lists(snapshot: Snapshot) -> Iterator[str]:
    """Lists are held of users of other servers."""
    own = get_server_name(snapshot)
    for key in e2ee.REMOTE_LISTS.scan_keys(snapshot):
        if _server_of(snapshot, key.user) in (None, own):
            yield f"userid_remotelist: user {key.user} is not of another server"


def check_outdated_lists(snapshot: Snapshot) -> Iterator[str]:
    """What has to be asked for again is held, and stands under the name of its server."""
    for key in e2ee.OUTDATED_LISTS.scan_keys(snapshot):
        if not e2ee.REMOTE_LISTS.has(snapshot, ByUser(key.user)):
            yield f"serveruserid_outdatedlist: no list of user {key.user} is held"
        elif _server_of(snapshot, key.user) != key.server_name:
            yield f"serveruserid_outdatedlist: user {key.user} is not of {key.server_name}"


def check_dehydrated(snapshot: Snapshot) -> Iterator[str]:
    """What is said to be left with the server is a device with keys."""
    for key, row in e2ee.DEHYDRATED.scan(snapshot):
        if not e2ee.DEVICE_KEYS.has(snapshot, UserDevice(key.user, row.device_id)):
            yield f"userid_dehydrateddevice: {row.device_id} of user {key.user} has no keys"


def check_list_streams(snapshot: Snapshot) -> Iterator[str]:
    return _without_account(snapshot, e2ee.LIST_STREAM)


def check_announcements(snapshot: Snapshot) -> Iterator[str]:
    for key, row in e2ee.ANNOUNCEMENTS.scan(snapshot):
        if not users.USERID_ACCOUNT.has(snapshot, ByUser(row.user)):
            yield f"announcementid_userdevice: {key} is about user {row.user}, who has no account"


def check_received_ages(snapshot: Snapshot) -> Iterator[str]:
    return compare_tree(
        snapshot,
        e2ee.RECEIVED_AGES,
        ((ReceivedAge(ms, key.digest), None) for key, ms in e2ee.RECEIVED_MESSAGES.scan(snapshot)),
        lambda key, _: e2ee.RECEIVED_MESSAGES.get(snapshot, ReceivedMessage(key.digest)) == key.received_ms,
    )


def _server_of(snapshot: Snapshot, user: ShortUserId) -> ServerName | None:
    user_id = rooms.SHORTUSERID_USERID.get(snapshot, rooms.ByShort(user))
    return None if user_id is None else server_name_of(user_id)


def _without_device(snapshot: Snapshot, tree: Tree[Any, Any], *, or_held: bool = False) -> Iterator[str]:
    last = None
    for key in tree.scan_keys(snapshot):
        device = UserDevice(key.user, key.device_id)
        if device != last and not users.USERDEVICEID_METADATA.has(snapshot, device):
            is_held = or_held and e2ee.REMOTE_LISTS.has(snapshot, ByUser(key.user))
            if not is_held:
                yield f"{tree.name}: there are rows of {device}, which there is not"
        last = device


def _without_account(snapshot: Snapshot, tree: Tree[Any, Any], *, or_held: bool = False) -> Iterator[str]:
    for user in scan_owners(snapshot, tree):
        owner = ByUser(ShortUserId(user))
        if not users.USERID_ACCOUNT.has(snapshot, owner) and not (or_held and e2ee.REMOTE_LISTS.has(snapshot, owner)):
            yield f"{tree.name}: there are rows of user {user}, who has no account"
