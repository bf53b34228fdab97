"""``GET /_matrix/federation/v1/hierarchy/{roomId}``"""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.federation.reading import BOB, Shared, put_member
from tests.rig.rooms import create, leave, set_state


async def space(shared: Shared, *children: str, **body: Any) -> str:
    room_id = await create(shared.alice, creation_content={"type": "m.space"}, **body)
    for child in children:
        await set_state(shared.alice, room_id, "m.space.child", {"via": ["one.test"]}, child)
    return room_id


async def hierarchy(shared: Shared, room_id: str, **query: str) -> dict[str, Any]:
    reply = await shared.two.get("hierarchy", room_id, **query)
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json
    return answer


async def test_get_space_hierarchy_tells_a_space_and_the_rooms_right_below(shared: Shared) -> None:
    grandchild = await create(shared.alice, name="grandchild")
    inner = await space(shared, grandchild, name="inner")
    room = await create(shared.alice, name="room")
    root = await space(shared, inner, room, "!elsewhere:two.test", name="root")

    answer = await hierarchy(shared, root)

    assert (answer["room"]["name"], answer["room"]["room_type"]) == ("root", "m.space")
    # Children that were added in the same millisecond are told in the order of their ids, which are random.
    told = sorted(child["state_key"] for child in answer["room"]["children_state"])
    assert told == sorted([inner, room, "!elsewhere:two.test"])
    assert sorted(child["name"] for child in answer["children"]) == ["inner", "room"]
    assert not any("children_state" in child for child in answer["children"])
    # Of a room that this server is not in it knows nothing, not even that nobody could get in.
    assert answer["inaccessible_children"] == []


async def test_get_space_hierarchy_tells_of_suggested_rooms_only_if_asked_to(shared: Shared) -> None:
    rooms = [await create(shared.alice) for _ in range(2)]
    root = await space(shared, rooms[0])
    await set_state(shared.alice, root, "m.space.child", {"via": ["one.test"], "suggested": True}, rooms[1])
    answer = await hierarchy(shared, root, suggested_only="true")
    assert [child["room_id"] for child in answer["children"]] == [rooms[1]]
    assert [child["state_key"] for child in answer["room"]["children_state"]] == [rooms[1]]


async def test_get_space_hierarchy_of_an_ordinary_room_has_no_children(shared: Shared) -> None:
    await set_state(shared.alice, shared.room_id, "m.space.child", {"via": ["one.test"]}, "!child:one.test")
    answer = await hierarchy(shared, shared.room_id)
    assert (answer["room"]["children_state"], answer["children"]) == ([], [])


# What makes a child one that a server could get into.


async def is_told(shared: Shared, child: str) -> bool:
    answer = await hierarchy(shared, await space(shared, child))
    told = [room["room_id"] for room in answer["children"]] == [child]
    assert answer["inaccessible_children"] == ([] if told else [child])
    return told


@pytest.mark.parametrize(
    ("rule", "is_open"), [("public", True), ("knock", True), ("knock_restricted", True), ("invite", False)]
)
async def test_get_space_hierarchy_tells_what_a_server_could_join(shared: Shared, rule: str, is_open: bool) -> None:
    child = await create(shared.alice, preset="private_chat")
    await set_state(shared.alice, child, "m.room.join_rules", {"join_rule": rule})
    assert await is_told(shared, child) is is_open


async def test_get_space_hierarchy_tells_what_a_server_could_read_or_is_in_or_invited_to(shared: Shared) -> None:
    readable = await create(shared.alice, preset="private_chat", visibility="world_readable")
    joined, invited, other, left = [await create(shared.alice, preset="private_chat") for _ in range(4)]
    for room_id, user_id in ((joined, BOB), (invited, BOB), (other, "@carol:three.test"), (left, BOB)):
        await put_member(shared.node, room_id, user_id, "invite", sender=shared.alice.user_id)
    await put_member(shared.node, joined, BOB, "join")
    await put_member(shared.node, left, BOB, "leave")
    assert [await is_told(shared, child) for child in (readable, joined, invited, other, left)] == [
        True,
        True,
        True,
        False,
        False,
    ]


async def test_get_space_hierarchy_tells_of_a_restricted_room_to_servers_in_the_rooms_that_it_names(
    shared: Shared,
) -> None:
    outside = await create(shared.alice)
    for room_id, is_open in ((shared.room_id, True), (outside, False)):
        child = await create(shared.alice, preset="private_chat")
        rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": room_id}]}
        await set_state(shared.alice, child, "m.room.join_rules", rules)
        assert await is_told(shared, child) is is_open


async def test_get_space_hierarchy_hides_rooms_that_shut_the_server_out(shared: Shared) -> None:
    child = await create(shared.alice)
    await set_state(shared.alice, child, "m.room.server_acl", {"allow": ["*"], "deny": ["two.test"]})
    assert not await is_told(shared, child)
    assert (await shared.two.get("hierarchy", child)).outcome == (404, "M_NOT_FOUND")


async def test_get_space_hierarchy_not_found(shared: Shared) -> None:
    private = await create(shared.alice, preset="private_chat")
    gone = await create(shared.alice)
    await leave(shared.alice, gone)
    async with shared.leaves_no_trace():
        for room_id in (private, gone, "!unknown:one.test"):
            assert (await shared.two.get("hierarchy", room_id)).outcome == (404, "M_NOT_FOUND")
    assert (await shared.two.get("hierarchy", "room")).outcome == (400, "M_INVALID_PARAM")
