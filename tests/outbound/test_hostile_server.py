"""A server that answers what it is asked with whatever may hurt: nothing crashes, hangs, grows, or goes elsewhere.

Every question goes over TLS, through the very client that asks real servers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import hypothesis
import orjson
import pytest
import trio

from conduit_py.matrix.ids import EventId, KeyId, RoomAlias, RoomId, ServerName, UserId
from conduit_py.matrix.signing import SigningKey
from conduit_py.outbound import federation_events, federation_queries, policy
from conduit_py.outbound.errors import Refused, RemoteError, Unreachable
from conduit_py.outbound.federation import FederationClient, Fetcher
from conduit_py.outbound.resolve import MemoryDelegations, Resolver
from tests.matrix.events import wild_json_values
from tests.outbound.web import Answer, Internet, Machine, json_answer
from tests.rig.remote import Remotes

EVIL, ROOM, EVENT = ServerName("evil.test"), RoomId("!r:evil.test"), EventId("$e")

ASK: dict[str, Callable[[Fetcher], Awaitable[Any]]] = {
    "event": lambda it: federation_events.fetch_event(it, EVIL, EVENT),
    "state_ids": lambda it: federation_events.fetch_state_ids(it, EVIL, ROOM, EVENT),
    "state": lambda it: federation_events.fetch_state(it, EVIL, ROOM, EVENT),
    "event_auth": lambda it: federation_events.fetch_event_auth(it, EVIL, ROOM, EVENT),
    "backfill": lambda it: federation_events.fetch_backfill(it, EVIL, ROOM, [EVENT], limit=10),
    "missing_events": lambda it: federation_events.fetch_missing_events(
        it, EVIL, ROOM, earliest_events=[], latest_events=[EVENT], limit=10
    ),
    "directory": lambda it: federation_queries.fetch_directory(it, EVIL, RoomAlias("#a:evil.test")),
    "profile": lambda it: federation_queries.fetch_profile(it, EVIL, UserId("@a:evil.test")),
    "public_rooms": lambda it: federation_queries.fetch_public_rooms(it, EVIL, {}),
    "hierarchy": lambda it: federation_queries.fetch_hierarchy(it, EVIL, ROOM, suggested_only=False),
    "timestamp_to_event": lambda it: federation_queries.fetch_timestamp_to_event(it, EVIL, ROOM, ts=1, dir="f"),
    "policy_signature": lambda it: policy.fetch_policy_signature(it, EVIL, {"type": "m.room.message"}),
}

every_question = pytest.mark.parametrize("name", ASK)


@pytest.fixture
async def client(internet: Internet) -> AsyncIterator[FederationClient]:
    http = internet.client()
    yield FederationClient(
        http,
        Resolver(http, internet.dns, MemoryDelegations(), now_ms=lambda: 0),
        server_name=ServerName("one.test"),
        signing_key=SigningKey.from_seed(KeyId("ed25519:1"), bytes(32)),
        is_forbidden=lambda name: False,
        is_allowed=True,
    )
    await http.aclose()


async def put_evil(internet: Internet, answer: Answer) -> Machine:
    internet.name("evil.test", "1.2.3.4")
    return await internet.put(Machine(("evil.test",), lambda asked: answer), "1.2.3.4", 8448)


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"<html>hello</html>",
    "half": b'{"pdus": [',
    "list": b"[]",
    "number": b"1",
    "not UTF-8": b'{"a": "\xff"}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "NaN": b'{"a": NaN}',
    "deep": b'{"pdus":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and open": b'{"a":' * 50_000,
    "other": b'{"pdus": {}, "chunk": {}, "room": 1, "servers": 1, "event_id": [], "evil.test": 7}',
}


@every_question
async def test_malformed_answer_is_none(internet: Internet, client: FederationClient, name: str) -> None:
    evil = await put_evil(internet, json_answer({}))
    for what, body in MALFORMED.items():
        evil.answer = lambda asked, body=body: (200, {"content-type": "text/html"}, body)  # type: ignore[misc]
        if (name, what) in {("profile", "other"), ("event", "deep"), ("backfill", "deep")}:
            continue  # anything may stand in a profile, and events are looked at later
        with pytest.raises(Unreachable):
            await ASK[name](client)


@every_question
async def test_answer_that_is_too_large_is_not_taken_in(
    internet: Internet, client: FederationClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (federation_events, federation_queries, policy):
        for limit in [it for it in vars(module) if it.endswith("BYTES_MAX")]:
            monkeypatch.setattr(module, limit, 10_000)
    await put_evil(internet, json_answer({"pdus": ["x" * 20_000]}))
    with pytest.raises(Unreachable, match="larger than 10000 bytes"):
        await ASK[name](client)


@every_question
async def test_silence_ends_the_question(
    internet: Internet, client: FederationClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (federation_events, federation_queries, policy):
        for limit in [it for it in vars(module) if it.endswith("TIMEOUT_S")]:
            monkeypatch.setattr(module, limit, 0.2)

    async def say_nothing(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await trio.sleep_forever()

    internet.name("evil.test", "1.2.3.4")
    await internet.put_stream(say_nothing, "1.2.3.4", 8448)
    with trio.fail_after(10), pytest.raises(Unreachable, match=r"within 0\.2 s"):
        await ASK[name](client)


@every_question
async def test_redirect_leads_nowhere(internet: Internet, client: FederationClient, name: str) -> None:
    evil = await put_evil(internet, json_answer({}))
    good = await internet.put(Machine(("good.test",), lambda asked: json_answer({})), "1.2.3.5", 443)
    internet.name("good.test", "1.2.3.5")
    for location in ("https://10.0.0.1/", "http://127.0.0.1:8448/", "https://good.test/", "file:///etc/passwd"):
        evil.answer = lambda asked, location=location: json_answer({}, 302, location=location)  # type: ignore[misc]
        with pytest.raises(Refused) as caught:
            await ASK[name](client)
        assert caught.value.status == 302
    assert good.asked == []
    assert {host for host, _ in internet.cables.connected} == {"1.2.3.4"}


@every_question
async def test_server_at_a_private_address_is_not_asked(
    internet: Internet, client: FederationClient, name: str
) -> None:
    internet.name("evil.test", "10.0.0.1")
    inside = await internet.put(Machine(("evil.test",), lambda asked: json_answer({})), "10.0.0.1", 8448)
    with pytest.raises(Unreachable):
        await ASK[name](client)
    assert inside.asked == []
    assert internet.cables.connected == []


@every_question
@hypothesis.given(
    answer=wild_json_values,
    key=hypothesis.strategies.sampled_from(
        ("pdus", "events", "auth_chain", "pdu_ids", "chunk", "room", "children", "servers", "event_id", "evil.test")
    ),
)
def test_any_answer_is_read_or_refused(name: str, answer: Any, key: str) -> None:
    shaped = {
        "pdus": [],
        "events": [],
        "auth_chain": [],
        "pdu_ids": [],
        "auth_chain_ids": [],
        "chunk": [],
        "room": {"room_id": ROOM},
        "room_id": ROOM,
        "servers": [],
        "event_id": EVENT,
        "origin_server_ts": 1,
        key: answer,
    }

    async def ask() -> None:
        try:
            await ASK[name](Remotes({EVIL: lambda question: shaped}))
        except RemoteError:
            return

    trio.run(ask)


async def test_event_ids_of_any_length_do_not_grow_what_is_kept(client: FederationClient) -> None:
    long = orjson.dumps("$" + "x" * 300).decode()[1:-1]
    answer = {"pdu_ids": [long], "auth_chain_ids": []}
    with pytest.raises(Unreachable, match="255 bytes"):
        await ASK["state_ids"](Remotes({EVIL: lambda question: answer}))
