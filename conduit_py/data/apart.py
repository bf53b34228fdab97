"""Which local users are not notified by the same rules as everybody else.

Most users change no push rule and ignore nobody. An event in a room of thousands is judged once for all of these, so
who is not among them must be known without asking for each of them.
"""

from __future__ import annotations

from typing import Final, cast

import orjson

from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.account_data import IGNORES, OWN_RULES, USERREASON_APART, UserReason
from kvschema.catalog.rooms import ShortUserId

PUSH_RULES: Final = "m.push_rules"
IGNORED_USER_LIST: Final = "m.ignored_user_list"

REASON_OF: Final = {PUSH_RULES: OWN_RULES, IGNORED_USER_LIST: IGNORES}
"""Types of global account data that can set a user apart."""

_KEY: Final = "apart"
_BYTES_PER_USER: Final = 100


def is_apart(type: str, content: str) -> bool:
    """Does account data of one of these types set its user apart? ``content`` is JSON text."""
    parsed = orjson.loads(content)
    if not isinstance(parsed, dict):
        return False
    if type == PUSH_RULES:
        return bool(parsed.get("rules") or parsed.get("changes"))
    return bool(isinstance(ignored := parsed.get("ignored_users"), dict) and ignored)


def get_users_apart(snapshot: Snapshot) -> frozenset[ShortUserId]:
    """All of them. Read again when one is added or goes, which is seldom."""
    cached = snapshot.cache.get(_KEY, snapshot.pos)
    if cached is None:
        cached = frozenset(key.user for key in USERREASON_APART.scan_keys(snapshot))
        snapshot.cache.put(_KEY, cached, _BYTES_PER_USER * len(cached), snapshot.pos)
    return cast("frozenset[ShortUserId]", cached)


def stage_apart(snapshot: Snapshot, turn: Turn, user: ShortUserId, type: str, content: str | None) -> None:
    """Account data that can set a user apart is now ``content``, None if it is gone."""
    key = UserReason(user, REASON_OF[type])
    was, is_now = USERREASON_APART.has(snapshot, key), content is not None and is_apart(type, content)
    if is_now != was:
        turn.changes(_KEY)
    if is_now:
        turn.batch.put(USERREASON_APART, key, None)
    elif was:
        turn.batch.delete(USERREASON_APART, key)
