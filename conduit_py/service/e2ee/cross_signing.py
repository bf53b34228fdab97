"""The keys with which a user vouches for devices and for other users, and the signatures they make.

Spec: client-server-api/#cross-signing
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from conduit_py.data import cross_signing, device_keys, devices, short_ids
from conduit_py.data.cross_signing import MASTER, SELF_SIGNING, USER_SIGNING, Signature
from conduit_py.matrix.device_keys import (
    ED25519,
    USAGES,
    check_cross_signing_key,
    check_signed_by_key,
    get_signing_key,
    is_same_key,
    public_key_of,
)
from conduit_py.matrix.ids import UserId, parse_user_id
from conduit_py.matrix.signing import InvalidSignature, decode_public_key, verify_json_signature
from conduit_py.service.e2ee.device_lists import CROSS_SIGNING, DeviceLists
from conduit_py.service.e2ee.keys import invalid_signature
from conduit_py.service.errors import (
    Forbidden,
    InvalidParam,
    LimitExceeded,
    MatrixError,
    MissingParam,
    NotFound,
    TooLarge,
)
from conduit_py.service.requester import Requester
from conduit_py.service.users.reauth import Reauthentication
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key
from conduit_py.service.users.uia import NO_SESSION, Proof
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.e2ee import SIGNATURES_PER_USER_MAX
from kvschema.catalog.rooms import ShortUserId

KEY_BYTES_MAX: Final = 16 * 1024
"""Of one cross-signing key as JSON."""
KEY_ID_CHARS_MAX: Final = 300
SIGNATURE_CHARS_MAX: Final = 200

_USAGE_OF: Final = dict(zip(USAGES, (MASTER, SELF_SIGNING, USER_SIGNING), strict=True))

Json = Mapping[str, Any]


class CrossSigningService:
    """One per server."""

    def __init__(self, store: Store, lists: DeviceLists, reauth: Reauthentication) -> None:
        self._store = store
        self._lists = lists
        self._reauth = reauth

    async def upload_keys(
        self, requester: Requester, uploaded: Mapping[str, dict[str, Any]], auth: Json | None
    ) -> None:
        """Publish keys, by the names of their usages. The first ones are free, and so is uploading the same again.

        Raises ``UiaRequired`` for others until the password was given, ``M_INVALID_SIGNATURE``, ``MissingParam``
        without a master key, ``Forbidden`` for the id of a device, ``Malformed``.

        Spec: client-server-api/#post_matrixclientv3keysdevice_signingupload
        """
        proof: Proof | None = None
        while not await self._try_upload(requester, uploaded, proof):
            bound = {"keys": sha256(orjson.dumps(uploaded, option=orjson.OPT_SORT_KEYS)).hexdigest()}
            proof = await self._reauth.require(requester, auth, "upload_cross_signing_keys", bound)

    async def _try_upload(
        self, requester: Requester, uploaded: Mapping[str, dict[str, Any]], proof: Proof | None
    ) -> bool:
        """False if the requester has to prove something first."""
        user = requester.user
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                stored = _get_stored(snapshot, user)
                _check_keys(requester.user_id, uploaded, stored)
                new = _find_new(uploaded, stored)
                if not new:
                    return True
                if "master" in stored and proof is None:
                    return False
                _require_no_device(snapshot, user, new)
                (proof or NO_SESSION).stage_used(snapshot, turn)
                _stage_keys(snapshot, turn, user, new, stored)
                self._lists.stage_changed(snapshot, turn, user, CROSS_SIGNING)
        return True

    async def upload_signatures(
        self, requester: Requester, uploaded: Mapping[str, Mapping[str, Json]]
    ) -> dict[str, dict[str, Any]]:
        """Add signatures to keys, by user id and device id or public key. Returns what failed, in the same form.

        Spec: client-server-api/#post_matrixclientv3keyssignaturesupload
        """
        user = requester.user
        failures: dict[str, dict[str, Any]] = {}
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                signing = _Signing(snapshot, turn, requester)
                for user_id, by_target in uploaded.items():
                    owner_id = parse_user_id(user_id)
                    for target, json in by_target.items():
                        try:
                            signing.stage(owner_id, target, json)
                        except MatrixError as error:
                            failure = {"errcode": error.errcode, "error": str(error)}
                            failures.setdefault(user_id, {})[target] = failure
                if signing.added and signing.added + cross_signing.count_signatures(snapshot, user) > (
                    SIGNATURES_PER_USER_MAX
                ):
                    raise LimitExceeded("You have signed too many keys")
                for what in signing.own:
                    self._lists.stage_changed(snapshot, turn, user, what)
                for owner in signing.others:
                    self._lists.stage_signed(snapshot, turn, user, owner)
        return failures


class _Signing:
    """The signatures of one request."""

    def __init__(self, snapshot: Snapshot, turn: Turn, requester: Requester) -> None:
        self._snapshot, self._turn, self._requester = snapshot, turn, requester
        self.added = 0
        self.own: dict[str, None] = {}
        """The signer's own devices, and cross-signing keys, about which something new was said."""
        self.others: set[ShortUserId] = set()
        """Other users about whose keys something new was said."""

    def stage(self, owner_id: UserId, target: str, json: Json) -> None:
        """Raises ``NotFound``, ``InvalidParam``, ``M_INVALID_SIGNATURE``."""
        owner = short_ids.get_user(self._snapshot, owner_id)
        signed = None if owner is None else self._find_signed(owner, target)
        if owner is None or signed is None:
            raise NotFound("There is no such key")
        if not is_same_key(signed, json):
            raise InvalidParam("The key is not the one that was uploaded")
        signatures = (json.get("signatures") or {}).get(self._requester.user_id)
        if not isinstance(signatures, dict) or not signatures:
            raise invalid_signature("There is no signature of yours")
        known = {(row.by, row.signature) for row in self._scan_known(owner, target)}
        known |= set((signed.get("signatures") or {}).get(self._requester.user_id, {}).items())
        for key_id, signature in signatures.items():
            if not isinstance(signature, str):
                raise invalid_signature("A signature must be a string")
            if (key_id, signature) not in known:
                self._stage_new(owner, target, json, key_id, signature)

    def _scan_known(self, owner: ShortUserId, target: str) -> Iterator[Signature]:
        return cross_signing.scan_signatures(self._snapshot, self._requester.user, owner, target)

    def _find_signed(self, owner: ShortUserId, target: str) -> dict[str, Any] | None:
        """One's own device, or a master key."""
        if owner == self._requester.user and devices.is_storable(target):
            keys = device_keys.get_keys(self._snapshot, owner, target)
            if keys is not None:
                return keys
        master = cross_signing.get_key(self._snapshot, owner, MASTER)
        return master if master is not None and public_key_of(master) == target else None

    def _stage_new(self, owner: ShortUserId, target: str, json: Json, key_id: str, signature: str) -> None:
        if len(key_id) > KEY_ID_CHARS_MAX or len(signature) > SIGNATURE_CHARS_MAX:
            raise invalid_signature("The signature is too long")
        public_key = self._find_signing_key(owner, target, key_id)
        if public_key is None:
            raise invalid_signature(f"{key_id} does not sign keys of this kind")
        try:
            verify_json_signature(json, entity=self._requester.user_id, key_id=key_id, public_key=public_key)
        except InvalidSignature as error:
            raise invalid_signature(str(error)) from None
        if owner != self._requester.user:
            # What was said of an earlier master key says nothing any more.
            cross_signing.stage_signatures_removed(self._snapshot, self._turn, self._requester.user, owner)
        cross_signing.stage_signature(self._turn, self._requester.user, owner, Signature(target, key_id, signature))
        self.added += 1
        if owner != self._requester.user:
            self.others.add(owner)
        elif device_keys.get_keys(self._snapshot, owner, target) is not None:
            self.own[target] = None
        else:
            self.own[CROSS_SIGNING] = None

    def _find_signing_key(self, owner: ShortUserId, target: str, key_id: str) -> bytes | None:
        """The self-signing key signs devices, a device its user's master key, the user-signing key those of others."""
        user, snapshot = self._requester.user, self._snapshot
        algorithm, _, name = key_id.partition(":")
        if algorithm != ED25519:
            return None
        is_device = owner == user and device_keys.get_keys(snapshot, user, target) is not None
        if owner == user and not is_device:
            keys = device_keys.get_keys(snapshot, user, name) if devices.is_storable(name) else None
            return None if keys is None else get_signing_key(keys, name)
        key = cross_signing.get_key(snapshot, user, SELF_SIGNING if owner == user else USER_SIGNING)
        return None if key is None or public_key_of(key) != name else decode_public_key(name)


def _get_stored(snapshot: Snapshot, user: ShortUserId) -> dict[str, dict[str, Any]]:
    keys = ((usage, cross_signing.get_key(snapshot, user, number)) for usage, number in _USAGE_OF.items())
    return {usage: key for usage, key in keys if key is not None}


def _check_keys(user_id: UserId, uploaded: Mapping[str, dict[str, Any]], stored: Mapping[str, dict[str, Any]]) -> None:
    for usage, key in uploaded.items():
        check_cross_signing_key(key, user_id=user_id, usage=usage)
        if len(orjson.dumps(key)) > KEY_BYTES_MAX:
            raise TooLarge(f"A key must not exceed {KEY_BYTES_MAX} bytes")
    master = uploaded.get("master") or stored.get("master")
    if master is None:
        raise MissingParam("There is no master key")
    public = [public_key_of(key) for key in ({**stored, **uploaded} if "master" not in uploaded else uploaded).values()]
    if len(set(public)) != len(public):
        raise InvalidParam("The keys must differ from each other")
    for usage, key in uploaded.items():
        if usage != "master":
            try:
                check_signed_by_key(key, user_id=user_id, public_key=public_key_of(master))
            except InvalidSignature as error:
                raise invalid_signature(str(error)) from None


def _find_new(
    uploaded: Mapping[str, dict[str, Any]], stored: Mapping[str, dict[str, Any]]
) -> Mapping[str, dict[str, Any]]:
    """The keys that are to be stored: with a new master key all of them, for it has signed them anew."""
    new = {usage: key for usage, key in uploaded.items() if usage not in stored or not is_same_key(stored[usage], key)}
    return uploaded if "master" in new else new


def _require_no_device(snapshot: Snapshot, user: ShortUserId, keys: Mapping[str, Json]) -> None:
    for key in keys.values():
        if devices.get_device(snapshot, user, public_key_of(key)) is not None:
            raise Forbidden("A device has the id of this key")


def _stage_keys(
    snapshot: Snapshot,
    turn: Turn,
    user: ShortUserId,
    new: Mapping[str, dict[str, Any]],
    stored: Mapping[str, dict[str, Any]],
) -> None:
    """What an old key signed, and what was said of it, goes with it. What a new master key has not signed goes too."""
    for usage, key in stored.items():
        public = public_key_of(key)
        if usage in new and public_key_of(new[usage]) == public:
            continue
        if usage in new or "master" in new:
            cross_signing.stage_signatures_removed(snapshot, turn, user, by=f"{ED25519}:{public}")
            cross_signing.stage_signatures_removed(snapshot, turn, user, user, target=public)
            cross_signing.stage_key_removed(turn, user, _USAGE_OF[usage])
    for usage, key in new.items():
        cross_signing.stage_key(turn, user, _USAGE_OF[usage], key)
