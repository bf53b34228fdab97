"""Who sent a request: every way in which it is not who it says."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from conduit_py.matrix import json_slices
from conduit_py.matrix.canonical_json import encode_canonical_json, parse_json
from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.x_matrix import build_x_matrix
from conduit_py.service.errors import MatrixError
from conduit_py.service.federation.auth import VERIFIED_IN_PLACE_BYTES_MAX, RequestVerifier
from conduit_py.service.federation.build import ForbiddenNames
from conduit_py.service.federation.keys import FETCHES_AT_ONCE
from conduit_py.service.federation.strangers import AT_ONCE_PER_ADDRESS, WAITING_PER_ADDRESS_MAX
from tests.rig.server import SERVER_NAME, START_MS, Server
from tests.service.federation.servers import Remote, Source, make_ring

TWO = ServerName("two.test")
URI = "/_matrix/federation/v1/x?y=%20"


@dataclass
class World:
    """A verifier, and one other server that sends requests."""

    server: Server
    is_allowed: bool = True
    has_threads: bool = False
    forbidden: tuple[str, ...] = ()
    two: Remote = field(default_factory=lambda: Remote(TWO))
    source: Source = field(default_factory=Source)
    counted: list[tuple[str, Hashable]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source.published[TWO] = self.two.publish()
        self.verifier = RequestVerifier(
            make_ring(self.server, self.source),
            server_name=ServerName(SERVER_NAME),
            is_forbidden=ForbiddenNames(self.forbidden),
            is_allowed=self.is_allowed,
            throttle=self.counted.append,
            now_ms=self.server.store.now_ms,
            has_threads=self.has_threads,
        )

    def sign(self, *, origin: str = TWO, destination: str = SERVER_NAME, content: Any = None) -> str:
        return build_x_matrix(
            method="PUT",
            uri=URI,
            origin=ServerName(origin),
            destination=ServerName(destination),
            body=None if content is None else encode_canonical_json(content, strict=False),
            signing_key=self.two.key,
        )

    async def verify(
        self, *authorization: str, body: bytes = b"", uri: str = URI, address: str = "192.0.2.1"
    ) -> ServerName:
        origin, content = await self.verifier.verify(authorization, method="PUT", uri=uri, body=body, address=address)
        assert content == (parse_json(body) if body else None)
        return origin

    async def refusal(self, *authorization: str, **more: Any) -> tuple[int, str]:
        with pytest.raises(MatrixError) as caught:
            await self.verify(*authorization, **more)
        return caught.value.status, caught.value.errcode


async def test_signed_request_tells_its_origin(server: Server, autojump_clock: MockClock) -> None:
    world = World(server)
    assert await world.verify(world.sign()) == TWO
    content = {"a": [1, 2**53 - 1], "ä": "ö"}
    assert await world.verify(world.sign(content=content), body=encode_canonical_json(content, strict=True)) == TWO
    assert await world.verify(world.sign(content={"a": 1}), body=b' { "a" : 1 } ') == TWO
    assert await world.verify("Bearer other", world.sign()) == TWO
    assert set(world.counted) == {("federation", TWO)}


async def test_request_without_authorization_is_refused(server: Server, autojump_clock: MockClock) -> None:
    world = World(server)
    for authorization in ((), ("Bearer x",), ("X-Matrix nonsense",)):
        assert await world.refusal(*authorization) == (401, "M_UNAUTHORIZED")
    assert world.source.asked == []


async def test_request_to_another_server_is_refused(server: Server, autojump_clock: MockClock) -> None:
    world = World(server)
    assert await world.refusal(world.sign(destination="three.test")) == (401, "M_UNAUTHORIZED")


async def test_request_that_claims_to_be_ours_is_refused(server: Server, autojump_clock: MockClock) -> None:
    world = World(server)
    assert await world.refusal(world.sign(origin=SERVER_NAME)) == (401, "M_UNAUTHORIZED")


async def test_request_that_was_changed_is_refused(server: Server, autojump_clock: MockClock) -> None:
    world = World(server)
    header = world.sign(content={"a": 1})
    assert await world.refusal(header, body=b'{"a":2}') == (401, "M_UNAUTHORIZED")
    assert await world.refusal(header) == (401, "M_UNAUTHORIZED")
    assert await world.refusal(header, body=b'{"a":1}', uri="/other") == (401, "M_UNAUTHORIZED")
    assert await world.verify(header, body=b'{"a":1}') == TWO
    assert world.counted == [("federation", TWO)]  # who only claims to be a server uses up nothing of its own


async def test_request_by_an_unknown_key_is_refused(server: Server, autojump_clock: MockClock) -> None:
    world = World(server)
    world.source.published.clear()
    assert await world.refusal(world.sign()) == (401, "M_UNAUTHORIZED")


@pytest.mark.parametrize(
    "addresses", [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::2"), ("unknown", "unknown")]
)
async def test_made_up_servers_are_waited_for_by_who_made_them_up(
    server: Server, autojump_clock: MockClock, addresses: tuple[str, str]
) -> None:
    world, times = World(server), dict[str, float]()
    world.source.wait = partial(trio.sleep, 10)
    flood = [f"s{number}.test" for number in range(2 * FETCHES_AT_ONCE)]

    async def ask(name: str, address: str) -> None:
        if name != TWO:
            assert await world.refusal(world.sign(origin=name), address=address) == (401, "M_UNAUTHORIZED")
        else:
            assert await world.verify(world.sign(), address=address) == TWO
        times[name] = trio.current_time()

    async with trio.open_nursery() as nursery:
        for number, name in enumerate(flood):
            nursery.start_soon(ask, name, addresses[number % 2])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, TWO, "198.51.100.1")
    assert times[TWO] == 10
    assert world.source.most_running == AT_ONCE_PER_ADDRESS + 1
    assert max(times.values()) == 10 * len(flood) / AT_ONCE_PER_ADDRESS
    assert not len(world.verifier._strangers)


async def test_too_many_made_up_servers_are_refused(server: Server, autojump_clock: MockClock) -> None:
    world = World(server)
    world.source.wait = partial(trio.sleep, 10)
    async with trio.open_nursery() as nursery:
        for number in range(WAITING_PER_ADDRESS_MAX):
            nursery.start_soon(world.refusal, world.sign(origin=f"s{number}.test"))
        await trio.testing.wait_all_tasks_blocked()
        assert await world.refusal(world.sign(origin="one-more.test")) == (429, "M_LIMIT_EXCEEDED")
        assert await world.verify(world.sign(), address="198.51.100.1") == TWO
        # Who is known does not wait, wherever the request comes from.
        assert await world.verify(world.sign()) == TWO


async def test_request_by_an_old_or_outdated_key_is_refused(server: Server, autojump_clock: MockClock) -> None:
    for published in (
        World(server).two.publish(valid_until_ts=START_MS - 1),
        Remote(TWO, 2).publish(old_verify_keys={"ed25519:1": {"key": "A" * 43, "expired_ts": START_MS}}),
    ):
        world = World(server)
        world.source.published[TWO] = published
        assert await world.refusal(world.sign()) == (401, "M_UNAUTHORIZED")


@pytest.mark.parametrize(("body", "errcode"), [(b"{", "M_NOT_JSON"), (b"[]", "M_BAD_JSON")])
async def test_body_that_is_no_object_is_refused(
    server: Server, body: bytes, errcode: str, autojump_clock: MockClock
) -> None:
    world = World(server)
    assert await world.refusal(world.sign(), body=body) == (400, errcode)


@pytest.mark.parametrize("has_threads", [False, True])
async def test_large_body_is_verified(server: Server, has_threads: bool, mock_clock: MockClock) -> None:
    """In a thread, where there are any, whether it came as canonical JSON or not."""
    world = World(server, has_threads=has_threads)
    content = {"texts": [*["x" * (VERIFIED_IN_PLACE_BYTES_MAX // 2)] * 3, "y", 10**40]}
    body = encode_canonical_json(content, strict=False)
    signed = world.sign(content=content)
    assert await world.verify(signed, body=body) == TWO
    assert await world.verify(signed, body=body.replace(b",", b" , ")) == TWO
    assert await world.refusal(signed, body=body.replace(b"y", b"z")) == (401, "M_UNAUTHORIZED")
    assert await world.refusal(signed, body=body[:-1]) == (400, "M_NOT_JSON")
    assert await world.refusal(world.sign(content=[content]), body=b"[%b]" % body) == (400, "M_BAD_JSON")


@pytest.mark.parametrize("is_canonical", [False, True])
async def test_body_of_too_many_values_is_refused(
    server: Server, is_canonical: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_slices, "CONTAINERS_MAX" if is_canonical else "ENCODED_VALUES_MAX", 10_000)
    world = World(server)
    body = b'{"pdus":[%b[]]}' % (b"[]," * 30_000)
    signed = world.sign(content=parse_json(body))
    assert await world.refusal(signed, body=body if is_canonical else body + b" ") == (413, "M_TOO_LARGE")


@pytest.mark.parametrize("pattern", ["two.test", "*.test", "TW?.test", "two.test:*"])
async def test_forbidden_server_is_refused_unheard(server: Server, pattern: str, autojump_clock: MockClock) -> None:
    world = World(server, forbidden=(pattern,))
    origin = "two.test:8448" if pattern.endswith(":*") else TWO
    assert await world.refusal(world.sign(origin=origin)) == (403, "M_FORBIDDEN")
    assert world.source.asked == []


async def test_forbidden_host_is_forbidden_at_every_port(server: Server, autojump_clock: MockClock) -> None:
    world = World(server, forbidden=("two.test",))
    assert await world.refusal(world.sign(origin="two.test:1")) == (403, "M_FORBIDDEN")


async def test_nobody_is_heard_while_federation_is_off(server: Server, autojump_clock: MockClock) -> None:
    world = World(server, is_allowed=False)
    assert await world.refusal(world.sign()) == (403, "M_FORBIDDEN")
