"""The largest transactions that a server can make, each of something that is dear to look at.

With a whole server on LMDB, its writer's thread and the threads that verify. What is measured is what the event loop
computes without a break for others: time that passes says nothing on a busy machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trio

from bench.federation import (
    KEY_ID,
    ROOM_ID,
    SEND,
    SERVER_NAME,
    VERSION,
    Room,
    Running,
    key_of,
    open_server,
    write_answer,
)
from conduit_py.api.federation.transactions import BODY_BYTES_MAX
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import EventId, ServerName
from conduit_py.matrix.pdu import parse_pdu
from conduit_py.matrix.x_matrix import build_x_matrix
from conduit_py.outbound.http import HttpReply, Target
from conduit_py.process import settle_memory

EVIL = ServerName("server0.test")
BOB = f"@user0:{EVIL}"
BUSY_MS_MAX = 50
MEMBERS_TOLD = 20_000
TOLD_S_MAX = 300
LAZY = '{"room":{"state":{"lazy_load_members":true}}}'
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
            try:
                await trio.lowlevel.checkpoint()
            finally:  # The last step of the block too, at whose end this is cancelled.
                watch.busy_ms = max(watch.busy_ms, (time.thread_time() - before) * 1000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield watch
        nursery.cancel_scope.cancel()


async def send(running: Running, txn_id: str, body: bytes, *, is_canonical: bool = True) -> int:
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
        reply = await running.app.request("PUT", f"{SEND}{txn_id}", headers, body if is_canonical else body + b" ")
    assert watch.busy_ms < BUSY_MS_MAX, (txn_id, watch.busy_ms)
    return reply.status


def edus(edu_type: str, *contents: Mapping[str, Any]) -> dict[str, Any]:
    return {"pdus": [], "edus": [{"edu_type": edu_type, "content": content} for content in contents]}


def build_transactions() -> dict[str, tuple[int, Mapping[str, Any]]]:
    """How each is answered, and what is in it."""
    users = [f"@user{number}:{EVIL}" for number in range(150_000)]
    receipt = {"event_ids": ["$e"], "data": {"ts": 1}}
    message = {"sender": BOB, "type": "x", "message_id": "1"}
    raw = {"room_id": ROOM_ID, "type": "m.room.power_levels", "sender": BOB, "state_key": ""}
    values = [EMPTY] * 600_000
    dense = {**raw, "content": {"users": values[:21_000]}}
    receipts: dict[str, Any] = {ROOM_ID: {"m.read": dict.fromkeys(users[:12_000], receipt)}}
    online = {"push": [{"user_id": user, "presence": "online"} for user in users[:14_000]]}
    messages = {**message, "messages": {user: {"*": {}} for user in users[:25_000]}}
    devices = {**message, "messages": {"@alice:one.test": {user: {} for user in users[:30_000]}}}
    return {
        "values": (200, {"pdus": [values], "edus": []}),
        "event": (200, {"pdus": [{**raw, "content": {"users": values}}], "edus": []}),
        "unsigned": (200, {"pdus": [{**raw, "content": {}, "unsigned": {"many": values}}], "edus": []}),
        "dense": (200, {"pdus": [dense] * 50, "edus": []}),
        "dense-edus": (200, {"pdus": [], "edus": [{"edu_type": "m.receipt", "content": dense}] * 100}),
        "levels": (400, {"pdus": [{**raw, "content": {"users": dict.fromkeys(users, 1)}}], "edus": []}),
        "text": (400, {"pdus": [{**raw, "content": {"body": "x" * 15_000_000}}], "edus": []}),
        "texts": (200, {"pdus": [{**raw, "content": {"body": "x" * 400_000}}] * 30, "edus": []}),
        "receipts": (200, edus("m.receipt", *[receipts] * 5)),
        "rooms": (200, edus("m.receipt", {f"!r{number}:{EVIL}": {} for number in range(35_000)})),
        "presence": (200, edus("m.presence", *[online] * 5)),
        "messages": (200, edus("m.direct_to_device", *[messages] * 5)),
        "devices": (200, edus("m.direct_to_device", *[devices] * 5)),
    }


def build_talk(
    running: Running, folder: Path, *, content: Mapping[str, Any], shape: str, prev: EventId | None = None
) -> list[Any]:
    """Events of bob's, which the room takes, each after the other or all after the same."""
    joined = running.peers.joined
    assert joined is not None
    members = json.loads((folder / "members").read_text())
    room = Room()
    pdus = []
    for _ in range(50):
        if not room.last or shape == "fork":
            room.last = [prev or joined.event_id]
        pdus.append(room.add("m.room.message", BOB, None, content, [*joined.auth_events[:2], members[BOB]]).json)
    return pdus


def encode(pdus: list[Any]) -> bytes:
    return encode_canonical_json({"pdus": pdus, "edus": []}, strict=True)


FORGERIES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "signature": lambda pdu: {**pdu, "signatures": {EVIL: {KEY_ID: "A" * 86}}},
    "hash": lambda pdu: {**pdu, "hashes": {"sha256": "A" * 43}},
    "auth": lambda pdu: {**pdu, "auth_events": ["$" + "A" * 43] * 10},
    "sender": lambda pdu: {**pdu, "sender": "@alice:one.test"},
}

ANSWERS: dict[str, bytes] = {
    "lists": b'{"events":[[]%b]}' % (b",[]" * 5_000_000),
    "nested lists": b'{"events":[%b[]]}' % (b"[[[]]]," * 100_000),
    "numbers": b'{"events":[0%b]}' % (b",0" * 7_000_000),
    "text": b'{"events":["%b"]}' % (b"x" * 15_000_000),
    "many texts": b'{"events":[%b""]}' % (b'"a",' * 3_000_000),
    "members": b'{"events":[],%b"a":0}' % b"".join(b'"%x":[],' % number for number in range(900_000)),
    "deep": b'{"events":[%b]}' % (b"[" * 1_000_000 + b"]" * 1_000_000),
    "open": b'{"events":[' * 200_000,
    "blank": b'{"events":[%b]}' % (b" " * 15_000_000),
    "ids": b'{"pdu_ids":["$a"%b],"auth_chain_ids":[]}' % (b',"$a"' * 450_000),
}


@pytest.mark.slow
async def test_no_transaction_stops_the_event_loop(tmp_path: Path) -> None:
    await trio.to_thread.run_sync(write_answer, tmp_path, 20, 1)
    async with open_server(tmp_path) as running:
        await running.join()
        for name, (status, transaction) in build_transactions().items():
            body = encode_canonical_json(transaction, strict=True)
            assert len(body) <= BODY_BYTES_MAX, (name, len(body))
            assert await send(running, name, body) == status, name
            if len(body) < 6_000_000:
                assert await send(running, f"other-{name}", body, is_canonical=False) in (status, 413), name
        many = b'{"edus":[],"pdus":[[]%b]}' % (b",[]" * 5_000_000)
        assert await send(running, "too-many", many) == 400
        for number, shape in enumerate(("chain", "fork")):
            content = {"many": [EMPTY] * 20_000, "number": number}
            talk = {"pdus": build_talk(running, tmp_path, content=content, shape=shape), "edus": []}
            body = encode_canonical_json(talk, strict=True)
            assert await send(running, shape, body) == 200
            assert await send(running, shape, body) == 200


@pytest.mark.slow
async def test_no_flood_and_no_answer_stops_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 events that follow nothing that is known, forged ones, and answers to what they make us ask."""
    await trio.to_thread.run_sync(write_answer, tmp_path, 20, 1)
    async with open_server(tmp_path) as running:
        await running.join()
        for number in range(200):
            talk = build_talk(running, tmp_path, content={"body": f"{number}"}, shape="fork", prev=EventId("$nowhere"))
            assert await send(running, f"flood{number}", encode(talk)) == 200
        known = build_talk(running, tmp_path, content={"body": "forged"}, shape="fork")
        for name, forge in FORGERIES.items():
            assert await send(running, name, encode([forge(pdu) for pdu in known])) == 200
        fetch = running.peers.fetch
        for name, answer in ANSWERS.items():

            async def lie(method: str, target: Target, path: str, answer: bytes = answer, **more: Any) -> HttpReply:
                reply = await fetch(method, target, path, **more)
                return HttpReply(200, {}, answer) if "/federation/" in path else reply

            monkeypatch.setattr(running.peers, "fetch", lie)
            prev = EventId(f"$before {name}")
            lost = build_talk(running, tmp_path, content={"body": name}, shape="fork", prev=prev)[:1]
            assert await send(running, f"answer {name}".replace(" ", "-"), encode(lost)) == 200, name


def build_moves(folder: Path) -> Iterator[tuple[str, list[Any]]]:
    """States of the room as a server tells them: in the first thousands of its users have joined, then they go."""
    told = json.loads(b"[" + (folder / "state").read_bytes() + b"]")
    allowing = [parse_pdu(told[number], VERSION).event_id for number in (0, 2, 3)]
    users = [f"@member{number}:{EVIL}" for number in range(MEMBERS_TOLD)]
    room = Room()
    joins = [room.add("m.room.member", user, user, {"membership": "join"}, allowing) for user in users]
    yield "many come", told + [pdu.json for pdu in joins]
    leaves = [
        room.add("m.room.member", user, user, {"membership": "leave"}, [*allowing[:2], join.event_id])
        for user, join in zip(users, joins, strict=True)
    ]
    yield "many go", told + [pdu.json for pdu in leaves]


async def fetch_sync(running: Running, **query: str) -> bytes:
    """What a client that shows few members is told, not parsed: that takes as long as what is measured here."""
    url = f"/_matrix/client/v3/sync?{urlencode({'filter': LAZY, **query})}"
    reply = await running.app.request("GET", url, {"Authorization": f"Bearer {running.token}"}, b"")
    assert reply.status == 200, reply.body
    return reply.body


@pytest.mark.slow
@pytest.mark.early
async def test_no_state_that_is_told_stops_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await trio.to_thread.run_sync(write_answer, tmp_path, 20, 1)
    async with open_server(tmp_path) as running:
        await running.join()
        since = json.loads(await fetch_sync(running))["next_batch"]
        answers: dict[str, bytes] = {}
        fetch = running.peers.fetch

        async def tell(method: str, target: Target, path: str, **more: Any) -> HttpReply:
            reply = await fetch(method, target, path, **more)
            answer = next((answer for name, answer in answers.items() if name in path), None)
            return reply if answer is None else HttpReply(200, {}, answer)

        monkeypatch.setattr(running.peers, "fetch", tell)
        for name, told in build_moves(tmp_path):
            ids = [parse_pdu(event, VERSION).event_id for event in told]
            answers["/state/"] = encode_canonical_json({"pdus": told, "auth_chain": []}, strict=True)
            answers["/state_ids/"] = encode_canonical_json({"pdu_ids": ids, "auth_chain_ids": []}, strict=True)
            prev = EventId(f"$before {name}")
            [said] = build_talk(running, tmp_path, content={"body": name}, shape="fork", prev=prev)[:1]
            settle_memory()
            with trio.fail_after(TOLD_S_MAX):
                async with watching() as watch:
                    # It takes too long to wait for: the event counts as taken.
                    assert await send(running, name.replace(" ", "-"), encode([said])) == 200
                    while name.encode() not in (body := await fetch_sync(running, since=since, timeout="30000")):
                        since = json.loads(body)["next_batch"]
            assert watch.busy_ms < BUSY_MS_MAX, (name, watch.busy_ms)
            synced = json.loads(body)
            since, room = synced["next_batch"], synced["rooms"]["join"][ROOM_ID]
            assert room["summary"]["m.joined_member_count"] == 22 + (MEMBERS_TOLD if name == "many come" else 0)
            assert len(synced["device_lists"]["changed" if name == "many come" else "left"]) == MEMBERS_TOLD
