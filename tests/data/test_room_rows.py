"""Which rows are about a room: no tree that can name one is forgotten."""

from __future__ import annotations

import re

from conduit_py.data.room_rows import ROOM_ROWS
from kvschema.catalog import CATALOG

NAMED_FROM_OUTSIDE = {
    "backupkeyid_backup": "a user's own backup, which outlives the room",
    "disabledroomids": "stays until an administrator enables the room",
    "removedroomids": "says that the room is being removed, and goes at the end of that",
    "admincommand": "of the Admin Room, which is never removed",
    "userid_report": "what an administrator is told of users",
    "userpos_farewell": "what clients hear of the removed room",
    "servername_sending": "places in a queue",
    "todeviceid_events": "what devices tell each other",
}
"""Trees that speak of rooms or events, and are not about them."""


def test_every_tree_that_names_rooms_or_events_is_listed_once() -> None:
    names = [rows.tree.name for rows in ROOM_ROWS]
    assert len(names) == len(set(names))
    naming = {tree.name for tree in CATALOG if re.search(r"room|event|alias", f"{tree.name} {tree.spec}")}
    assert naming - set(names) == NAMED_FROM_OUTSIDE.keys()
