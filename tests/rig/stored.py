"""What a server has stored, row by row, and that something changes nothing of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Protocol

from trio.testing import wait_all_tasks_blocked

from conduit_py.storage.database import Snapshot
from kvschema.catalog import CATALOG

Dump = dict[str, list[tuple[bytes, bytes]]]
"""The rows of every tree, by its name."""


class Stored(Protocol):
    """A server in a test."""

    def dump(self) -> Dump: ...


def read_all(snapshot: Snapshot) -> Dump:
    return {tree.name: list(snapshot.scan(tree.name, b"", b"", b"", False)) for tree in CATALOG}


@asynccontextmanager
async def leaves_no_trace(server: Stored, but: Collection[str]) -> AsyncIterator[None]:
    """Nothing that happens in the block changes what is stored, but in the trees of these names.

    What was begun before is waited for, so that it is not taken for an effect of the block, and so is what the block
    begins: an effect is one also where a task of the server brings it about.
    """
    await wait_all_tasks_blocked()
    before = server.dump()
    yield
    await wait_all_tasks_blocked()
    after = server.dump()
    # Row by row, so that a failure shows what changed and not all that is stored.
    changed = {
        name: (sorted({*before[name]} - {*rows}), sorted({*rows} - {*before[name]}))
        for name, rows in after.items()
        if rows != before[name] and name not in but
    }
    assert not changed, changed
