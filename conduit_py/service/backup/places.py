"""Where things lie in a data directory, a backup, or one of the snapshots inside a data directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conduit_py.config import DirectoryStructure
from conduit_py.service.backup.messages import Impossible
from conduit_py.service.media.blocking import Blocking
from conduit_py.service.media.files import MediaFiles
from conduit_py.storage.database import DATA_FILE, DIRECTORY, LOCK_FILE, claim_directory
from kvschema.errors import SchemaMismatch

MEDIA = "media"
"""The media files below ``database_path``, unless ``media.path`` says otherwise."""
STRUCTURE_DEFAULT = DirectoryStructure(depth=2, length=2)


def find_data_file(directory: Path) -> Path:
    """The database in a directory. Raises ``Impossible`` where there is none."""
    for path in (directory / DIRECTORY / DATA_FILE, directory / DATA_FILE):
        if path.is_file():
            return path
    raise Impossible(f"{directory} holds no database: {DIRECTORY}/{DATA_FILE} is missing")


@contextmanager
def keep_out_servers(directory: Path) -> Iterator[bool]:
    """Nobody starts a server on the directory during the block; False where one runs already."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # No server has ever run here.
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


@contextmanager
def take_directory(directory: Path) -> Iterator[None]:
    """The data directory is ours during the block, and made if it is missing. Raises ``Impossible``."""
    try:
        lock = claim_directory(directory)
    except SchemaMismatch as error:
        raise Impossible(str(error)) from error
    try:
        yield
    finally:
        os.close(lock)


def open_media(root: Path, structure: DirectoryStructure | None) -> MediaFiles:
    """The media files. A structure that nobody knows is taken from the first file that is found."""
    files = MediaFiles(root, structure or STRUCTURE_DEFAULT, Blocking(None), run_id="")
    if structure is None:
        for found in files.find():
            *folders, _ = found.path.relative_to(root).parts
            structure = DirectoryStructure(depth=len(folders), length=len(folders[0]) if folders else 0)
            return MediaFiles(root, structure, Blocking(None), run_id="")
    return files
