"""What is left to do for accounts that were deactivated, and whose events are shown redacted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from conduit_py.data import short_ids
from conduit_py.matrix.ids import UserId
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import ByUser

_CACHE_KEY = ("erased",)
_CACHED_BYTES = 300


def scan_leaving(snapshot: Snapshot) -> list[ShortUserId]:
    """Deactivated users who are still in rooms."""
    return [key.user for key in users.LEAVINGUSERIDS.scan_keys(snapshot)]


def stage_leaving(turn: Turn, user: ShortUserId) -> None:
    turn.batch.put(users.LEAVINGUSERIDS, ByUser(user), None)


def stage_left(turn: Turn, user: ShortUserId) -> None:
    turn.batch.delete(users.LEAVINGUSERIDS, ByUser(user))


def get_erased(snapshot: Snapshot) -> Mapping[UserId, int]:
    """Users who asked to be erased, with the position of the stream at which they did. Do not change it."""
    cached = snapshot.cache.get(_CACHE_KEY, snapshot.pos)
    if cached is None:
        rows = users.USERID_ERASEDPOS.scan(snapshot)
        cached = {short_ids.get_user_id(snapshot, key.user): pos for key, pos in rows}
        snapshot.cache.put(_CACHE_KEY, cached, _CACHED_BYTES * (1 + len(cached)), snapshot.pos)
    return cast("Mapping[UserId, int]", cached)


def stage_erased(turn: Turn, user: ShortUserId) -> None:
    turn.changes(_CACHE_KEY)
    turn.batch.put(users.USERID_ERASEDPOS, ByUser(user), turn.take_pos())
