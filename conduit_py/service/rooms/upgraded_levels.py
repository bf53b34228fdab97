"""Power levels when a room is replaced: those of the room that replaces it, and what is left of the old ones.

Spec: client-server-api/#room-upgrades
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import isinf
from typing import Any

from conduit_py.matrix.ids import Malformed, UserId, parse_user_id
from conduit_py.matrix.power_levels import LEVEL_DEFAULTS, PowerLevels, parse_any_level
from conduit_py.matrix.room_versions import AuthRules

ADMIN_LEVEL = 100
MODERATOR_LEVEL = 50
TOMBSTONE_LEVEL = 150
"""In rooms whose creators stand above all levels."""

_TOMBSTONE = "m.room.tombstone"


def build_copied_levels(
    old: PowerLevels, content: Mapping[str, Any], rules: AuthRules, upgrader: UserId, creators: Collection[str]
) -> dict[str, Any]:
    """``content``, the levels of the old room, as the rules of the new one take them.

    Creators who stand above all levels are not listed. Where the new rules know no such creators and the old ones made
    the upgrader one, the upgrader gets the highest level there is.
    """
    levels = _as_integers(content)
    users: dict[str, int] = {user_id: level for user_id, level in levels["users"].items() if _is_user_id(user_id)}
    if rules.privileged_creators:
        users = {user_id: level for user_id, level in users.items() if user_id not in creators}
        _raise_tombstone(levels)
    elif isinf(old.of_user(upgrader)):
        highest = [level for level in levels.values() if isinstance(level, int)]
        users[upgrader] = max([ADMIN_LEVEL, *highest, *users.values(), *levels["events"].values()])
    return levels | {"users": users}


def build_closed_levels(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` changed so that ordinary members neither send events nor invite."""
    default = parse_any_level(content.get("users_default"))
    floor = max(MODERATOR_LEVEL, (default or 0) + 1)

    def at_least(name: str) -> int:
        level = parse_any_level(content.get(name))
        return max(LEVEL_DEFAULTS[name] if level is None else level, floor)

    return {**content, "events_default": at_least("events_default"), "invite": at_least("invite")}


def _as_integers(content: Mapping[str, Any]) -> dict[str, Any]:
    """Levels that are no numbers were let into old rooms, and mean the same as if they were not there."""
    levels: dict[str, Any] = {key: value for key, value in content.items() if key not in LEVEL_DEFAULTS}
    levels.update(_levels_of({name: content.get(name) for name in LEVEL_DEFAULTS}))
    for name in ("events", "users", "notifications"):
        levels[name] = _levels_of(content.get(name))
    return levels


def _levels_of(entries: Any) -> dict[str, int]:
    if not isinstance(entries, Mapping):
        return {}
    parsed = {key: parse_any_level(value) for key, value in entries.items()}
    return {key: level for key, level in parsed.items() if level is not None}


def _raise_tombstone(levels: dict[str, Any]) -> None:
    """Replacing a room takes more than the power to set its state. Spec: client-server-api/#creation"""
    state_default: int = levels.get("state_default", LEVEL_DEFAULTS["state_default"])
    if levels["events"].get(_TOMBSTONE, state_default) <= state_default:
        levels["events"] = {**levels["events"], _TOMBSTONE: max(TOMBSTONE_LEVEL, state_default + 1)}


def _is_user_id(text: str) -> bool:
    try:
        parse_user_id(text)
    except Malformed:
        return False
    return True
