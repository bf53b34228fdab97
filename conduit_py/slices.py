"""Long computations on the event loop that let others have their turn, so that they do not add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar, cast

import trio

from conduit_py.matrix.canonical_json import parse_json
from conduit_py.matrix.json_slices import IN_PLACE_BYTES_MAX, Slices, parse_in_slices

_TURN: Final = trio.lowlevel.RunVar[trio.Lock]("turn to compute")

T = TypeVar("T")


async def run_slices(slices: Slices[T]) -> T:
    """What a generator returns, with a turn for others whenever it yields.

    Of several, one does a slice between two steps of the event loop, and then the next.
    """
    try:
        turn = _TURN.get()
    except LookupError:
        turn = trio.Lock()
        _TURN.set(turn)
    while True:
        # Waiting for it lets others have their turn even where nobody has it.
        async with turn:
            try:
                next(slices)
            except StopIteration as done:
                return cast("T", done.value)


def run_at_once(slices: Slices[T]) -> T:
    """What a generator returns, without a turn for others."""
    while True:
        try:
            next(slices)
        except StopIteration as done:
            return cast("T", done.value)


def portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """All of them in order, ``size`` at a time. They must not change meanwhile."""
    iterator = iter(items)
    while portion := list(islice(iterator, size)):
        yield portion


async def parse_large_json(text: bytes) -> Any:
    """A list or object of any size. Raises ``NotJson`` as ``parse_json`` and ``parse_in_slices`` do."""
    if len(text) <= IN_PLACE_BYTES_MAX:
        return parse_json(text)
    return await run_slices(parse_in_slices(text))
