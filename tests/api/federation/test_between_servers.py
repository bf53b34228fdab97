"""Servers that speak with each other over TLS: signed requests, and keys from notaries."""

from __future__ import annotations

import pytest

from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.signing import VerifyKey
from conduit_py.outbound.errors import Refused, Unreachable
from tests.api.federation.network import ECHO, Network, Peer

ONE, TWO = ServerName("one.test"), ServerName("two.test")


async def ask(asker: Peer, destination: str) -> object:
    """Whom the destination takes the asker for."""
    answer = await asker.federation.client.fetch(
        "PUT", ServerName(destination), ECHO + "?a=%20b", content={"x": ["ä", 1]}
    )
    return answer["origin"]


async def find(asker: Peer, of: Peer, now_ms: int) -> list[bytes]:
    key_id = of.federation.own_keys.signing_key.key_id
    found: dict[KeyId, VerifyKey] = await asker.federation.keys.fetch_keys(
        ServerName(of.name), [key_id], minimum_valid_until_ts=now_ms
    )
    return [key.public_key for key in found.values()]


async def test_request_of_one_server_is_believed_by_another(network: Network) -> None:
    one, two = await network.start(ONE), await network.start(TWO)
    assert await ask(one, TWO) == ONE
    assert await ask(two, ONE) == TWO
    assert await ask(one, TWO) == ONE


async def test_server_with_a_certificate_for_another_name_is_not_asked(network: Network) -> None:
    one = await network.start(ONE)
    await network.start(TWO, certificate="evil.test")
    with pytest.raises(Unreachable, match="certificate"):
        await ask(one, TWO)


async def test_server_that_cannot_be_asked_for_its_key_is_not_believed(network: Network) -> None:
    one, two = await network.start(ONE), await network.start(TWO, certificate="evil.test")
    with pytest.raises(Refused) as caught:
        await ask(two, ONE)
    assert (caught.value.status, caught.value.errcode) == (401, "M_UNAUTHORIZED")
    assert await find(one, two, network.now_ms) == []


async def test_forbidden_server_is_neither_asked_nor_heard(network: Network) -> None:
    one = await network.start(ONE, FORBIDDEN_REMOTE_SERVER_NAMES='["two.*"]')
    two = await network.start(TWO)
    for asker, destination in ((one, TWO), (two, ONE)):
        with pytest.raises(Refused, match="M_FORBIDDEN"):
            await ask(asker, destination)


async def test_server_that_does_not_federate_asks_nobody(network: Network) -> None:
    one, two = await network.start(ONE, ALLOW_FEDERATION="false"), await network.start(TWO)
    with pytest.raises(Refused, match="M_FORBIDDEN"):
        await ask(one, TWO)
    with pytest.raises(Refused, match="M_FORBIDDEN"):
        await ask(two, ONE)


async def test_notary_tells_the_key_of_a_server_that_is_gone(network: Network) -> None:
    """One knows two's key from when two was there; three, who came later, learns it from one."""
    one, two = await network.start(ONE), await network.start(TWO)
    await ask(two, ONE)
    network.cut(two)
    three = await network.start("three.test", TRUSTED_SERVERS='["one.test"]')
    assert await find(three, two, network.now_ms) == [two.federation.own_keys.signing_key.public_key]
    four = await network.start("four.test")
    assert await find(four, two, network.now_ms) == []
    assert await find(one, two, network.now_ms) == [two.federation.own_keys.signing_key.public_key]


async def test_notary_asks_a_server_that_it_does_not_know(network: Network) -> None:
    await network.start(ONE)
    two = await network.start(TWO, certificate=TWO)
    three = await network.start("three.test", TRUSTED_SERVERS='["one.test"]')
    assert await find(three, two, network.now_ms) == [two.federation.own_keys.signing_key.public_key]
