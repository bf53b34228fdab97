"""Keys as they are told: with the signatures that whoever asks may see.

Spec: client-server-api/#key-and-signature-security
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from conduit_py.data import cross_signing, device_keys, devices, short_ids
from conduit_py.matrix.device_keys import public_key_of, with_signature
from conduit_py.matrix.ids import DeviceId, UserId
from conduit_py.matrix.user_keys import UserKeys
from conduit_py.service.requester import Requester
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId

DEVICES, MASTER_KEYS, SELF_SIGNING_KEYS, USER_SIGNING_KEYS = (
    "device_keys",
    "master_keys",
    "self_signing_keys",
    "user_signing_keys",
)


class Answer:
    """The answer to a query, in the form of the spec.

    :param asker: who is shown signatures of their own as well, None for another server.
    """

    def __init__(self, asker: Requester | None) -> None:
        self._asker = asker
        names = (DEVICES, MASTER_KEYS, SELF_SIGNING_KEYS, *(() if asker is None else (USER_SIGNING_KEYS,)))
        self.json: dict[str, Any] = {name: {} for name in names}

    def add_stored(self, snapshot: Snapshot, user_id: UserId, device_ids: Collection[str]) -> None:
        """Add what is held of a user; ``device_ids`` is empty for all devices."""
        user = short_ids.get_user(snapshot, user_id)
        if user is None:
            return
        self.add(snapshot, user_id, read_keys(snapshot, user, user_id), device_ids)
        user_signing = cross_signing.get_key(snapshot, user, cross_signing.USER_SIGNING)
        if user_signing is not None and self._asker is not None and user == self._asker.user:
            self.json[USER_SIGNING_KEYS][user_id] = user_signing

    def add(self, snapshot: Snapshot, user_id: UserId, keys: UserKeys, device_ids: Collection[str]) -> None:
        """The same with keys that are not held."""
        self.json[DEVICES][user_id] = {
            device_id: device for device_id, device in keys.devices.items() if not device_ids or device_id in device_ids
        }
        if keys.master is not None:
            self.json[MASTER_KEYS][user_id] = self._with_own_signatures(snapshot, user_id, keys.master)
        if keys.self_signing is not None:
            self.json[SELF_SIGNING_KEYS][user_id] = keys.self_signing

    def _with_own_signatures(self, snapshot: Snapshot, user_id: UserId, master: dict[str, Any]) -> dict[str, Any]:
        """What others signed is theirs to know."""
        owner, asker = short_ids.get_user(snapshot, user_id), self._asker
        if asker is None or owner is None or owner == asker.user:
            return master
        return _add_signatures(snapshot, master, asker.user, asker.user_id, owner, public_key_of(master))


def read_keys(snapshot: Snapshot, user: ShortUserId, user_id: UserId) -> UserKeys:
    """What is held of a user, with what the user says of it."""
    master, self_signing = read_cross_signing(snapshot, user, user_id)
    return UserKeys(
        devices={
            device_id: render_device(snapshot, user, user_id, device_id, keys)
            for device_id, keys in device_keys.scan_keys(snapshot, user)
        },
        master=master,
        self_signing=self_signing,
    )


def read_cross_signing(
    snapshot: Snapshot, user: ShortUserId, user_id: UserId
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The master key with what the user says of it, and the self-signing key."""
    master = cross_signing.get_key(snapshot, user, cross_signing.MASTER)
    if master is not None:
        master = _add_signatures(snapshot, master, user, user_id, user, public_key_of(master))
    return master, cross_signing.get_key(snapshot, user, cross_signing.SELF_SIGNING)


def render_device(
    snapshot: Snapshot, user: ShortUserId, user_id: UserId, device_id: DeviceId, keys: dict[str, Any]
) -> dict[str, Any]:
    """The keys of a device with what its user says of them, and its name."""
    rendered = _add_signatures(snapshot, keys, user, user_id, user, device_id)
    device = devices.get_device(snapshot, user, device_id)
    if device is not None and device.display_name is not None:
        rendered = {**rendered, "unsigned": {"device_display_name": device.display_name}}
    return rendered


def _add_signatures(
    snapshot: Snapshot,
    json: dict[str, Any],
    signer: ShortUserId,
    signer_id: UserId,
    owner: ShortUserId,
    target: str,
) -> dict[str, Any]:
    """A key with what ``signer`` says of it."""
    for row in cross_signing.scan_signatures(snapshot, signer, owner, target):
        json = with_signature(json, user_id=signer_id, key_id=row.by, signature=row.signature)
    return json
