"""What single steps of a batch mean, shared by the engines."""

from __future__ import annotations

from kvschema.errors import BatchRefused, PreconditionFailed


def added(tree: str, key: bytes, difference: bytes, current: bytes | None) -> bytes | None:
    """The new bytes of a count, None where it reached zero. Raises ``BatchRefused`` below zero."""
    total = (0 if current is None else int.from_bytes(current, "big")) + int.from_bytes(difference, "big", signed=True)
    if total < 0:
        raise BatchRefused(f"{tree}: a count would fall below zero at {key.hex()}")
    return total.to_bytes(8, "big") if total else None


def check_required(tree: str, key: bytes, value: bytes, absent: bool, current: bytes | None) -> None:
    """Raise ``PreconditionFailed`` unless the row is as the batch requires."""
    if absent:
        if current is not None:
            raise PreconditionFailed(f"{tree}: there is a row at {key.hex()}")
    elif current != value:
        raise PreconditionFailed(f"{tree}: another value at {key.hex()}")
