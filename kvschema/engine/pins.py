"""Pins: readers that look at nothing, so that LMDB leaves alone what a copier may still have to read.

A pin is a read transaction. One is opened every now and then by whoever writes, before a transaction: without writes
nothing needs a new one. The oldest is let go when the next has been held for ``seconds``, so whoever begins a copy at
any time has at least that long before the floor (``kvschema.engine.stamp``) rises above what they copy. When the map is
full of pages that are only kept for copies, and they are more than ``growth_bytes``, it is let go earlier, and so it is
when the disk is full. Those in between cost nothing: they are steps by which the floor can rise no more than it must.

A pin must outlive a larger memory map, and the binding ends every transaction before it replaces the map. LMDB itself
does not look at an idle reader then: all that makes a pin is the number of a transaction in this process's row of the
table of readers, which lies in the lock file for every process to see. So when the map was replaced, new transactions
are begun and their rows are given the numbers of the old ones, before anybody can write. The row is recognized by this
process's id and the number of the current transaction; where none is found, LMDB was built with another table, the pins
are lost, and the floor is raised accordingly.

Decisions:

- Rows are written through the lock file. A second process with the same transactions would do it with public means
  only, for 10 MB of memory and everything that can go wrong with a process. What would change our mind: a version of
  LMDB with another table of readers.
- The lock file stays open as long as the environment: closing any descriptor of it would lose the locks by which LMDB
  knows that this process lives.
- What is bounded is the space that nothing but copies needs, and not how far the file has grown since: a file that has
  grown once uses the same space again and again, and would grow once more each time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kvschema.engine.file_space import FileSpace

STEPS = 8
"""Into which ``seconds`` are divided: a pin is held by so much longer than it must."""
STEP_TRANSACTIONS = 64
"""A pin is opened after so many transactions at the latest: tens of megabytes."""
PINS_MAX = 32
_ROW = struct.Struct("=QI52x")
"""The number of a transaction and the id of a process. Each row takes a line of the processor's cache."""
_NUMBER = struct.Struct("=Q")
_IDLE = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class CopyPromise:
    """What may be counted on by whoever copies the file while it is written to."""

    seconds: float
    """A copy that takes no longer than this is whole, (0: nothing is promised)"""
    growth_bytes: int
    """if no more than so many bytes of pages are replaced meanwhile, and the disk has room for them."""
    clock: Callable[[], float]
    """In seconds, from any beginning."""
    random_mark: Callable[[], str]
    """``MARK_CHARS`` digits, different each time."""
    on_cut: Callable[[str, float], None] = lambda why, seconds: None
    """Told, in the writer's thread, when a pin is let go early: why, and how long copies may take that stay whole."""


@dataclass(slots=True)
class _Pin:
    transaction: Any
    version: int
    opened_s: float


class Pins:
    """The pins of one environment. Used by one thread at a time."""

    def __init__(self, promise: CopyPromise, begin: Callable[[], Any], space: FileSpace, lock_file: Path) -> None:
        """``begin`` opens a read transaction."""
        self._promise = promise
        self._begin = begin
        self._space = space
        self._table = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC)
        self._held: list[_Pin] = []
        """Oldest first. Invariant: the floor in the stamp is that of the first."""
        self._open()
        self._raise_floor()

    def open_if_due(self, version: int) -> None:
        """Before each write, with the number of the transaction that landed last."""
        newest, now_s = self._held[-1], self._promise.clock()
        is_late = now_s >= newest.opened_s + self._promise.seconds / STEPS
        if not is_late and version < newest.version + STEP_TRANSACTIONS:
            return
        self._open()
        over = [pin for pin in self._held[1:] if pin.opened_s + self._promise.seconds <= now_s]
        if over:
            self._let_go(len(over))
        if len(self._held) > PINS_MAX:
            # Every other one of those in between.
            for pin in self._held[1:-1:2]:
                pin.transaction.abort()
            self._held[1:-1] = self._held[2:-1:2]

    def may_take(self, kept_bytes: int, more_bytes: int) -> bool:
        """May the file become longer by so much, where so much of it is in no tree?"""
        return kept_bytes < self._promise.growth_bytes and more_bytes <= self._space.free_bytes() // 4

    def let_go(self, why: str, *, everything: bool = False) -> bool:
        """Let go of the oldest, or of everything but what is there now. False where that frees nothing."""
        self._open()
        if self._held[0].version == self._held[-1].version:
            return False
        count = len(self._held) - 1 if everything else 1
        lasted_s = self._promise.clock() - self._held[count].opened_s
        if lasted_s < self._promise.seconds:
            self._promise.on_cut(why, lasted_s)
        self._let_go(count)
        return True

    def _open(self) -> None:
        """Have the last one be of the current transaction."""
        now_s = self._promise.clock()
        transaction = self._begin()
        version = int(transaction.id())
        if self._held and self._held[-1].version == version:
            transaction.abort()
            self._held[-1].opened_s = now_s
        else:
            self._held.append(_Pin(transaction, version, now_s))

    def _let_go(self, count: int) -> None:
        gone = self._held[:count]
        del self._held[:count]
        self._raise_floor()
        for pin in gone:
            pin.transaction.abort()

    def _raise_floor(self) -> None:
        self._space.write_stamp(replace(self._space.stamp, floor=self._held[0].version))

    def hold_again(self) -> None:
        """After the map was replaced, which has ended the transactions. Nothing may have been written since."""
        for pin in self._held:
            before = self._find_rows()
            pin.transaction = self._begin()
            current = int(pin.transaction.id())
            if current == pin.version:
                continue
            mine = self._find_rows() - before
            if mine != {(row, current) for row, _ in mine} or len(mine) != 1:
                # LMDB has another table than the one we know.
                pin.version = current
                self._held = [pin]
                self._raise_floor()
                self._promise.on_cut("the memory map was replaced", 0)
                return
            ((row, _),) = mine
            os.pwrite(self._table, _NUMBER.pack(pin.version), row)

    def _find_rows(self) -> set[tuple[int, int]]:
        """Where rows of this process are in the table, each with the transaction that is read."""
        table, process = os.pread(self._table, os.fstat(self._table).st_size, 0), os.getpid()
        rows = _ROW.iter_unpack(table[: len(table) - len(table) % _ROW.size])
        return {
            (index * _ROW.size, version)
            for index, (version, owner) in enumerate(rows)
            if owner == process and version != _IDLE
        }

    def end(self) -> None:
        """Let go of everything, when nothing will be written any more: copies that are being made stay whole."""
        for pin in self._held:
            pin.transaction.abort()
        self._held.clear()

    def close(self) -> None:
        """Let go of the lock file. After the environment was closed, see above."""
        os.close(self._table)
