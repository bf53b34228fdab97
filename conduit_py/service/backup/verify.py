"""``verify``: is everything as it was written?

In this order, because each step may only look at what the one before has passed: the pages of the file, whose database
it is, the rows and how they agree (``conduit_py.data.consistency``), and the media files. Memory is bounded by the
largest room, and one byte for each page of the file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from conduit_py.config import DirectoryStructure
from conduit_py.data import media
from conduit_py.data.consistency import check_consistency
from conduit_py.service.backup.apart import run_apart
from conduit_py.service.backup.marks import require_whole
from conduit_py.service.backup.messages import Died, Finding, Impossible, Kind, Message, Progress, Tell, ignore
from conduit_py.service.backup.places import MEDIA, find_data_file, keep_out_servers, open_media
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Snapshot
from kvschema.catalog import CATALOG, PRODUCT, SCHEMA_VERSION, server
from kvschema.engine.lmdb_file import open_file
from kvschema.engine.pages import Damaged
from kvschema.engine.stamp import Torn
from kvschema.errors import SchemaMismatch, StorageError
from kvschema.migrate import check_catalog

FINDINGS_MAX: Final = 100
"""Of one kind: who has so many needs no more of them."""
TELL_S_MIN: Final = 0.1
"""Between two reports of progress."""


OLDER: Final = (
    f"the database has a schema before {SCHEMA_VERSION}: its pages are whole, and its rows can be verified when it was "
    "upgraded"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a directory is like. A server may run on it if there are no ``problems``."""

    problems: tuple[str, ...]
    """What is wrong with the database."""
    media: tuple[str, ...]
    """Media files that are missing or damaged: they are newer than the copy, were deleted, or the disk is bad."""
    notes: tuple[str, ...]


async def verify(
    directory: Path,
    *,
    media_path: Path | None = None,
    structure: DirectoryStructure | None = None,
    with_hashes: bool = False,
    tell: Tell = ignore,
) -> Report:
    """Verify a data directory, whether or not a server runs on it, a backup, or a snapshot, in another process.

    :param media_path: where the media files are; below the directory if it is not given.
    :param structure: see ``media.directory_structure``; found out if it is not given.
    :param with_hashes: read every media file as well, instead of trusting its size.
    :param tell: hears of progress, and of every finding as it is made.

    Raises ``Impossible`` where there is nothing to verify. A damaged database is in the report, whatever it did to the
    process that looked at it.
    """
    found: dict[Kind, list[str]] = {kind: [] for kind in Kind}

    def hear(message: Message) -> None:
        if isinstance(message, Finding):
            found[message.kind].append(message.text)
        tell(message)

    arguments = {
        "directory": str(directory),
        "media_path": None if media_path is None else str(media_path),
        "structure": None if structure is None else [structure.depth, structure.length],
        "with_hashes": with_hashes,
    }
    try:
        await run_apart(__name__, "run", arguments, hear)
    except Died as death:
        if death.is_killed:
            raise
        hear(Finding(Kind.PROBLEM, f"the database cannot be read to its end: the process that did {death.how}"))
    return Report(*(tuple(found[kind]) for kind in (Kind.PROBLEM, Kind.MEDIA, Kind.NOTE)))


def run(
    tell: Tell, *, directory: str, media_path: str | None, structure: list[int] | None, with_hashes: bool
) -> Mapping[str, Any]:
    """``verify``, in the process of its own."""
    where, teller = Path(directory), Teller(tell)
    with keep_out_servers(where) as is_alone:
        check_copy(
            find_data_file(where),
            where / MEDIA if media_path is None else Path(media_path),
            None if structure is None else DirectoryStructure(*structure),
            is_shared=not is_alone,
            with_hashes=with_hashes,
            teller=teller,
        )
    teller.end()
    return {}


class Teller:
    """Tells progress now and then, and the first findings of each kind."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told_s = 0.0
        self._found = dict.fromkeys(Kind, 0)

    def progress(self, step: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        if now_s >= self._told_s + TELL_S_MIN or done >= total:
            self._told_s = now_s
            self._tell(Progress(step, done, total))

    def find(self, kind: Kind, texts: Iterable[str]) -> bool:
        """Was nothing found?"""
        before = self._found[kind]
        for text in texts:
            self._found[kind] += 1
            if self._found[kind] <= FINDINGS_MAX:
                self._tell(Finding(kind, text))
            elif kind is Kind.PROBLEM:
                # Nobody needs to wait for a thousand more.
                break
        return self._found[kind] == before

    def found(self, kind: Kind) -> int:
        return self._found[kind]

    def end(self) -> None:
        for kind, count in self._found.items():
            if count > FINDINGS_MAX:
                more = "at least one" if kind is Kind.PROBLEM else str(count - FINDINGS_MAX)
                self._tell(Finding(kind, f"and {more} more of the kind"))


def check_copy(
    path: Path,
    media_path: Path | None,
    structure: DirectoryStructure | None,
    *,
    is_shared: bool,
    with_hashes: bool,
    teller: Teller,
) -> None:
    """Every step, as far as the file goes. Media are checked where it is said where they are."""
    try:
        require_whole(path)
        with open_file(path, trees_max=len(CATALOG) + 1, is_shared=is_shared) as reader:
            if not teller.find(Kind.PROBLEM, reader.check_pages(partial(teller.progress, "pages"))):
                return
            reader.open_trees([tree.name for tree in CATALOG])
            with Snapshot(nullcontext(reader), ObjectCache(0)) as snapshot:
                _check_owner(snapshot)
                if not is_current(snapshot):
                    teller.find(Kind.NOTE, [OLDER])
                    return
                problems = check_consistency(snapshot, partial(teller.progress, "rows"))
                if teller.find(Kind.PROBLEM, problems) and media_path is not None:
                    _check_media(snapshot, media_path, structure, teller, with_hashes=with_hashes)
    except Torn as torn:
        teller.find(Kind.PROBLEM, [f"it is a copy that is not whole: {torn}"])
    except (Damaged, SchemaMismatch) as problem:
        teller.find(Kind.PROBLEM, [str(problem)])
    except StorageError as error:
        raise Impossible(str(error)) from error


def _check_owner(snapshot: Snapshot) -> None:
    """Could this version of the program have written it? Raises ``SchemaMismatch``."""
    if server.GLOBAL.get(snapshot, server.ByName("product")) != PRODUCT.encode():
        raise SchemaMismatch("the database belongs to another program")
    schema = get_schema(snapshot)
    if schema > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"the database has schema {schema}, and this version of the program knows schemas up to {SCHEMA_VERSION}: "
            "use the version that wrote it"
        )
    if schema == SCHEMA_VERSION:
        check_catalog(server.GLOBAL.get(snapshot, server.ByName("catalog")) or b"{}")


def is_current(snapshot: Snapshot) -> bool:
    """Are the rows as this version of the program writes them?"""
    return get_schema(snapshot) == SCHEMA_VERSION


def get_schema(snapshot: Snapshot) -> int:
    raw = server.GLOBAL.get(snapshot, server.ByName("schema")) or b""
    return int(raw) if raw.isdigit() else 0


def _check_media(
    snapshot: Snapshot, root: Path, structure: DirectoryStructure | None, teller: Teller, *, with_hashes: bool
) -> None:
    total = media.count_files(snapshot)
    if not root.is_dir():
        if total:
            teller.find(Kind.MEDIA, [f"{total} media files are missing: there is no directory {root}"])
        return
    files = open_media(root, structure)
    displaced: dict[bytes, Path] = {}
    strays = 0
    for found in files.find():
        if media.get_file(snapshot, found.file_hash) is None:
            strays += 1
        elif found.is_displaced:
            displaced[found.file_hash] = found.path
    if strays:
        note = f"{strays} media files belong to nothing in the database: uploads under way, or left over"
        teller.find(Kind.NOTE, [note])
    for number, (file_hash, row) in enumerate(media.scan_files(snapshot), start=1):
        path = displaced.get(file_hash) or files.path_of(file_hash)
        teller.find(Kind.MEDIA, _check_file(path, file_hash, row.size, with_hashes=with_hashes))
        teller.progress("media", number, total)


def _check_file(path: Path, file_hash: bytes, size: int, *, with_hashes: bool) -> Iterator[str]:
    name = file_hash.hex()
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        yield f"the media file {name} is missing"
        return
    if found != size:
        yield f"the media file {name} has {found} bytes instead of {size}"
    elif with_hashes:
        with path.open("rb") as file:
            if file_digest(file, "sha256").digest() != file_hash:
                yield f"the media file {name} has another content"
