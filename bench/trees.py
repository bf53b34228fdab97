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


def tree_bytes(engine: LmdbEngine) -> dict[str, int]:
    """Bytes of the pages that each tree takes."""
    with engine._env.begin() as transaction:
        stats = {name: transaction.stat(tree) for name, tree in engine._trees.items()}
    return {
        name: (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]
        for name, stat in stats.items()
    }
