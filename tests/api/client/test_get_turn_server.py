"""``GET /_matrix/client/v3/voip/turnServer``"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable

import trio
import trio.testing

from kvschema.engine import Engine
from tests.rig.server import START_MS, Server, load_test_config, open_server

URI = "turn:turn.one.test?transport=udp"


async def test_get_turn_server_makes_a_password_of_the_secret(
    make_engine: Callable[[], Engine], autojump_clock: trio.testing.MockClock
) -> None:
    config = load_test_config(TURN__URIS=f'["{URI}"]', TURN__SECRET="shared", TURN__TTL="600")
    async with open_server(make_engine(), config) as server:
        alice = await server.register("alice")
        await trio.sleep(60)
        answer = (await alice.get("/voip/turnServer")).json
    username = f"{START_MS // 1000 + 60 + 600}:@alice:one.test"
    password = b64encode(hmac.new(b"shared", username.encode(), hashlib.sha1).digest()).decode()
    assert answer == {"username": username, "password": password, "uris": [URI], "ttl": 600}


async def test_get_turn_server_tells_the_fixed_login(make_engine: Callable[[], Engine]) -> None:
    config = load_test_config(TURN__URIS=f'["{URI}"]', TURN__USERNAME="caller", TURN__PASSWORD="fixed")
    async with open_server(make_engine(), config) as server:
        alice = await server.register("alice")
        answer = (await alice.get("/voip/turnServer")).json
    assert answer == {"username": "caller", "password": "fixed", "uris": [URI], "ttl": 86_400}


async def test_get_turn_server_is_empty_where_there_is_none(server: Server) -> None:
    alice = await server.register("alice")
    assert (await alice.get("/voip/turnServer")).json == {}


async def test_get_turn_server_missing_token(server: Server) -> None:
    assert (await server.client().get("/voip/turnServer")).outcome == (401, "M_MISSING_TOKEN")
