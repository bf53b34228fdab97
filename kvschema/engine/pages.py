"""Walks the pages of an LMDB file without LMDB, which ends the process where a page is damaged.

Knows the format of LMDB 0.9 on 64-bit little-endian machines, without trees that hold duplicates (we have none). Pages
are numbered from 0; the first two are *meta pages*, of which the one with the higher transaction counts. It leads to
the tree of free pages and to the main tree, whose values are the roots of the named trees. Pages of a tree are branches
and leaves, each an array of offsets to *nodes*; a value too large for a leaf lies in a run of overflow pages.

Whatever LMDB believes without looking is checked: page numbers, kinds, offsets, order and limits of keys, counts, that
no page is used twice, and that none is both used and free. Of the overflow pages only the first header is read: what
they hold is not LMDB's business, and large events cost next to no time. After a walk without a problem no read of the
same transaction can crash, nor can a write find a page to be free that is not.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER_BYTES = 16
_NODE_BYTES = 8
_TREE_BYTES = 48
_META = struct.Struct("<II16x48s48sQQ")
_META_BYTES = HEADER_BYTES + _META.size
_TREE = struct.Struct("<IHHQQQQQ")
_HEADER = struct.Struct("<QHHHH")
_OVERFLOW = struct.Struct("<QHHI")
_NODE = struct.Struct("<HHHH")
_U64 = struct.Struct("<Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW_PAGE, _META_PAGE = 1, 2, 4, 8
_PASSING = 0xC010
"""Marks that pages have in memory and may keep on disk: they say nothing there."""
_IS_LARGE, _IS_TREE = 1, 2
_INTEGER_KEYS = 8
_NOWHERE = (1 << 64) - 1
_DEPTH_MAX = 32
_PAGE_BYTES = tuple(1 << bits for bits in range(9, 16))
_FREE, _USED = 1, 2
PAGES_PER_STEP = 1024
"""Progress is told once in so many pages."""


class Damaged(Exception):
    """What is wrong with the file, in a sentence."""


@dataclass(frozen=True, slots=True)
class TreeRecord:
    """What is noted about one tree."""

    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int

    @property
    def pages(self) -> int:
        return self.branches + self.leaves + self.overflows


@dataclass(frozen=True, slots=True)
class Meta:
    """One meta page."""

    page_bytes: int
    last_page: int
    transaction: int
    free: TreeRecord
    main: TreeRecord


def read_metas(path: Path) -> tuple[Meta, Meta]:
    """Both meta pages. Raises ``Damaged`` where this is no file of LMDB's."""
    with path.open("rb") as file:
        first = _read_meta(file.read(_META_BYTES), 0)
        file.seek(first.page_bytes)
        second = _read_meta(file.read(_META_BYTES), 1)
    if first.page_bytes != second.page_bytes:
        raise Damaged("the meta pages name different page sizes")
    return first, second


def _read_meta(raw: bytes, number: int) -> Meta:
    if len(raw) < _META_BYTES:
        raise Damaged("the file ends before its meta pages")
    page, _, flags, _, _ = _HEADER.unpack_from(raw)
    magic, version, free, main, last_page, transaction = _META.unpack_from(raw, HEADER_BYTES)
    if magic != _MAGIC or page != number or flags & ~_PASSING != _META_PAGE:
        raise Damaged(f"meta page {number} is not one")
    if version != _VERSION:
        raise Damaged(f"the file has version {version} of LMDB's format, and {_VERSION} is known")
    page_bytes = _TREE.unpack(free)[0]
    if page_bytes not in _PAGE_BYTES:
        raise Damaged(f"meta page {number} names a page size of {page_bytes} bytes")
    return Meta(page_bytes, last_page, transaction, _read_tree(free), _read_tree(main))


def _read_tree(raw: bytes) -> TreeRecord:
    return TreeRecord(*_TREE.unpack(raw)[1:])


def walk_pages(
    path: Path, meta: Meta, on_pages: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[str]:
    """One sentence for each thing that is wrong with the pages that ``meta`` leads to; nothing for a healthy file.

    The file may be written to meanwhile as long as LMDB knows of a reader of the transaction.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        pages = len(data) // meta.page_bytes
        if meta.last_page >= pages:
            yield f"the file has {pages} pages, and page {meta.last_page} is used: its end is missing"
            return
        yield from _Walk(data, meta, on_pages).run()


class _Walk:
    """One walk: remembers which pages it has come by."""

    def __init__(self, data: mmap.mmap, meta: Meta, on_pages: Callable[[int, int], None]) -> None:
        self._data = data
        self._meta = meta
        self._size = meta.page_bytes
        self._marks = bytearray(meta.last_page + 1)
        self._marks[:2] = bytes((_USED, _USED))
        self._on_pages = on_pages
        self._done = 0

    def run(self) -> Iterator[str]:
        found: list[tuple[str, TreeRecord]] = []
        yield from self._check_tree("the list of free pages", self._meta.free, _number, self._note_free)
        yield from self._check_tree(
            "the list of trees",
            self._meta.main,
            bytes,
            lambda key, raw: found.append(("tree " + key.decode(errors="replace"), _tree_in(raw))),
        )
        for name, record in found:
            yield from self._check_tree(name, record, bytes, None)

    def _check_tree(
        self,
        name: str,
        record: TreeRecord,
        rank: Callable[[Any], Any],
        on_row: Callable[[bytes, bytes], None] | None,
    ) -> Iterator[str]:
        """``on_row`` is given the values of trees whose values LMDB itself reads."""
        flags = _INTEGER_KEYS if rank is _number else 0
        if record.flags & 0xFF != flags:
            yield f"{name}: is of another kind ({record.flags:#x})"
            return
        if record.root == _NOWHERE:
            if record != TreeRecord(record.flags, 0, 0, 0, 0, 0, _NOWHERE):
                yield f"{name}: has no pages, and counts some"
            return
        counts = [0, 0, 0, 0]
        # Page, its distance from the leaves, and the limits of its keys.
        waiting: list[tuple[int, int, Any, Any]] = [(record.root, record.depth - 1, None, None)]
        if not 1 <= record.depth <= _DEPTH_MAX:
            yield f"{name}: has a depth of {record.depth}"
            return
        while waiting:
            number, height, low, high = waiting.pop()
            try:
                self._take(number, 1)
                if height:
                    waiting.extend(reversed(self._read_branch(number, height, low, high, rank)))
                    counts[0] += 1
                else:
                    self._read_leaf(number, low, high, rank, counts, on_row)
            except Damaged as damage:
                yield f"{name}: {damage}"
        if counts != [record.branches, record.leaves, record.overflows, record.entries]:
            noted = f"{record.branches}, {record.leaves}, {record.overflows} and {record.entries}"
            yield (
                f"{name}: has {counts[0]} branches, {counts[1]} leaves, {counts[2]} overflow pages and {counts[3]} rows"
                f" where {noted} are noted"
            )

    def _take(self, number: int, count: int) -> None:
        """Note that pages are used. Each may be so once."""
        if not 2 <= number <= number + count - 1 <= self._meta.last_page:
            raise Damaged(f"leads to page {number}, and the last is {self._meta.last_page}")
        for page in range(number, number + count):
            if self._marks[page]:
                state = "free as well" if self._marks[page] == _FREE else "used twice"
                raise Damaged(f"page {page} is {state}")
            self._marks[page] = _USED
        before, self._done = self._done, self._done + count
        if before // PAGES_PER_STEP != self._done // PAGES_PER_STEP:
            self._on_pages(self._done, self._meta.last_page)

    def _offsets(self, number: int, kind: int, rows_min: int) -> tuple[int, tuple[int, ...], int]:
        """Where a page begins, where its nodes begin, and the least of these."""
        start = number * self._size
        page, _, flags, lower, upper = _HEADER.unpack_from(self._data, start)
        if page != number:
            raise Damaged(f"page {number} says that it is page {page}")
        if flags & ~_PASSING != kind:
            raise Damaged(f"page {number} is of another kind ({flags:#x})")
        if not HEADER_BYTES <= lower <= upper <= self._size or lower % 2:
            raise Damaged(f"page {number} has limits that cannot be")
        count = (lower - HEADER_BYTES) // 2
        if count < rows_min:
            raise Damaged(f"page {number} has {count} nodes")
        offsets = struct.unpack_from(f"<{count}H", self._data, start + HEADER_BYTES)
        if min(offsets) < upper or max(offsets) > self._size - _NODE_BYTES:
            raise Damaged(f"page {number} has a node outside of itself")
        return start, offsets, upper

    def _read_branch(
        self, number: int, height: int, low: Any, high: Any, rank: Callable[[Any], Any]
    ) -> list[tuple[int, int, Any, Any]]:
        # LMDB ends the process at a branch with one node, except in the list of free pages.
        start, offsets, upper = self._offsets(number, _BRANCH, 1 if rank is _number else 2)
        children: list[int] = []
        keys: list[Any] = []
        taken = 0
        for offset in offsets:
            page_low, page_middle, page_high, key_bytes = _NODE.unpack_from(self._data, start + offset)
            end = offset + _NODE_BYTES + key_bytes
            if end > self._size:
                raise Damaged(f"page {number} has a node that ends behind it")
            children.append(page_low | page_middle << 16 | page_high << 32)
            # The first key stands for everything below the second, whatever it is.
            keys.append(rank(self._data[start + offset + _NODE_BYTES : start + end]) if keys else low)
            taken += end - offset + (end - offset) % 2
        self._check_keys(number, keys[1:], low, high)
        self._check_taken(number, taken, upper)
        return [
            (child, height - 1, below, above)
            for child, below, above in zip(children, keys, [*keys[1:], high], strict=True)
        ]

    def _read_leaf(
        self,
        number: int,
        low: Any,
        high: Any,
        rank: Callable[[Any], Any],
        counts: list[int],
        on_row: Callable[[bytes, bytes], None] | None,
    ) -> None:
        start, offsets, upper = self._offsets(number, _LEAF, 1)
        data, size, keys, taken = self._data, self._size, [], 0
        for offset in offsets:
            value_low, value_high, flags, key_bytes = _NODE.unpack_from(data, start + offset)
            value_bytes = value_low | value_high << 16
            key_end = offset + _NODE_BYTES + key_bytes
            end = key_end + (_U64.size if flags & _IS_LARGE else value_bytes)
            if end > size:
                raise Damaged(f"page {number} has a node that ends behind it")
            key = data[start + offset + _NODE_BYTES : start + key_end]
            keys.append(rank(key))
            taken += end - offset + (end - offset) % 2
            value_at = start + key_end
            if flags:
                if flags != (_IS_LARGE if flags & _IS_LARGE else _IS_TREE if on_row is not None else 0):
                    raise Damaged(f"page {number} has a node of another kind ({flags:#x})")
                if flags & _IS_LARGE:
                    value_at = self._read_overflow(_U64.unpack_from(data, value_at)[0], value_bytes, counts)
            if on_row is not None:
                on_row(key, data[value_at : value_at + value_bytes])
        counts[1] += 1
        counts[3] += len(keys)
        self._check_keys(number, keys, low, high)
        self._check_taken(number, taken, upper)

    def _read_overflow(self, number: int, value_bytes: int, counts: list[int]) -> int:
        """Returns where the value begins."""
        self._take(number, 1)
        page, _, flags, pages = _OVERFLOW.unpack_from(self._data, number * self._size)
        if page != number or flags & ~_PASSING != _OVERFLOW_PAGE:
            raise Damaged(f"page {number} is not the overflow page that it should be")
        # A value that was replaced by a shorter one within a transaction keeps its pages.
        if pages * self._size < HEADER_BYTES + value_bytes:
            raise Damaged(f"page {number} holds {pages} overflow pages, too few for {value_bytes} bytes")
        if pages > 1:
            self._take(number + 1, pages - 1)
        counts[2] += pages
        return number * self._size + HEADER_BYTES

    def _check_keys(self, number: int, keys: list[Any], low: Any, high: Any) -> None:
        previous = None
        for key in keys:
            if previous is not None and not previous < key:
                raise Damaged(f"page {number} has keys out of order")
            previous = key
        if keys and ((low is not None and keys[0] < low) or (high is not None and not keys[-1] < high)):
            raise Damaged(f"page {number} has keys that belong elsewhere")

    def _check_taken(self, number: int, taken: int, upper: int) -> None:
        if taken != self._size - upper:
            raise Damaged(f"page {number} has nodes that overlap")

    def _note_free(self, key: bytes, raw: bytes) -> None:
        if len(raw) < _U64.size or len(raw) % _U64.size:
            raise Damaged("a record is cut off")
        count, *pages = struct.unpack(f"<{len(raw) // _U64.size}Q", raw)
        if count > len(pages):
            raise Damaged("a record is cut off")
        above = self._meta.last_page + 1
        for page in pages[:count]:
            if not 2 <= page < above:
                raise Damaged(f"lists page {page} out of order, and the last is {self._meta.last_page}")
            if self._marks[page]:
                raise Damaged(f"page {page} is " + ("listed twice" if self._marks[page] == _FREE else "used as well"))
            self._marks[page] = _FREE
            above = page


def _number(key: bytes) -> int:
    if len(key) != _U64.size:
        raise Damaged(f"has a key of {len(key)} bytes")
    return int.from_bytes(key, "little")


def _tree_in(raw: bytes) -> TreeRecord:
    if len(raw) != _TREE_BYTES:
        raise Damaged("holds something that is no tree")
    return _read_tree(raw)
