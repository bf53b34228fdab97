"""``GET /_matrix/client/v3/notifications``"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service import pruning
from conduit_py.service.pruning import Pruning
from tests.rig.client import Client
from tests.rig.rooms import Json, create, forget, in_room, invite, join, leave, redact, send
from tests.rig.whole import WholeServer


async def notifications(user: Client, **query: str) -> Json:
    response = await user.get("/notifications", **query)
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def told(user: Client, **query: str) -> list[str]:
    return [it["event"]["event_id"] for it in (await notifications(user, **query))["notifications"]]


async def meet(whole: WholeServer, **body: Any) -> tuple[Client, Client, str]:
    """Alice, Bob, and a room that both are in."""
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice, **body)
    await join(bob, room_id)
    return alice, bob, room_id


async def test_get_notifications_tells_what_notified(whole: WholeServer) -> None:
    alice, bob, room_id = await meet(whole)
    event_id = await send(alice, room_id, "hello")
    await send(bob, room_id, "my own")
    other = await send(alice, room_id, "hello again")
    await bob.post(in_room(room_id, "receipt", "m.read", event_id), {})
    newer, older = (await notifications(bob))["notifications"]
    assert (newer["event"]["event_id"], newer["read"], newer["room_id"]) == (other, False, room_id)
    assert (older["event"]["event_id"], older["read"]) == (event_id, True)
    assert "notify" in older["actions"]
    assert older["ts"] == older["event"]["origin_server_ts"]
    assert (await notifications(bob)).get("next_token") is None


async def test_get_notifications_can_be_of_highlights_only(whole: WholeServer) -> None:
    alice, bob, room_id = await meet(whole)
    await send(alice, room_id, "hello")
    mention = await send(alice, room_id, "you", **{"m.mentions": {"user_ids": [bob.user_id]}})
    (only,) = (await notifications(bob, only="highlight"))["notifications"]
    assert only["event"]["event_id"] == mention
    assert {"set_tweak": "highlight"} in only["actions"]


async def test_get_notifications_pages_put_together_are_the_list(whole: WholeServer) -> None:
    alice, bob, room_id = await meet(whole)
    sent = [await send(alice, room_id, str(number)) for number in range(5)]
    found: list[str] = []
    query: dict[str, str] = {}
    while True:
        page = await notifications(bob, limit="2", **query)
        found += [it["event"]["event_id"] for it in page["notifications"]]
        if "next_token" not in page:
            break
        query = {"from": page["next_token"]}
    assert found == sent[::-1]


async def test_get_notifications_leaves_out_what_was_redacted(whole: WholeServer) -> None:
    alice, bob, room_id = await meet(whole)
    event_id = await send(alice, room_id, "hello")
    await redact(alice, room_id, event_id)
    assert event_id not in await told(bob)


async def test_get_notifications_leaves_out_who_is_ignored(whole: WholeServer) -> None:
    alice, bob, room_id = await meet(whole)
    await send(alice, room_id, "hello")
    await bob.put(bob.user_path("account_data", "m.ignored_user_list"), {"ignored_users": {alice.user_id: {}}})
    assert await told(bob) == []


async def test_get_notifications_keeps_the_newest_of_each_room(
    whole: WholeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, room_id = await meet(whole)
    other = await create(alice)
    await join(bob, other)
    quiet = await send(alice, other, "in another room")
    sent = [await send(alice, room_id, str(number)) for number in range(7)]
    monkeypatch.setattr(pruning, "NOTIFIED_PER_ROOM_MAX", 2)
    monkeypatch.setattr(pruning, "REMOVED_MAX", 2)
    await Pruning(whole.store.database, whole.store.writer, now_ms=whole.store.now_ms).sweep_all()
    assert await told(bob) == [*sent[:-3:-1], quiet]


async def test_get_notifications_merges_rooms_in_the_order_of_events(whole: WholeServer) -> None:
    alice, bob, room_id = await meet(whole)
    other = await create(alice)
    await join(bob, other)
    sent = [await send(alice, (room_id, other, other)[number % 3], str(number)) for number in range(8)]
    assert await told(bob) == sent[::-1]
    assert await told(bob, limit="3") == sent[:-4:-1]


async def test_get_notifications_looks_at_a_bounded_number_of_events(
    whole: WholeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, room_id = await meet(whole)
    mention = await send(alice, room_id, "you", **{"m.mentions": {"user_ids": [bob.user_id]}})
    for number in range(5):
        await send(alice, room_id, str(number))
    monkeypatch.setattr("conduit_py.service.rooms.notifications.SCANNED_MAX", 4)
    page = await notifications(bob, only="highlight")
    assert page["notifications"] == []
    assert await told(bob, only="highlight", **{"from": page["next_token"]}) == [mention]


async def test_get_notifications_tells_of_an_invite(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await invite(alice, room_id, bob)
    (only,) = (await notifications(bob))["notifications"]
    assert (only["event"]["type"], only["event"]["content"]["membership"]) == ("m.room.member", "invite")
    assert (only["room_id"], only["read"]) == (room_id, False)


async def test_get_notifications_leaves_out_forgotten_rooms(whole: WholeServer) -> None:
    alice, bob, room_id = await meet(whole)
    event_id = await send(alice, room_id, "hello")
    await leave(bob, room_id)
    assert await told(bob) == [event_id]
    await forget(bob, room_id)
    assert await told(bob) == []


@pytest.mark.parametrize("query", [{"from": "nothing"}, {"limit": "-1"}])
async def test_get_notifications_invalid_param(whole: WholeServer, query: dict[str, str]) -> None:
    bob = await whole.register("bob")
    assert (await bob.get("/notifications", **query)).outcome == (400, "M_INVALID_PARAM")


async def test_get_notifications_missing_token(whole: WholeServer) -> None:
    assert (await whole.client().get("/notifications")).outcome == (401, "M_MISSING_TOKEN")
