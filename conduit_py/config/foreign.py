"""Another server's database where ours should be: said before anything is written next to it.

Our own database is the directory ``db`` in ``database_path``; media files lie in ``media``. Conduit's first engine,
sled, kept a *file* of the name ``db`` there.
"""

from __future__ import annotations

from pathlib import Path

_ADVICE = (
    "Its users and rooms cannot be converted. Set database_path to an empty directory, or to one that does not exist;"
    " nothing in the old one has been changed."
)


def find_foreign_database(path: Path) -> str | None:
    """A sentence on the database of another server in ``path`` and what to do, or `None`. Raises `OSError`."""
    found = _what_is_there(path)
    return None if found is None else f"database_path {path} {found}. {_ADVICE}"


def _what_is_there(path: Path) -> str | None:
    if path.is_file():
        kind = "a SQLite database" if _starts_with_sqlite(path) else "a file"
        return f"is {kind}, not a directory"
    if not path.is_dir():
        return None
    names = {entry.name for entry in path.iterdir()}
    if "conduit.db" in names:
        return "holds the SQLite database of Conduit (conduit.db)"
    if "homeserver.db" in names:
        return "holds the SQLite database of Synapse (homeserver.db)"
    if "db.persy" in names:
        return "holds the Persy database of an old Conduit (db.persy)"
    if _is_rocksdb(names):
        return "holds a RocksDB database, as Conduit and its relatives write it (CURRENT, IDENTITY, MANIFEST-*, *.sst)"
    if (path / "db").is_file() or ("conf" in names and any(name.startswith("snap.") for name in names)):
        return "holds the sled database of an old Conduit (db, conf, snap.*, blobs)"
    if "data.mdb" in names:
        return "holds the LMDB database of an old Conduit (data.mdb)"
    return None


def _is_rocksdb(names: set[str]) -> bool:
    has_manifest = any(name.startswith("MANIFEST-") for name in names)
    return ("CURRENT" in names and has_manifest) or "IDENTITY" in names or any(name.endswith(".sst") for name in names)


def _starts_with_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"
