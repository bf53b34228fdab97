"""Single facts about the server itself."""

from __future__ import annotations

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import server

_KEYPAIR = server.ByName("keypair")
_PUT_BACK = server.ByName("put_back")


def get_keypair(snapshot: Snapshot) -> tuple[str, bytes] | None:
    """Key id and 32-byte seed of the server's signing key."""
    raw = server.GLOBAL.get(snapshot, _KEYPAIR)
    if raw is None:
        return None
    key_id, _, seed = raw.partition(b"\xff")
    return key_id.decode(), seed


def get_last_gap(snapshot: Snapshot, *, longer_than: int) -> int:
    """The end of the last start before which no position was handed out for so many microseconds; 0 if there is none.

    The server was away for that time, or nothing happened.
    """
    newest_first = server.STARTGAP.scan(snapshot, after=server.ByPos((1 << 64) - 1), reverse=True)
    return next((end for key, end in newest_first if end - key.pos > longer_than), 0)


def get_put_back_ms(snapshot: Snapshot) -> int:
    """When a copy was last put in the place of the database; 0 if that never was."""
    return int.from_bytes(server.GLOBAL.get(snapshot, _PUT_BACK) or b"", "big")


def stage_put_back(turn: Turn, now_ms: int) -> None:
    turn.batch.put(server.GLOBAL, _PUT_BACK, now_ms.to_bytes(8, "big"))


def stage_keypair(turn: Turn, key_id: str, seed: bytes) -> None:
    """Store the signing key, once: losing it would lose the server its name."""
    turn.batch.require_absent(server.GLOBAL, _KEYPAIR)
    turn.batch.put(server.GLOBAL, _KEYPAIR, key_id.encode() + b"\xff" + seed)
