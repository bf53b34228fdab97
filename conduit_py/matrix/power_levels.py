"""Power levels of a room as one view over its ``m.room.power_levels`` and ``m.room.create`` events.

What a room does not say is inferred from defaults, and so is a value that cannot be read as a level: the rules let such
values in with a room's first power levels event (room versions 1 to 9), and reading them must not fail.

Spec: client-server-api/#mroompower_levels, server-server-api/#definitions,
rooms/v1/#mroompower_levels-events-accept-values-as-strings, rooms/v1/#mroompower_levels-events-accept-values-as-floats
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from types import MappingProxyType
from typing import Any, Final

from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import AuthRules, RoomVersion

Level = int | float
"""An integer, or ``math.inf`` for the creators of a room of version 12 and later."""

LEVEL_DEFAULTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "users_default": 0,
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "redact": 50,
        "kick": 50,
        "invite": 0,
    }
)
"""The integer-valued properties, with what each means while it is absent."""

NOTIFICATION_LEVEL_DEFAULT: Final = 50
"""Required to trigger a kind of notification that ``notifications`` does not list."""

CREATOR_LEVEL_WITHOUT_EVENT: Final = 100
"""Of the creator, in a room without ``m.room.power_levels``, before creators became privileged (v12)."""

_STRING_LEVEL: Final = re.compile(r"\s*[+-]?[0-9]+\s*")


def parse_level(rules: AuthRules, value: Any) -> int | None:
    """Read one value of ``m.room.power_levels``; ``None`` when the room version does not take it for a level."""
    if isinstance(value, str) and rules.integer_power_levels:
        return None
    if isinstance(value, float) and not rules.float_power_levels:
        return None
    return parse_any_level(value)


def parse_any_level(value: Any) -> int | None:
    """Read a value as the most lenient room version does, for readers of an event that the rules have let pass."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return _parse_string_level(value)
    if isinstance(value, float) and isfinite(value):
        return int(value)
    return None


def _parse_string_level(value: str) -> int | None:
    if not _STRING_LEVEL.fullmatch(value):
        return None
    try:
        return int(value)
    except ValueError:  # more digits than the interpreter converts
        return None


def creators_of(room_version: RoomVersion, create: Pdu | None) -> frozenset[str]:
    """The room's creators: one, or none if the create event names none, before version 12."""
    if create is None:
        return frozenset()
    rules = room_version.auth
    if rules.create_has_creator:
        creator = create.content.get("creator")
        return frozenset([creator]) if isinstance(creator, str) else frozenset()
    additional = create.content.get("additional_creators") if rules.additional_creators else None
    if not isinstance(additional, list | tuple):
        return frozenset([create.sender])
    return frozenset([create.sender, *(user_id for user_id in additional if isinstance(user_id, str))])


@dataclass(frozen=True, slots=True)
class PowerLevels:
    """Who may do what. ``content`` is that of the current ``m.room.power_levels``, ``None`` while there is none."""

    rules: AuthRules
    content: Mapping[str, Any] | None
    creators: frozenset[str]

    @classmethod
    def of_room(cls, room_version: RoomVersion, content: Mapping[str, Any] | None, create: Pdu | None) -> PowerLevels:
        return cls(room_version.auth, content, creators_of(room_version, create))

    def of_user(self, user_id: str) -> Level:
        """The user's power level, member of the room or not."""
        is_creator = user_id in self.creators
        if is_creator and self.rules.privileged_creators:
            return inf
        if self.content is None:
            return CREATOR_LEVEL_WITHOUT_EVENT if is_creator else 0
        level = self._entry("users", user_id)
        return self._level("users_default") if level is None else level

    def to_send(self, type: str, *, is_state: bool) -> int:
        """The required power level of an event type. Membership events are not subject to it."""
        level = self._entry("events", type)
        if level is not None:
            return level
        return self._level("state_default" if is_state else "events_default")

    def to_invite(self) -> int:
        return self._level("invite")

    def to_kick(self) -> int:
        return self._level("kick")

    def to_ban(self) -> int:
        return self._level("ban")

    def to_redact(self) -> int:
        """Required to redact what somebody else has sent."""
        return self._level("redact")

    def _level(self, name: str) -> int:
        level = None if self.content is None else parse_level(self.rules, self.content.get(name))
        return LEVEL_DEFAULTS[name] if level is None else level

    def _entry(self, name: str, key: str) -> int | None:
        entries = None if self.content is None else self.content.get(name)
        if not isinstance(entries, Mapping) or key not in entries:
            return None
        return parse_level(self.rules, entries[key])
