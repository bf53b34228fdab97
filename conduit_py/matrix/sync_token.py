"""The tokens that clients are given to go on from: ``next_batch`` of /sync, and places in a room's timeline.

``s<position>_<boot>_<typing>`` is a place in the stream of everything. The second and third part are about what lives
in memory only: which run of the server handed the token out, and how far it had told who is typing. A fourth part is
there if messages to the device were held back: the position of the last one that was told.

``t<place>`` is a place in one room's timeline: right behind the event at ``place``. Fetched history lies below zero. A
sync token is such a place too, so whatever takes a pagination token takes both.

Spec: client-server-api/#syncing, client-server-api/#pagination
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from conduit_py.matrix.ids import Malformed

_SYNC = re.compile(r"s(0|[1-9][0-9]{0,18})_([A-Za-z0-9]{1,16})_(0|[1-9][0-9]{0,18})(?:_(0|[1-9][0-9]{0,18}))?")
_TIMELINE = re.compile(r"t(0|-?[1-9][0-9]{0,17})")
_POS_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class SyncToken:
    """Everything up to ``pos`` was told."""

    pos: int
    boot: str
    """Letters and digits that name one run of the server."""
    typing: int
    """What that run had told about who is typing."""
    to_device: int | None = None
    """The last message to the device that was told, None if all up to ``pos`` were."""

    def __str__(self) -> str:
        held_back = "" if self.to_device is None else f"_{self.to_device}"
        return f"s{self.pos}_{self.boot}_{self.typing}{held_back}"

    @property
    def to_device_pos(self) -> int:
        """Up to here messages to the device were told."""
        return self.pos if self.to_device is None else min(self.pos, self.to_device)


def parse_sync_token(text: str) -> SyncToken:
    """Raises :class:`Malformed`."""
    match = _SYNC.fullmatch(text)
    if match is None or int(match[1]) > _POS_MAX:
        raise Malformed("a sync token must be the next_batch of an earlier reply")
    return SyncToken(int(match[1]), match[2], int(match[3]), None if match[4] is None else int(match[4]))


def format_place(place: int) -> str:
    """The token for the place right behind the event at ``place``."""
    return f"t{place}"


def parse_place(text: str) -> int:
    """The place that a pagination token stands for: events at or before it lie behind, those after it ahead.

    Raises :class:`Malformed`.
    """
    match = _TIMELINE.fullmatch(text)
    if match is not None:
        return int(match[1])
    try:
        return parse_sync_token(text).pos
    except Malformed:
        raise Malformed("a pagination token must be one that was handed out by this server") from None
