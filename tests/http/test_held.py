"""What requests hold in memory: no more than there is for all, nor for one address."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from conduit_py.http import held
from conduit_py.http.app import App
from conduit_py.http.in_process import AppClient
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes

LARGE = b'{"text":"%b"}' % (b"x" * 50_000)
DENSE = b'{"list":[%b1]}' % (b"1," * 40_000)


class Slow:
    """An application that answers when the test says so."""

    def __init__(self) -> None:
        self.go = trio.Event()
        routes = Routes("slow")

        @routes.put("/slow")
        async def slow(request: Request) -> Json:
            body = await request.json_object()
            await self.go.wait()
            return {"names": list(body)}

        self.app = App([routes], request_bytes_max=1_000_000)

    async def put(self, body: bytes, address: str = "10.0.0.1") -> Any:
        reply = await AppClient(self.app, address=address).request("PUT", "/slow", {}, body)
        return reply.status, reply.json().get("errcode"), reply.headers.get("retry-after")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr(held, "HELD_BYTES_MAX", 130_000)
    monkeypatch.setattr(held, "PER_ADDRESS_BYTES_MAX", 70_000)
    return Slow()


async def hold(nursery: trio.Nursery, slow: Slow, address: str) -> None:
    nursery.start_soon(slow.put, LARGE, address)
    await trio.testing.wait_all_tasks_blocked()


async def test_address_that_sends_too_much_at_a_time_is_told_to_come_again(slow: Slow) -> None:
    async with trio.open_nursery() as nursery:
        await hold(nursery, slow, "10.0.0.1")
        assert await slow.put(LARGE) == (429, "M_LIMIT_EXCEEDED", "5")
        nursery.start_soon(slow.put, LARGE, "10.0.0.2")
        await trio.testing.wait_all_tasks_blocked()
        slow.go.set()
    assert await slow.put(LARGE) == (200, None, None)


async def test_addresses_of_one_network_are_one(slow: Slow) -> None:
    async with trio.open_nursery() as nursery:
        await hold(nursery, slow, "2001:db8::1")
        assert await slow.put(LARGE, "2001:db8::2") == (429, "M_LIMIT_EXCEEDED", "5")
        nursery.start_soon(slow.put, LARGE, "2001:db8:0:1::1")
        await trio.testing.wait_all_tasks_blocked()
        slow.go.set()


async def test_all_together_hold_no_more_than_there_is(slow: Slow) -> None:
    async with trio.open_nursery() as nursery:
        await hold(nursery, slow, "10.0.0.1")
        await hold(nursery, slow, "10.0.0.2")
        assert await slow.put(LARGE, "10.0.0.3") == (429, "M_LIMIT_EXCEEDED", "5")
        nursery.start_soon(slow.put, b"{}", "10.0.0.3")
        await trio.testing.wait_all_tasks_blocked()
        slow.go.set()


async def test_what_is_parsed_counts_for_what_it_takes(slow: Slow) -> None:
    slow.go.set()
    assert await slow.put(DENSE) == (429, "M_LIMIT_EXCEEDED", "5")
    assert await slow.put(LARGE) == (200, None, None)


async def test_request_that_is_given_up_holds_nothing(slow: Slow) -> None:
    async with trio.open_nursery() as nursery:
        await hold(nursery, slow, "10.0.0.1")
        nursery.cancel_scope.cancel()
    slow.go.set()
    assert await slow.put(LARGE) == (200, None, None)
