"""What a server gets of a room's events, by the history visibility and by when its users were in the room."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.federation.reading import BOB, Shared, open_readers, open_shared, put_member
from tests.rig.network import Node
from tests.rig.rooms import send, set_state

Json = dict[str, Any]
ENDPOINTS = ("event", "backfill", "get_missing_events")


async def get_event(shared: Shared, endpoint: str, event_id: str, last: str) -> Json:
    """The message, which is the last but for what came after it."""
    if endpoint == "event":
        reply = await shared.two.get("event", event_id)
        (event,) = reply.json["pdus"]
    elif endpoint == "backfill":
        reply = await shared.two.get("backfill", shared.room_id, v=event_id, limit="1")
        (event,) = reply.json["pdus"]
    else:
        content = {"earliest_events": [], "latest_events": [last], "limit": 50}
        reply = await shared.two.post(content, "get_missing_events", shared.room_id)
        (event,) = [event for event in reply.json["events"] if event["type"] == "m.room.message"]
    result: Json = event
    return result


# Memberships of Bob, the only user of two.test, before the message, and after it; is the message seen in full?
# In the end Bob is always joined, or two.test would be told nothing at all.
TABLE = [
    ("world_readable", (), ("join",), True),
    ("shared", (), ("join",), True),
    ("shared", ("join",), (), True),
    ("shared", ("join", "leave"), ("join",), True),
    ("invited", (), ("join",), False),
    ("invited", ("invite",), ("join",), True),
    ("invited", ("join",), (), True),
    ("invited", ("join", "leave"), ("join",), False),
    ("joined", (), ("join",), False),
    ("joined", ("invite",), ("join",), False),
    ("joined", ("join",), (), True),
    ("joined", ("join", "leave"), ("join",), False),
    ("joined", ("join",), ("leave", "join"), True),
    ("joined", ("join", "ban"), ("leave", "join"), False),
]


@pytest.mark.parametrize(("visibility", "before", "after", "is_seen"), TABLE)
async def test_server_gets_in_full_what_its_users_may_see(
    server_one: Node,
    visibility: str,
    before: tuple[str, ...],
    after: tuple[str, ...],
    is_seen: bool,
) -> None:
    shared = await open_readers(server_one, visibility=visibility)
    alice, room_id = shared.alice, shared.room_id

    async def go(memberships: tuple[str, ...]) -> None:
        for membership in memberships:
            by_alice = membership in ("invite", "ban") or (membership == "leave" and "ban" in before)
            await put_member(server_one, room_id, BOB, membership, sender=alice.user_id if by_alice else BOB)

    await go(before)
    secret = await send(alice, room_id, "secret")
    await go(after)
    last = await send(alice, room_id, "last")

    for endpoint in ENDPOINTS:
        event = await get_event(shared, endpoint, secret, last)
        assert event["content"] == ({"msgtype": "m.text", "body": "secret"} if is_seen else {}), endpoint
        # What servers need to place it is never missing.
        assert (event["type"], event["sender"]) == ("m.room.message", alice.user_id)
        assert event["prev_events"]
        assert event["hashes"]


async def test_server_gets_the_events_in_full_that_change_what_it_may_see(server_one: Node) -> None:
    """The more permissive of the room before the event and after it counts."""
    shared = await open_shared(server_one, visibility="shared")
    await put_member(shared.node, shared.room_id, BOB, "leave")
    closed = await set_state(
        shared.alice, shared.room_id, "m.room.history_visibility", {"history_visibility": "joined"}
    )
    hidden = await set_state(shared.alice, shared.room_id, "m.room.name", {"name": "secret"})
    kick = await put_member(shared.node, shared.room_id, BOB, "join")
    opened = await set_state(
        shared.alice, shared.room_id, "m.room.history_visibility", {"history_visibility": "shared"}
    )

    async def content(event_id: str) -> Json:
        (event,) = (await shared.two.get("event", event_id)).json["pdus"]
        result: Json = event["content"]
        return result

    assert await content(closed) == {"history_visibility": "joined"}
    assert await content(hidden) == {}
    assert await content(kick) == {"membership": "join"}
    assert await content(opened) == {"history_visibility": "shared"}


async def test_state_and_auth_chain_are_not_redacted(server_one: Node) -> None:
    """Without them a server could not tell what anything was allowed by."""
    shared = await open_shared(server_one, visibility="joined", name="secret")
    await put_member(shared.node, shared.room_id, BOB, "leave")
    event_id = await send(shared.alice, shared.room_id, "hello")
    await put_member(shared.node, shared.room_id, BOB, "join")
    pdus = (await shared.two.get("state", shared.room_id, event_id=event_id)).json["pdus"]
    assert [pdu["content"] for pdu in pdus if pdu["type"] == "m.room.name"] == [{"name": "secret"}]


async def test_events_of_an_erased_user_are_redacted(server_one: Node) -> None:
    shared = await open_shared(server_one)
    carol = await shared.node.register("carol")
    assert (await carol.post(f"/rooms/{shared.room_id}/join", {})).status == 200
    event_id = await send(carol, shared.room_id, "forget me")
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": carol.user_id},
        "password": carol.password,
    }
    assert (await carol.post("/account/deactivate", {"auth": auth, "erase": True})).status == 200
    (event,) = (await shared.two.get("event", event_id)).json["pdus"]
    assert event["content"] == {}
