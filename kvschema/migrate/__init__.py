"""Brings an older store up to the current schema.

A migration is one module ``vNNNN_<what>.py``, frozen once released: it declares the old shapes itself and has a
``run(engine, on_rows)`` that goes over the rows of one tree after the other with ``migrate_rows``. It is called again
after it was interrupted, and then goes on where it stopped. The stamp moves to its version when it is done, in a batch
of its own.

How to add one, when a released tree has to change its shape:

1. Raise ``SCHEMA_VERSION`` in ``kvschema.catalog``, change the tree there, or move its name to ``RETIRED`` and add the
   new tree with ``since`` the new version; golden file as ever.
2. Write ``vNNNN_<what>.py`` here and list it in ``STEPS``. It copies the old tree's constant from the catalog as it
   was, with its row type, and imports from the catalog only what it will never change: ``server.GLOBAL``. Rows of a
   tree that changes its keys go to a tree with another name, because a batch leaves old and new keys side by side.
3. ``tests/kvschema/old/schema_<N>.mdb.xz`` was written by the version before, and stays as it is for ever:
   ``tests/kvschema/test_old_files.py`` opens each of these files with the current program, verifies it and syncs from
   it. Add one for the new version, with ``UPDATE_GOLDEN=1``, before that is released, and not again after.

So a copy made by one version opens in every later one. What an operator sees: ``storage.database.stamp`` logs the step
and how many rows are done; the server listens when all is done. A downgrade is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from kvschema.batch import WriteBatch
from kvschema.catalog import CATALOG, RETIRED, SCHEMA_VERSION, server
from kvschema.engine import Engine
from kvschema.errors import SchemaMismatch
from kvschema.migrate.rows import OnRows, apply_one, migrate_rows, stage_forgotten
from kvschema.tree import Tree

__all__ = ["STEPS", "OnRows", "Step", "apply_one", "catalog_specs", "check_catalog", "migrate", "migrate_rows"]

Step = Callable[[Engine, OnRows], None]

STEPS: Mapping[int, Step] = {}
"""Schema version that a step leads to, and the step. Every version from 2 on has one."""

_OLDER_PROGRAM = (
    "the database was written by a newer version of this program: start that version again, or put back the copy of "
    "the directory from before the upgrade"
)


def migrate(
    engine: Engine,
    stored: int,
    *,
    steps: Mapping[int, Step] = STEPS,
    current: int = SCHEMA_VERSION,
    on_step: Callable[[int], None] = lambda version: None,
    on_rows: OnRows = lambda done, total: None,
) -> None:
    """Run every step between the stored version and the current one, in order. Raises what a step raises.

    :param on_step: told the version that a step leads to, before it begins or goes on.
    :param on_rows: told how many of the rows that the step is at are done, of how many.
    """
    for version in range(stored + 1, current + 1):
        on_step(version)
        steps[version](engine, on_rows)
        batch = WriteBatch(may_use_reserve=True)
        with engine.snapshot() as reader:
            stage_forgotten(reader, batch)
        batch.put(server.GLOBAL, server.ByName("schema"), str(version).encode())
        # Together with the version: from here on rows are what the current codecs say.
        batch.put(server.GLOBAL, server.ByName("catalog"), catalog_specs())
        apply_one(engine, batch)


@functools.cache
def catalog_specs(catalog: tuple[Tree[Any, Any], ...] = CATALOG) -> bytes:
    """The codecs of every tree, as they are stored beside the data."""
    return orjson.dumps({tree.name: tree.spec for tree in catalog}, option=orjson.OPT_SORT_KEYS)


def check_catalog(stored: bytes, catalog: Iterable[Tree[Any, Any]] = CATALOG, retired: Iterable[str] = RETIRED) -> bool:
    """Do the stored specs lag behind, so that they are to be written anew?

    A tree read with another codec would be garbage, not an error. Raises ``SchemaMismatch`` where a tree's rows cannot
    be read by its codec, or the store has trees that this program has never heard of.
    """
    specs: dict[str, str] = orjson.loads(stored)
    known = {tree.name: tree for tree in catalog}
    for name, spec in specs.items():
        tree = known.get(name)
        if tree is not None and not tree.may_read(spec):
            raise SchemaMismatch(f"tree {name} was written as {spec} and is read as {tree.spec}: {_OLDER_PROGRAM}")
        if tree is None and name not in retired:
            raise SchemaMismatch(f"tree {name} is unknown: {_OLDER_PROGRAM}")
    return specs != {name: tree.spec for name, tree in known.items()}
