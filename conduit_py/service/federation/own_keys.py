"""What this server publishes of its own signing keys.

Spec: server-server-api/#publishing-keys
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.signing import SigningKey, VerifyKey, sign_json

VALID_MS: Final = 24 * 3_600_000
"""How long others may rely on an answer without asking again."""
RENEWED_MS: Final = VALID_MS // 2
"""An answer with less time left is not given out any more, so that nobody has to ask again soon."""


@dataclass(frozen=True, slots=True)
class OldKey:
    """A key that this server signed with until ``expired_ts``."""

    public_key: bytes
    expired_ts: int


class OwnKeys:
    """One per server."""

    def __init__(
        self,
        server_name: ServerName,
        signing_key: SigningKey,
        *,
        now_ms: Callable[[], int],
        old_keys: Mapping[KeyId, OldKey] | None = None,
    ) -> None:
        self.server_name = server_name
        self.signing_key = signing_key
        self._old_keys = old_keys or {}
        self._now_ms = now_ms
        self._published: dict[str, Any] = {}

    def get_published(self) -> dict[str, Any]:
        """The signed answer to ``GET /_matrix/key/v2/server``. It is shared: do not change it."""
        now_ms = self._now_ms()
        if self._published.get("valid_until_ts", 0) - now_ms < RENEWED_MS:
            self._published = self.sign(
                {
                    "server_name": self.server_name,
                    "valid_until_ts": now_ms + VALID_MS,
                    "verify_keys": {self.signing_key.key_id: {"key": encode_base64(self.signing_key.public_key)}},
                    "old_verify_keys": {
                        key_id: {"key": encode_base64(old.public_key), "expired_ts": old.expired_ts}
                        for key_id, old in self._old_keys.items()
                    },
                }
            )
        return self._published

    def get_verify_keys(self) -> dict[KeyId, VerifyKey]:
        """The same for ourselves: the current key counts for ever."""
        current = self.signing_key
        keys = {
            key_id: VerifyKey(key_id, old.public_key, old.expired_ts, expired_ts=old.expired_ts)
            for key_id, old in self._old_keys.items()
        }
        return keys | {current.key_id: VerifyKey(current.key_id, current.public_key, self._now_ms() + VALID_MS)}

    def sign(self, json: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with our signature added."""
        return sign_json(json, entity=self.server_name, signing_key=self.signing_key)
