"""Whom a user does not want to hear.

Spec: client-server-api/#ignoring-users, client-server-api/#invite-permission
"""

from __future__ import annotations

from typing import cast

import orjson

from conduit_py.data import account_data
from conduit_py.data.account_data import GLOBAL_ROOM
from conduit_py.data.apart import IGNORED_USER_LIST
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortUserId

INVITE_PERMISSION = "m.invite_permission_config"

_BYTES_PER_USER = 150


def get_ignored_users(snapshot: Snapshot, user: ShortUserId) -> frozenset[str]:
    """The user ids in ``m.ignored_user_list``; a list of the wrong shape ignores nobody."""
    key = account_data.cache_key(user, GLOBAL_ROOM, IGNORED_USER_LIST)
    cached = snapshot.cache.get(key, snapshot.pos)
    if cached is None:
        cached = _parse(account_data.get_content(snapshot, user, GLOBAL_ROOM, IGNORED_USER_LIST))
        snapshot.cache.put(key, cached, _BYTES_PER_USER * len(cached), snapshot.pos)
    return cast("frozenset[str]", cached)


def blocks_invites(snapshot: Snapshot, user: ShortUserId) -> bool:
    """Does the user want no invites of anybody?"""
    stored = account_data.get_content(snapshot, user, GLOBAL_ROOM, INVITE_PERMISSION)
    config = None if stored is None else orjson.loads(stored)
    return isinstance(config, dict) and config.get("default_action") == "block"


def _parse(content: str | None) -> frozenset[str]:
    parsed = None if content is None else orjson.loads(content)
    ignored = parsed.get("ignored_users") if isinstance(parsed, dict) else None
    return frozenset(ignored) if isinstance(ignored, dict) else frozenset()
