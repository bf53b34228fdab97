"""``getPublicRooms`` and ``queryPublicRooms``: this server's directory for other servers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.federation.reading import Shared
from tests.rig.rooms import create


async def names(shared: Shared, content: Any = None, **query: str) -> list[str]:
    reply = (
        await shared.three.get("publicRooms", **query)
        if content is None
        else await shared.three.post(content, "publicRooms")
    )
    assert reply.status == 200, reply.body
    return [room["name"] for room in reply.json["chunk"]]


async def publish(shared: Shared) -> None:
    for name in ("chess", "tea", "secret"):
        # What "visibility" means to createRoom is whether the room is listed.
        body = {"name": name, "preset": "public_chat", "visibility": "private" if name == "secret" else "public"}
        assert (await shared.alice.post("/createRoom", body)).status == 200
    await create(shared.alice, name="games", creation_content={"type": "m.space"})


async def test_get_public_rooms_lists_published_rooms(shared: Shared) -> None:
    await publish(shared)
    assert sorted(await names(shared)) == ["chess", "tea"]
    first = (await shared.two.get("publicRooms", limit="1")).json
    rest = await shared.two.get("publicRooms", limit="1", since=first["next_batch"])
    assert {room["name"] for room in (*first["chunk"], *rest.json["chunk"])} == {"chess", "tea"}
    assert await names(shared, limit="0") == await names(shared)
    assert await names(shared, third_party_instance_id="irc") == []


async def test_query_public_rooms_filters(shared: Shared) -> None:
    await publish(shared)
    assert await names(shared, {"filter": {"generic_search_term": "CHE"}}) == ["chess"]
    assert await names(shared, {"filter": {"room_types": ["m.space"]}}) == []
    assert len(await names(shared, {"limit": 1})) == 1
    assert await names(shared, {"third_party_instance_id": "irc"}) == []


@pytest.mark.parametrize(
    ("content", "errcode"),
    [
        ({"limit": "1"}, "M_BAD_JSON"),
        ({"limit": -1}, "M_INVALID_PARAM"),
        ({"since": "%%"}, "M_INVALID_PARAM"),
        ({"filter": []}, "M_BAD_JSON"),
        ({"third_party_instance_id": "irc", "include_all_networks": True}, "M_INVALID_PARAM"),
    ],
)
async def test_query_public_rooms_refuses_what_it_cannot_read(shared: Shared, content: Any, errcode: str) -> None:
    assert (await shared.two.post(content, "publicRooms")).outcome == (400, errcode)


async def test_get_public_rooms_refuses_what_it_cannot_read(shared: Shared) -> None:
    for query in (
        {"limit": "-1"},
        {"since": "%%"},
        {"third_party_instance_id": "irc", "include_all_networks": "true"},
        {"third_party_instance_id": "irc", "include_all_networks": "x"},
    ):
        assert (await shared.two.get("publicRooms", **query)).outcome == (400, "M_INVALID_PARAM")
    reply = await shared.get_unsigned("publicRooms")
    assert reply.outcome == (401, "M_UNAUTHORIZED")
