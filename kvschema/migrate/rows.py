"""Goes over the rows of one tree in batches, and goes on where it stopped after whatever ended it.

How far it came stands in ``global``, written in the same batch as what the rows became: every row is rewritten once and
only once, also where the process or the power ends in the middle.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import orjson

from kvschema.batch import WriteBatch
from kvschema.catalog import server
from kvschema.engine import Engine
from kvschema.tree import Reader, Tree

K = TypeVar("K", bound=tuple[Any, ...])
V = TypeVar("V")

ROWS_PER_BATCH = 1000
BATCH_BYTES_MAX = 4 << 20
"""What one transaction may write: small against the memory of a small server."""
MARKER = "migration "
"""How the names of the facts begin that say how far a migration is."""

OnRows = Callable[[int, int], None]
"""Told how many rows are done, of how many."""


class _Place(NamedTuple):
    """How far it is."""

    done: int
    total: int
    key: str = ""
    """Of the last row that is done, in hexadecimal digits."""
    is_done: bool = False


def migrate_rows(
    engine: Engine, source: Tree[K, V], rewrite: Callable[[WriteBatch, K, V], None], on_rows: OnRows
) -> None:
    """Call ``rewrite`` for every row of the tree as it was, which stages what becomes of it.

    It may delete the row or put it anew under the same key, but must not make the tree have new keys: these could be
    taken for rows of the old shape. A tree can be gone over once in each step.
    """
    name = server.ByName(MARKER + source.name)
    while True:
        with engine.snapshot() as reader:
            place = _read_place(reader, source, name)
            if place.is_done:
                return
            rows = islice(reader.scan(source.name, b"", bytes.fromhex(place.key), b"", False), ROWS_PER_BATCH)
            batch, done, last = WriteBatch(), place.done, bytes.fromhex(place.key)
            for raw_key, raw in rows:
                rewrite(batch, source.key.decode(raw_key), source.value.decode(raw))
                done, last = done + 1, raw_key
                if batch.bytes_staged > BATCH_BYTES_MAX:
                    break
        after = place._replace(done=done, key=last.hex(), is_done=done == place.done)
        batch.put(server.GLOBAL, name, orjson.dumps(after._asdict()))
        apply_one(engine, batch)
        on_rows(done, place.total)


def _read_place(reader: Reader, source: Tree[K, V], name: server.ByName) -> _Place:
    raw = server.GLOBAL.get(reader, name)
    return _Place(0, reader.count(source.name)) if raw is None else _Place(**orjson.loads(raw))


def apply_one(engine: Engine, batch: WriteBatch) -> None:
    """Land a batch before the writer runs. Raises what became of it if it did not land."""
    for outcome in engine.apply([batch]):
        if outcome is not None:
            raise outcome


def stage_forgotten(reader: Reader, batch: WriteBatch) -> None:
    """Forget how far the migration was, because it is done."""
    for key in server.GLOBAL.scan_keys(reader):
        if key.name.startswith(MARKER):
            batch.delete(server.GLOBAL, key)
