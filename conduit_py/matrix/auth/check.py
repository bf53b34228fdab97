"""One event beside the state that it is checked against: the words in which the rules are written.

Spec: server-server-api/#definitions
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conduit_py.matrix.auth.verdict import Denied, GetState, denied
from conduit_py.matrix.ids import Malformed, parse_user_id
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.room_versions import AuthRules, RoomVersion


@dataclass(frozen=True, slots=True)
class Check:
    room_version: RoomVersion
    event: Pdu
    create: Pdu
    get_state: GetState

    @property
    def rules(self) -> AuthRules:
        return self.room_version.auth

    def denied(self, rule: str, why: str) -> Denied:
        return denied(self.room_version, rule, why)

    def membership(self, user_id: str) -> Any:
        """The user's current membership state; ``None`` for somebody who never had to do with the room."""
        member = self.get_state("m.room.member", user_id)
        return None if member is None else member.content.get("membership")

    def join_rule(self) -> Any:
        # A room without m.room.join_rules takes invitations only, as it does everywhere else in Matrix.
        join_rules = self.get_state("m.room.join_rules", "")
        return "invite" if join_rules is None else join_rules.content.get("join_rule", "invite")

    def power_levels(self) -> PowerLevels:
        power_levels = self.get_state("m.room.power_levels", "")
        content = None if power_levels is None else power_levels.content
        return PowerLevels.of_room(self.room_version, content, self.create)


def domain_of(identifier: str) -> str | None:
    """What follows the first ``:``; ``None`` for identifiers without a domain, which match nothing."""
    _, colon, domain = identifier.partition(":")
    return domain if colon else None


def is_user_id(value: object) -> bool:
    """Whether the value would do as the ``sender`` of an event."""
    if not isinstance(value, str):
        return False
    try:
        parse_user_id(value)
    except Malformed:
        return False
    return True
