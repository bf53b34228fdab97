"""Signing keys of other servers, and the answers they came in."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest

from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.signing import VerifyKey
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import federation
from kvschema.catalog.federation import ByServer, KeyResponse, ServerKey, SigningKeyRow

_EVICTED = federation.SERVERS_WITH_KEYS_MAX // 20


def get_key(snapshot: Snapshot, server_name: ServerName, key_id: KeyId) -> VerifyKey | None:
    row = federation.SERVER_SIGNINGKEYS.get(snapshot, ServerKey(server_name, key_id))
    return None if row is None else _verify_key(key_id, row)


def scan_keys(snapshot: Snapshot, server_name: ServerName) -> Iterator[VerifyKey]:
    """Every key that the server is known to have had."""
    for key, row in federation.SERVER_SIGNINGKEYS.scan(snapshot, server_name):
        yield _verify_key(KeyId(key.key_id), row)


def get_response(snapshot: Snapshot, server_name: ServerName) -> KeyResponse | None:
    return federation.SERVER_KEYRESPONSE.get(snapshot, ByServer(server_name))


def stage_keys(turn: Turn, server_name: ServerName, *keys: VerifyKey) -> None:
    """Store keys; one of the same id is replaced. Ids longer than any server has are passed over."""
    for key in keys:
        if len(key.key_id) <= federation.KEY_ID_BYTES_MAX:
            row = SigningKeyRow(key.public_key, key.valid_until_ts, is_old=key.expired_ts is not None)
            turn.batch.put(federation.SERVER_SIGNINGKEYS, ServerKey(server_name, key.key_id), row)


def stage_key_removed(turn: Turn, server_name: ServerName, key_id: KeyId) -> None:
    turn.batch.delete(federation.SERVER_SIGNINGKEYS, ServerKey(server_name, key_id))


def stage_response(snapshot: Snapshot, turn: Turn, server_name: ServerName, row: KeyResponse) -> None:
    """Store an answer; where there are too many servers, those asked longest ago are forgotten with their keys."""
    if snapshot.count(federation.SERVER_KEYRESPONSE.name) >= federation.SERVERS_WITH_KEYS_MAX:
        rows = federation.SERVER_KEYRESPONSE.scan(snapshot)
        for key, _ in nsmallest(_EVICTED, rows, key=lambda entry: entry[1].fetched_ms):
            turn.batch.delete(federation.SERVER_KEYRESPONSE, key)
            for its_key in federation.SERVER_SIGNINGKEYS.scan_keys(snapshot, key.server_name):
                turn.batch.delete(federation.SERVER_SIGNINGKEYS, its_key)
    turn.batch.put(federation.SERVER_KEYRESPONSE, ByServer(server_name), row)


def _verify_key(key_id: KeyId, row: SigningKeyRow) -> VerifyKey:
    return VerifyKey(key_id, row.public_key, row.valid_until_ts, expired_ts=row.valid_until_ts if row.is_old else None)
