"""Glob-style matching, in time that no pattern can blow up.

``*`` matches zero or more characters, ``?`` exactly one. A pattern is cut at its stars into segments, and each segment
is looked for once, leftmost first. That is enough: whatever text follows, an earlier end of one segment leaves more
room for the next, so nothing is ever tried twice. (A regular expression ``a.*b.*c`` tries every pair.) The work is
bounded by the length of the text times that of the longest segment, and for segments without ``?`` it is a plain
``str.find``.

The same patterns come from users' rules and from room state again and again, so compiled ones are kept in a cache with
a bound.

Spec: appendices/#glob-style-matching
"""

from __future__ import annotations

import re
from functools import lru_cache

TRIES_MAX = 100
"""Places between two word boundaries that a pattern is looked for at: each costs a step of Python's."""
GLOBS_CACHED_MAX = 4096
"""Compiled patterns kept. One costs about a kilobyte."""

CACHED_PATTERN_CHARS_MAX = 512
"""Longer patterns are compiled anew each time, so that the bound on the count is also one on the memory."""

_WORD_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_WORDS = re.compile(r"[A-Za-z0-9_]+")


class _Segment:
    """What stands between two stars: literal text, or text with ``?`` in it."""

    __slots__ = ("_regex", "length", "text")

    def __init__(self, text: str, *, question_mark: bool) -> None:
        self.text = text
        self.length = len(text)
        self._regex: re.Pattern[str] | None = None
        if question_mark and "?" in text:
            self._regex = re.compile(".".join(re.escape(part) for part in text.split("?")), re.DOTALL)

    @property
    def effort(self) -> int:
        return 1 if self._regex is None else self.length

    def find(self, text: str, start: int) -> int:
        """The first place at or after ``start`` where this stands, or -1."""
        if self._regex is None:
            return text.find(self.text, start)
        found = self._regex.search(text, start)
        return -1 if found is None else found.start()

    def stands_at(self, text: str, start: int) -> bool:
        if self._regex is None:
            return text.startswith(self.text, start)
        return self._regex.match(text, start) is not None


class Glob:
    """A compiled pattern. Make one with `compile_glob`; it is immutable and may be shared."""

    __slots__ = ("_ignore_case", "_min_length", "_segments", "effort", "is_word", "literal", "pattern")

    def __init__(self, pattern: str, *, ignore_case: bool, question_mark: bool) -> None:
        self.pattern = pattern
        self._ignore_case = ignore_case
        folded = fold_case(pattern) if ignore_case else pattern
        self._segments = tuple(_Segment(part, question_mark=question_mark) for part in folded.split("*"))
        self._min_length = sum(segment.length for segment in self._segments)
        self.effort = max(segment.effort for segment in self._segments)
        """Steps for each character of a text, at the most."""
        has_wildcard = "*" in folded or (question_mark and "?" in folded)
        self.literal: str | None = None if has_wildcard else folded
        """The pattern (case folded when case is ignored) if it has no wildcard."""
        self.is_word = self.literal is not None and _WORDS.fullmatch(self.literal) is not None
        """Whether it is one word, so that it is found in a text exactly when it is among its words."""

    def matches(self, text: str) -> bool:
        """Whether the pattern matches the whole text."""
        return self.matches_folded(fold_case(text) if self._ignore_case else text)

    def matches_folded(self, text: str) -> bool:
        """Like `matches`, for a text on which `fold_case` was already done where it applies."""
        if self.literal is not None:
            return text == self.literal
        if len(text) < self._min_length:
            return False
        first, last = self._segments[0], self._segments[-1]
        if not first.stands_at(text, 0):
            return False
        if len(self._segments) == 1:
            return len(text) == first.length
        position = self._after_middle(text, first.length)
        return position >= 0 and len(text) - last.length >= position and last.stands_at(text, len(text) - last.length)

    def found_in(self, text: str) -> bool:
        """Whether some part of the text that starts and ends at a word boundary matches.

        A boundary is the start or end of the text, or a character other than ``A-Z a-z 0-9 _``.

        Spec: client-server-api/#conditions-1
        """
        return self.found_in_folded(fold_case(text) if self._ignore_case else text)

    def found_in_folded(self, text: str) -> bool:
        """Like `found_in`, for a text on which `fold_case` was already done where it applies."""
        if len(text) < self._min_length:
            return False
        first, last = self._segments[0], self._segments[-1]
        if len(self._segments) == 1:
            return self._bounded_find(first, text, 0, at_start=True, at_end=True) >= 0
        position = 0
        if first.length:
            position = self._bounded_find(first, text, 0, at_start=True, at_end=False)
            if position < 0:
                return False
            position += first.length
        position = self._after_middle(text, position)
        if position < 0:
            return False
        return last.length == 0 or self._bounded_find(last, text, position, at_start=False, at_end=True) >= 0

    def _after_middle(self, text: str, position: int) -> int:
        """Where the text goes on after the segments between the first and the last star, or -1."""
        for segment in self._segments[1:-1]:
            found = segment.find(text, position)
            if found < 0:
                return -1
            position = found + segment.length
        return position

    @staticmethod
    def _bounded_find(segment: _Segment, text: str, start: int, *, at_start: bool, at_end: bool) -> int:
        """The first place where the segment stands between the boundaries that are asked for, or -1."""
        for _ in range(TRIES_MAX):
            found = segment.find(text, start)
            if found < 0:
                break
            end = found + segment.length
            if (not at_start or _is_boundary(text, found)) and (not at_end or _is_boundary(text, end)):
                return found
            start = found + 1
            if start > len(text):
                break
        return -1


def _is_boundary(text: str, position: int) -> bool:
    if position == 0 or position == len(text):
        return True
    return text[position - 1] not in _WORD_CHARS or text[position] not in _WORD_CHARS


def is_between_boundaries(literal: str, text: str) -> bool:
    """Whether the literal stands in the text between word boundaries, its stars and question marks as they are."""
    start = text.find(literal)
    for _ in range(TRIES_MAX):
        if start < 0:
            break
        if _is_boundary(text, start) and _is_boundary(text, start + len(literal)):
            return True
        start = text.find(literal, start + 1)
    return False


def fold_case(text: str) -> str:
    """The form in which texts are compared when case is ignored."""
    return text.lower()


def words_of(text: str) -> frozenset[str]:
    """The longest runs of word characters in the text. Fold its case first where that applies."""
    return frozenset(_WORDS.findall(text))


@lru_cache(maxsize=GLOBS_CACHED_MAX)
def _cached_glob(pattern: str, ignore_case: bool, question_mark: bool) -> Glob:
    return Glob(pattern, ignore_case=ignore_case, question_mark=question_mark)


def compile_glob(pattern: str, *, ignore_case: bool, question_mark: bool = True) -> Glob:
    """Compile a pattern; ``question_mark=False`` takes ``?`` literally, as the type lists of filters do."""
    if len(pattern) > CACHED_PATTERN_CHARS_MAX:
        return Glob(pattern, ignore_case=ignore_case, question_mark=question_mark)
    return _cached_glob(pattern, ignore_case, question_mark)
