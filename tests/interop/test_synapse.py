"""Our server and Synapse speak with one another."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
import trustme

from tests.rig.federation import FederatedServer, Link, open_federation, write_certificate
from tests.rig.synapse import Synapse, open_synapse
from tests.rig.wire import WireClient

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FederatedServer, Synapse]]:
    """Ours and theirs, running."""
    directory, authority = tmp_path_factory.mktemp("interop"), trustme.CA()
    link = Link(write_certificate(authority, "localhost"))
    with (
        open_federation(directory, 1, authority=authority) as (ours,),
        open_synapse(directory / "synapse", link, directory / "ca.pem") as theirs,
    ):
        yield ours, theirs
    link.close()


def _vouched(address: tuple[str, int], about: str) -> list[str]:
    with WireClient(address) as client:
        client.send_raw(f"GET /_matrix/key/v2/query/{about} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status, body = client.receive()
    assert status == 200, body
    return [answer["server_name"] for answer in orjson.loads(body)["server_keys"]]


def test_we_learn_their_keys(peers: tuple[FederatedServer, Synapse]) -> None:
    ours, theirs = peers
    assert _vouched(ours.process.address, theirs.name) == [theirs.name]
