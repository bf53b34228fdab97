"""What storage can answer instead of doing what it was asked."""

from __future__ import annotations


class StorageError(Exception):
    """The store is not what it must be. Nobody catches this base class: the process ends."""


class CorruptValue(StorageError):
    """Stored bytes that no writer of this schema could have produced."""


class SchemaMismatch(StorageError):
    """The files belong to another product, another server or a newer version. The text says what to do."""


class StorageFailed(StorageError):
    """A write did not land although there was room: memory is ahead of the disk and the process must end."""


class StorageFull(StorageError):
    """Disk or quota refused to grow the store. Nothing of the batch is visible; the same batch may succeed later."""


class BatchRefused(StorageError):
    """This one batch cannot be written; nothing of it is visible and other batches are unharmed."""


class PreconditionFailed(BatchRefused):
    """What the batch was decided on is no longer so: read again and decide again."""
