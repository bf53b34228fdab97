"""End-to-end encryption: keys of devices and users, messages to devices, changes of device lists, key backups."""

from __future__ import annotations

from typing import Any, NamedTuple

from kvschema.catalog.federation import SERVER_NAME_BYTES_MAX
from kvschema.catalog.members import UserPos
from kvschema.catalog.rooms import ShortRoomId, ShortUserId, StreamPos
from kvschema.catalog.users import DEVICE_ID_BYTES_MAX, ByUser, UserDevice
from kvschema.codec import COUNT, JSON, NOTHING, U8, U64, Fixed, Key, Text, record
from kvschema.tree import Tree

ALGORITHM_BYTES_MAX = 64
ONE_TIME_KEYS_PER_DEVICE_MAX = 500
ISSUED_KEYS_PER_DEVICE_MAX = 500
"""Digests of one-time keys that were handed out: a retried upload must not bring one of them back."""
FALLBACK_KEYS_PER_DEVICE_MAX = 5
SIGNATURES_PER_USER_MAX = 10_000
TO_DEVICE_PER_DEVICE_MAX = 5_000
BACKUPS_PER_USER_MAX = 100
"""Versions of key backups, deleted ones among them."""
BACKUP_KEYS_MAX = 1_000_000
"""Keys in one backup."""
SESSION_ID_BYTES_MAX = 200
REMOTE_DEVICES_PER_USER_MAX = 1_000
"""Devices of a user of another server that are kept; what is beyond is left out."""
RECEIVED_MESSAGES_MAX = 500_000
"""Ids of messages from other servers that are remembered."""

MASTER, SELF_SIGNING, USER_SIGNING = 1, 2, 3
"""Usages of cross-signing keys."""


class DeviceAlgorithm(NamedTuple):
    user: ShortUserId
    device_id: str
    algorithm: str


class OneTimeKeyId(NamedTuple):
    """Sorts in the order of upload."""

    user: ShortUserId
    device_id: str
    algorithm: str
    pos: StreamPos


class OneTimeKey(NamedTuple):
    key_id: str
    """What follows the algorithm in the key's name."""
    key: str
    """JSON text."""


class FallbackKey(NamedTuple):
    key_id: str
    key: str
    """JSON text."""
    is_used: bool = False


class IssuedKey(NamedTuple):
    user: ShortUserId
    device_id: str
    digest: bytes
    """BLAKE2b-16 of algorithm, key id and key, NUL between."""


class UserUsage(NamedTuple):
    user: ShortUserId
    usage: int


class SignatureId(NamedTuple):
    """Who signed which key of whom with which key."""

    signer: ShortUserId
    owner: ShortUserId
    target_digest: bytes
    """BLAKE2b-16 of the device id, or of the public key."""
    by_digest: bytes
    """BLAKE2b-16 of the id of the signing key."""


class Signature(NamedTuple):
    target: str
    """The device id, or the public key."""
    by: str
    """Id of the signing key, such as ``ed25519:DEVICE``."""
    signature: str


class ByPosition(NamedTuple):
    pos: StreamPos


class ToDeviceId(NamedTuple):
    user: ShortUserId
    device_id: str
    pos: StreamPos


class ToDevice(NamedTuple):
    """A message that waits for its device."""

    sender: str
    type: str
    content: str
    """JSON text."""


class BackupId(NamedTuple):
    user: ShortUserId
    version: int
    """The stream position at which it was made: never given to another, whatever copy of the data is put back."""


class Backup(NamedTuple):
    algorithm: str
    auth_data: str
    """JSON text."""
    etag: int
    """Position of the last change of its keys."""
    key_count: int = 0
    is_deleted: bool = False


class BackupKeyId(NamedTuple):
    user: ShortUserId
    version: int
    room_id: str
    session_id: str


class BackedUpKey(NamedTuple):
    first_message_index: int
    forwarded_count: int
    is_verified: bool
    session_data: str
    """JSON text."""


class RemoteList(NamedTuple):
    """How much is known of the devices and keys of a user of another server."""

    stream_id: int
    """Which version the server called it; 0 where it did not say."""
    pos: StreamPos
    """The position of the store when it was asked for, or last changed: it counts while a room is shared since then."""


class OutdatedList(NamedTuple):
    server_name: str
    user: ShortUserId


class DehydratedDevice(NamedTuple):
    device_id: str
    data: str
    """JSON text, encrypted by the client."""


class Announcement(NamedTuple):
    """Something of a local user's keys that other servers are to be told."""

    user: ShortUserId
    device_id: str
    """Empty for the cross-signing keys, and where nothing changed."""
    room: ShortRoomId = ShortRoomId(0)
    """The room that the user joined, whose servers may be new to the user's devices; 0 for a change of keys."""


class ReceivedMessage(NamedTuple):
    digest: bytes
    """BLAKE2b-16 of sender and message id."""


class ReceivedAge(NamedTuple):
    received_ms: int
    digest: bytes


_USER_DEVICE = Key(UserDevice, (U64(), Text(DEVICE_ID_BYTES_MAX)))
_DEVICE_ALGORITHM = Key(DeviceAlgorithm, (U64(), Text(DEVICE_ID_BYTES_MAX), Text(ALGORITHM_BYTES_MAX)))

DEVICE_KEYS: Tree[UserDevice, Any] = Tree(
    "keyid_key",
    _USER_DEVICE,
    JSON,
    since=1,
    doc="Identity keys of devices, as they were uploaded; those of other servers' users as these servers tell them.",
    bound="one row per device, which goes with it; REMOTE_DEVICES_PER_USER_MAX rows per row of userid_remotelist",
)
ONE_TIME_KEYS: Tree[OneTimeKeyId, OneTimeKey] = Tree(
    "onetimekeyid_onetimekeys",
    Key(OneTimeKeyId, (U64(), Text(DEVICE_ID_BYTES_MAX), Text(ALGORITHM_BYTES_MAX), U64())),
    record(OneTimeKey),
    since=1,
    doc="One-time keys that nobody has claimed, in the order of upload.",
    bound="ONE_TIME_KEYS_PER_DEVICE_MAX rows per device, which go with it",
)
ONE_TIME_KEY_COUNT: Tree[DeviceAlgorithm, int] = Tree(
    "userdevicealgorithm_onetimekeycount",
    _DEVICE_ALGORITHM,
    COUNT,
    since=1,
    doc="How many one-time keys of each algorithm a device has left.",
    bound="as onetimekeyid_onetimekeys",
    derived="onetimekeyid_onetimekeys",
)
LAST_CLAIM: Tree[UserDevice, int] = Tree(
    "userdeviceid_lastonetimekeyclaim",
    _USER_DEVICE,
    COUNT,
    since=1,
    doc="Position at which a key of a device was last claimed.",
    bound="one row per device, which goes with it",
)
ISSUED_KEYS: Tree[IssuedKey, int] = Tree(
    "issuedonetimekey_pos",
    Key(IssuedKey, (U64(), Text(DEVICE_ID_BYTES_MAX), Fixed(16))),
    COUNT,
    since=1,
    doc="One-time keys that were handed out, and when.",
    bound="ISSUED_KEYS_PER_DEVICE_MAX rows per device after each upload, and what is claimed until the next",
)
FALLBACK_KEYS: Tree[DeviceAlgorithm, FallbackKey] = Tree(
    "userdevicealgorithm_fallbackkey",
    _DEVICE_ALGORITHM,
    record(FallbackKey),
    since=1,
    doc="The key of each algorithm that is handed out when there are no one-time keys left.",
    bound="FALLBACK_KEYS_PER_DEVICE_MAX rows per device, which go with it",
)
CROSS_SIGNING_KEYS: Tree[UserUsage, Any] = Tree(
    "userid_crosssigningkey",
    Key(UserUsage, (U64(), U8())),
    JSON,
    since=1,
    doc="Master, self-signing and user-signing keys, as they were uploaded or as another server tells them.",
    bound="three rows per local user and two per row of userid_remotelist",
)
SIGNATURES: Tree[SignatureId, Signature] = Tree(
    "signerkeyid_signature",
    Key(SignatureId, (U64(), U64(), Fixed(16), Fixed(16))),
    record(Signature),
    since=1,
    doc="Signatures that users uploaded about keys of their own and of others.",
    bound="SIGNATURES_PER_USER_MAX rows per signer",
)
KEY_CHANGE: Tree[ByPosition, int] = Tree(
    "keychangeid_userid",
    Key(ByPosition, (U64(),)),
    COUNT,
    since=1,
    doc="Users in the order in which their device lists or cross-signing keys last changed.",
    bound="one row per user: a newer change deletes the older row",
    derived="userid_keychangeid",
)
USER_KEY_CHANGE: Tree[ByUser, int] = Tree(
    "userid_keychangeid",
    Key(ByUser, (U64(),)),
    COUNT,
    since=1,
    doc="Position at which a user's device list or cross-signing keys last changed.",
    bound="one row per user",
)
SIGNED_USER: Tree[UserPos, int] = Tree(
    "signerid_signeduser",
    Key(UserPos, (U64(), U64())),
    COUNT,
    since=1,
    doc="Users whose keys a user has signed, by when: nobody but the signer sees those signatures.",
    bound="one row per signer and user who was signed: a newer signature deletes the older row",
)
TO_DEVICE: Tree[ToDeviceId, ToDevice] = Tree(
    "todeviceid_events",
    Key(ToDeviceId, (U64(), Text(DEVICE_ID_BYTES_MAX), U64())),
    record(ToDevice),
    since=1,
    doc="Messages to devices until they are acknowledged, in the order of arrival.",
    bound="TO_DEVICE_PER_DEVICE_MAX rows per device, oldest dropped; they go with the device",
)
BACKUPS: Tree[BackupId, Backup] = Tree(
    "backupid_backup",
    Key(BackupId, (U64(), U64())),
    record(Backup),
    since=1,
    doc="Versions of a user's key backup.",
    bound="BACKUPS_PER_USER_MAX rows per user",
)
BACKUP_KEYS: Tree[BackupKeyId, BackedUpKey] = Tree(
    "backupkeyid_backup",
    Key(BackupKeyId, (U64(), U64(), Text(), Text(SESSION_ID_BYTES_MAX))),
    record(BackedUpKey),
    since=1,
    doc="Keys of room sessions in a backup, encrypted by the client.",
    bound="BACKUP_KEYS_MAX rows per backup, which go with it",
)
DELETED_BACKUPS: Tree[BackupId, None] = Tree(
    "deletedbackupids",
    Key(BackupId, (U64(), U64())),
    NOTHING,
    since=1,
    doc="Deleted backups whose keys are not all removed yet.",
    bound="one row per backup being deleted; removed with the last key",
)
REMOTE_LISTS: Tree[ByUser, RemoteList] = Tree(
    "userid_remotelist",
    Key(ByUser, (U64(),)),
    record(RemoteList),
    since=1,
    doc="Users of other servers whose devices and keys are held.",
    bound="one row per user who shares a room with us and was asked about; swept when no room is shared any more",
)
OUTDATED_LISTS: Tree[OutdatedList, int] = Tree(
    "serveruserid_outdatedlist",
    Key(OutdatedList, (Text(SERVER_NAME_BYTES_MAX), U64())),
    COUNT,
    since=1,
    doc="Those of userid_remotelist that have to be asked for again, and since when.",
    bound="at most as many as userid_remotelist",
)
ANNOUNCEMENTS: Tree[ByPosition, Announcement] = Tree(
    "announcementid_userdevice",
    Key(ByPosition, (U64(),)),
    record(Announcement),
    since=1,
    doc="Changes of local users' keys until they are put into the queues of other servers.",
    bound="what changes in the moment until the announcing task comes to it; it waits for no other server",
    append=True,
)
LIST_STREAM: Tree[ByUser, int] = Tree(
    "userid_devicestreamid",
    Key(ByUser, (U64(),)),
    COUNT,
    since=1,
    doc="The stream_id of the last m.device_list_update about a local user.",
    bound="one row per local user",
)
RECEIVED_MESSAGES: Tree[ReceivedMessage, int] = Tree(
    "receivedmessage_ms",
    Key(ReceivedMessage, (Fixed(16),)),
    COUNT,
    since=1,
    doc="Messages to devices that came from other servers, and when: none is delivered twice.",
    bound="swept after a week, and the oldest beyond RECEIVED_MESSAGES_MAX",
)
RECEIVED_AGES: Tree[ReceivedAge, None] = Tree(
    "receivedage_message",
    Key(ReceivedAge, (U64(), Fixed(16))),
    NOTHING,
    since=1,
    doc="The same by age, for the sweep.",
    bound="as receivedmessage_ms",
    derived="receivedmessage_ms",
    append=True,
)
DEHYDRATED: Tree[ByUser, DehydratedDevice] = Tree(
    "userid_dehydrateddevice",
    Key(ByUser, (U64(),)),
    record(DehydratedDevice),
    since=1,
    doc="The device of a user that takes messages while no other is there.",
    bound="one row per local user, which goes with the device",
)

TREES = (
    DEVICE_KEYS,
    ONE_TIME_KEYS,
    ONE_TIME_KEY_COUNT,
    LAST_CLAIM,
    ISSUED_KEYS,
    FALLBACK_KEYS,
    CROSS_SIGNING_KEYS,
    SIGNATURES,
    KEY_CHANGE,
    USER_KEY_CHANGE,
    SIGNED_USER,
    TO_DEVICE,
    BACKUPS,
    BACKUP_KEYS,
    DELETED_BACKUPS,
    REMOTE_LISTS,
    OUTDATED_LISTS,
    ANNOUNCEMENTS,
    LIST_STREAM,
    RECEIVED_MESSAGES,
    RECEIVED_AGES,
    DEHYDRATED,
)
