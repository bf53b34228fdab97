"""``/_matrix/client/v3/user/{userId}/filter``"""

from __future__ import annotations

import re
from typing import Any

import pytest

from conduit_py.service.users import filters
from tests.rig.client import Client
from tests.rig.server import Server

FILTER = {"room": {"timeline": {"limit": 10, "types": ["m.room.message"]}}, "event_format": "client"}


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


async def define(user: Client, definition: dict[str, Any]) -> str:
    response = await user.post(user.user_path("filter"), definition)
    assert response.status == 200, response.body
    filter_id: str = response.json["filter_id"]
    return filter_id


async def test_define_filter_names_it(alice: Client) -> None:
    filter_id = await define(alice, FILTER)
    assert re.fullmatch(r"[\w-]+", filter_id)
    assert (await alice.get(alice.user_path("filter", filter_id))).json == FILTER


async def test_define_filter_stores_the_same_filter_once(server: Server, alice: Client) -> None:
    filter_id = await define(alice, FILTER)
    async with server.leaves_no_trace():
        assert await define(alice, dict(reversed(FILTER.items()))) == filter_id
    assert await define(alice, {}) != filter_id


async def test_define_filter_bad_json(server: Server, alice: Client) -> None:
    async with server.leaves_no_trace():
        response = await alice.post(alice.user_path("filter"), {"room": {"timeline": {"limit": "ten"}}})
    assert response.outcome == (400, "M_BAD_JSON")
    assert "room.timeline.limit" in response.json["error"]


async def test_define_filter_too_large(server: Server, alice: Client) -> None:
    async with server.leaves_no_trace():
        response = await alice.post(alice.user_path("filter"), {"org.x": "x" * filters.FILTER_BYTES_MAX})
    assert response.outcome == (413, "M_TOO_LARGE")


async def test_define_filter_forbidden_with_too_many(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "FILTERS_PER_USER_MAX", 2)
    for number in range(2):
        await define(alice, {"org.n": number})
    response = await alice.post(alice.user_path("filter"), {"org.n": 2})
    assert response.outcome == (403, "M_FORBIDDEN")
    await define(alice, {"org.n": 1})


async def test_define_filter_forbidden_for_others(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    async with server.leaves_no_trace():
        assert (await bob.post(alice.user_path("filter"), FILTER)).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("filter_id", ["0", "A" * 22, "!" * 22, "é" * 22])
async def test_get_filter_not_found(alice: Client, filter_id: str) -> None:
    assert (await alice.get(alice.user_path("filter", filter_id))).outcome == (404, "M_NOT_FOUND")


async def test_get_filter_not_found_when_it_is_somebody_elses(server: Server, alice: Client) -> None:
    bob = await server.register("bob")
    filter_id = await define(alice, FILTER)
    assert (await bob.get(bob.user_path("filter", filter_id))).outcome == (404, "M_NOT_FOUND")
    assert (await bob.get(alice.user_path("filter", filter_id))).outcome == (403, "M_FORBIDDEN")
