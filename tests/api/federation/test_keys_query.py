"""``perspectivesKeyQuery`` and ``bulkPerspectivesKeyQuery``: what a notary answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from conduit_py.http.in_process import ClientReply
from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.signing import parse_server_keys, verify_json_signature
from conduit_py.service.federation.notary import SERVERS_PER_QUERY_MAX
from tests.api.federation.conftest import Open
from tests.api.federation.network import Network, Peer

ONE, TWO = ServerName("one.test"), ServerName("two.test")
QUERY = "/_matrix/key/v2/query"


async def get(peer: Peer, path: str) -> ClientReply:
    return await peer.app.request("GET", QUERY + path)


async def post(peer: Peer, wanted: Any) -> ClientReply:
    return await peer.app.request("POST", QUERY, body=orjson.dumps({"server_keys": wanted}))


def check(reply: ClientReply, notary: Peer, of: Peer, now_ms: int) -> None:
    """One entry, signed by its server and by the notary."""
    assert reply.status == 200
    (entry,) = reply.json()["server_keys"]
    assert parse_server_keys(entry, fetched_ts=now_ms).server_name == of.name
    key = notary.federation.own_keys.signing_key
    verify_json_signature(entry, entity=notary.name, key_id=key.key_id, public_key=key.public_key)


async def test_perspectives_key_query_gives_keys_signed_by_both(network: Network) -> None:
    one, two = await network.start(ONE), await network.start(TWO)
    check(await get(one, "/two.test"), one, two, network.now_ms)
    check(await get(one, "/one.test"), one, one, network.now_ms)


async def test_bulk_perspectives_key_query_gives_keys_signed_by_both(network: Network) -> None:
    one, two = await network.start(ONE), await network.start(TWO)
    key_id = two.federation.own_keys.signing_key.key_id
    check(await post(one, {TWO: {key_id: {"minimum_valid_until_ts": network.now_ms}}}), one, two, network.now_ms)
    check(await post(one, {TWO: {}}), one, two, network.now_ms)
    both = await post(one, {TWO: {}, ONE: {}})
    assert [entry["server_name"] for entry in both.json()["server_keys"]] == [TWO, ONE]
    assert (await post(one, {})).json() == {"server_keys": []}


async def test_bulk_perspectives_key_query_leaves_out_who_does_not_answer(network: Network) -> None:
    one = await network.start(ONE)
    assert (await post(one, {TWO: {}})).json() == {"server_keys": []}


async def test_perspectives_key_query_gives_the_last_answer_of_a_server_that_is_gone(network: Network) -> None:
    one, two = await network.start(ONE), await network.start(TWO)
    await get(one, "/two.test")
    network.cut(two)
    network.now_ms += 40 * 86_400_000
    check(await get(one, "/two.test"), one, two, network.now_ms - 40 * 86_400_000)


async def test_perspectives_key_query_asks_again_after_half_of_the_lifetime(network: Network) -> None:
    one, two = await network.start(ONE), await network.start(TWO)

    async def fetched_ms() -> int:
        (entry,) = (await get(one, "/two.test")).json()["server_keys"]
        until: int = entry["valid_until_ts"]
        return until - 86_400_000

    first_ms = network.now_ms
    assert await fetched_ms() == first_ms
    network.now_ms += 12 * 3_600_000
    assert await fetched_ms() == first_ms
    network.now_ms += 2
    assert await fetched_ms() == network.now_ms
    assert two.name == TWO


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "9" * 30, ""])
async def test_perspectives_key_query_m_invalid_param(network: Network, text: str) -> None:
    one = await network.start(ONE)
    reply = await get(one, f"/two.test?minimum_valid_until_ts={text}")
    assert (reply.status, reply.json()["errcode"]) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    ("wanted", "errcode"),
    [
        (None, "M_BAD_JSON"),
        ([], "M_BAD_JSON"),
        ({TWO: []}, "M_BAD_JSON"),
        ({TWO: {"ed25519:1": 1}}, "M_BAD_JSON"),
        ({TWO: {"ed25519:1": {"minimum_valid_until_ts": "1"}}}, "M_BAD_JSON"),
        ({"no name": {}}, "M_INVALID_PARAM"),
        ({f"s{number}.test": {} for number in range(SERVERS_PER_QUERY_MAX + 1)}, "M_INVALID_PARAM"),
        ({TWO: {f"ed25519:{number}": {} for number in range(1001)}}, "M_INVALID_PARAM"),
    ],
)
async def test_bulk_perspectives_key_query_refuses_what_it_cannot_read(
    network: Network, wanted: Any, errcode: str
) -> None:
    one = await network.start(ONE)
    reply = await post(one, wanted)
    assert (reply.status, reply.json()["errcode"]) == (400, errcode)


async def test_key_queries_forbidden_without_federation(open_asked: Open) -> None:
    async with open_asked(ALLOW_FEDERATION="false") as server:
        for reply in (await server.get(f"{QUERY}/two.test"), await server.post(QUERY, b'{"server_keys": {}}')):
            assert (reply.status, reply.json()["errcode"]) == (403, "M_FORBIDDEN")


async def test_key_queries_m_limit_exceeded(open_asked: Open) -> None:
    async with open_asked(RATE_LIMITS__FEDERATION__BURST="2", RATE_LIMITS__FEDERATION__PER_SECOND="0.001") as server:
        statuses = [(await server.post(QUERY, b'{"server_keys": {}}')).status for _ in range(3)]
    assert statuses == [200, 200, 429]
