"""Requests that ask for more than is done without a pause for others: refused, and nothing has changed."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.api.client.cross_signing import SIGNATURES_MAX
from conduit_py.api.client.to_device import MESSAGES_MAX
from conduit_py.api.key_fields import CLAIMS_MAX, USERS_MAX
from conduit_py.http.request import JSON_BYTES_MAX
from conduit_py.service.rooms.create import INITIAL_STATE_MAX
from tests.rig.whole import WholeServer

EMPTY: dict[str, Any] = {}


def many(count: int, value: Any) -> dict[str, Any]:
    return {f"@u{number}:one.test": value for number in range(count)}


CASES: dict[str, tuple[str, str, Any, int]] = {
    "users queried": ("POST", "/keys/query", {"device_keys": many(USERS_MAX + 1, [])}, 413),
    "users claimed from": ("POST", "/keys/claim", {"one_time_keys": many(CLAIMS_MAX + 1, EMPTY)}, 413),
    "keys claimed": ("POST", "/keys/claim", {"one_time_keys": {"@u:one.test": many(CLAIMS_MAX + 1, "a")}}, 413),
    "users sent to": ("PUT", "/sendToDevice/x/1", {"messages": many(MESSAGES_MAX + 1, EMPTY)}, 413),
    "devices": ("PUT", "/sendToDevice/x/1", {"messages": {"@u:one.test": many(MESSAGES_MAX + 1, EMPTY)}}, 413),
    "signatures": ("POST", "/keys/signatures/upload", {"@u:one.test": many(SIGNATURES_MAX + 1, EMPTY)}, 413),
    "state": (
        "POST",
        "/createRoom",
        {"initial_state": [{"type": f"x{it}", "content": EMPTY} for it in range(INITIAL_STATE_MAX + 1)]},
        400,
    ),
    "bytes": ("POST", "/createRoom", {"name": "x" * JSON_BYTES_MAX}, 413),
    "one string": ("POST", "/createRoom", {"name": "x" * (JSON_BYTES_MAX - 100)}, 413),
    "values": ("POST", "/createRoom", {"x": [EMPTY] * 150_000}, 413),
}


@pytest.mark.parametrize("name", CASES)
async def test_large_request_is_refused(whole: WholeServer, name: str) -> None:
    alice = await whole.register("alice", device_id="PHONE")
    method, path, body, status = CASES[name]
    async with whole.leaves_no_trace():
        response = await (alice.post if method == "POST" else alice.put)(path, body)
        assert response.status == status
