"""Ctrl-C while a command waits for something."""

from __future__ import annotations

import pytest
import trio

from conduit_py.commands.running import run


async def interrupted(*others: BaseException) -> None:
    async def fail(error: BaseException) -> None:
        raise error

    async with trio.open_nursery() as nursery:
        for error in (KeyboardInterrupt(), *others):
            nursery.start_soon(fail, error)


def test_interrupt_arrives_bare() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(interrupted)


def test_what_else_went_wrong_is_not_hidden_behind_it() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        run(interrupted, OSError("the disk is full"))
    assert caught.value.split(OSError)[0] is not None
