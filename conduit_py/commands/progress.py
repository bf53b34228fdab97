"""Long work on the command line: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

import click

from conduit_py.service.backup.messages import Finding, Message, Progress


class Bars:
    """A bar for each step of the work, on standard error. Used as a ``with`` block."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._step = ""
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def tell(self, message: Message) -> None:
        """See ``messages.Tell``. What was found is said at once."""
        if isinstance(message, Finding):
            self._end()
            click.echo(f"{message.kind}: {message.text}")
        elif self._is_shown:
            self._show(message)

    def _show(self, progress: Progress) -> None:
        if self._bar is None or self._step != progress.step:
            self._end()
            self._step, self._done = progress.step, 0
            self._bar = click.progressbar(length=progress.total, label=f"{progress.step:>8}", file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(progress.done - self._done)
        self._done = progress.done

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
