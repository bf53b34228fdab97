"""Push gateways, asked over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.outbound.push_gateway import ANSWER_BYTES_MAX, PushGatewayClient, is_gateway_url
from tests.outbound.web import Answer, Asked, Internet, Machine, json_answer

URL = "https://push.test/_matrix/push/v1/notify"


@asynccontextmanager
async def gateway(
    internet: Internet, answer: Answer, address: str = "1.2.3.4"
) -> AsyncIterator[tuple[PushGatewayClient, Machine]]:
    """A client, and a gateway that answers so."""

    def give(asked: Asked) -> Answer:
        return answer

    internet.name("push.test", address)
    machine = await internet.put(Machine(("push.test",), give), address, 443)
    http = internet.client()
    yield PushGatewayClient(http), machine
    await http.aclose()


async def test_fetch_notify_hands_over_a_notification(internet: Internet) -> None:
    async with gateway(internet, json_answer({"rejected": ["one", 5]})) as (client, machine):
        assert await client.fetch_notify(URL, {"event_id": "$1"}) == {"one"}
        (asked,) = machine.asked
        assert (asked.method, asked.target) == ("POST", "/_matrix/push/v1/notify")
        assert asked.body == b'{"notification":{"event_id":"$1"}}'
        assert (asked.headers["content-type"], asked.headers["host"]) == ("application/json", "push.test")


async def test_fetch_notify_takes_an_empty_object_for_nothing_rejected(internet: Internet) -> None:
    async with gateway(internet, json_answer({})) as (client, _):
        assert await client.fetch_notify(URL, {}) == frozenset()


@pytest.mark.parametrize("status", [301, 404, 429, 502])
async def test_fetch_notify_refused(internet: Internet, status: int) -> None:
    async with gateway(internet, json_answer({}, status, retry_after="7", location="https://push.test/")) as (
        client,
        machine,
    ):
        with pytest.raises(Refused) as caught:
            await client.fetch_notify(URL, {})
        assert (caught.value.status, caught.value.retry_after_ms, len(machine.asked)) == (status, 7000, 1)


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b'{"rejected": "one"}', b" " * (ANSWER_BYTES_MAX + 1)])
async def test_fetch_notify_unreachable_for_another_answer(internet: Internet, body: bytes) -> None:
    async with gateway(internet, (200, {}, body)) as (client, _):
        with pytest.raises(Unreachable):
            await client.fetch_notify(URL, {})


async def test_fetch_notify_unreachable_at_a_denied_address(internet: Internet) -> None:
    async with gateway(internet, json_answer({}), "10.0.0.1") as (client, machine):
        with pytest.raises(Unreachable):
            await client.fetch_notify(URL, {})
        assert machine.handshakes == 0


async def test_fetch_notify_unreachable_with_a_certificate_of_another(internet: Internet) -> None:
    async with gateway(internet, json_answer({})) as (client, _):
        internet.name("other.test", "1.2.3.4")
        with pytest.raises(Unreachable):
            await client.fetch_notify(URL.replace("push.test", "other.test"), {})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, True),
        ("https://push.test:8448/_matrix/push/v1/notify?tenant=a", True),
        ("https://[2001:db8::1]/_matrix/push/v1/notify", True),
        ("http://push.test/_matrix/push/v1/notify", False),
        ("https://push.test/_matrix/push/v1", False),
        ("https://push.test/_matrix/push/v1/notify#here", False),
        ("https://user:password@push.test/_matrix/push/v1/notify", False),
        ("https:///_matrix/push/v1/notify", False),
        ("https://push.test:99999/_matrix/push/v1/notify", False),
        ("https://pu sh.test/_matrix/push/v1/notify", False),
        ("https://push.test\n/_matrix/push/v1/notify", False),
    ],
)
def test_is_gateway_url(url: str, expected: bool) -> None:
    assert is_gateway_url(url) == expected
