"""Other servers as their keys, and a source of keys that a test scripts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from conduit_py.config import IgnoredKeys
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.signing import SigningKey, sign_json
from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.service.federation.key_store import KeyStore
from conduit_py.service.federation.keys import KeyRing
from conduit_py.service.federation.own_keys import OwnKeys
from tests.rig.server import SERVER_NAME, START_MS, Server

DAY_MS = 86_400_000


class Remote:
    """A server with one key at a time."""

    def __init__(self, name: str, seed: int = 1) -> None:
        self.name = ServerName(name)
        self.key = SigningKey.from_seed(KeyId(f"ed25519:{seed}"), bytes([seed]) * 32)
        self.old: dict[str, Any] = {}

    def publish(self, *, valid_until_ts: int = START_MS + DAY_MS, **changes: Any) -> dict[str, Any]:
        json = {
            "server_name": self.name,
            "valid_until_ts": valid_until_ts,
            "verify_keys": {self.key.key_id: {"key": encode_base64(self.key.public_key)}},
            "old_verify_keys": self.old,
            **changes,
        }
        return sign_json(json, entity=self.name, signing_key=self.key)

    def vouch(self, json: Mapping[str, Any]) -> dict[str, Any]:
        return sign_json(json, entity=self.name, signing_key=self.key)


class Source:
    """What servers answer for themselves, and what notaries know. Whoever is in neither does not answer."""

    def __init__(self) -> None:
        self.published: dict[str, dict[str, Any]] = {}
        self.notarized: dict[str, dict[str, dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.asked_notaries: list[tuple[str, list[str]]] = []
        self.wait: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        """What happens before an answer."""
        self.running = 0
        self.most_running = 0

    async def fetch_server_keys(self, server_name: ServerName) -> dict[str, Any]:
        self.asked.append(server_name)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.wait()
        finally:
            self.running -= 1
        if server_name not in self.published:
            raise Unreachable(f"{server_name} does not answer")
        return self.published[server_name]

    async def fetch_notarized_keys(
        self, notary: ServerName, wanted: Mapping[ServerName, Mapping[KeyId, int]]
    ) -> list[dict[str, Any]]:
        await self.wait()
        self.asked_notaries.append((notary, sorted(wanted)))
        if notary not in self.notarized:
            raise Refused(502, "M_UNKNOWN", "no")
        return [json for name, json in self.notarized[notary].items() if name in wanted]


OWN_KEY = SigningKey.from_seed(KeyId("ed25519:own"), bytes(32))
NOTHING_IGNORED = IgnoredKeys(frozenset(), {})


def make_ring(
    server: Server, source: Source, *, trusted: tuple[str, ...] = (), ignored: IgnoredKeys = NOTHING_IGNORED
) -> KeyRing:
    own_keys = OwnKeys(ServerName(SERVER_NAME), OWN_KEY, now_ms=server.store.now_ms)
    names = [ServerName(name) for name in trusted]
    return KeyRing(server.store, KeyStore(server.store, ignored), source, own_keys, trusted_servers=names)
