"""How much users can make the server ask."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.lookups import LOOKUPS_AT_ONCE, LOOKUPS_PER_SERVER_MAX, Lookups


class Slow:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.answer = trio.Event()
        self.running: list[str] = []

    async def fetch(
        self,
        method: str,
        destination: ServerName,
        path: str,
        *,
        content: Mapping[str, Any] | None = None,
        timeout_s: float = 0,
        bytes_max: int = 0,
        is_signed: bool = True,
        texts_of: Collection[str] = (),
    ) -> dict[str, Any]:
        self.running.append(destination)
        await self.answer.wait()
        self.running.remove(destination)
        return {"timeout_s": timeout_s, "bytes_max": bytes_max, "is_signed": is_signed, "content": content}


async def test_lookup_is_asked_as_it_is() -> None:
    slow = Slow()
    slow.answer.set()
    answer = await Lookups(slow).fetch(
        "GET", ServerName("two.test"), "/", content={}, timeout_s=5, bytes_max=6, is_signed=False
    )
    assert answer == {"timeout_s": 5, "bytes_max": 6, "is_signed": False, "content": {}}


async def test_one_server_is_asked_for_few_things_at_once() -> None:
    slow = Slow()
    lookups = Lookups(slow)
    async with trio.open_nursery() as nursery:
        for _ in range(LOOKUPS_PER_SERVER_MAX):
            nursery.start_soon(lookups.fetch, "GET", ServerName("two.test"), "/")
        await wait_all_tasks_blocked()
        with pytest.raises(Unreachable, match="already"):
            await lookups.fetch("GET", ServerName("two.test"), "/")
        nursery.start_soon(lookups.fetch, "GET", ServerName("three.test"), "/")
        await wait_all_tasks_blocked()
        assert slow.running[-1] == "three.test"
        slow.answer.set()
    await lookups.fetch("GET", ServerName("two.test"), "/")


async def test_many_lookups_wait_for_one_another() -> None:
    slow = Slow()
    lookups = Lookups(slow)
    async with trio.open_nursery() as nursery:
        for number in range(LOOKUPS_AT_ONCE + 5):
            nursery.start_soon(lookups.fetch, "GET", ServerName(f"s{number}.test"), "/")
        await wait_all_tasks_blocked()
        assert len(slow.running) == LOOKUPS_AT_ONCE
        slow.answer.set()
