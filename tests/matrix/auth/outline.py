"""The rules of the room version pages, as a table of contents, and the numbers they have there.

``OUTLINE`` lists the rules in the order of the spec, indented like it, with the versions that have them. Counting its
lines must give ``NUMBERS``, which were read off the pages one by one.

Spec: rooms/v1/#authorisation-rules to rooms/v12/#authorisation-rules
"""

from __future__ import annotations

from collections.abc import Iterator

OUTLINE = """
create
  prev_events
  room_id
  room_version
  creator 1-10
  additional_creators 12-12
  allow
room_id 12-12
auth_events
  duplicate
  selection
  rejected
  create 1-11
  room_id
federate
aliases 1-5
  state_key
  domain
  allow
member
  form
  authorised 8-12
    signature
  join
    first
    sender
    banned
    invited
    restricted 8-12
      member
      authoriser
      allow
    public
    otherwise
  invite
    third_party
      banned
      signed
      mxid_and_token
      mxid
      token
      sender
      *
        public_key
        public_keys
      otherwise
    sender
    target
    level
    otherwise
  leave
    own
    sender
    banned
    level
    otherwise
  ban
    sender
    level
    otherwise
  knock 7-12
    join_rule
    sender
    membership
    otherwise
  unknown
joined
third_party_invite
  level
required_level
state_key
power_levels
  integers 10-12
  maps 10-12
  users
  creators 12-12
  first
  property
    current
    new
  entry
    current
  *
    entry.new
  user
    current
  *
    user.new
  allow
redaction 1-2
  level
  domain
  otherwise
allow
"""

_V1_BEFORE_11 = """
1.1 1.2 1.3 1.4 1.5 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2 4.3 5.1 5.2.1 5.2.2 5.2.3 5.2.4 5.2.5 5.2.6
5.3.1.1 5.3.1.2 5.3.1.3 5.3.1.4 5.3.1.5 5.3.1.6 5.3.1.7.1 5.3.1.7.2 5.3.1.8 5.3.2 5.3.3 5.3.4 5.3.5
5.4.1 5.4.2 5.4.3 5.4.4 5.4.5 5.5.1 5.5.2 5.5.3 5.6 6 7.1 8 9 10.1 10.2 10.3.1 10.3.2 10.4.1 10.5.1 10.6.1 10.7.1 10.8
"""
_V1 = _V1_BEFORE_11 + "11.1 11.2 11.3 12"
_V3 = _V1_BEFORE_11 + "11"
_V6 = """
1.1 1.2 1.3 1.4 1.5 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.1 4.2.2 4.2.3 4.2.4 4.2.5 4.2.6
4.3.1.1 4.3.1.2 4.3.1.3 4.3.1.4 4.3.1.5 4.3.1.6 4.3.1.7.1 4.3.1.7.2 4.3.1.8 4.3.2 4.3.3 4.3.4 4.3.5
4.4.1 4.4.2 4.4.3 4.4.4 4.4.5 4.5.1 4.5.2 4.5.3 4.6 5 6.1 7 8 9.1 9.2 9.3.1 9.3.2 9.4.1 9.5.1 9.6.1 9.7.1 9.8 10
"""
_V7 = """
1.1 1.2 1.3 1.4 1.5 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.1 4.2.2 4.2.3 4.2.4 4.2.5 4.2.6
4.3.1.1 4.3.1.2 4.3.1.3 4.3.1.4 4.3.1.5 4.3.1.6 4.3.1.7.1 4.3.1.7.2 4.3.1.8 4.3.2 4.3.3 4.3.4 4.3.5
4.4.1 4.4.2 4.4.3 4.4.4 4.4.5 4.5.1 4.5.2 4.5.3 4.6.1 4.6.2 4.6.3 4.6.4 4.7 5 6.1 7 8
9.1 9.2 9.3.1 9.3.2 9.4.1 9.5.1 9.6.1 9.7.1 9.8 10
"""
_V8_BEFORE_9 = """
2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.1 4.3.1 4.3.2 4.3.3 4.3.4 4.3.5.1 4.3.5.2 4.3.5.3 4.3.6 4.3.7
4.4.1.1 4.4.1.2 4.4.1.3 4.4.1.4 4.4.1.5 4.4.1.6 4.4.1.7.1 4.4.1.7.2 4.4.1.8 4.4.2 4.4.3 4.4.4 4.4.5
4.5.1 4.5.2 4.5.3 4.5.4 4.5.5 4.6.1 4.6.2 4.6.3 4.7.1 4.7.2 4.7.3 4.7.4 4.8 5 6.1 7 8
"""
_V8 = "1.1 1.2 1.3 1.4 1.5" + _V8_BEFORE_9 + "9.1 9.2 9.3.1 9.3.2 9.4.1 9.5.1 9.6.1 9.7.1 9.8 10"
_V10_FROM_9 = "9.1 9.2 9.3 9.4 9.5.1 9.5.2 9.6.1 9.7.1 9.8.1 9.9.1 9.10 10"
_V10 = "1.1 1.2 1.3 1.4 1.5" + _V8_BEFORE_9 + _V10_FROM_9
_V11 = "1.1 1.2 1.3 1.4" + _V8_BEFORE_9 + _V10_FROM_9
_V12 = """
1.1 1.2 1.3 1.4 1.5 2 3.1 3.2 3.3 3.4 4 5.1 5.2.1
5.3.1 5.3.2 5.3.3 5.3.4 5.3.5.1 5.3.5.2 5.3.5.3 5.3.6 5.3.7
5.4.1.1 5.4.1.2 5.4.1.3 5.4.1.4 5.4.1.5 5.4.1.6 5.4.1.7.1 5.4.1.7.2 5.4.1.8 5.4.2 5.4.3 5.4.4 5.4.5
5.5.1 5.5.2 5.5.3 5.5.4 5.5.5 5.6.1 5.6.2 5.6.3 5.7.1 5.7.2 5.7.3 5.7.4 5.8 6 7.1 8 9
10.1 10.2 10.3 10.4 10.5 10.6.1 10.6.2 10.7.1 10.8.1 10.9.1 10.10.1 10.11 11
"""

NUMBERS = {
    version: numbers.split()
    for versions, numbers in {
        (1, 2): _V1,
        (3, 4, 5): _V3,
        (6,): _V6,
        (7,): _V7,
        (8, 9): _V8,
        (10,): _V10,
        (11,): _V11,
        (12,): _V12,
    }.items()
    for version in versions
}


def numbered_rules(version: int) -> dict[str, str]:
    """Name of each rule that decides something, to its number on the page of ``version``."""
    return dict(_walk(_tree(), version, "", ""))


Node = tuple[str, range, list["Node"]]


def _tree() -> list[Node]:
    top: list[Node] = []
    levels = [top]
    for line in OUTLINE.strip().splitlines():
        name, _, versions = line.strip().partition(" ")
        first, _, last = (versions or "1-12").partition("-")
        node: Node = (name, range(int(first), int(last) + 1), [])
        depth = (len(line) - len(line.lstrip())) // 2
        levels[depth].append(node)
        levels[depth + 1 :] = [node[2]]
    return top


def _walk(nodes: list[Node], version: int, name: str, number: str) -> Iterator[tuple[str, str]]:
    here = [node for node in nodes if version in node[1]]
    for count, (word, _, below) in enumerate(here, start=1):
        # An asterisk is a heading that the names leave out.
        full_name = name if word == "*" else f"{name}.{word}".lstrip(".")
        full_number = f"{number}.{count}".lstrip(".")
        if below:
            yield from _walk(below, version, full_name, full_number)
        else:
            yield full_name, full_number
