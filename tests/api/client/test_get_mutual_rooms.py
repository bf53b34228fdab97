"""``GET /_matrix/client/v1/mutual_rooms``"""

from __future__ import annotations

import pytest

from conduit_py.service.users import mutual_rooms
from tests.rig.client import Client
from tests.rig.rooms import RoomServer, create, invite, join, leave
from tests.rig.server import Server

MUTUAL = "/_matrix/client/v1/mutual_rooms"


@pytest.fixture
async def alice(rooms: RoomServer) -> Client:
    return await rooms.register("alice")


@pytest.fixture
async def bob(rooms: RoomServer, alice: Client) -> Client:
    return await rooms.register("bob")


async def test_get_mutual_rooms_lists_where_both_are_joined(alice: Client, bob: Client) -> None:
    shared, left, invited, _ = [await create(alice) for _ in range(4)]
    await create(bob)
    for room_id in (shared, left):
        await join(bob, room_id)
    await leave(bob, left)
    await invite(alice, invited, bob)
    assert (await alice.get(MUTUAL, user_id=bob.user_id)).json == {"joined": [shared], "count": 1}
    assert (await bob.get(MUTUAL, user_id=alice.user_id)).json == {"joined": [shared], "count": 1}


async def test_get_mutual_rooms_goes_on_where_the_batch_ended(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutual_rooms, "BATCH_ROOMS_MAX", 2)
    shared = [await create(alice) for _ in range(5)]
    for room_id in shared:
        await join(bob, room_id)
    found, query = [], {"user_id": bob.user_id}
    for _ in range(3):
        answer = (await alice.get(MUTUAL, **query)).json
        assert answer["count"] == 5
        found += answer["joined"]
        query["from"] = answer.get("next_batch", "")
    assert found == shared
    assert query["from"] == ""


async def test_get_mutual_rooms_is_empty_for_a_user_that_nobody_heard_of(alice: Client) -> None:
    assert (await alice.get(MUTUAL, user_id="@nobody:one.test")).json == {"joined": [], "count": 0}
    assert (await alice.get(MUTUAL, user_id="@nobody:two.test")).json == {"joined": [], "count": 0}


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"user_id": "bob"}, "M_INVALID_PARAM"),
        ({"user_id": "@alice:one.test"}, "M_INVALID_PARAM"),
        ({"user_id": "@ö:one.test"}, "M_INVALID_PARAM"),
        ({"user_id": "@bob:one.test", "from": "x"}, "M_INVALID_PARAM"),
        ({"user_id": "@bob:one.test", "from": ""}, "M_INVALID_PARAM"),
        ({"user_id": "@bob:one.test", "from": "1" * 21}, "M_INVALID_PARAM"),
    ],
)
async def test_get_mutual_rooms_refused(alice: Client, query: dict[str, str], errcode: str) -> None:
    assert (await alice.get(MUTUAL, **query)).outcome == (400, errcode)


async def test_get_mutual_rooms_missing_token(server: Server) -> None:
    assert (await server.client().get(MUTUAL, user_id="@b:one.test")).outcome == (401, "M_MISSING_TOKEN")
