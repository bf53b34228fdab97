"""Brings an older store up to the current schema.

A migration is one module ``vNNNN_<what>.py``, frozen once released: it declares the old shapes itself, runs in
batches, and keeps a resume marker in ``global`` so that a kill in the middle continues where it stopped. Its
``run(engine)`` may be called again after it was interrupted. The stamp moves to its version when it is done, in a batch
of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvschema.batch import WriteBatch
from kvschema.catalog import SCHEMA_VERSION, server
from kvschema.engine import Engine

Step = Callable[[Engine], None]

STEPS: Mapping[int, Step] = {}
"""Schema version that a step leads to, and the step. Every version from 2 on has one."""


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
        batch = WriteBatch()
        batch.put(server.GLOBAL, server.ByName("schema"), str(version).encode())
        for outcome in engine.apply([batch]):
            if outcome is not None:
                raise outcome
