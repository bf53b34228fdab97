"""What a client asks before anything else: versions, capabilities, where the server is."""

from __future__ import annotations

from collections.abc import Callable

from kvschema.engine import Engine
from tests.rig.server import Server, load_test_config, open_server


async def test_get_versions_lists_every_version_of_the_spec(server: Server) -> None:
    response = await server.client().get("/_matrix/client/versions")
    assert {f"v1.{minor}" for minor in range(1, 20)} <= set(response.json["versions"])
    assert response.json["unstable_features"] == {}


async def test_get_wellknown_tells_the_base_url(make_engine: Callable[[], Engine]) -> None:
    config = load_test_config(WELL_KNOWN__CLIENT="https://matrix.one.test")
    async with open_server(make_engine(), config) as server:
        response = await server.client().get("/.well-known/matrix/client")
    assert response.json == {"m.homeserver": {"base_url": "https://matrix.one.test"}}
    assert response.headers["access-control-allow-origin"] == "*"


async def test_get_capabilities_tells_the_room_versions(make_engine: Callable[[], Engine]) -> None:
    async with open_server(make_engine(), load_test_config(DEFAULT_ROOM_VERSION="11")) as server:
        alice = await server.register("alice")
        capabilities = (await alice.get("/capabilities")).json["capabilities"]
    assert capabilities["m.room_versions"]["default"] == "11"
    assert capabilities["m.room_versions"]["available"] == {str(version): "stable" for version in range(1, 13)}
    assert capabilities["m.change_password"] == {"enabled": True}


async def test_get_capabilities_missing_token(server: Server) -> None:
    assert (await server.client().get("/capabilities")).outcome == (401, "M_MISSING_TOKEN")
