"""What a client asks before anything else: versions, capabilities, where the server is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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


async def test_get_wellknown_support_names_whom_to_ask(make_engine: Callable[[], Engine]) -> None:
    config = load_test_config(
        WELL_KNOWN__SUPPORT_PAGE="https://one.test/help",
        WELL_KNOWN__SUPPORT_EMAIL="help@one.test",
        WELL_KNOWN__SUPPORT_MXID="@admin:one.test",
        WELL_KNOWN__SUPPORT_ROLE="m.role.security",
    )
    async with open_server(make_engine(), config) as server:
        response = await server.client().get("/.well-known/matrix/support")
    contact = {"role": "m.role.security", "matrix_id": "@admin:one.test", "email_address": "help@one.test"}
    assert response.json == {"contacts": [contact], "support_page": "https://one.test/help"}
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("key", "value", "answer"),
    [
        ("PAGE", "https://one.test/help", {"support_page": "https://one.test/help"}),
        ("EMAIL", "a@one.test", {"contacts": [{"role": "m.role.admin", "email_address": "a@one.test"}]}),
        ("MXID", "@a:one.test", {"contacts": [{"role": "m.role.admin", "matrix_id": "@a:one.test"}]}),
    ],
)
async def test_get_wellknown_support_tells_what_is_set(
    make_engine: Callable[[], Engine], key: str, value: str, answer: dict[str, Any]
) -> None:
    config = load_test_config(**{f"WELL_KNOWN__SUPPORT_{key}": value})
    async with open_server(make_engine(), config) as server:
        assert (await server.client().get("/.well-known/matrix/support")).json == answer


async def test_get_wellknown_support_not_found(server: Server) -> None:
    assert (await server.client().get("/.well-known/matrix/support")).outcome == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("path", ["/_matrix/client/v1/auth_metadata", "/.well-known/matrix/policy_server"])
async def test_discovery_of_what_is_not_offered_is_unrecognized(server: Server, path: str) -> None:
    assert (await server.client().get(path)).outcome == (404, "M_UNRECOGNIZED")
