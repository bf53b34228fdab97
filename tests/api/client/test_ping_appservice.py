"""``POST /_matrix/client/v1/appservice/{appserviceId}/ping``"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from conduit_py.outbound.errors import Unreachable
from conduit_py.service.appservices import ping
from tests.rig.bridge import HS_TOKEN, Asked, Wires, bridge_of, registration, write_registrations
from tests.rig.client import Client
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole

PING = "/_matrix/client/v1/appservice/irc/ping"


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
async def bridged(server: Server, wires: Wires, tmp_path: Path) -> AsyncIterator[WholeServer]:
    silent = registration(id="silent", url=None, as_token="silent", sender_localpart="silent")
    async with open_whole(server, wires, **write_registrations(tmp_path, registration(), silent)) as whole:
        yield whole


@pytest.fixture
def bridge(bridged: WholeServer) -> Client:
    return bridge_of(bridged)


async def test_ping_appservice_asks_it(bridge: Client, wires: Wires) -> None:
    response = await bridge.post(PING, {"transaction_id": "meow"})
    assert response.status == 200
    assert response.json["duration_ms"] >= 0
    assert wires.asked == [Asked("POST", "/_matrix/app/v1/ping", HS_TOKEN, {"transaction_id": "meow"})]
    await bridge.post(PING, {})
    assert wires.asked[-1].content == {}


async def test_ping_appservice_bad_status(bridge: Client, wires: Wires) -> None:
    wires.answer = lambda asked: (403, {"errcode": "M_FORBIDDEN"})
    response = await bridge.post(PING, {})
    assert response.outcome == (502, "M_BAD_STATUS")
    assert (response.json["status"], response.json["body"]) == (403, '{"errcode":"M_FORBIDDEN"}')


async def test_ping_appservice_connection_failed(bridge: Client, wires: Wires) -> None:
    def down(asked: Asked) -> tuple[int, Any]:
        raise Unreachable("nobody is there")

    wires.answer = down
    assert (await bridge.post(PING, {})).outcome == (502, "M_CONNECTION_FAILED")


async def test_ping_appservice_connection_timeout(
    bridge: Client, wires: Wires, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def silence(*args: Any, **named: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(wires, "fetch", silence)
    assert (await bridge.post(PING, {})).outcome == (504, "M_CONNECTION_TIMEOUT")
    assert trio.current_time() == pytest.approx(ping.TIMEOUT_S)


async def test_ping_appservice_url_not_set(bridged: WholeServer, wires: Wires) -> None:
    silent = bridge_of(bridged, "silent")
    assert (await silent.post(PING.replace("irc", "silent"), {})).outcome == (400, "M_URL_NOT_SET")
    assert wires.asked == []


async def test_ping_appservice_forbidden_for_another(bridged: WholeServer, wires: Wires) -> None:
    assert (await bridge_of(bridged, "silent").post(PING, {})).outcome == (403, "M_FORBIDDEN")
    assert wires.asked == []


async def test_ping_appservice_is_for_application_services(bridged: WholeServer, wires: Wires) -> None:
    alice = await bridged.register("alice")
    assert (await alice.post(PING, {})).outcome == (403, "M_FORBIDDEN")
    assert (await bridged.client().post(PING, {})).outcome == (401, "M_MISSING_TOKEN")
    assert (await bridge_of(bridged, "wrong").post(PING, {})).outcome == (401, "M_UNKNOWN_TOKEN")
    assert wires.asked == []
