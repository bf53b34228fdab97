"""What the server knows about itself."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.codec import COUNT, RAW, U64, Key, Text
from kvschema.tree import Tree


class ByName(NamedTuple):
    """The name of one fact."""

    name: str


class ByPos(NamedTuple):
    pos: int


STARTGAPS_MAX = 500

GLOBAL: Tree[ByName, bytes] = Tree(
    "global",
    Key(ByName, (Text(64),)),
    RAW,
    since=1,
    doc="Single facts: product, schema, server_name, catalog, file, position, keypair, first_admin_token, admin_made,"
    " admin_room, registration_closed, put_back.",
    bound="a fixed set of names",
)

STARTGAP: Tree[ByPos, int] = Tree(
    "startgap",
    Key(ByPos, (U64(),)),
    COUNT,
    since=1,
    doc="For each start: the last position stored before it, and the one that positions went on from.",
    bound="the newest STARTGAPS_MAX starts",
)

TREES = (GLOBAL, STARTGAP)
