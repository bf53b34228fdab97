"""The largest transactions that a server can make, each of something that is dear to look at.

With a whole server on LMDB, its writer's thread and the threads that verify. What is measured is what the event loop
computes without a break for others: time that passes says nothing on a busy machine. That a thread which parses keeps
the interpreter to itself meanwhile is not seen here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from bench.federation import ROOM_ID, SEND, SERVER_NAME, Running, key_of, open_server, write_answer
from conduit_py.api.federation.transactions import BODY_BYTES_MAX
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.x_matrix import build_x_matrix

EVIL = ServerName("server0.test")
BOB = f"@user0:{EVIL}"
BUSY_MS_MAX = 100
"""Twice what is allowed, for a collection of garbage that falls into it. Usual are 10 to 30."""
EMPTY: list[Any] = []


@dataclass
class Watch:
    """Made by ``watching``."""

    busy_ms: float = 0.0


@asynccontextmanager
async def watching() -> AsyncIterator[Watch]:
    """Measures the longest step of the event loop while the block runs."""
    watch = Watch()

    async def run() -> None:
        while True:
            before = time.thread_time()
            await trio.lowlevel.checkpoint()
            watch.busy_ms = max(watch.busy_ms, (time.thread_time() - before) * 1000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield watch
        nursery.cancel_scope.cancel()


async def send(running: Running, txn_id: str, body: bytes) -> int:
    header = build_x_matrix(
        method="PUT",
        uri=f"{SEND}{txn_id}",
        origin=EVIL,
        destination=SERVER_NAME,
        body=body,
        signing_key=key_of(EVIL),
    )
    headers = {"Authorization": header, "Content-Type": "application/json"}
    async with watching() as watch:
        reply = await running.app.request("PUT", f"{SEND}{txn_id}", headers, body)
    assert watch.busy_ms < BUSY_MS_MAX, (txn_id, watch.busy_ms)
    return reply.status


def edu(edu_type: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"pdus": [], "edus": [{"edu_type": edu_type, "content": content}]}


def build_transactions() -> dict[str, Mapping[str, Any]]:
    users = [f"@user{number}:{EVIL}" for number in range(150_000)]
    receipt = {"event_ids": ["$e"], "data": {"ts": 1}}
    message = {"sender": BOB, "type": "x", "message_id": "1"}
    raw = {"room_id": ROOM_ID, "type": "m.room.power_levels", "sender": BOB, "state_key": ""}
    values = [EMPTY] * 600_000
    return {
        "values": {"pdus": [values], "edus": []},
        "event": {"pdus": [{**raw, "content": {"users": values}}], "edus": []},
        "unsigned": {"pdus": [{**raw, "content": {}, "unsigned": {"many": values}}], "edus": []},
        "levels": {"pdus": [{**raw, "content": {"users": dict.fromkeys(users, 1)}}], "edus": []},
        "text": {"pdus": [{**raw, "content": {"body": "x" * 15_000_000}}], "edus": []},
        "receipts": edu("m.receipt", {ROOM_ID: {"m.read": dict.fromkeys(users, receipt)}}),
        "rooms": edu("m.receipt", {f"!r{number}:{EVIL}": {} for number in range(300_000)}),
        "presence": edu("m.presence", {"push": [{"user_id": user, "presence": "online"} for user in users]}),
        "messages": edu("m.direct_to_device", {**message, "messages": {it: {"*": {}} for it in users}}),
        "devices": edu("m.direct_to_device", {**message, "messages": {"@alice:one.test": {it: {} for it in users}}}),
    }


@pytest.mark.slow
async def test_no_transaction_stops_the_event_loop(tmp_path: Path) -> None:
    await trio.to_thread.run_sync(write_answer, tmp_path, 20, 1)
    async with open_server(tmp_path) as running:
        await running.join()
        for name, transaction in build_transactions().items():
            body = encode_canonical_json(transaction, strict=True)
            assert len(body) <= BODY_BYTES_MAX
            assert await send(running, name, body) == 200, name
        many = b'{"edus":[],"pdus":[[]%b]}' % (b",[]" * 5_000_000)
        assert await send(running, "too-many", many) == 413
