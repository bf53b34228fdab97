"""Tells a database file from its copies, before anything is read from it.

Beside the file lies an empty one, the *marker*. Its name says which file is meant (file system, inode and generation),
and has a *mark* of random digits that the stamp of the file repeats. A copy of the directory has a marker that means
another file. A file that was put into the place of another has a stamp with another mark, or, where the marker was
copied along and into the same directory, there are two. That last case is why the mark changes: at every start and
every stop, and now and then between, so what was copied earlier has an earlier one.

A new mark is in the stamp, and on disk, before the new marker appears and the old one goes, and the stamp keeps the
mark before it: whenever the power fails, every marker is one that the stamp knows.

Not recognized: a copy made since the mark last changed that is written into the file itself, and the copy of a whole
disk. The first is what the file was an hour ago at the most; both have the identity of the original in every respect.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kvschema.engine.file_space import FULL, FileSpace, identify, sync_directory
from kvschema.engine.pages import Damaged, read_metas
from kvschema.engine.stamp import read_stamp

CHANGE_S = 3600
"""The mark changes so often at the most, and only if anything is written."""
_PREFIX = "own-"


def is_copy(data: Path) -> bool:
    """Is there a file that came here as a copy? Raises ``Damaged`` where it is none of LMDB's."""
    if not data.parent.exists():
        return False
    markers = [name.removeprefix(_PREFIX).rpartition("-") for name in _find_markers(data.parent)]
    if not data.exists() or data.stat().st_size == 0:
        if markers:
            # There is a marker only beside a file that had something in it.
            what = "empty" if data.exists() else "missing"
            raise Damaged(f"it is {what}: whatever copied it was interrupted, perhaps by a full disk")
        return False
    with data.open("rb") as file:
        identity, stamp = identify(file.fileno()), read_stamp(file.fileno())
    # A power cut can leave a file that has grown without its stamp.
    known = {mark for _, _, mark in markers} if stamp is None else {stamp.mark, stamp.mark_before}
    if markers and all(meant == identity and mark in known for meant, _, mark in markers):
        return False
    # Whoever dies while making the file leaves one with nothing in it.
    return max(meta.transaction for meta in read_metas(data)) > 0


def _find_markers(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.startswith(_PREFIX)]


def adopt_marks(directory: Path, space: FileSpace) -> None:
    """An own file that lost its stamp in a power cut is to have one again that knows the markers."""
    marks = [name.rpartition("-")[2] for name in _find_markers(directory)]
    if not space.stamp.mark and marks:
        space.stamp = replace(space.stamp, mark=marks[0], mark_before=marks[-1])


def claim(data: Path, mark: str) -> None:
    """Make a file that has a stamp, and that nobody has open, the own one of the directory in which it lies."""
    space = FileSpace(data, 0)
    try:
        Ownership(data.parent, space, is_own=True, random_mark=lambda: mark, clock=lambda: 0.0)
    finally:
        space.close()


class Ownership:
    """Keeps marker and stamp of one file. Used by one thread at a time."""

    def __init__(
        self,
        directory: Path,
        space: FileSpace,
        *,
        is_own: bool,
        random_mark: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._space = space
        self._random_mark = random_mark
        self._clock = clock
        self._changed_s = clock()
        self.is_own = is_own
        """Otherwise it stays a copy, until it is made somebody's own."""
        if is_own:
            self.change()

    def change(self) -> None:
        """A new mark. The file is nobody's copy any more. Without room for another marker everything stays."""
        self._changed_s = self._clock()
        stamp, mark = self._space.stamp, self._random_mark()
        is_known = self._name(stamp.mark) in _find_markers(self._directory)
        before = stamp.mark if is_known else stamp.mark_before
        self._remove_markers(besides=before)
        self._space.write_stamp(replace(stamp, mark=mark, mark_before=before))
        self._space.sync()
        try:
            os.close(os.open(self._directory / self._name(mark), os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            if error.errno not in (*FULL, errno.EMFILE, errno.ENFILE):
                raise
            self._space.write_stamp(stamp)
            return
        sync_directory(self._directory)
        self._remove_markers(besides=mark)
        self.is_own = True

    def _name(self, mark: str) -> str:
        return f"{_PREFIX}{self._space.identity}-{mark}"

    def _remove_markers(self, *, besides: str) -> None:
        others = [name for name in _find_markers(self._directory) if name != self._name(besides)]
        for name in others:
            os.unlink(self._directory / name)
        if others:
            sync_directory(self._directory)

    def change_if_due(self) -> None:
        """Before each write."""
        if self.is_own and self._clock() >= self._changed_s + CHANGE_S:
            self.change()
