"""Brings an older store up to the current schema.

A migration is one module ``vNNNN_<what>.py``, frozen once released: it declares the old shapes itself, runs in
batches, and keeps a resume marker in ``global`` so that a kill in the middle continues where it stopped. Its
``run(engine)`` may be called again after it was interrupted, and closes its snapshot before it applies a batch. The
stamp moves to its version when it is done, in a batch of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from kvschema.batch import WriteBatch
from kvschema.catalog import CATALOG, RETIRED, SCHEMA_VERSION, server
from kvschema.engine import Engine
from kvschema.errors import SchemaMismatch
from kvschema.tree import Tree

Step = Callable[[Engine], None]

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
) -> None:
    """Run every step between the stored version and the current one, in order. Raises what a step raises."""
    for version in range(stored + 1, current + 1):
        on_step(version)
        steps[version](engine)
        batch = WriteBatch(may_use_reserve=True)
        batch.put(server.GLOBAL, server.ByName("schema"), str(version).encode())
        # Together with the version: from here on rows are what the current codecs say.
        batch.put(server.GLOBAL, server.ByName("catalog"), catalog_specs())
        apply_one(engine, batch)


def catalog_specs(catalog: Iterable[Tree[Any, Any]] = CATALOG) -> bytes:
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


def apply_one(engine: Engine, batch: WriteBatch) -> None:
    """Land a batch before the writer runs. Raises what became of it if it did not land."""
    for outcome in engine.apply([batch]):
        if outcome is not None:
            raise outcome
