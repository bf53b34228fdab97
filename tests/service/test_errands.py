"""Work that goes on when whoever asked for it has gone."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from conduit_py.service.errands import AT_ONCE_MAX, Errands
from conduit_py.service.errors import Forbidden, MatrixError


async def test_errand_answers_and_refuses(nursery: trio.Nursery) -> None:
    errands = Errands()
    nursery.start_soon(errands.run)
    await trio.testing.wait_all_tasks_blocked()

    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 7

    async def refuse() -> int:
        await trio.lowlevel.checkpoint()
        raise Forbidden("no")

    assert await errands.do(answer) == 7
    with pytest.raises(Forbidden, match="no"):
        await errands.do(refuse)
    assert await errands.do(answer) == 7


async def test_errand_goes_on_without_who_asked(
    nursery: trio.Nursery, autojump_clock: MockClock, expect_errors: list[logging.LogRecord]
) -> None:
    errands, done = Errands(), trio.Event()
    nursery.start_soon(errands.run)
    await trio.testing.wait_all_tasks_blocked()

    async def work() -> None:
        await trio.sleep(10)
        done.set()
        raise ZeroDivisionError

    with trio.move_on_after(1) as gone:
        await errands.do(work)
    assert gone.cancelled_caught
    assert not done.is_set()
    await done.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert [record.getMessage() for record in expect_errors] == ["what was begun for somebody who has gone failed"]


async def test_errands_are_few_at_a_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    errands, running, most = Errands(), 0, 0
    nursery.start_soon(errands.run)
    await trio.testing.wait_all_tasks_blocked()

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    async with trio.open_nursery() as askers:
        for _ in range(3 * AT_ONCE_MAX):
            askers.start_soon(errands.do, work)
    assert most == AT_ONCE_MAX


async def test_errand_is_not_begun_when_the_server_goes_down() -> None:
    async def work() -> None:
        raise AssertionError

    with pytest.raises(MatrixError, match="going down"):
        await Errands().do(work)
