"""The program as it might be one schema later: a process of its own, for the tests of upgrades.

Its one migration notes for each row of a tree how often it was met. It ends itself by SIGKILL where ``KILL_AT`` says:
before so many rows are rewritten, or with a ``+`` in front, when so many are on disk.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from kvschema import catalog
from kvschema.batch import WriteBatch
from kvschema.catalog.users import OPENIDTOKEN_EXPIRESATUSERID, OpenIdToken, UserTokenHash
from kvschema.codec import COUNT
from kvschema.engine import Engine
from kvschema.tree import Tree

KILL_AT = "TEST_KILL_AT"

MET: Tree[UserTokenHash, int] = Tree(
    "test_met",
    OPENIDTOKEN_EXPIRESATUSERID.key,
    COUNT,
    since=2,
    doc="How often a row was met.",
    bound="as the tree that is migrated",
)


def migrate_tokens(engine: Engine, on_rows: Callable[[int, int], None]) -> None:
    from kvschema.migrate import migrate_rows

    place = os.environ.get(KILL_AT, "")
    begun = 0

    def rewrite(batch: WriteBatch, key: UserTokenHash, row: OpenIdToken) -> None:
        nonlocal begun
        begun += 1
        if place == str(begun):
            os.kill(os.getpid(), signal.SIGKILL)
        batch.add(MET, key, 1)

    def note(done: int, total: int) -> None:
        on_rows(done, total)
        if place.startswith("+") and done >= int(place):
            os.kill(os.getpid(), signal.SIGKILL)

    migrate_rows(engine, OPENIDTOKEN_EXPIRESATUSERID, rewrite, note)


def become_next_version() -> None:
    """Before anything else of the program is imported."""
    catalog.SCHEMA_VERSION = 2
    catalog.CATALOG = (*catalog.CATALOG, MET)
    from kvschema.migrate import migrate

    assert migrate.__kwdefaults__ is not None
    migrate.__kwdefaults__["steps"] = {2: migrate_tokens}


if __name__ == "__main__":
    become_next_version()
    from conduit_py.commands import main

    main()
