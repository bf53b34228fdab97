"""``getServerKey``: the server's own keys."""

from __future__ import annotations

import pytest

from conduit_py.matrix.signing import parse_server_keys
from tests.api.federation.conftest import Open
from tests.rig.server import SERVER_NAME, START_MS


@pytest.mark.parametrize("path", ["/_matrix/key/v2/server", "/_matrix/key/v2/server/ed25519:any"])
async def test_get_server_key_is_signed_by_the_key_in_it(open_asked: Open, path: str) -> None:
    async with open_asked() as server:
        reply = await server.get(path)
    assert reply.status == 200
    assert parse_server_keys(reply.json(), fetched_ts=START_MS).server_name == SERVER_NAME


async def test_get_server_key_is_the_same_after_a_restart(open_asked: Open) -> None:
    keys = []
    for _ in range(2):
        async with open_asked() as server:
            keys.append((await server.get("/_matrix/key/v2/server")).json()["verify_keys"])
    assert keys[0] == keys[1]


async def test_get_server_key_is_answered_without_federation(open_asked: Open) -> None:
    """What was signed before federation was turned off stays verifiable."""
    async with open_asked(ALLOW_FEDERATION="false") as server:
        assert (await server.get("/_matrix/key/v2/server")).status == 200
