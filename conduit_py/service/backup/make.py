"""``backup``: a consistent copy of everything, whether or not a server runs.

A backup is a directory like the data directory: ``db/data.mdb``, compacted, and ``media/``. Beside them lie
``media.jsonl``, which lists the media files, and ``backup.json``, which says what this is. It is put together under
another name and gets its own when everything is on disk, so that one that was interrupted is never taken for one.

The database is copied first, and the media files that this copy speaks of after it: they lie on disk before there is
a row of them, and never change. One that is deleted in between is missing in the backup, which is said. The server's
file grows only while the database is copied.
"""

from __future__ import annotations

import glob
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from conduit_py import __version__
from conduit_py.config import DirectoryStructure
from conduit_py.data import media
from conduit_py.service.backup.apart import run_apart
from conduit_py.service.backup.copying import (
    copy_database,
    place_file,
    require_room,
    staging,
    sync_tree,
    write_durably,
)
from conduit_py.service.backup.marks import mark_as_copy, require_whole
from conduit_py.service.backup.messages import Finding, Impossible, Kind, Progress, Tell, ignore
from conduit_py.service.backup.places import MEDIA, find_data_file, keep_out_servers, open_media
from conduit_py.service.backup.verify import get_schema, is_current
from conduit_py.service.media.files import MARK, MediaFiles
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import DATA_FILE, DIRECTORY, Snapshot
from kvschema.catalog import CATALOG, PRODUCT, server
from kvschema.engine.file_space import make_directory, sync_directory
from kvschema.engine.lmdb_file import open_file
from kvschema.engine.pages import Damaged
from kvschema.engine.stamp import Torn
from kvschema.errors import StorageError

FACTS: Final = "backup.json"
MANIFEST: Final = "media.jsonl"
UNFINISHED: Final = ".unfinished"
ROOM_BYTES: Final = 1 << 20
"""For what is small: facts, manifest, directories. Plus so much for each file."""
MANIFEST_ROW_BYTES: Final = 256


class MediaChoice(StrEnum):
    """What becomes of the media files."""

    LINK = "link"
    """Other names of the same files where the disk allows it, which takes no room; copies elsewhere."""
    COPY = "copy"
    LIST = "list"
    """Only listed: whoever makes the backup keeps them in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What was made."""

    path: Path
    database_bytes: int
    files: int
    linked: int
    """So many of them share their disk blocks with the originals."""
    media_bytes: int
    missing: int
    """Files that the database speaks of and the disk does not have."""

    def summary(self) -> str:
        """In a sentence or two."""
        files = f"{self.files} media files of {_mib(self.media_bytes)}"
        linked = f", {self.linked} of them linked" if self.linked else ""
        missing = f"; {self.missing} media files are missing" if self.missing else ""
        return f"{self.path}: the database with {_mib(self.database_bytes)}, {files}{linked}{missing}"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


async def make_backup(
    directory: Path,
    destination: Path,
    *,
    media_path: Path,
    structure: DirectoryStructure | None = None,
    media_choice: MediaChoice = MediaChoice.LINK,
    tell: Tell = ignore,
) -> Backup:
    """Back up a data directory to ``destination``, which must not exist, or be empty. In another process.

    Raises ``Impossible`` with the reason; there is no backup then, and nothing has changed.
    """
    arguments = {
        "directory": str(directory),
        "destination": str(destination),
        "media_path": str(media_path),
        "structure": None if structure is None else [structure.depth, structure.length],
        "media_choice": str(media_choice),
    }
    answer = await run_apart(__name__, "run", arguments, tell)
    return Backup(path=Path(answer["path"]), **{name: value for name, value in answer.items() if name != "path"})


def run(
    tell: Tell, *, directory: str, destination: str, media_path: str, structure: list[int] | None, media_choice: str
) -> Mapping[str, Any]:
    """``make_backup``, in the process of its own."""
    source = Path(directory).resolve()
    files = open_media(Path(media_path).resolve(), None if structure is None else DirectoryStructure(*structure))
    target = check_destination(Path(destination), source, files.root)
    for left in target.parent.glob(f".{glob.escape(target.name)}.*{UNFINISHED}"):
        tell(Finding(Kind.NOTE, f"{left} is left of a backup that was interrupted, and can be deleted"))
    with ExitStack() as stack:
        staged = stack.enter_context(staging(target.parent, target.name, UNFINISHED))
        try:
            facts = _copy(source, files, staged, MediaChoice(media_choice), tell)
        except (Damaged, Torn, StorageError) as error:
            raise Impossible(f"{error}; verify says more") from error
        write_durably(staged / FACTS, orjson.dumps(facts, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        sync_tree(staged)
        # From here on it is one. Over an empty directory of the name, if there is one.
        staged.rename(target)
        sync_directory(target.parent)
    names = ("database_bytes", "files", "linked", "media_bytes", "missing")
    return {"path": str(target), **{name: facts[name] for name in names}}


def check_destination(destination: Path, source: Path, media_root: Path) -> Path:
    """Where a backup may go. Raises ``Impossible``."""
    target = destination.resolve()
    for place in (source, media_root):
        if target.is_relative_to(place):
            raise Impossible(f"{target} is inside of {place}, which is backed up: choose another place")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise Impossible(f"{target} is there already: choose a name that is free, or an empty directory")
    if not target.parent.is_dir():
        raise Impossible(f"{target.parent} is no directory")
    return target


def _copy(source: Path, files: MediaFiles, staged: Path, choice: MediaChoice, tell: Tell) -> dict[str, Any]:
    data_file, copy = find_data_file(source), staged / DIRECTORY / DATA_FILE
    require_whole(data_file)
    make_directory(copy.parent)
    trees = [tree.name for tree in CATALOG]
    with (
        keep_out_servers(source) as is_alone,
        open_file(data_file, trees_max=len(trees) + 1, is_shared=not is_alone) as reader,
    ):
        reader.open_trees(trees)
        require_room(staged, reader.used_bytes + ROOM_BYTES)
        copy_database(reader, copy, tell)
    mark_as_copy(copy)
    with open_file(copy, trees_max=len(trees) + 1, is_shared=False) as reader:
        for problem in reader.check_pages(lambda done, total: tell(Progress("pages", done, total))):
            raise Damaged(f"the database is damaged: {problem}")
        reader.open_trees(trees)
        with Snapshot(nullcontext(reader), ObjectCache(0)) as snapshot:
            facts = {
                "program": f"{PRODUCT} {__version__}",
                "made_ms": time.time_ns() // 1_000_000,
                "server_name": _fact(snapshot, "server_name"),
                "schema": get_schema(snapshot),
                "position": snapshot.pos,
                "database_bytes": copy.stat().st_size,
                "media": str(choice),
            }
            require_room(staged, _media_room(snapshot, files, staged, choice))
            return facts | _place_media(snapshot, files, staged, choice, tell)


def _fact(snapshot: Snapshot, name: str) -> str:
    return (server.GLOBAL.get(snapshot, server.ByName(name)) or b"").decode()


def _media_room(snapshot: Snapshot, files: MediaFiles, staged: Path, choice: MediaChoice) -> int:
    """What the media files take on the disk of the backup, if they are all there."""
    total, rows = _list_media(snapshot, files)
    room, root = ROOM_BYTES + total * MANIFEST_ROW_BYTES, files.root
    is_linked = choice is MediaChoice.LINK and root.exists() and root.stat().st_dev == staged.stat().st_dev
    if choice is MediaChoice.LIST or is_linked:
        return room
    return room + sum(size for _, size in rows)


def _list_media(snapshot: Snapshot, files: MediaFiles) -> tuple[int, Iterable[tuple[bytes, int]]]:
    """How many there are about, and the files by hash with their size."""
    total = media.count_files(snapshot)
    if is_current(snapshot):
        return total, ((file_hash, row.size) for file_hash, row in media.scan_files(snapshot))
    # The rows are for a migration to read; what lies on disk is named by its hash in any version.
    found = ((found.file_hash, found.path.stat().st_size) for found in files.find() if not found.is_displaced)
    return total, found


def _place_media(
    snapshot: Snapshot, files: MediaFiles, staged: Path, choice: MediaChoice, tell: Tell
) -> dict[str, int]:
    counts = dict.fromkeys(("files", "linked", "media_bytes", "missing"), 0)
    total, rows = _list_media(snapshot, files)
    if choice is not MediaChoice.LIST and (files.root / MARK).exists():
        make_directory(staged / MEDIA)
        (staged / MEDIA / MARK).touch(mode=0o600)
    with open(staged / MANIFEST, "xb") as manifest:
        for number, (file_hash, size) in enumerate(rows, start=1):
            path = files.path_of(file_hash)
            name = MEDIA / path.relative_to(files.root)
            if not path.exists():
                counts["missing"] += 1
                tell(Finding(Kind.MEDIA, f"the media file {file_hash.hex()} is missing"))
                continue
            if choice is not MediaChoice.LIST:
                counts["linked"] += place_file(path, staged / name, may_link=choice is MediaChoice.LINK)
            counts["files"] += 1
            counts["media_bytes"] += size
            entry = {"sha256": file_hash.hex(), "size": size, "path": str(name)}
            manifest.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
            tell(Progress("media", number, total))
    return counts
