"""What lies in the trees of a store whose server is stopped."""

from __future__ import annotations

from pathlib import Path

from conduit_py.storage.database import DIRECTORY
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine


def count_rows(data: Path) -> dict[str, int]:
    """Rows of every tree that has any. ``data`` is the server's ``database_path``."""
    engine = LmdbEngine(data / DIRECTORY, [tree.name for tree in CATALOG])
    try:
        with engine.snapshot() as reader:
            return {tree.name: rows for tree in CATALOG if (rows := reader.count(tree.name))}
    finally:
        engine.close()
