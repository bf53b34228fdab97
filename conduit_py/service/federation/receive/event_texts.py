"""Events and EDUs as they came, parsed when their turn comes.

As text an event is what it says; as objects, one of the largest size can be two megabytes and take 10 ms to parse. So
few of those are parsed at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import trio

from conduit_py.matrix.canonical_json import NotJson
from conduit_py.slices import parse_large_json

EVENT_BYTES_MAX: Final = 256 * 1024
"""An event of at most 64 KiB, with ``unsigned``, and spaces in it. What is longer is none."""
SMALL_BYTES_MAX: Final = 4096
SMALL_AT_ONCE: Final = 200
"""Events that are parsed between two steps of the event loop, if all are small: about 3 ms."""
BRACKETS_PER_PORTION: Final = 60_000
"""Lists and objects that are held of one room at a time, in what one server sends; usual events have ten each."""


def count_brackets(text: bytes) -> int:
    """How many lists and objects there may be in a text."""
    return text.count(b"[") + text.count(b"{")


def split_events(texts: Iterable[bytes]) -> Iterator[Sequence[bytes]]:
    """Portions, in order, that may be held at a time: one, but for a server that wants to be a burden."""
    portion: list[bytes] = []
    left = BRACKETS_PER_PORTION
    for text in texts:
        brackets = count_brackets(text)
        if portion and brackets > left:
            yield portion
            portion, left = [], BRACKETS_PER_PORTION
        portion.append(text)
        left -= brackets
    if portion:
        yield portion


async def parse_events(texts: Iterable[bytes]) -> list[dict[str, Any]]:
    """Those that are objects."""
    raws: list[dict[str, Any]] = []
    for number, text in enumerate(texts):
        if number % SMALL_AT_ONCE == SMALL_AT_ONCE - 1:
            await trio.lowlevel.checkpoint()
        try:
            raw = await parse_event_text(text, EVENT_BYTES_MAX)
        except NotJson:
            continue
        if isinstance(raw, dict):
            raws.append(raw)
    return raws


async def parse_event_text(text: bytes, bytes_max: int) -> Any:
    """Raises ``NotJson``, also for what is too long."""
    if len(text) > bytes_max:
        raise NotJson(f"it is longer than {bytes_max} bytes")
    if len(text) > SMALL_BYTES_MAX:
        await trio.lowlevel.checkpoint()
    return await parse_large_json(text)
