"""A tree is a name, a key codec and a value codec: one constant per tree, nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from kvschema.codec import KEY_BYTES_MAX, Key, KeyTooLong, Value, may_read

K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")


class Reader(Protocol):
    """Raw reads that a snapshot offers; engines implement it."""

    @property
    def version(self) -> int:
        """Two snapshots of the same version show the same rows. It rises whenever anything lands."""

    def get(self, tree: str, key: bytes, /) -> bytes | None:
        """The value under ``key``, or None."""

    def scan(
        self, tree: str, prefix: bytes, start: bytes, stop: bytes, reverse: bool, /
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key starts with ``prefix``, lies past ``start`` and not past ``stop``, in key order.

        An empty ``start`` or ``stop`` is no bound. ``start`` is exclusive and ``stop`` inclusive, in the
        direction of the scan: with ``reverse`` keys fall, and ``start`` is an upper bound.
        """

    def count(self, tree: str, /) -> int:
        """Number of rows of the whole tree."""


@dataclass(frozen=True, eq=False)
class Tree(Generic[K, V]):
    """One ordered map of the store."""

    name: str
    key: Key[K]
    value: Value[V]
    since: int
    """Schema version that introduced the tree."""
    doc: str
    bound: str
    """What keeps the number of rows from growing for ever: a stated bound or the rule that prunes them."""
    derived: str = ""
    """Where every row can be recomputed from, empty for a source of truth."""
    append: bool = False
    """Keys are mostly handed out in rising order, so the engine may fill pages to the brim."""

    _encode: Callable[[K], bytes] = field(init=False, repr=False)
    _decode: Callable[[bytes], V] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_encode", self.key.encode)
        object.__setattr__(self, "_decode", self.value.decode)
        assert self.key.bytes_max <= KEY_BYTES_MAX, f"{self.name}: key may exceed {KEY_BYTES_MAX} bytes"

    @property
    def spec(self) -> str:
        """Both codecs in words. Stored beside the data and compared at open."""
        return f"({self.key.spec}) -> {self.value.spec}"

    def may_read(self, spec: str) -> bool:
        """Can rows of a tree with the stored ``spec`` be read by this one?"""
        key, _, value = spec.partition(" -> ")
        return key == f"({self.key.spec})" and may_read(value, self.value.spec)

    def get(self, reader: Reader, key: K) -> V | None:
        """The value under ``key``, or None. The key may be given as a plain tuple."""
        try:
            raw_key = self._encode(key)
        except KeyTooLong:
            return None
        raw = reader.get(self.name, raw_key)
        return None if raw is None else self._decode(raw)

    def has(self, reader: Reader, key: K) -> bool:
        """Is there a row? Its value is not decoded."""
        try:
            return reader.get(self.name, self._encode(key)) is not None
        except KeyTooLong:
            return False

    def scan(
        self, reader: Reader, *leading: Any, after: K | None = None, until: K | None = None, reverse: bool = False
    ) -> Iterator[tuple[K, V]]:
        """Rows whose key starts with ``leading``, in key order: strictly past ``after``, up to ``until`` inclusive.

        With ``reverse`` the direction turns, and ``after`` is then the (exclusive) upper bound.
        """
        decode_key, decode = self.key.decode, self.value.decode
        for raw_key, raw in self._rows(reader, leading, after, until, reverse):
            yield decode_key(raw_key), decode(raw)

    def scan_keys(
        self, reader: Reader, *leading: Any, after: K | None = None, until: K | None = None, reverse: bool = False
    ) -> Iterator[K]:
        """Like ``scan`` without decoding values."""
        decode_key = self.key.decode
        for raw_key, _ in self._rows(reader, leading, after, until, reverse):
            yield decode_key(raw_key)

    def count_values(self, reader: Reader, *leading: Any) -> dict[V, int]:
        """How many rows whose key starts with ``leading`` have which value. Equal values are decoded once."""
        rows = self._rows(reader, leading, None, None, False)
        return {self._decode(raw): number for raw, number in Counter(raw for _, raw in rows).items()}

    def _rows(
        self, reader: Reader, leading: tuple[Any, ...], after: K | None, until: K | None, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        try:
            prefix = self.key.prefixes[len(leading)](leading)
        except KeyTooLong:
            return iter(())
        start = b"" if after is None else self.key.encode(after)
        stop = b"" if until is None else self.key.encode(until)
        return reader.scan(self.name, prefix, start, stop, reverse)
