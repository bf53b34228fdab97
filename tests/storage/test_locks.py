"""Locks by key: one task at a time, nothing left behind."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from conduit_py.storage.locks import KeyedLocks


@pytest.fixture
def locks() -> KeyedLocks:
    return KeyedLocks()


async def hold_until(locks: KeyedLocks, key: str, told: list[str], name: str, event: trio.Event) -> None:
    async with locks.hold(key):
        told.append(f"{name} in")
        await event.wait()
        told.append(f"{name} out")


async def test_one_task_at_a_time_first_come_first_served(locks: KeyedLocks) -> None:
    told: list[str] = []
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        for name in ("alice", "bob", "carol"):
            nursery.start_soon(hold_until, locks, "room", told, name, event)
            await wait_all_tasks_blocked()
        assert told == ["alice in"]
        event.set()
    assert told == ["alice in", "alice out", "bob in", "bob out", "carol in", "carol out"]
    assert len(locks) == 0


async def test_keys_do_not_wait_for_each_other(locks: KeyedLocks) -> None:
    async with locks.hold("one"), locks.hold("two"):
        assert len(locks) == 2
    assert len(locks) == 0


async def test_cancelled_waiter_leaves_the_lock_to_the_next(locks: KeyedLocks) -> None:
    told: list[str] = []
    event = trio.Event()
    scope = trio.CancelScope()

    async def impatient() -> None:
        with scope:
            await hold_until(locks, "room", told, "impatient", event)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold_until, locks, "room", told, "alice", event)
        await wait_all_tasks_blocked()
        nursery.start_soon(impatient)
        nursery.start_soon(hold_until, locks, "room", told, "bob", event)
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert (told, len(locks)) == (["alice in"], 1)
        event.set()
    assert told == ["alice in", "alice out", "bob in", "bob out"]
    assert len(locks) == 0


async def test_waiter_cancelled_before_it_began_leaves_nothing(locks: KeyedLocks) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with locks.hold("room"):
            pytest.fail("was let in")
    assert len(locks) == 0


async def test_exception_inside_frees_the_lock(locks: KeyedLocks) -> None:
    with pytest.raises(LookupError):
        async with locks.hold("room"):
            raise LookupError
    assert len(locks) == 0
