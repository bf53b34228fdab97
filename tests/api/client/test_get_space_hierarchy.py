"""``GET /_matrix/client/v1/rooms/{roomId}/hierarchy``"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from conduit_py.service.rooms import spaces
from tests.rig.client import Client, Response, path
from tests.rig.rooms import Json, ban, create, invite, join, set_state
from tests.rig.whole import WholeServer


async def hierarchy(user: Client, room_id: str, **query: str) -> Response:
    return await user.get("/_matrix/client/v1/rooms" + path(room_id, "hierarchy"), **query)


async def names(user: Client, room_id: str, **query: str) -> list[str]:
    response = await hierarchy(user, room_id, **query)
    assert response.status == 200, response.body
    return [room["name"] for room in response.json["rooms"]]


async def space(creator: Client, name: str, **body: Any) -> str:
    return await create(creator, name=name, creation_content={"type": "m.space"}, **body)


async def add(user: Client, parent: str, child: str, **content: Any) -> None:
    await set_state(user, parent, "m.space.child", {"via": ["one.test"], **content}, child)


async def test_get_space_hierarchy_tells_rooms_depth_first(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    root, inner = await space(alice, "root"), await space(alice, "inner")
    first, second = await create(alice, name="first"), await create(alice, name="second")
    await add(alice, root, inner, order="a")
    await add(alice, root, second, order="b")
    await add(alice, inner, first)

    response = await hierarchy(bob, root)

    assert [room["name"] for room in response.json["rooms"]] == ["root", "inner", "first", "second"]
    assert "next_batch" not in response.json
    told = response.json["rooms"][0]
    assert (told["room_id"], told["room_type"], told["room_version"]) == (root, "m.space", "11")
    (child,) = response.json["rooms"][1]["children_state"]
    assert child.pop("origin_server_ts") > 0
    assert child == {
        "type": "m.space.child",
        "state_key": first,
        "sender": alice.user_id,
        "content": {"via": ["one.test"]},
    }
    assert response.json["rooms"][2]["children_state"] == []


async def test_get_space_hierarchy_orders_children_as_the_specification_does(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    root = await space(alice, "root")
    orders: list[Json] = [
        {},
        {"order": "first"},
        {"order": " "},
        {"order": "aaaa"},
        {"order": 3},
        {"order": "\N{SNOWMAN}"},
        {"order": "x" * 51},
    ]
    for number, content in enumerate(orders):
        await add(alice, root, await create(alice, name=str(number)), **content)
    # Those without a valid order were sent at the same time: their ids decide.
    told = await names(alice, root)
    assert told[:4] == ["root", "2", "3", "1"]
    response = (await hierarchy(alice, root)).json["rooms"]
    ids = [room["room_id"] for room in response[4:]]
    times = [child["origin_server_ts"] for child in response[0]["children_state"]][3:]
    assert list(zip(times, ids, strict=True)) == sorted(zip(times, ids, strict=True))


async def test_get_space_hierarchy_pages_put_together_are_the_tree(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    root, inner = await space(alice, "root"), await space(alice, "inner")
    await add(alice, root, inner, order="b")
    for number in range(3):
        await add(alice, inner, await create(alice, name=f"inner {number}"), order=str(number))
        await add(alice, root, await create(alice, name=f"root {number}"), order="abc"[number] + "~")
    whole_tree = await names(alice, root)
    assert len(whole_tree) == 8

    for limit in (1, 2, 3, 7, 8):
        told: list[str] = []
        query: dict[str, str] = {}
        while True:
            page = (await hierarchy(alice, root, limit=str(limit), **query)).json
            assert 1 <= len(page["rooms"]) <= limit
            told += [room["name"] for room in page["rooms"]]
            if "next_batch" not in page:
                break
            query = {"from": page["next_batch"]}
        assert told == whole_tree


async def test_get_space_hierarchy_ends_loops_and_tells_rooms_once(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    one, two = await space(alice, "one"), await space(alice, "two")
    await add(alice, one, two)
    await add(alice, two, one)
    await add(alice, two, two)
    assert await names(alice, one) == ["one", "two"]
    assert await names(alice, two) == ["two", "one"]


async def test_get_space_hierarchy_goes_no_deeper_than_asked(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    chain = [await space(alice, str(number)) for number in range(4)]
    for parent, child in pairwise(chain):
        await add(alice, parent, child)
    assert await names(alice, chain[0], max_depth="0") == ["0"]
    assert await names(alice, chain[0], max_depth="2") == ["0", "1", "2"]
    assert await names(alice, chain[0]) == ["0", "1", "2", "3"]


async def test_get_space_hierarchy_tells_only_what_is_suggested(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    root = await space(alice, "root")
    for name, suggested in (("yes", True), ("no", False), ("odd", "true")):
        await add(alice, root, await create(alice, name=name), suggested=suggested)
    assert await names(alice, root, suggested_only="true") == ["root", "yes"]


async def test_get_space_hierarchy_leaves_out_rooms_one_may_not_know(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    root, hidden = await space(alice, "root"), await space(alice, "hidden", preset="private_chat")
    invited = await create(alice, name="invited", preset="private_chat")
    banned = await create(alice, name="banned")
    members_only = {
        "type": "m.room.join_rules",
        "content": {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": root}]},
    }
    restricted = await create(alice, name="restricted", initial_state=[members_only])
    await add(alice, root, hidden)
    await add(alice, hidden, await create(alice, name="below"))
    for child in (invited, banned, restricted):
        await add(alice, root, child)
    await add(alice, root, "!elsewhere:two.test")
    await invite(alice, invited, bob)
    await ban(alice, banned, bob)

    assert set(await names(bob, root)) == {"root", "invited"}
    await join(bob, root)
    assert set(await names(bob, root)) == {"root", "invited", "restricted"}
    assert set(await names(alice, root)) == {"root", "hidden", "below", "invited", "banned", "restricted"}


async def test_get_space_hierarchy_follows_no_children_that_were_taken_out(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    root, child = await space(alice, "root"), await create(alice, name="child")
    await add(alice, root, child)
    assert await names(alice, root) == ["root", "child"]
    await set_state(alice, root, "m.space.child", {}, child)
    assert await names(alice, root) == ["root"]


async def test_get_space_hierarchy_of_a_room_that_is_no_space_is_that_room(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id, child = await create(alice, name="room"), await create(alice, name="child")
    await add(alice, room_id, child)
    response = await hierarchy(alice, room_id)
    assert [room["name"] for room in response.json["rooms"]] == ["room"]
    assert response.json["rooms"][0]["children_state"] == []


async def test_get_space_hierarchy_stops_at_a_bound(whole: WholeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await whole.register("alice")
    root = await space(alice, "root")
    for number in range(4):
        await add(alice, root, await create(alice, name=str(number)), order=str(number))
    monkeypatch.setattr(spaces, "WALKED_MAX", 3)
    monkeypatch.setattr(spaces, "ROOMS_PER_SLICE", 2)
    assert await names(alice, root) == ["root", "0", "1"]


async def test_get_space_hierarchy_forbidden(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    private, public = await space(alice, "private", preset="private_chat"), await space(alice, "public")
    await ban(alice, public, bob)
    for room_id in (private, public, "!nothing:one.test"):
        assert (await hierarchy(bob, room_id)).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "-1"},
        {"max_depth": "-1"},
        {"max_depth": "deep"},
        {"suggested_only": "maybe"},
        {"from": "nothing"},
        {"max_depth": "2", "from": "1_3_0"},
        {"max_depth": "3", "suggested_only": "true", "from": "1_3_0"},
    ],
)
async def test_get_space_hierarchy_invalid_param(whole: WholeServer, query: dict[str, str]) -> None:
    alice = await whole.register("alice")
    root = await space(alice, "root")
    assert (await hierarchy(alice, root, **query)).outcome == (400, "M_INVALID_PARAM")


async def test_get_space_hierarchy_missing_token(whole: WholeServer) -> None:
    assert (await hierarchy(whole.client(), "!room:one.test")).outcome == (401, "M_MISSING_TOKEN")
