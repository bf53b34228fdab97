"""Long computations take turns, and let others have theirs."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import trio

from conduit_py.matrix.canonical_json import NotJson
from conduit_py.matrix.json_slices import IN_PLACE_BYTES_MAX
from conduit_py.slices import parse_large_json, run_slices


async def test_computations_take_turns_with_each_other_and_with_everybody_else() -> None:
    done: list[str] = []

    def compute(name: str, slices: int) -> Generator[None, None, str]:
        for _ in range(slices):
            done.append(name)
            yield
        return name

    async def watch() -> None:
        while len(done) < 8:
            before = len(done)
            await trio.lowlevel.checkpoint()
            # One in this round of the event loop before this task, and one in the last round after it.
            assert len(done) <= before + 2

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        nursery.start_soon(run_slices, compute("long", 6))
        nursery.start_soon(run_slices, compute("short", 2))
    assert done[-3:] == ["long"] * 3
    assert await run_slices(compute("alone", 0)) == "alone"


@pytest.mark.parametrize("length", [10, IN_PLACE_BYTES_MAX])
async def test_json_of_any_length_is_parsed_or_is_none(length: int) -> None:
    text = b'{"a":[%b1]}' % (b"1," * length)
    assert await parse_large_json(text) == {"a": [1] * (length + 1)}
    with pytest.raises(NotJson):
        await parse_large_json(text[:-1])
    assert await parse_large_json(text) == {"a": [1] * (length + 1)}
