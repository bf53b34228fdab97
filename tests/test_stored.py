"""``tests.rig.stored``: what counts as a trace."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from kvschema.catalog.server import GLOBAL, ByName
from tests.rig.server import Server


async def write(server: Server, name: str, *, after_turns: int = 0) -> None:
    for _ in range(after_turns):
        await trio.lowlevel.checkpoint()
    async with server.store.writer.turn() as turn:
        turn.batch.put(GLOBAL, ByName(name), b"written")


async def test_a_write_is_a_trace(server: Server) -> None:
    with pytest.raises(AssertionError, match="written"):
        async with server.leaves_no_trace():
            await write(server, "test")
    async with server.leaves_no_trace():
        await write(server, "test")  # the same once more
    async with server.leaves_no_trace(but={GLOBAL.name}):
        await write(server, "other")


async def test_what_was_begun_before_is_no_trace(server: Server) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(write, server, "test", after_turns=10))
        async with server.leaves_no_trace():
            for _ in range(20):
                await trio.lowlevel.checkpoint()


async def test_what_is_brought_about_later_is_a_trace(server: Server) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(AssertionError, match="written"):
            async with server.leaves_no_trace():
                nursery.start_soon(partial(write, server, "test", after_turns=10))
