"""The authorisation rules for ``m.room.power_levels``, in the order and the words of the spec.

Spec: rooms/v12/#authorisation-rules rule 10 (rule 9 in v6 to v11)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conduit_py.matrix.auth.check import Check, is_user_id
from conduit_py.matrix.auth.verdict import Verdict
from conduit_py.matrix.power_levels import LEVEL_DEFAULTS, Level, parse_level

Entries = Mapping[str, Any]


def check_power_levels(check: Check) -> Verdict:
    denied = _check_form(check)
    if denied is not None:
        return denied

    # power_levels.first: If there is no previous `m.room.power_levels` event in the room, allow.
    current_event = check.get_state("m.room.power_levels", "")
    if current_event is None:
        return None

    current, new = current_event.content, check.event.content
    has = check.power_levels().of_user(check.event.sender)
    denied = _check_properties(check, current, new, has)
    if denied is not None:
        return denied
    denied = _check_entries(check, current, new, has)
    if denied is not None:
        return denied
    # power_levels.allow: Otherwise, allow.
    return _check_users(check, _entries(current, "users"), _entries(new, "users"), has)


def _check_form(check: Check) -> Verdict:
    content = check.event.content
    if check.rules.integer_power_levels:
        # power_levels.integers (since v10): If any of the properties `users_default`, `events_default`,
        # `state_default`, `ban`, `redact`, `kick`, or `invite` in `content` are present and not an integer, reject.
        for name in LEVEL_DEFAULTS:
            if name in content and parse_level(check.rules, content[name]) is None:
                return check.denied("power_levels.integers", f"{name} is not an integer")

        # power_levels.maps (since v10): If either of the properties `events` or `notifications` in `content` are
        # present and not an object with values that are integers, reject.
        for name in ("events", "notifications"):
            if name in content and not _has_levels(check, content[name]):
                return check.denied("power_levels.maps", f"{name} is not an object of integers")

    # power_levels.users: If the `users` property in `content` is not an object with keys that are valid user IDs with
    # values that are integers (up to v9: or a string that is an integer; up to v5: or a float), reject.
    # Servers agree that a missing `users` is an empty one: power levels are inferred from defaults.
    users = content.get("users", {})
    if not _has_levels(check, users) or not all(is_user_id(user_id) for user_id in users):
        return check.denied("power_levels.users", "users is not an object of user IDs and power levels")

    # power_levels.creators (since v12): If the `users` property in `content` contains the `sender` of the
    # `m.room.create` event or any of the `additional_creators` array (if present) from the `content` of the
    # `m.room.create` event, reject.
    if check.rules.privileged_creators:
        for user_id in sorted(check.power_levels().creators):
            if user_id in users:
                return check.denied("power_levels.creators", f"{user_id} is a creator and has no power level")
    return None


def _has_levels(check: Check, value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(parse_level(check.rules, level) is not None for level in value.values())


def _check_properties(check: Check, current: Entries, new: Entries, has: Level) -> Verdict:
    # power_levels.property: For the properties `users_default`, `events_default`, `state_default`, `ban`, `redact`,
    # `kick`, `invite` check if they were added, changed or removed. For each found alteration:
    for name, default in LEVEL_DEFAULTS.items():
        if not _is_altered(check, current, new, name):
            continue
        # power_levels.property.current: If the current value is higher than the `sender`'s current power level,
        # reject.
        current_level = parse_level(check.rules, current.get(name))
        if (default if current_level is None else current_level) > has:
            return check.denied("power_levels.property.current", f"{name} is higher than {has}")

        # power_levels.property.new: If the new value is higher than the `sender`'s current power level, reject.
        new_level = parse_level(check.rules, new[name]) if name in new else default
        if new_level is None or new_level > has:
            return check.denied("power_levels.property.new", f"{name} would be higher than {has}")
    return None


def _check_entries(check: Check, current: Entries, new: Entries, has: Level) -> Verdict:
    # Since v6: `notifications` too.
    names = ("events", "notifications") if check.rules.notifications_levels_checked else ("events",)

    # power_levels.entry (current): For each entry being changed in, or removed from, the `events` (since v6: or
    # `notifications`) property:
    for name in names:
        old_entries, new_entries = _entries(current, name), _entries(new, name)
        for key in old_entries:
            # power_levels.entry.current: If the current value is greater than the `sender`'s current power level,
            # reject.
            level = parse_level(check.rules, old_entries[key])
            if level is not None and level > has and _is_altered(check, old_entries, new_entries, key):
                return check.denied("power_levels.entry.current", f"the level for {key} is greater than {has}")

    # power_levels.entry (new): For each entry being added to, or changed in, the `events` (since v6: or
    # `notifications`) property:
    for name in names:
        if name in new and not isinstance(new[name], Mapping) and new[name] != current.get(name):
            return check.denied("power_levels.entry.new", f"{name} is not an object")
        old_entries, new_entries = _entries(current, name), _entries(new, name)
        for key in new_entries:
            if not _is_altered(check, old_entries, new_entries, key):
                continue
            # power_levels.entry.new: If the new value is greater than the `sender`'s current power level, reject.
            level = parse_level(check.rules, new_entries[key])
            if level is None or level > has:
                return check.denied("power_levels.entry.new", f"the level for {key} would be greater than {has}")
    return None


def _check_users(check: Check, current: Entries, new: Entries, has: Level) -> Verdict:
    # power_levels.user (current): For each entry being changed in, or removed from, the `users` property, other than
    # the `sender`'s own entry:
    for user_id in current:
        if user_id == check.event.sender or not _is_altered(check, current, new, user_id):
            continue
        # power_levels.user.current: If the current value is greater than or equal to the `sender`'s current power
        # level, reject.
        level = parse_level(check.rules, current[user_id])
        if level is not None and level >= has:
            return check.denied("power_levels.user.current", f"the level of {user_id} is not less than {has}")

    # power_levels.user (new): For each entry being added to, or changed in, the `users` property:
    for user_id in new:
        # power_levels.user.new: If the new value is greater than the `sender`'s current power level, reject.
        level = parse_level(check.rules, new[user_id])
        if level is not None and level > has and _is_altered(check, current, new, user_id):
            return check.denied("power_levels.user.new", f"the level of {user_id} would be greater than {has}")
    return None


def _entries(content: Entries, name: str) -> Entries:
    entries = content.get(name)
    return entries if isinstance(entries, Mapping) else {}


def _is_altered(check: Check, current: Entries, new: Entries, key: str) -> bool:
    """Whether ``key`` was added, changed or removed. ``50`` and ``"50"`` are the same level.

    Where the rules let unreadable values through (v1 to v9), one that stays as it is has not been changed.
    """
    if (key in current) != (key in new):
        return True
    # True == 1 in Python, but the one is no level and the other is.
    if key not in new or (current[key] == new[key] and type(current[key]) is type(new[key])):
        return False
    level = parse_level(check.rules, new[key])
    return level is None or level != parse_level(check.rules, current[key])
