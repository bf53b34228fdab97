"""An LMDB file that is looked at and copied, whether or not a server writes to it meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lmdb

from kvschema.engine.lmdb import READERS_MAX, LmdbReader
from kvschema.engine.pages import Damaged, Meta, read_metas, walk_pages
from kvschema.errors import StorageFailed

ROOM_BYTES = 1 << 20
"""Enough for a few rows and the list of the pages that it frees."""
_ATTEMPTS_MAX = 100
"""A busy server replaces both meta pages within a millisecond or two; reading one of them takes a tenth of that."""


class FileReader(LmdbReader):
    """One transaction, which stays as it is however long it is looked at. Made by ``open_file``.

    While it is open beside a server, the file grows by everything that the server writes.
    """

    __slots__ = ("_path", "meta")

    meta: Meta
    """The meta page that the transaction began with."""

    def __init__(self, environment: lmdb.Environment, path: Path) -> None:
        super().__init__(environment, {})
        self._path = path

    def check_pages(self, on_pages: Callable[[int, int], None]) -> Iterator[str]:
        """See ``pages.walk_pages``. Nothing else may be read from a file that has not passed."""
        return walk_pages(self._path, self.meta, on_pages)

    def open_trees(self, names: Sequence[str]) -> None:
        """Make the trees readable; one that the file does not have is empty. Raises ``StorageFailed``."""
        for name in names:
            try:
                self._trees[name] = self._env.open_db(name.encode(), txn=self._transaction, create=False)
            except lmdb.NotFoundError:
                continue
            except lmdb.Error as error:
                raise StorageFailed(f"the database is damaged: {error}") from error

    @property
    def used_bytes(self) -> int:
        """What the transaction takes without free pages, and so what a copy of it takes."""
        records = [self._transaction.stat(tree) for tree in self._trees.values()]
        named = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in records)
        return int(named + self.meta.main.pages + 2) * self.meta.page_bytes

    def copy_to(self, descriptor: int) -> None:
        """Write the transaction, without free pages, to an empty file. Raises ``StorageFailed``."""
        try:
            self._env.copyfd(descriptor, compact=True, txn=self._transaction)
        except lmdb.Error as error:
            raise StorageFailed(f"the database could not be copied: {error}") from error

    def get(self, tree: str, key: bytes, /) -> bytes | None:
        """See ``Reader``."""
        return super().get(tree, key) if tree in self._trees else None

    def count(self, tree: str, /) -> int:
        """See ``Reader``."""
        return super().count(tree) if tree in self._trees else 0

    def scan(
        self, tree: str, prefix: bytes, start: bytes, stop: bytes, reverse: bool, /
    ) -> Iterator[tuple[bytes, bytes]]:
        """See ``Reader``."""
        return super().scan(tree, prefix, start, stop, reverse) if tree in self._trees else iter(())


def put_rows(path: Path, tree: str, rows: Mapping[bytes, bytes]) -> None:
    """Write a few rows to a file that nobody else has open. It is on disk on return. Raises ``StorageFailed``."""
    try:
        environment = lmdb.open(
            str(path),
            subdir=False,
            lock=False,
            create=False,
            max_dbs=1,
            map_size=path.stat().st_size + ROOM_BYTES,
        )
        try:
            with environment.begin(write=True) as transaction:
                database = environment.open_db(tree.encode(), txn=transaction)
                for key, value in rows.items():
                    transaction.put(key, value, db=database)
        finally:
            environment.close()
    except lmdb.Error as error:
        raise StorageFailed(f"{path} could not be written: {error}") from error


@contextmanager
def open_file(path: Path, *, trees_max: int, is_shared: bool) -> Iterator[FileReader]:
    """The newest transaction of the file.

    :param is_shared: a server may write to it meanwhile, and is to leave the transaction's pages alone. Otherwise no
        lock file is made, and nobody may write.

    Raises ``Damaged`` where this is no file of LMDB's, ``OSError`` and ``StorageFailed`` where it cannot be read.
    """
    with ExitStack() as stack:
        reader = None
        for _ in range(_ATTEMPTS_MAX):
            read_metas(path)
            attempt = stack.enter_context(ExitStack())
            reader = _begin(attempt, path, trees_max, is_shared=is_shared)
            if reader is not None:
                break
            attempt.close()
        if reader is None:
            raise StorageFailed(f"{path} changes too fast to be read")
        yield reader


def _begin(stack: ExitStack, path: Path, trees_max: int, *, is_shared: bool) -> FileReader | None:
    """None where the server was quicker."""
    try:
        environment = lmdb.open(
            # The lock file beside it must be the server's.
            str(path.parent if is_shared else path),
            subdir=is_shared,
            readonly=True,
            lock=is_shared,
            create=False,
            max_dbs=trees_max,
            # Read-only, a map may be larger than the file: the server may make that larger meanwhile.
            map_size=2 * path.stat().st_size,
            max_readers=READERS_MAX,
        )
        stack.callback(environment.close)
        reader = FileReader(environment, path)
        stack.enter_context(reader)
    except lmdb.MapResizedError:
        return None
    except (lmdb.InvalidError, lmdb.VersionMismatchError) as error:
        raise Damaged(f"this is no database that this program can read ({error})") from error
    except lmdb.Error as error:
        raise StorageFailed(f"{path} could not be opened: {error}") from error
    metas = [meta for meta in read_metas(path) if meta.transaction == reader.version]
    if not metas:
        return None
    reader.meta = metas[0]
    return reader
