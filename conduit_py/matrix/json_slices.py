"""Large JSON, read in slices: no step takes long, whatever the text is, and others get their turn in between.

A parser in C keeps the interpreter to itself until it is done: for one MiB of empty lists, a quarter of a second. So a
large text is cut at its commas into pieces that are parsed one by one, and what they are is put together. A piece is a
run of whole siblings; a list or object that is no longer than a piece is never cut.

Only lists and objects that have others in them are looked at one by one here; a flat one is matched with all that is in
it. Those that are being read stand on a stack: of each, where it starts, where the run begins that is not yet parsed,
and where its last entry begins. As soon as one of them has to be cut, all around it have to be put together too.

The functions are generators that yield between two slices and return the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import orjson

from conduit_py.matrix.canonical_json import JSON_DEPTH_MAX, NotJson, encode_canonical_json, load_json

PIECE_BYTES: Final = 32 * 1024
"""What is parsed at once: 5 ms for the dearest text, with the garbage collector in it."""
IN_PLACE_BYTES_MAX: Final = 2 * PIECE_BYTES
"""Nothing is gained by cutting a shorter text."""
ENTRY_BYTES_MAX: Final = 512 * 1024
"""A single value: no event, and nothing else that servers and clients exchange, has a longer one."""
MEMBERS_MAX: Final = 50_000
"""Of one object that is written again, because its names are sorted at once."""
BRACKETS_AT_ONCE: Final = 1000
"""About 3 ms."""
VALUES_MAX: Final = 500_000
"""Commas of a text that is parsed as a whole. A value takes up to twenty times as much memory as it takes bytes."""
CONTAINERS_MAX: Final = 120_000
"""Opening brackets of the same: of so many lists within lists, the garbage collector needs 30 ms to go over them."""
ENCODED_VALUES_MAX: Final = 2_200_000
"""Commas, and brackets too, of a text that is only written again: 50 events of 64 KiB that are all empty lists."""


class TooMuch(NotJson):
    """It may be JSON, but more of it than is read here."""


T = TypeVar("T")
Slices = Generator[None, None, T]
Load = Callable[[bytes], Any]

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_FLAT = rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+'
_TOKENS = rb'(?:[^"\[\]{},]++|' + _STRING + rb"|\[" + _FLAT + rb"\]|\{" + _FLAT + rb"\})*+"
# Whole entries with their commas, what begins the next one, and the bracket that it goes on with.
_ENTRIES: Final = re.compile(rb"((?:" + _TOKENS + rb",)*+)(" + _TOKENS + rb")([\[\]{}]?)", re.DOTALL)
_LONG_STRING: Final = re.compile(_STRING, re.DOTALL)
_BLANK: Final = re.compile(rb"[ \t\r\n]*+")
_CLOSING: Final = {b"[": b"]", b"{": b"}"}


class _Builder(Protocol):
    """Puts together what the pieces are."""

    def open(self, is_object: bool) -> Any: ...

    def add(self, built: Any, parsed: Any) -> None:
        """Entries of a list, or members of an object."""

    def attach(self, built: Any, name: str | None, child: Any) -> None: ...

    def close(self, built: Any) -> Any: ...


class _Values:
    def open(self, is_object: bool) -> Any:
        return {} if is_object else []

    def add(self, built: Any, parsed: Any) -> None:
        if isinstance(built, dict):
            built.update(parsed)
        else:
            built += parsed

    def attach(self, built: Any, name: str | None, child: Any) -> None:
        if name is None:
            built.append(child)
        else:
            built[name] = child

    def close(self, built: Any) -> Any:
        return built


class _Canonical:
    """Canonical JSON of entries, or of members by name."""

    def open(self, is_object: bool) -> Any:
        return {} if is_object else []

    def add(self, built: Any, parsed: Any) -> None:
        if isinstance(built, dict):
            for name, value in parsed.items():
                is_text = type(value) is str
                built[name] = orjson.dumps(value) if is_text else encode_canonical_json(value, strict=False)
            if len(built) > MEMBERS_MAX:
                raise TooMuch(f"an object has more than {MEMBERS_MAX} members")
        else:
            built.append(encode_canonical_json(parsed, strict=False)[1:-1])

    def attach(self, built: Any, name: str | None, child: Any) -> None:
        if name is None:
            built.append(child)
        else:
            built[name] = child

    def close(self, built: Any) -> bytes:
        if isinstance(built, dict):
            return b"{" + b",".join(orjson.dumps(name) + b":" + built[name] for name in sorted(built)) + b"}"
        return b"[" + b",".join(built) + b"]"


def parse_in_slices(text: bytes, *, load: Load = load_json) -> Slices[Any]:
    """The list or object that a text is.

    :param load: parses a piece; raises ``NotJson``.
    Raises ``NotJson`` for what is none, is nested too deeply, ``TooMuch`` for too many values or too long ones.
    """
    return _Reading(text, _Values(), load, commas_left=VALUES_MAX, brackets_left=CONTAINERS_MAX).read()


def encode_in_slices(text: bytes) -> Slices[bytes]:
    """The canonical JSON of the list or object that a text is. Raises ``Malformed`` as above and for what has none."""
    left = ENCODED_VALUES_MAX
    return _Reading(text, _Canonical(), load_json, commas_left=left, brackets_left=left).read()


@dataclass(slots=True)
class _Open:
    """A list or object whose end is still to come."""

    start: int
    run: int
    """Where the entries begin that are not parsed yet."""
    entry: int
    """Where the last entry begins."""
    is_object: bool
    built: Any = None
    """None as long as it may turn out to be short."""
    name: str | None = None
    """Under which it stands in the object around it."""
    follows_comma: bool = False
    """Does a comma stand before ``run``?"""
    is_over: bool = False
    """Must its end come next?"""


class _Reading:
    def __init__(self, text: bytes, builder: _Builder, load: Load, *, commas_left: int, brackets_left: int) -> None:
        self._text = text
        self._builder = builder
        self._load = load
        self._commas_left = commas_left
        self._brackets_left = brackets_left
        self._stack: list[_Open] = []

    def read(self) -> Slices[Any]:
        text, stack = self._text, self._stack
        at = self._skip_blank(0)
        self._push(at)
        yield from self._open_all()
        at, rested, brackets = at + 1, at, 0
        while True:
            if at - rested > PIECE_BYTES or brackets >= BRACKETS_AT_ONCE:
                rested, brackets = at, 0
                yield
            top = stack[-1]
            match = _ENTRIES.match(text, at, at + 2 * PIECE_BYTES)
            assert match is not None, "it matches nothing at least"
            if match.end(1) > at:
                top.entry = match.end(1)
            if top.is_over and match.end(2) > at:
                raise NotJson("a comma is missing")
            before, at = at, match.end(2)
            if at - top.run > PIECE_BYTES and top.entry > top.run:
                yield from self._cut()
            if at - top.entry > ENTRY_BYTES_MAX:
                raise TooMuch(f"a value is longer than {ENTRY_BYTES_MAX} bytes")
            bracket = match[3]
            if not bracket:
                if at == before:
                    at = self._skip_long_string(at)
                continue
            at, brackets = at + 1, brackets + 1
            if bracket in _CLOSING:
                self._push(at - 1)
                continue
            if (bracket == b"}") != top.is_object:
                raise NotJson("brackets do not match")
            if top.built is None and at - top.start > PIECE_BYTES:
                yield from self._open_all()
            stack.pop()
            if top.built is not None:
                self._add(top, at - 1, may_be_none=not top.follows_comma)
                value = self._builder.close(top.built)
                yield
                if not stack:
                    if self._skip_blank(at) != len(text):
                        raise NotJson("the text goes on after its end")
                    return value
                at = self._attach(stack[-1], top.name, value, at)

    def _push(self, at: int) -> None:
        bracket = self._text[at : at + 1]
        if bracket not in _CLOSING:
            raise NotJson("neither a list nor an object")
        if self._stack and self._stack[-1].is_over:
            raise NotJson("a comma is missing")
        # A flat one in the innermost is not seen here.
        if len(self._stack) >= JSON_DEPTH_MAX - 1:
            raise NotJson(f"JSON must not be nested deeper than {JSON_DEPTH_MAX} levels")
        self._stack.append(_Open(at, at + 1, at + 1, bracket == b"{"))

    def _open_all(self) -> Slices[None]:
        """Put together all on the stack from now on."""
        for parent, child in zip([None, *self._stack], self._stack, strict=False):
            if child.built is not None:
                continue
            if parent is not None:
                if parent.entry > parent.run:
                    self._add(parent, parent.entry - 1, may_be_none=False)
                    yield
                child.name = self._read_name(parent, child)
            child.built = self._builder.open(child.is_object)

    def _cut(self) -> Slices[None]:
        """Parse the whole entries of the innermost."""
        yield from self._open_all()
        top = self._stack[-1]
        self._add(top, top.entry - 1, may_be_none=False)
        top.run, top.follows_comma = top.entry, True
        yield

    def _add(self, parent: _Open, end: int, *, may_be_none: bool) -> None:
        piece = self._text[parent.run : end]
        self._commas_left -= piece.count(b",") + 1
        self._brackets_left -= piece.count(b"[") + piece.count(b"{") + 1
        if self._commas_left < 0 or self._brackets_left < 0:
            raise TooMuch("there are too many values")
        parsed = self._load(b"{" + piece + b"}" if parent.is_object else b"[" + piece + b"]")
        if parsed:
            self._builder.add(parent.built, parsed)
        elif not may_be_none:
            raise NotJson("a value is missing")

    def _read_name(self, parent: _Open, child: _Open) -> str | None:
        """What stands before a list or object in the one around it."""
        before = self._text[parent.entry : child.start]
        if not parent.is_object:
            if before.strip():
                raise NotJson("a comma is missing")
            return None
        named = self._load(b"{" + before + b"null}")
        if not named:
            raise NotJson("a member has no name")
        [name] = named
        assert isinstance(name, str), "members have names"
        return name

    def _attach(self, parent: _Open, name: str | None, value: Any, at: int) -> int:
        """Where the text goes on."""
        self._builder.attach(parent.built, name, value)
        at = self._skip_blank(at)
        parent.follows_comma = self._text[at : at + 1] == b","
        parent.is_over = not parent.follows_comma
        parent.run = parent.entry = at + parent.follows_comma
        return parent.run

    def _skip_blank(self, at: int) -> int:
        match = _BLANK.match(self._text, at)
        assert match is not None, "it matches nothing at least"
        return match.end()

    def _skip_long_string(self, at: int) -> int:
        match = _LONG_STRING.match(self._text, at, at + ENTRY_BYTES_MAX)
        if match is None:
            if len(self._text) - at > ENTRY_BYTES_MAX:
                raise TooMuch(f"a string is longer than {ENTRY_BYTES_MAX} bytes")
            raise NotJson("the text ends too early")
        return match.end()
