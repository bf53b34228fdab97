"""Profiles of local users, field by field."""

from __future__ import annotations

from typing import Any, cast

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog import users
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import PROFILE_KEY_BYTES_MAX, UserKey

_CACHED_BYTES = 1000


def get_profile(snapshot: Snapshot, user: ShortUserId) -> dict[str, Any]:
    """All fields. The result is shared: do not change it."""
    cached = snapshot.cache.get(("profile", user), snapshot.pos)
    if cached is None:
        rows = users.USERIDPROFILEKEY_VALUE.scan(snapshot, user)
        cached = {key.key_name: value for key, value in rows}
        snapshot.cache.put(("profile", user), cached, _CACHED_BYTES, snapshot.pos)
    return cast("dict[str, Any]", cached)


def is_key_too_long(key_name: str) -> bool:
    return len(key_name.encode("utf-8", "surrogatepass")) > PROFILE_KEY_BYTES_MAX


def stage_field(turn: Turn, user: ShortUserId, key_name: str, value: Any) -> None:
    turn.changes(("profile", user))
    turn.batch.put(users.USERIDPROFILEKEY_VALUE, UserKey(user, key_name), value)


def stage_field_removed(turn: Turn, user: ShortUserId, key_name: str) -> None:
    turn.changes(("profile", user))
    turn.batch.delete(users.USERIDPROFILEKEY_VALUE, UserKey(user, key_name))
