"""What a check answers, and the number of every authorisation rule on the page of each room version.

The code names a rule once, by a name that holds in every version; the table turns the name into the number that a
reader finds beside the rule's sentence. A dash means that the version has no such rule. Numbers are those of the
rendered pages, which count without gaps (the source of v12 skips 3.4).

Spec: rooms/v1/#authorisation-rules to rooms/v12/#authorisation-rules
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion

GetState = Callable[[str, str], Pdu | None]
"""The event at ``(type, state_key)`` of the state that an event is checked against."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The event is not allowed."""

    rule: str
    """Number of the rule on the page of the room version, for example ``5.2.3``."""
    why: str
    """For people: log lines and error replies."""
    is_malformed: bool = False
    """Would no room take such an event, whoever sent it?"""


Verdict = Denied | None
"""``None``: the event is allowed."""

_TABLE: Final = """
rule                                     1,2       3,4,5     6         7         8,9       10        11        12
create.prev_events                       1.1       1.1       1.1       1.1       1.1       1.1       1.1       1.1
create.room_id                           1.2       1.2       1.2       1.2       1.2       1.2       1.2       1.2
create.room_version                      1.3       1.3       1.3       1.3       1.3       1.3       1.3       1.3
create.creator                           1.4       1.4       1.4       1.4       1.4       1.4       -         -
create.additional_creators               -         -         -         -         -         -         -         1.4
create.allow                             1.5       1.5       1.5       1.5       1.5       1.5       1.4       1.5
room_id                                  -         -         -         -         -         -         -         2
auth_events.duplicate                    2.1       2.1       2.1       2.1       2.1       2.1       2.1       3.1
auth_events.selection                    2.2       2.2       2.2       2.2       2.2       2.2       2.2       3.2
auth_events.rejected                     2.3       2.3       2.3       2.3       2.3       2.3       2.3       3.3
auth_events.create                       2.4       2.4       2.4       2.4       2.4       2.4       2.4       -
auth_events.room_id                      2.5       2.5       2.5       2.5       2.5       2.5       2.5       3.4
federate                                 3         3         3         3         3         3         3         4
aliases.state_key                        4.1       4.1       -         -         -         -         -         -
aliases.domain                           4.2       4.2       -         -         -         -         -         -
aliases.allow                            4.3       4.3       -         -         -         -         -         -
member.form                              5.1       5.1       4.1       4.1       4.1       4.1       4.1       5.1
member.authorised.signature              -         -         -         -         4.2.1     4.2.1     4.2.1     5.2.1
member.join.first                        5.2.1     5.2.1     4.2.1     4.2.1     4.3.1     4.3.1     4.3.1     5.3.1
member.join.sender                       5.2.2     5.2.2     4.2.2     4.2.2     4.3.2     4.3.2     4.3.2     5.3.2
member.join.banned                       5.2.3     5.2.3     4.2.3     4.2.3     4.3.3     4.3.3     4.3.3     5.3.3
member.join.invited                      5.2.4     5.2.4     4.2.4     4.2.4     4.3.4     4.3.4     4.3.4     5.3.4
member.join.restricted.member            -         -         -         -         4.3.5.1   4.3.5.1   4.3.5.1   5.3.5.1
member.join.restricted.authoriser        -         -         -         -         4.3.5.2   4.3.5.2   4.3.5.2   5.3.5.2
member.join.restricted.allow             -         -         -         -         4.3.5.3   4.3.5.3   4.3.5.3   5.3.5.3
member.join.public                       5.2.5     5.2.5     4.2.5     4.2.5     4.3.6     4.3.6     4.3.6     5.3.6
member.join.otherwise                    5.2.6     5.2.6     4.2.6     4.2.6     4.3.7     4.3.7     4.3.7     5.3.7
member.invite.third_party.banned         5.3.1.1   5.3.1.1   4.3.1.1   4.3.1.1   4.4.1.1   4.4.1.1   4.4.1.1   5.4.1.1
member.invite.third_party.signed         5.3.1.2   5.3.1.2   4.3.1.2   4.3.1.2   4.4.1.2   4.4.1.2   4.4.1.2   5.4.1.2
member.invite.third_party.mxid_and_token 5.3.1.3   5.3.1.3   4.3.1.3   4.3.1.3   4.4.1.3   4.4.1.3   4.4.1.3   5.4.1.3
member.invite.third_party.mxid           5.3.1.4   5.3.1.4   4.3.1.4   4.3.1.4   4.4.1.4   4.4.1.4   4.4.1.4   5.4.1.4
member.invite.third_party.token          5.3.1.5   5.3.1.5   4.3.1.5   4.3.1.5   4.4.1.5   4.4.1.5   4.4.1.5   5.4.1.5
member.invite.third_party.sender         5.3.1.6   5.3.1.6   4.3.1.6   4.3.1.6   4.4.1.6   4.4.1.6   4.4.1.6   5.4.1.6
member.invite.third_party.public_key     5.3.1.7.1 5.3.1.7.1 4.3.1.7.1 4.3.1.7.1 4.4.1.7.1 4.4.1.7.1 4.4.1.7.1 5.4.1.7.1
member.invite.third_party.public_keys    5.3.1.7.2 5.3.1.7.2 4.3.1.7.2 4.3.1.7.2 4.4.1.7.2 4.4.1.7.2 4.4.1.7.2 5.4.1.7.2
member.invite.third_party.otherwise      5.3.1.8   5.3.1.8   4.3.1.8   4.3.1.8   4.4.1.8   4.4.1.8   4.4.1.8   5.4.1.8
member.invite.sender                     5.3.2     5.3.2     4.3.2     4.3.2     4.4.2     4.4.2     4.4.2     5.4.2
member.invite.target                     5.3.3     5.3.3     4.3.3     4.3.3     4.4.3     4.4.3     4.4.3     5.4.3
member.invite.level                      5.3.4     5.3.4     4.3.4     4.3.4     4.4.4     4.4.4     4.4.4     5.4.4
member.invite.otherwise                  5.3.5     5.3.5     4.3.5     4.3.5     4.4.5     4.4.5     4.4.5     5.4.5
member.leave.own                         5.4.1     5.4.1     4.4.1     4.4.1     4.5.1     4.5.1     4.5.1     5.5.1
member.leave.sender                      5.4.2     5.4.2     4.4.2     4.4.2     4.5.2     4.5.2     4.5.2     5.5.2
member.leave.banned                      5.4.3     5.4.3     4.4.3     4.4.3     4.5.3     4.5.3     4.5.3     5.5.3
member.leave.level                       5.4.4     5.4.4     4.4.4     4.4.4     4.5.4     4.5.4     4.5.4     5.5.4
member.leave.otherwise                   5.4.5     5.4.5     4.4.5     4.4.5     4.5.5     4.5.5     4.5.5     5.5.5
member.ban.sender                        5.5.1     5.5.1     4.5.1     4.5.1     4.6.1     4.6.1     4.6.1     5.6.1
member.ban.level                         5.5.2     5.5.2     4.5.2     4.5.2     4.6.2     4.6.2     4.6.2     5.6.2
member.ban.otherwise                     5.5.3     5.5.3     4.5.3     4.5.3     4.6.3     4.6.3     4.6.3     5.6.3
member.knock.join_rule                   -         -         -         4.6.1     4.7.1     4.7.1     4.7.1     5.7.1
member.knock.sender                      -         -         -         4.6.2     4.7.2     4.7.2     4.7.2     5.7.2
member.knock.membership                  -         -         -         4.6.3     4.7.3     4.7.3     4.7.3     5.7.3
member.knock.otherwise                   -         -         -         4.6.4     4.7.4     4.7.4     4.7.4     5.7.4
member.unknown                           5.6       5.6       4.6       4.7       4.8       4.8       4.8       5.8
joined                                   6         6         5         5         5         5         5         6
third_party_invite.level                 7.1       7.1       6.1       6.1       6.1       6.1       6.1       7.1
required_level                           8         8         7         7         7         7         7         8
state_key                                9         9         8         8         8         8         8         9
power_levels.integers                    -         -         -         -         -         9.1       9.1       10.1
power_levels.maps                        -         -         -         -         -         9.2       9.2       10.2
power_levels.users                       10.1      10.1      9.1       9.1       9.1       9.3       9.3       10.3
power_levels.creators                    -         -         -         -         -         -         -         10.4
power_levels.first                       10.2      10.2      9.2       9.2       9.2       9.4       9.4       10.5
power_levels.property.current            10.3.1    10.3.1    9.3.1     9.3.1     9.3.1     9.5.1     9.5.1     10.6.1
power_levels.property.new                10.3.2    10.3.2    9.3.2     9.3.2     9.3.2     9.5.2     9.5.2     10.6.2
power_levels.entry.current               10.4.1    10.4.1    9.4.1     9.4.1     9.4.1     9.6.1     9.6.1     10.7.1
power_levels.entry.new                   10.5.1    10.5.1    9.5.1     9.5.1     9.5.1     9.7.1     9.7.1     10.8.1
power_levels.user.current                10.6.1    10.6.1    9.6.1     9.6.1     9.6.1     9.8.1     9.8.1     10.9.1
power_levels.user.new                    10.7.1    10.7.1    9.7.1     9.7.1     9.7.1     9.9.1     9.9.1     10.10.1
power_levels.allow                       10.8      10.8      9.8       9.8       9.8       9.10      9.10      10.11
redaction.level                          11.1      -         -         -         -         -         -         -
redaction.domain                         11.2      -         -         -         -         -         -         -
redaction.otherwise                      11.3      -         -         -         -         -         -         -
allow                                    12        11        10        10        10        10        10        11
"""


def _parse_table(table: str) -> Mapping[str, Mapping[str, str]]:
    header, *rows = (line.split() for line in table.strip().splitlines())
    numbers: dict[str, dict[str, str]] = {}
    for column, versions in enumerate(header[1:], start=1):
        of_column = {row[0]: row[column] for row in rows if row[column] != "-"}
        numbers.update(dict.fromkeys(versions.split(","), of_column))
    return MappingProxyType(numbers)


RULE_NUMBERS: Final[Mapping[str, Mapping[str, str]]] = _parse_table(_TABLE)
"""Room version, then name of the rule, to its number; in the order of the spec."""


MALFORMED_RULES: Final = frozenset(
    {
        "member.form",
        "member.unknown",
        "power_levels.integers",
        "power_levels.maps",
        "power_levels.users",
        "power_levels.creators",
    }
)
"""Rules about the content of an event alone."""


def denied(room_version: RoomVersion, rule: str, why: str) -> Denied:
    """``rule`` by its name in the table; a rule that the room version does not have is our mistake (KeyError)."""
    return Denied(RULE_NUMBERS[room_version.id][rule], why, is_malformed=rule in MALFORMED_RULES)
