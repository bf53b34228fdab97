"""Finding the entries of the lists in a large JSON object without parsing it.

The whole of a room with 100,000 members is a hundred megabytes of JSON, and ten times that when parsed. Only its
brackets are looked at here; every entry is then parsed when its turn comes, by the parser that reads all other events.

Where the text is no JSON, nothing is promised but an end: what is wrong inside of an entry is found when it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any, Final, cast, overload

from conduit_py.matrix.canonical_json import NotJson, parse_json
from conduit_py.matrix.json_slices import Slices

SKELETON_BYTES_MAX: Final = 64 * 1024
"""What stands outside of lists and objects."""

Text = bytes | mmap
Span = tuple[int, int]

BYTES_BETWEEN_BRACKETS_MAX: Final = 1024 * 1024
"""A list of strings may be as long: up to 15 ms to look through it."""
PARTS_MAX: Final = 1000
"""Members that are lists or objects."""
BRACKETS_AT_ONCE: Final = 3000
"""About 3 ms."""
BYTES_AT_ONCE: Final = 256 * 1024

# Anything but brackets, whole strings included, up to the next bracket.
_TO_BRACKET: Final = re.compile(rb'[^"\[\]{}]*+(?:"(?:[^"\\]++|\\.)*+"[^"\[\]{}]*+)*+[\[\]{}]', re.DOTALL)
_OPENING: Final = frozenset(b"[{")


@dataclass(slots=True)
class Part:
    """A list or object that is the value of a member."""

    start: int
    end: int = 0
    entries: list[Span] = field(default_factory=list)
    """Lists and objects that stand directly in it."""


class Texts(Sequence[bytes]):
    """Pieces of a text that are copied when somebody looks at them."""

    def __init__(self, text: Text, spans: Sequence[Span]) -> None:
        self._text = text
        self._spans = spans

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Texts: ...
    def __getitem__(self, at: int | slice) -> bytes | Texts:
        if isinstance(at, slice):
            return Texts(self._text, self._spans[at])
        start, end = self._spans[at]
        return self._text[start:end]


@dataclass(frozen=True, slots=True)
class Parts:
    """A JSON object of which only the outermost members are known."""

    text: Text
    members: Mapping[str, Any]
    """What is neither a list nor an object."""
    parts: Mapping[str, Part]

    def is_list(self, name: str) -> bool:
        part = self.parts.get(name)
        return part is not None and self.text[part.start : part.start + 1] == b"["

    def get_entries(self, name: str) -> list[Span]:
        """Where the entries of a list stand; none where there is no such list."""
        part = self.parts.get(name)
        return [] if part is None else part.entries

    def get_texts(self, name: str) -> Texts:
        """The same, each as it stands there."""
        return Texts(self.text, self.get_entries(name))

    def parse(self, span: Span) -> Any:
        """Raises ``NotJson``."""
        return parse_json(self.text[span[0] : span[1]])

    def parse_part(self, name: str) -> Any:
        """A whole member, None where there is none that is a list or an object. Raises ``NotJson``."""
        part = self.parts.get(name)
        return None if part is None else self.parse((part.start, part.end))


def find_parts(text: Text, *, entries_max: int) -> Parts:
    """Look through the text once. Raises ``NotJson`` for what is no whole JSON object or has too many entries."""
    slices = find_parts_in_slices(text, entries_max=entries_max)
    while True:
        try:
            next(slices)
        except StopIteration as found:
            return cast("Parts", found.value)


def find_parts_in_slices(text: Text, *, entries_max: int) -> Slices[Parts]:
    """The same as a generator that yields from time to time and returns what was found."""
    skeleton: list[bytes] = []
    parts: list[Part] = []
    depth = at = entry_start = entries = brackets = rested = 0
    while match := _TO_BRACKET.match(text, at, at + BYTES_BETWEEN_BRACKETS_MAX):
        before, at, brackets = at, match.end(), brackets + 1
        if brackets >= BRACKETS_AT_ONCE or at - rested > BYTES_AT_ONCE:
            brackets, rested = 0, at
            yield
        if depth <= 1:
            skeleton.append(text[before : at - 1])
        if text[at - 1] in _OPENING:
            depth += 1
            if depth == 1:
                skeleton.append(text[at - 1 : at])
            elif depth == 2:
                # No list is left in the skeleton, so these are told from other values.
                skeleton.append(b"[%d]" % len(parts))
                parts.append(Part(at - 1))
                if len(parts) > PARTS_MAX:
                    raise NotJson(f"more than {PARTS_MAX} members are lists or objects")
            elif depth == 3:
                entry_start = at - 1
            continue
        depth -= 1
        if depth == 2:
            parts[-1].entries.append((entry_start, at))
            entries += 1
            if entries > entries_max:
                raise NotJson(f"more than {entries_max} entries")
        elif depth == 1:
            parts[-1].end = at
        elif depth <= 0:
            break
    if depth or text[at:].strip():
        raise NotJson("the text ends too early or too late")
    return _assemble(text, b"".join(skeleton) + b"}", parts)


def _assemble(text: Text, skeleton: bytes, parts: list[Part]) -> Parts:
    if len(skeleton) > SKELETON_BYTES_MAX:
        raise NotJson("too much stands outside of lists and objects")
    named = parse_json(skeleton)
    if not isinstance(named, dict):
        raise NotJson("not an object")
    found = {name: parts[value[0]] for name, value in named.items() if isinstance(value, list)}
    return Parts(text, {name: value for name, value in named.items() if name not in found}, found)
