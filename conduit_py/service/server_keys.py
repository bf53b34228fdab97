"""The server's own signing key.

Spec: server-server-api/#retrieving-server-keys
"""

from __future__ import annotations

from collections.abc import Callable

from conduit_py.data import server
from conduit_py.matrix.ids import KeyId
from conduit_py.matrix.signing import KEY_BYTES, SigningKey
from conduit_py.storage.database import Database
from conduit_py.storage.writer import Writer

KEY_VERSION_BYTES = 4


async def load_signing_key(database: Database, writer: Writer, *, random_bytes: Callable[[int], bytes]) -> SigningKey:
    """The key of this server, made and stored at the first start."""
    with database.snapshot() as snapshot:
        stored = server.get_keypair(snapshot)
    if stored is None:
        stored = f"ed25519:{random_bytes(KEY_VERSION_BYTES).hex()}", random_bytes(KEY_BYTES)
        async with writer.turn() as turn:
            server.stage_keypair(turn, *stored)
    key_id, seed = stored
    return SigningKey.from_seed(KeyId(key_id), seed)
