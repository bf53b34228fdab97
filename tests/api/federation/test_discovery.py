"""``getVersion`` and ``getWellKnown``."""

from __future__ import annotations

import conduit_py
from tests.api.federation.conftest import Open

WELL_KNOWN = "/.well-known/matrix/server"


async def test_get_version_tells_name_and_version(open_asked: Open) -> None:
    async with open_asked() as server:
        reply = await server.get("/_matrix/federation/v1/version")
    assert reply.json() == {"server": {"name": "conduit_py", "version": conduit_py.__version__}}


async def test_get_version_forbidden_without_federation(open_asked: Open) -> None:
    async with open_asked(ALLOW_FEDERATION="false") as server:
        reply = await server.get("/_matrix/federation/v1/version")
    assert (reply.status, reply.json()["errcode"]) == (403, "M_FORBIDDEN")


async def test_get_well_known_tells_what_is_configured(open_asked: Open) -> None:
    async with open_asked(WELL_KNOWN__SERVER="fed.one.test:8449") as server:
        assert (await server.get(WELL_KNOWN)).json() == {"m.server": "fed.one.test:8449"}


async def test_get_well_known_tells_the_port_it_was_asked_at_when_nothing_is_configured(open_asked: Open) -> None:
    async with open_asked() as server:
        assert (await server.get(WELL_KNOWN)).json() == {"m.server": "one.test:443"}


async def test_get_well_known_not_found_without_federation(open_asked: Open) -> None:
    async with open_asked(ALLOW_FEDERATION="false", WELL_KNOWN__SERVER="fed.one.test") as server:
        reply = await server.get(WELL_KNOWN)
    assert (reply.status, reply.json()["errcode"]) == (404, "M_NOT_FOUND")
