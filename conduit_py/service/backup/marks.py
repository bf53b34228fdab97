"""What a data file says of itself: that it is whole, and whether it is a copy."""

from __future__ import annotations

import os
from pathlib import Path

from conduit_py.storage.database import DATA_FILE, DIRECTORY
from conduit_py.storage.identity import read_identity
from kvschema.catalog import server
from kvschema.engine.lmdb_file import put_rows
from kvschema.engine.pages import read_metas
from kvschema.engine.stamp import Stamp, append_stamp


def mark_as_copy(path: Path) -> None:
    """Have a data file known for a copy wherever it is put, also where it happens to get the place of its original."""
    _write_identity(path, b"copy")


def mark_as_original(directory: Path) -> None:
    """Have the data file in a directory known for the one that the server has always used."""
    _write_identity(directory / DIRECTORY / DATA_FILE, read_identity(directory))


def _write_identity(path: Path, identity: bytes) -> None:
    put_rows(path, server.GLOBAL.name, {server.GLOBAL.key.encode(server.ByName("file")): identity})
    _seal(path)


def _seal(path: Path) -> None:
    """Let the file end behind its last page, with a stamp that says that it is whole."""
    newest = max(read_metas(path), key=lambda meta: meta.transaction)
    os.truncate(path, (newest.last_page + 1) * newest.page_bytes)
    append_stamp(path, Stamp(floor=0))
