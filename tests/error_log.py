"""An error in the log fails the test, unless the test asked for it."""

from __future__ import annotations

import logging

__all__ = ["ErrorLog", "unexpected"]


class ErrorLog(logging.Handler):
    """Keeps every record of level ERROR and above that reaches the root logger."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(record)


def unexpected(errors: list[logging.LogRecord], *, expected: bool) -> str | None:
    """What is wrong with ``errors`` for a test that did or did not ask for some; ``None`` if nothing is."""
    if expected:
        return None if errors else "the test asked for errors in the log (expect_errors), and there were none"
    if not errors:
        return None
    lines = "\n".join(f"  {error.name}: {error.getMessage()}" for error in errors)
    return f"errors were logged and the test does not use expect_errors:\n{lines}"
