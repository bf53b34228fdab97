"""Other servers' keys as they are kept: what counts, what replaces what, what is never trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from conduit_py.config import IgnoredKeys
from conduit_py.data import server_keys
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.signing import ServerKeys, VerifyKey
from conduit_py.service.users.store import Store
from kvschema.catalog.federation import KEYS_PER_SERVER_MAX, KeyResponse


class KeyStore:
    """One per server."""

    def __init__(self, store: Store, ignored_keys: IgnoredKeys) -> None:
        self._store = store
        self._ignored = ignored_keys

    def get_keys(self, server_name: ServerName, key_ids: Iterable[KeyId]) -> dict[KeyId, VerifyKey]:
        """Those of ``key_ids`` that are known, whether their time is over or not."""
        with self._store.snapshot() as snapshot:
            found = (server_keys.get_key(snapshot, server_name, key_id) for key_id in set(key_ids))
            return {key.key_id: key for key in found if key is not None and not self._is_ignored(server_name, key)}

    def get_response(self, server_name: ServerName) -> KeyResponse | None:
        """The server's last answer."""
        with self._store.snapshot() as snapshot:
            return server_keys.get_response(snapshot, server_name)

    async def put(self, published: ServerKeys, json: Mapping[str, Any], *, is_first_hand: bool) -> None:
        """Keep a checked answer, ``json``. What a notary tells never replaces what counts for longer."""
        server_name = published.server_name
        response = KeyResponse(
            _without_other_signatures(json, server_name), self._store.now_ms(), published.valid_until_ts
        )
        async with (
            self._store.locks.hold(("server_keys", server_name)),
            self._store.writer.turn() as turn,
        ):
            with self._store.snapshot() as snapshot:
                before = {key.key_id: key for key in server_keys.scan_keys(snapshot, server_name)}
                known = server_keys.get_response(snapshot, server_name)
                if is_first_hand or known is None or known.valid_until_ts < response.valid_until_ts:
                    server_keys.stage_response(snapshot, turn, server_name, response)
            kept = _choose(before, published.keys, is_first_hand=is_first_hand)
            for key_id in before.keys() - kept.keys():
                server_keys.stage_key_removed(turn, server_name, key_id)
            changed = [key for key_id, key in kept.items() if before.get(key_id) != key]
            server_keys.stage_keys(turn, server_name, *changed)

    def _is_ignored(self, server_name: ServerName, key: VerifyKey) -> bool:
        return encode_base64(key.public_key) in self._ignored.public_keys or key.key_id in self._ignored.key_ids.get(
            server_name, ()
        )


def _choose(
    before: Mapping[KeyId, VerifyKey], published: Mapping[KeyId, VerifyKey], *, is_first_hand: bool
) -> dict[KeyId, VerifyKey]:
    """The keys to keep: those published now, then those that counted longest. Old events still need old keys."""
    chosen = dict(published)
    if not is_first_hand:
        chosen |= {
            key_id: key
            for key_id, key in before.items()
            if key_id in published and key.valid_until_ts > published[key_id].valid_until_ts
        }
    newest_first = sorted(chosen.values(), key=lambda key: (key.expired_ts is not None, -key.valid_until_ts))
    others = sorted(
        (key for key_id, key in before.items() if key_id not in chosen), key=lambda key: -key.valid_until_ts
    )
    return {key.key_id: key for key in [*newest_first, *others][:KEYS_PER_SERVER_MAX]}


def _without_other_signatures(json: Mapping[str, Any], server_name: ServerName) -> bytes:
    """What is handed on as a notary: without what the signature does not cover, and other notaries' signatures."""
    kept = {name: value for name, value in json.items() if name != "unsigned"}
    kept["signatures"] = {server_name: json["signatures"][server_name]}
    return encode_canonical_json(kept, strict=False)
