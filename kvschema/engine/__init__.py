"""Engine interface. Both engines pass tests/kvschema/test_engine_contract.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from kvschema.batch import WriteBatch
from kvschema.errors import StorageError
from kvschema.tree import Reader

Outcome = StorageError | None
"""What became of one batch: None where it landed, else ``BatchRefused`` or ``StorageFull``."""


class Engine(Protocol):
    """An ordered key-value store with snapshots and one writer at a time."""

    def snapshot(self) -> AbstractContextManager[Reader]:
        """A consistent read-only view. Never await while one is open."""

    def apply(self, batches: Sequence[WriteBatch]) -> list[Outcome]:
        """Land the batches in order, durably, and say what became of each.

        Each batch is atomic and sees the ones before it; one that is refused leaves nothing behind and does not
        harm the others. A batch that ``may_use_reserve`` lands on a full disk too, as long as the reserve lasts: it
        should free more than it takes, and be small against the reserve. Callable from any one thread at a time.
        Raises ``StorageFailed`` if the disk let us down: nothing is known then, and the process must end.
        """

    def run_exclusively(self, run: Callable[[Callable[[], None]], None] | None) -> None:
        """Give the way to run a function while no snapshot is open, needed to grow; None runs it in place again.

        Whatever else looks at the files from this process, such as a copy being made, must keep out of its way too.
        """

    def measure(self) -> Mapping[str, int]:
        """Bytes by what they are, for whoever watches over the disk. Empty where there is no disk."""

    def free_dead_readers(self) -> None:
        """Let go of snapshots whose process is gone: as long as one is known, the file grows with every write."""

    @property
    def is_copy(self) -> bool:
        """Did the files come here as a copy that is not set right yet?"""

    def make_own(self) -> None:
        """What came as a copy is set right: from now on the files are where they belong."""

    def close(self) -> None:
        """Let go of files and locks."""
