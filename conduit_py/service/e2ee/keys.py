"""Keys of devices: uploading, querying, claiming.

Claims take no lock. A claim passes over the keys that others have taken and whose batch has not landed, and its own
batch is refused if a key has gone all the same; so many claims share one fsync, and no key is given to two.

Spec: client-server-api/#key-distribution
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import orjson
import trio

from conduit_py.data import cross_signing, device_keys, devices, one_time_keys, short_ids
from conduit_py.data.one_time_keys import FallbackKey, OneTimeKey, OneTimeKeyId
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.device_keys import (
    check_device_keys,
    check_one_time_key,
    is_same_key,
    split_key_name,
)
from conduit_py.matrix.ids import DeviceId, ServerName, UserId, parse_user_id, server_name_of
from conduit_py.matrix.user_keys import parse_claimed_keys
from conduit_py.service.e2ee.answers import Answer
from conduit_py.service.e2ee.remote import KeySource, fetch_all
from conduit_py.service.e2ee.remote_lists import RemoteLists, pages
from conduit_py.service.e2ee.removal import DeviceRemoval
from conduit_py.service.errors import InvalidParam, LimitExceeded, MatrixError, TooLarge
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.e2ee import ALGORITHM_BYTES_MAX, FALLBACK_KEYS_PER_DEVICE_MAX, ONE_TIME_KEYS_PER_DEVICE_MAX
from kvschema.catalog.rooms import ShortUserId
from kvschema.errors import PreconditionFailed

DEVICE_KEYS_BYTES_MAX: Final = 32 * 1024
KEY_BYTES_MAX: Final = 4096
"""Of one one-time or fallback key as JSON."""
ATTEMPTS_MAX: Final = 10
"""How often a claim is decided again because something changed under it. More than two would surprise."""
DROPPED_PER_BATCH: Final = 1000

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What a device uploads."""

    device_keys: dict[str, Any] | None = None
    one_time_keys: Json = field(default_factory=dict)
    """By name, ``algorithm:id``."""
    fallback_keys: Json = field(default_factory=dict)


class KeyService:
    """One per server."""

    def __init__(
        self,
        server_name: ServerName,
        store: Store,
        hub: SyncHub,
        removal: DeviceRemoval,
        remote: RemoteLists,
        source: KeySource,
    ) -> None:
        self._server_name = server_name
        self._store = store
        self._hub = hub
        self._lists = removal.lists
        self._in_flight = removal.in_flight
        self._remote = remote
        self._source = source
        self._taken: set[OneTimeKeyId] = set()
        """Keys that claims are handing out, until their batch has settled."""

    async def upload(self, requester: Requester, upload: Upload) -> dict[str, int]:
        """Publish keys of the requester's device. Returns how many one-time keys of each algorithm it has.

        Raises ``InvalidParam``, ``TooLarge``; then nothing was stored.
        """
        user, device_id = requester.user, require_device(requester)
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if devices.get_device(snapshot, user, device_id) is None:
                    raise InvalidParam("The device is gone")
                return self.stage_upload(snapshot, turn, requester, upload)

    def stage_upload(self, snapshot: Snapshot, turn: Turn, requester: Requester, upload: Upload) -> dict[str, int]:
        """The same for a device that there is, or is staged. Under the account's lock."""
        user, device_id = requester.user, require_device(requester)
        stored = device_keys.get_keys(snapshot, user, device_id)
        keys = _check_upload(requester, device_id, upload)
        if keys is not None and keys != stored:
            self._stage_device_keys(snapshot, turn, user, device_id, keys, stored)
        counts = _stage_one_time_keys(snapshot, turn, user, device_id, upload.one_time_keys)
        _stage_fallback_keys(snapshot, turn, user, device_id, upload.fallback_keys)
        return counts

    def _stage_device_keys(
        self,
        snapshot: Snapshot,
        turn: Turn,
        user: ShortUserId,
        device_id: DeviceId,
        keys: dict[str, Any],
        stored: dict[str, Any] | None,
    ) -> None:
        if stored is not None and not is_same_key(stored, keys):
            cross_signing.stage_signatures_removed(snapshot, turn, user, user, target=device_id)
        device_keys.stage_keys(turn, user, device_id, keys)
        self._lists.stage_changed(snapshot, turn, user, device_id)

    async def query(
        self, requester: Requester, wanted: Mapping[str, Sequence[str]], *, timeout_ms: int | None = None
    ) -> dict[str, Any]:
        """Keys of users' devices and their cross-signing keys, in the form of the spec.

        :param wanted: device ids by user id; none of them for all devices.
        """
        local, remote = self._split(wanted)
        answer = Answer(requester)
        await self.add_local(answer, local)
        failures = await self._remote.query(answer, remote, timeout_ms=timeout_ms)
        return {**answer.json, "failures": failures}

    async def add_local(self, answer: Answer, wanted: Mapping[UserId, Sequence[str]]) -> None:
        """Add what is held of local users, some at a time."""
        for page in pages(wanted):
            with self._store.snapshot() as snapshot:
                for user_id in page:
                    answer.add_stored(snapshot, user_id, wanted[user_id])
            await trio.lowlevel.checkpoint()

    async def claim(self, wanted: Mapping[str, Mapping[str, str]], *, timeout_ms: int | None = None) -> dict[str, Any]:
        """Hand out one key for each device, in the form of the spec; devices without any are left out.

        Returns when it is on disk that the keys are gone.

        :param wanted: algorithms by user id and device id.
        """
        local, remote = self._split(wanted)
        claimed = await self.claim_local(local)
        fetched = await fetch_all(self._source.fetch_claimed, remote, timeout_ms=timeout_ms)
        for server_name, said in fetched.answers.items():
            claimed |= parse_claimed_keys(said, remote[server_name])
        return {"one_time_keys": claimed, "failures": fetched.failures}

    async def claim_local(self, wanted: Mapping[UserId, Mapping[str, str]]) -> dict[UserId, Any]:
        """The same of local users, for whoever asks."""
        for _ in range(ATTEMPTS_MAX):
            claimed: dict[UserId, Any] = {}
            try:
                async with self._store.writer.turn() as turn:
                    with self._store.snapshot() as snapshot:
                        for user_id, by_device in wanted.items():
                            user = short_ids.get_user(snapshot, user_id)
                            keys = {} if user is None else self._stage_claims(snapshot, turn, user, by_device)
                            if keys:
                                claimed[user_id] = keys
            except PreconditionFailed:
                continue
            return claimed
        raise LimitExceeded("Too many keys are being claimed at the same time")

    def _stage_claims(
        self, snapshot: Snapshot, turn: Turn, user: ShortUserId, by_device: Mapping[str, str]
    ) -> dict[str, Any]:
        claimed = {}
        for device_id, algorithm in by_device.items():
            found = self._stage_claim(snapshot, turn, user, device_id, algorithm)
            if found is not None:
                key_id, key = found
                claimed[device_id] = {f"{algorithm}:{key_id}": orjson.loads(key)}
        turn.on_landed(lambda: self._hub.publish([user]))
        return claimed

    def _stage_claim(
        self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: str, algorithm: str
    ) -> tuple[str, str] | None:
        for where, key in one_time_keys.scan_unclaimed(snapshot, user, device_id, algorithm):
            if where not in self._taken:
                one_time_keys.stage_claimed(turn, where, key)
                self._take(turn, where, key)
                return key.key_id, key.key
        fallback = one_time_keys.get_fallback(snapshot, user, device_id, algorithm)
        if fallback is None:
            return None
        if not fallback.is_used:
            one_time_keys.stage_fallback_used(turn, user, device_id, algorithm, fallback)
        return fallback.key_id, fallback.key

    def _take(self, turn: Turn, where: OneTimeKeyId, key: OneTimeKey) -> None:
        forget = partial(one_time_keys.stage_issued_forgotten, key_id=where, key=key)
        self._in_flight.note(turn, where.user, where.device_id, forget)
        self._taken.add(where)
        turn.on_settled(lambda: self._taken.discard(where))

    def _split(self, wanted: Mapping[str, Any]) -> tuple[dict[UserId, Any], dict[ServerName, dict[UserId, Any]]]:
        """What is asked of this server's users, and by server what is asked of others. Raises ``Malformed``."""
        local: dict[UserId, Any] = {}
        remote: dict[ServerName, dict[UserId, Any]] = {}
        for text, what in wanted.items():
            user_id = parse_user_id(text)
            server_name = server_name_of(user_id)
            if server_name == self._server_name:
                local[user_id] = what
            else:
                remote.setdefault(server_name, {})[user_id] = what
        return local, remote


async def drop_one_time_keys(store: Store) -> None:
    """For a copy of the data that was put back: whatever was handed out since it was made must not be again.

    Every one-time key goes and every fallback key counts as used, so each device uploads new ones at its next sync.
    """
    is_going_on = True
    while is_going_on:
        async with store.writer.turn(may_use_reserve=True) as turn:
            with store.snapshot() as snapshot:
                is_going_on = one_time_keys.stage_all_dropped(snapshot, turn, limit=DROPPED_PER_BATCH)


def require_device(requester: Requester) -> DeviceId:
    """The requester's device. Raises ``InvalidParam`` for an application service that acts without one."""
    if requester.device_id is None:
        raise InvalidParam("This needs a device")
    return requester.device_id


def _check_upload(requester: Requester, device_id: DeviceId, upload: Upload) -> dict[str, Any] | None:
    """The device keys as they are to be stored, None if they were not uploaded. What is not given of them is empty."""
    for name, key in (*upload.one_time_keys.items(), *upload.fallback_keys.items()):
        check_one_time_key(name, key)
    if upload.device_keys is None:
        return None
    check_device_keys(upload.device_keys, user_id=requester.user_id, device_id=device_id)
    keys = {"algorithms": [], "keys": {}, "signatures": {}, **upload.device_keys}
    keys.pop("unsigned", None)
    if len(orjson.dumps(keys)) > DEVICE_KEYS_BYTES_MAX:
        raise TooLarge(f"device_keys must not exceed {DEVICE_KEYS_BYTES_MAX} bytes")
    return keys


def invalid_signature(message: str) -> MatrixError:
    return MatrixError(message, errcode="M_INVALID_SIGNATURE", status=400)


def _parse_key(name: str, key: Any) -> tuple[str, OneTimeKey]:
    algorithm, key_id = split_key_name(name)
    text = encode_canonical_json(key, strict=False).decode()
    if len(algorithm.encode()) > ALGORITHM_BYTES_MAX or not algorithm.isprintable():
        raise InvalidParam(f"An algorithm must not exceed {ALGORITHM_BYTES_MAX} bytes")
    if len(key_id) + len(text) > KEY_BYTES_MAX:
        raise TooLarge(f"A key must not exceed {KEY_BYTES_MAX} bytes")
    return algorithm, OneTimeKey(key_id, text)


def _stage_one_time_keys(
    snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId, uploaded: Json
) -> dict[str, int]:
    counts = one_time_keys.get_counts(snapshot, user, device_id)
    if not uploaded:
        return counts
    known = {
        (where.algorithm, key.key_id): key.key
        for where, key in one_time_keys.scan_unclaimed_of_device(snapshot, user, device_id)
    }
    for name, value in uploaded.items():
        algorithm, key = _parse_key(name, value)
        before = known.get((algorithm, key.key_id))
        if before is not None and before != key.key:
            raise InvalidParam(f"One time key {name} already exists")
        if before is None and not one_time_keys.is_issued(snapshot, user, device_id, algorithm, key):
            one_time_keys.stage_uploaded(turn, user, device_id, algorithm, key)
            counts[algorithm] = counts.get(algorithm, 0) + 1
    if sum(counts.values()) > ONE_TIME_KEYS_PER_DEVICE_MAX:
        raise TooLarge(f"A device must not have more than {ONE_TIME_KEYS_PER_DEVICE_MAX} one-time keys")
    one_time_keys.stage_issued_pruned(snapshot, turn, user, device_id)
    return counts


def _stage_fallback_keys(
    snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId, uploaded: Json
) -> None:
    stored = dict(one_time_keys.scan_fallbacks(snapshot, user, device_id)) if uploaded else {}
    named: set[str] = set()
    for name, value in uploaded.items():
        algorithm, key = _parse_key(name, value)
        if algorithm in named:
            raise InvalidParam("There must be only one fallback key of an algorithm")
        named.add(algorithm)
        before = stored.get(algorithm)
        if before is None or (before.key_id, before.key) != (key.key_id, key.key):
            one_time_keys.stage_fallback(turn, user, device_id, algorithm, FallbackKey(key.key_id, key.key))
    if len(stored.keys() | named) > FALLBACK_KEYS_PER_DEVICE_MAX:
        raise TooLarge(f"A device must not have more than {FALLBACK_KEYS_PER_DEVICE_MAX} fallback keys")
