"""What administrators told the server to do."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.timeline import ByShortEvent
from kvschema.codec import U64, Key, record
from kvschema.tree import Tree

COMMANDS_WAITING_MAX = 100
"""Commands in the Admin Room that wait for their turn. More of them are refused."""


class AdminCommand(NamedTuple):
    """A message in the Admin Room that has to be answered."""

    is_started: bool = False
    """What it asks for was begun. After a restart nobody knows how far that went, so it is not begun again."""


ADMINCOMMAND: Tree[ByShortEvent, AdminCommand] = Tree(
    "admincommand",
    Key(ByShortEvent, (U64(),)),
    record(AdminCommand),
    since=1,
    doc="Commands in the Admin Room that wait to be done and answered, in order.",
    bound="COMMANDS_WAITING_MAX; deleted in the batch of the answer",
)

TREES = (ADMINCOMMAND,)
