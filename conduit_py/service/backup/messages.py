"""What work on copies tells on its way, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How grave a finding is."""

    PROBLEM = "problem"
    """The database is damaged: no server should run on it."""
    MEDIA = "media"
    """A media file is missing or damaged: everything else is as it should be."""
    NOTE = "note"
    """Good to know, and no fault."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is."""

    step: str
    """What is being done: "pages", "rows", ..."""
    done: int
    total: int


Message = Finding | Progress
Tell = Callable[[Message], None]


class Impossible(Exception):
    """The work cannot be done, for the reason that the sentence names. Nothing was changed."""


class Died(Impossible):
    """The process that did the work ended before it."""

    def __init__(self, how: str, *, is_killed: bool) -> None:
        super().__init__(f"the process that looked at the files {how}")
        self.how = how
        self.is_killed = is_killed
        """Somebody ended it, perhaps the system for lack of memory: it says nothing about the files."""


def ignore(message: Message) -> None:
    """Nobody listens."""
