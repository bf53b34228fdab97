"""What application services know of other networks is asked for, and told to whoever asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from conduit_py.outbound.errors import Unreachable
from tests.rig.asking import ask_member
from tests.rig.bridge import HS_TOKEN, Asked, Wires, bridge_of, register_ghost, registration, write_registrations
from tests.rig.client import Client
from tests.rig.rooms import create, in_room
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole

IRC = {
    "user_fields": ["network", "nickname"],
    "location_fields": ["network", "channel"],
    "icon": "mxc://one.test/irc",
    "field_types": {"network": {"regexp": ".*", "placeholder": "irc.example.org"}},
    "instances": [{"network_id": "freenode", "desc": "Freenode", "fields": {"network": "freenode"}}],
}
USER = {"userid": "@_irc_bob:one.test", "protocol": "irc", "fields": {"nickname": "bob"}}
PLACE = {"alias": "#_irc_tea:one.test", "protocol": "irc", "fields": {"channel": "#tea"}}
GHOST = "@_irc_bob:one.test"


@pytest.fixture
def wires() -> Wires:
    wires = Wires()
    wires.answer = lambda asked: (200, KNOWN.get(asked.path.partition("?")[0].removeprefix("/_matrix/app/v1"), {}))
    return wires


KNOWN: dict[str, Any] = {
    "/thirdparty/protocol/irc": IRC,
    "/thirdparty/user/irc": [USER, "no result"],
    "/thirdparty/location/irc": [PLACE, {"alias": 1}],
    "/thirdparty/user": [USER],
    "/thirdparty/location": [PLACE],
}


@pytest.fixture
async def bridged(server: Server, wires: Wires, tmp_path: Path) -> AsyncIterator[WholeServer]:
    async with open_whole(server, wires, **write_registrations(tmp_path, registration())) as whole:
        yield whole


@pytest.fixture
async def alice(bridged: WholeServer) -> Client:
    return await bridged.register("alice")


async def get(alice: Client, path: str, **query: str) -> Any:
    response = await alice.get(f"/thirdparty/{path}", **query)
    assert response.status == 200, response.body
    return response.json


async def test_get_protocols_and_metadata(alice: Client, wires: Wires) -> None:
    instance = IRC["instances"][0] | {"instance_id": "irc|freenode"}  # type: ignore[index]
    assert await get(alice, "protocols") == {"irc": IRC | {"instances": [instance]}}
    assert await get(alice, "protocol/irc") == IRC | {"instances": [instance]}
    assert {asked.token for asked in wires.asked} == {HS_TOKEN}
    assert (await alice.get("/thirdparty/protocol/other")).outcome == (404, "M_NOT_FOUND")


async def test_third_party_queries_are_handed_on_with_their_fields(alice: Client, wires: Wires) -> None:
    assert await get(alice, "user/irc", nickname="bob", network="freenode") == [USER]
    assert await get(alice, "location/irc", channel="#tea") == [PLACE]
    assert await get(alice, "user", userid=GHOST) == [USER]
    assert await get(alice, "location", alias="#_irc_tea:one.test") == [PLACE]
    assert [asked.path.removeprefix("/_matrix/app/v1/thirdparty/") for asked in wires.asked] == [
        "user/irc?nickname=bob&network=freenode",
        "location/irc?channel=%23tea",
        "user?userid=%40_irc_bob%3Aone.test",
        "location?alias=%23_irc_tea%3Aone.test",
    ]
    wires.asked.clear()
    assert (await alice.get("/thirdparty/user", userid=alice.user_id)).outcome == (404, "M_NOT_FOUND")
    assert wires.asked == [], "it has no such user"


async def test_third_party_lookup_of_a_service_that_is_down_or_talks_nonsense(alice: Client, wires: Wires) -> None:
    def down(asked: Asked) -> tuple[int, Any]:
        raise Unreachable("nobody is there")

    def say(status: int, content: Any) -> Callable[[Asked], tuple[int, Any]]:
        return lambda asked: (status, content)

    for answer in (down, say(200, "nonsense"), say(500, {}), say(404, {})):
        wires.answer = answer
        assert await get(alice, "protocols") == {}
        assert (await alice.get("/thirdparty/protocol/irc")).outcome == (404, "M_NOT_FOUND")
        assert await get(alice, "user/irc") == []
        assert (await alice.get("/thirdparty/location", alias="#_irc_x:one.test")).outcome == (404, "M_NOT_FOUND")


async def test_user_that_is_not_there_is_asked_for_when_somebody_invites_it(
    bridged: WholeServer, alice: Client, wires: Wires
) -> None:
    room_id = await create(alice)
    wires.answer = lambda asked: (200, {})
    assert (await ask_member(alice, room_id, "invite", GHOST)).outcome == (404, "M_NOT_FOUND"), "it made none"

    async def make(asked: Asked) -> None:
        if "/users/" in asked.path:
            await register_ghost(bridge_of(bridged), "_irc_bob")

    wires.on_asked = make
    assert (await ask_member(alice, room_id, "invite", GHOST)).status == 200
    assert {asked.path for asked in wires.asked if "/users/" in asked.path} == {
        "/_matrix/app/v1/users/%40_irc_bob%3Aone.test"
    }
    wires.on_asked = None
    await register_ghost(bridge_of(bridged), "_irc_carol")
    wires.asked.clear()
    await ask_member(alice, room_id, "invite", "@_irc_carol:one.test")
    await bridged.register("dora")
    await ask_member(alice, room_id, "invite", "@dora:one.test")
    assert [asked.path for asked in wires.asked if "/users/" in asked.path] == []


async def test_user_that_is_not_there_is_asked_for_whatever_invites_it(
    bridged: WholeServer, alice: Client, wires: Wires
) -> None:
    async def make(asked: Asked) -> None:
        if "/users/" in asked.path:
            await register_ghost(bridge_of(bridged), unquote(asked.path.rpartition("/")[2])[1:].partition(":")[0])

    wires.answer = lambda asked: (200, {})
    wires.on_asked = make
    room_id = await create(alice, invite=[GHOST])
    assert (await alice.get(in_room(room_id, "state", "m.room.member", GHOST))).json["membership"] == "invite"
    carol = "@_irc_carol:one.test"
    response = await alice.put(in_room(room_id, "state", "m.room.member", carol), {"membership": "invite"})
    assert response.status == 200
    assert (await alice.get(in_room(room_id, "state", "m.room.member", carol))).json["membership"] == "invite"


async def test_room_that_is_not_there_is_asked_for_by_its_alias(
    bridged: WholeServer, alice: Client, wires: Wires
) -> None:
    alias = "/directory/room/%23_irc_tea:one.test"
    wires.answer = lambda asked: (404, {"errcode": "M_NOT_FOUND"})
    assert (await alice.get(alias)).outcome == (404, "M_NOT_FOUND")
    assert [asked.path for asked in wires.asked] == [
        "/_matrix/app/v1/rooms/%23_irc_tea%3Aone.test",
        "/rooms/%23_irc_tea%3Aone.test",
    ]
    wires.answer = lambda asked: (200, {})
    assert (await alice.get(alias)).outcome == (404, "M_NOT_FOUND"), "it says so, and made none"
    bridge = bridge_of(bridged)
    made = (await bridge.post("/createRoom", {"room_alias_name": "_irc_tea"})).json["room_id"]
    wires.asked.clear()
    assert (await alice.get(alias)).json["room_id"] == made
    assert [asked for asked in wires.asked if "/rooms/" in asked.path] == []
    assert (await alice.get("/directory/room/%23tea:one.test")).outcome == (404, "M_NOT_FOUND")
