"""``restore``: puts a copy in the place of the data directory's database, with the media files that belong to it.

The copy may be a backup, a snapshot inside of the data directory, or a plain copy of a data directory. It is copied
beside the database and verified there; then the media files that are not in their place yet are put there; and last the
database gets its name, in one step that a power cut does not divide. Media files are named by their content, so those
of two databases lie in one directory and are never in each other's way: none is overwritten, and none is removed.

What was there before is kept: the old database and the media files become a data directory of their own, under the name
that is told. At the next start the server finds that its database is a copy and sets right what a copy has wrong, see
``service.restored``. What only the replaced database knows is passed on here: how far its positions went, in case that
the clock has been set back since.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from conduit_py.config import DirectoryStructure, find_foreign_database
from conduit_py.data import media
from conduit_py.data.consistency.server import get_server_name
from conduit_py.service.backup.apart import run_apart
from conduit_py.service.backup.copying import (
    copy_file,
    place_file,
    remove_afterwards,
    require_room,
    staging,
    sync_tree,
)
from conduit_py.service.backup.marks import mark_as_copy
from conduit_py.service.backup.messages import Finding, Impossible, Kind, Progress, Tell, ignore
from conduit_py.service.backup.places import MEDIA, find_data_file, keep_out_servers, open_media, take_directory
from conduit_py.service.backup.verify import FINDINGS_MAX, Teller, check_copy, is_current
from conduit_py.service.media.files import MARK, MediaFiles
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import DATA_FILE, DIRECTORY, Snapshot, pass_on_position
from kvschema.catalog import CATALOG
from kvschema.engine.file_space import make_directory, sync_directory
from kvschema.engine.lmdb_file import open_file
from kvschema.engine.pages import Damaged
from kvschema.engine.stamp import Torn, check_whole
from kvschema.errors import StorageError

UNFINISHED: Final = ".unfinished"
REPLACED: Final = "replaced-%Y-%m-%dT%H-%M-%S"
LOCK_TABLE: Final = "lock.mdb"
"""LMDB's table of readers: of the file that was there before."""
ROOM_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was put back."""

    made_ms: int
    """The time of the newest thing in the copy, as far as it can be told: of its last position."""
    files: int
    """Media files that were put in their place."""
    missing: int
    """Media files that are nowhere."""
    replaced: Path | None
    """Where the database that was there before is now."""


async def restore(
    source: Path,
    directory: Path,
    server_name: str,
    *,
    media_path: Path,
    structure: DirectoryStructure,
    may_replace: bool,
    tell: Tell = ignore,
) -> Restored:
    """Put the copy at ``source`` into the data directory, in another process.

    Raises ``Impossible`` with the reason; nothing has changed then but that media files may have been added.
    """
    arguments = {
        "source": str(source),
        "directory": str(directory),
        "server_name": server_name,
        "media_path": str(media_path),
        "structure": [structure.depth, structure.length],
        "may_replace": may_replace,
    }
    answer = await run_apart(__name__, "run", arguments, tell)
    replaced = answer["replaced"]
    return Restored(
        made_ms=answer["made_ms"],
        files=answer["files"],
        missing=answer["missing"],
        replaced=None if replaced is None else Path(replaced),
    )


def run(
    tell: Tell,
    *,
    source: str,
    directory: str,
    server_name: str,
    media_path: str,
    structure: list[int],
    may_replace: bool,
) -> Mapping[str, Any]:
    """``restore``, in the process of its own."""
    target, where = Path(directory).resolve(), Path(source).resolve()
    copy, current = find_data_file(where), target / DIRECTORY / DATA_FILE
    foreign = find_foreign_database(target)
    if foreign is not None:
        raise Impossible(foreign)
    if current.exists() and not may_replace:
        raise Impossible(
            f"{target} has a database already: with --replace it is kept aside, and the copy put in its place"
        )
    if current.exists() and current.samefile(copy):
        raise Impossible(f"{where} is the data directory itself")
    files = open_media(Path(media_path).resolve(), DirectoryStructure(*structure))
    with (
        take_directory(target),
        _keep_out(where),
        staging(target, "restore", UNFINISHED, is_alone=True) as staging_directory,
    ):
        staged = staging_directory / DATA_FILE
        require_room(target, copy.stat().st_size + ROOM_BYTES)
        copy_file(copy, staged, tell)
        _check_whole(staged)
        pos = _check(staged, server_name, tell)
        if current.exists():
            pass_on_position(staged, stored=pos, reached=_read_pos(current))
        mark_as_copy(staged)
        placed = _place_media(where / MEDIA, files, tell)
        missing = _count_missing(staged, files, tell)
        kept = _keep(current, target, files, tell) if current.exists() else None
        make_directory(current.parent)
        (current.parent / LOCK_TABLE).unlink(missing_ok=True)
        staged.replace(current)
        sync_directory(current.parent)
    return {
        "made_ms": pos // 1000,
        "files": placed,
        "missing": missing,
        "replaced": None if kept is None else str(kept),
    }


@contextmanager
def _keep_out(source: Path) -> Iterator[None]:
    with keep_out_servers(source) as is_alone:
        if not is_alone:
            raise Impossible(f"a server is running on {source}: make a backup of it and restore that")
        yield


def _check_whole(staged: Path) -> None:
    """Was it copied in one piece? A stamp at its end tells. Raises ``Impossible``."""
    try:
        check_whole(staged)
    except (Torn, Damaged) as error:
        raise Impossible(f"the copy is not whole, so nothing was changed: {error}") from error


def _check(staged: Path, server_name: str, tell: Tell) -> int:
    """Is the copy whole, and this server's? Returns its last position. Raises ``Impossible``."""
    teller = Teller(tell)
    check_copy(staged, None, None, is_shared=False, with_hashes=False, teller=teller)
    teller.end()
    if teller.found(Kind.PROBLEM):
        raise Impossible("the copy is damaged, so nothing was changed: restore another one")
    with _open(staged) as snapshot:
        owner = get_server_name(snapshot)
        if owner != server_name:
            raise Impossible(
                f"the copy is of the server {owner}, and server_name is {server_name}: nothing was changed"
            )
        return snapshot.pos


@contextmanager
def _open(path: Path) -> Iterator[Snapshot]:
    """The rows of a file that has passed the check."""
    trees = [tree.name for tree in CATALOG]
    with open_file(path, trees_max=len(trees) + 1, is_shared=False) as reader:
        reader.open_trees(trees)
        with Snapshot(nullcontext(reader), ObjectCache(0)) as snapshot:
            yield snapshot


def _read_pos(current: Path) -> int:
    """How far the database went that is replaced. 0 if it cannot be read, which may be why it is replaced."""
    trees = [tree.name for tree in CATALOG]
    try:
        with open_file(current, trees_max=len(trees) + 1, is_shared=False) as reader:
            if any(reader.check_pages(lambda done, total: None)):
                return 0
            reader.open_trees(trees)
            with Snapshot(nullcontext(reader), ObjectCache(0)) as snapshot:
                return snapshot.pos
    except (Damaged, StorageError):
        return 0


def _place_media(source: Path, files: MediaFiles, tell: Tell) -> int:
    """Put the copy's media files in their place, unless they are there. Returns how many were not."""
    placed = 0
    if not source.is_dir():
        return 0
    is_new = not files.root.exists() or not any(files.root.iterdir())
    for found in open_media(source, None).find():
        target = files.path_of(found.file_hash)
        if target.exists() and target.stat().st_size == found.path.stat().st_size:
            continue
        with remove_afterwards(target.with_name(f"{target.name}{UNFINISHED}")) as beside:
            place_file(found.path, beside, may_link=True)
            beside.replace(target)
        placed += 1
    if is_new and placed:
        (files.root / MARK).touch(mode=0o600)
    if placed:
        sync_tree(files.root)
    return placed


def _count_missing(staged: Path, files: MediaFiles, tell: Tell) -> int:
    missing = 0
    with _open(staged) as snapshot:
        if not is_current(snapshot):
            return 0
        total = media.count_files(snapshot)
        for number, (file_hash, _) in enumerate(media.scan_files(snapshot), start=1):
            tell(Progress("media", number, total))
            if not files.path_of(file_hash).exists():
                missing += 1
                if missing <= FINDINGS_MAX:
                    tell(Finding(Kind.MEDIA, f"the media file {file_hash.hex()} is missing"))
    return missing


def _keep(current: Path, target: Path, files: MediaFiles, tell: Tell) -> Path:
    """Give what is there now names below a directory of its own, which is a data directory then."""
    name = time.strftime(REPLACED)
    names = (name, *(f"{name}-{number}" for number in range(2, 100)))
    aside = next(target / name for name in names if not (target / name).exists())
    place_file(current, aside / DIRECTORY / DATA_FILE, may_link=True)
    if files.root.exists() and files.root.stat().st_dev == target.stat().st_dev:
        for found in files.find():
            place_file(found.path, aside / MEDIA / found.path.relative_to(files.root), may_link=True)
    else:
        note = f"the replaced database has no media files of its own: those in {files.root} stay while they are in use"
        tell(Finding(Kind.NOTE, note))
    sync_tree(aside)
    sync_directory(target)
    return aside
