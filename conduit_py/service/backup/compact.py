"""``compact``: gives back to the disk what deletions have freed in the database. The server does not run.

LMDB keeps free pages for later and its file never shrinks. So the rows are copied to a new file, which is compared with
the old one row by row and takes its place in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from conduit_py.service.backup.apart import run_apart
from conduit_py.service.backup.copying import copy_database, require_room, staging
from conduit_py.service.backup.marks import mark_as_copy, mark_as_original, require_whole
from conduit_py.service.backup.messages import Impossible, Progress, Tell, ignore
from conduit_py.service.backup.places import find_data_file, take_directory
from conduit_py.storage.database import DATA_FILE, DIRECTORY
from kvschema.catalog import CATALOG
from kvschema.engine.file_space import sync_directory
from kvschema.engine.lmdb import LOCK_FILE
from kvschema.engine.lmdb_file import FileReader, open_file
from kvschema.engine.ownership import is_copy
from kvschema.engine.pages import Damaged
from kvschema.engine.stamp import Torn
from kvschema.errors import StorageError

ROOM_BYTES: Final = 16 << 20
ROWS_PER_STEP: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What the database takes on the disk."""

    bytes_before: int
    bytes_after: int


async def compact(directory: Path, *, tell: Tell = ignore) -> Compacted:
    """Compact the database of a data directory that no server runs on, in another process.

    Raises ``Impossible`` with the reason; nothing has changed then.
    """
    return Compacted(**await run_apart(__name__, "run", {"directory": str(directory)}, tell))


def run(tell: Tell, *, directory: str) -> Mapping[str, Any]:
    """``compact``, in the process of its own."""
    target = Path(directory).resolve()
    data_file = target / DIRECTORY / DATA_FILE
    find_data_file(target)
    with (
        take_directory(target),
        staging(data_file.parent, "compact", ".unfinished", is_alone=True) as staging_directory,
    ):
        staged = staging_directory / DIRECTORY / DATA_FILE
        staged.parent.mkdir()
        try:
            require_whole(data_file)
            _copy(data_file, staged, tell)
        except (Damaged, Torn, StorageError) as error:
            raise Impossible(f"{error}; nothing was changed, and verify says more") from error
        bytes_before = data_file.stat().st_size
        was_copy = is_copy(data_file)
        mark_as_copy(staged)
        # Whoever still reads the old file keeps the lock file, with what it says of that.
        (data_file.parent / LOCK_FILE).unlink(missing_ok=True)
        staged.replace(data_file)
        if not was_copy:
            mark_as_original(data_file)
        sync_directory(data_file.parent)
    return {"bytes_before": bytes_before, "bytes_after": data_file.stat().st_size}


def _copy(data_file: Path, staged: Path, tell: Tell) -> None:
    trees = [tree.name for tree in CATALOG]
    with ExitStack() as stack:
        old = stack.enter_context(open_file(data_file, trees_max=len(trees) + 1, is_shared=False))
        _check_pages(old, tell)
        old.open_trees(trees)
        require_room(staged.parent, old.used_bytes + ROOM_BYTES)
        copy_database(old, staged, tell)
        new = stack.enter_context(open_file(staged, trees_max=len(trees) + 1, is_shared=False))
        _check_pages(new, tell)
        new.open_trees(trees)
        _compare(old, new, trees, lambda done, total: tell(Progress("rows", done, total)))


def _check_pages(reader: FileReader, tell: Tell) -> None:
    for problem in reader.check_pages(lambda done, total: tell(Progress("pages", done, total))):
        raise Damaged(f"the database is damaged: {problem}")


def _compare(old: FileReader, new: FileReader, trees: list[str], on_rows: Callable[[int, int], None]) -> None:
    total, done = sum(map(old.count, trees)), 0
    for tree in trees:
        for before, after in zip_longest(_rows(old, tree), _rows(new, tree)):
            if before != after:
                raise Damaged(f"the copy differs from the database in tree {tree}")
            done += 1
            if done % ROWS_PER_STEP == 0:
                on_rows(done, total)
    on_rows(total, total)


def _rows(reader: FileReader, tree: str) -> Iterator[tuple[bytes, bytes]]:
    return reader.scan(tree, b"", b"", b"", False)
