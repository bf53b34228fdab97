"""Our server and Synapse speak with one another."""

from __future__ import annotations

import orjson
import pytest

from tests.rig.federation import FederatedServer
from tests.rig.synapse import Synapse
from tests.rig.wire import WireClient

pytestmark = pytest.mark.interop


def _vouched(address: tuple[str, int], about: str) -> list[str]:
    with WireClient(address) as client:
        client.send_raw(f"GET /_matrix/key/v2/query/{about} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status, body = client.receive()
    assert status == 200, body
    return [answer["server_name"] for answer in orjson.loads(body)["server_keys"]]


def test_we_learn_their_keys(peers: tuple[FederatedServer, Synapse]) -> None:
    ours, theirs = peers
    assert _vouched(ours.process.address, theirs.name) == [theirs.name]
