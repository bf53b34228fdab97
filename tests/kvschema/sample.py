"""A few trees to try engines on."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.batch import WriteBatch
from kvschema.codec import COUNT, RAW, TEXT, U8, U64, Key, Text
from kvschema.engine import Engine, Outcome
from kvschema.tree import Tree


class Place(NamedTuple):
    room: int
    pos: int


class Name(NamedTuple):
    name: str


class Byte(NamedTuple):
    left: int
    right: int


TIMELINE: Tree[Place, bytes] = Tree(
    "timeline", Key(Place, (U64(), U64())), RAW, since=1, doc="For tests.", bound="tests end", append=True
)
NAMED: Tree[Name, str] = Tree("named", Key(Name, (Text(),)), TEXT, since=1, doc="For tests.", bound="tests end")
COUNTS: Tree[Name, int] = Tree("counts", Key(Name, (Text(),)), COUNT, since=1, doc="For tests.", bound="tests end")
BYTES: Tree[Byte, bytes] = Tree("bytes", Key(Byte, (U8(), U8())), RAW, since=1, doc="For tests.", bound="tests end")

NAMES = ("timeline", "named", "counts", "bytes", "loose")
"""``loose`` is used with raw keys."""


def apply(engine: Engine, batch: WriteBatch) -> Outcome:
    (outcome,) = engine.apply([batch])
    return outcome


def land(engine: Engine, batch: WriteBatch) -> None:
    assert apply(engine, batch) is None


def rows(engine: Engine, tree: str) -> list[tuple[bytes, bytes]]:
    with engine.snapshot() as reader:
        return list(reader.scan(tree, b"", b"", b"", False))


def everything(engine: Engine) -> dict[str, list[tuple[bytes, bytes]]]:
    return {name: rows(engine, name) for name in NAMES}
