"""``PUT /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}``, and what ``/publicRooms`` makes of it"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from conduit_py.data.consistency import check_consistency
from conduit_py.service.rooms import network_directory
from tests.rig.bridge import Wires, bridge_of, registration, write_registrations
from tests.rig.client import Client, Response, path
from tests.rig.rooms import create
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


@pytest.fixture
async def bridged(server: Server, tmp_path: Path) -> AsyncIterator[WholeServer]:
    async with open_whole(server, Wires(), **write_registrations(tmp_path, registration())) as whole:
        yield whole
        with whole.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


async def ask(client: Client, room_id: str, visibility: Any, network: str = "freenode") -> Response:
    return await client.put(path("directory", "list", "appservice", network, room_id), {"visibility": visibility})


async def listed(alice: Client, **query: Any) -> set[str]:
    response = await alice.post("/publicRooms", query)
    assert response.status == 200, response.body
    return {room["room_id"] for room in response.json["chunk"]}


async def test_update_appservice_room_directory_visibility_lists_the_room_in_the_network(bridged: WholeServer) -> None:
    alice, bridge = await bridged.register("alice"), bridge_of(bridged)
    plain, tea = await create(alice), await create(alice)
    await alice.put(f"/directory/list/room/{plain}", {"visibility": "public"})
    for _ in range(2):
        assert (await ask(bridge, tea, "public")).json == {}
    assert await listed(alice, third_party_instance_id="irc|freenode") == {tea}
    assert await listed(alice, third_party_instance_id="irc|other") == set()
    assert await listed(alice) == {plain}
    assert await listed(alice, include_all_networks=True) == {plain, tea}
    for _ in range(2):
        assert (await ask(bridge, tea, "private")).json == {}
    assert await listed(alice, include_all_networks=True) == {plain}


async def test_update_appservice_room_directory_visibility_refuses(
    bridged: WholeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bridge = await bridged.register("alice"), bridge_of(bridged)
    room_id = await create(alice)
    async with bridged.leaves_no_trace():
        assert (await ask(alice, room_id, "public")).outcome == (403, "M_FORBIDDEN")
        assert (await ask(bridged.client(), room_id, "public")).outcome == (401, "M_MISSING_TOKEN")
        assert (await ask(bridge, "!nowhere:one.test", "public")).outcome == (404, "M_NOT_FOUND")
        assert (await ask(bridge, room_id, "hidden")).outcome == (400, "M_INVALID_PARAM")
        assert (await ask(bridge, room_id, 1)).outcome == (400, "M_BAD_JSON")
        assert (await ask(bridge, room_id, "public", "x" * 500)).outcome == (400, "M_INVALID_PARAM")
        monkeypatch.setattr(network_directory, "ROOMS_PER_INSTANCE_MAX", 0)
        assert (await ask(bridge, room_id, "public")).outcome == (403, "M_FORBIDDEN")
