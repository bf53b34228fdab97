"""Work that goes on when whoever asked for it has gone.

A client may hang up while its user is being brought into a room of another server. What has been begun there has to be
brought to an end here too: one server would think otherwise than the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import trio

from conduit_py.log import get_logger
from conduit_py.service.errors import MatrixError
from kvschema.errors import StorageFull

_log = get_logger(__name__)

AT_ONCE_MAX: Final = 50
"""Errands at the same time. Each may hold a connection for minutes; more of them wait."""

_GOING_DOWN: Final = MatrixError("the server is going down", status=503)

T = TypeVar("T")


@dataclass(eq=False)
class _Errand(Generic[T]):
    work: Callable[[], Awaitable[T]]
    done: trio.Event = field(default_factory=trio.Event)
    results: list[T] = field(default_factory=list)
    error: Exception | None = None
    is_awaited: bool = True


class Errands:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._limiter = trio.CapacityLimiter(AT_ONCE_MAX)

    async def run(self) -> None:
        """Does the errands for as long as the server runs."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` returns or raises. It goes on if the caller is cancelled, until the server stops."""
        if self._nursery is None:
            raise _GOING_DOWN
        errand = _Errand(work)
        self._nursery.start_soon(self._do, errand)
        try:
            await errand.done.wait()
        finally:
            errand.is_awaited = False
        if errand.error is not None:
            raise errand.error
        if not errand.results:
            raise _GOING_DOWN
        return errand.results[0]

    async def _do(self, errand: _Errand[T]) -> None:
        try:
            async with self._limiter:
                errand.results.append(await errand.work())
        except Exception as error:
            errand.error = error
            if errand.is_awaited:
                return
            if isinstance(error, MatrixError | StorageFull):
                _log.warning("what was begun for somebody who has gone did not succeed", error=str(error))
            else:
                _log.exception("what was begun for somebody who has gone failed")
        finally:
            errand.done.set()
