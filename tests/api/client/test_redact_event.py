"""``PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}``"""

from __future__ import annotations

import pytest

from conduit_py.data import timeline
from conduit_py.matrix.ids import EventId
from tests.rig.asking import VERSIONS, ask_redact, ask_send, crowd, get_content, get_state, membership_of, set_levels
from tests.rig.client import Client, Response
from tests.rig.rooms import Json, RoomServer, create, in_room, join, leave, redact, send, set_state


async def get_event(user: Client, room_id: str, event_id: str) -> Json:
    event: Json = (await user.get(in_room(room_id, "event", event_id))).json
    return event


async def ask_by_send(user: Client, room_id: str, event_id: str) -> Response:
    return await ask_send(user, room_id, {"redacts": event_id, "reason": "oops"}, "m.room.redaction")


async def ask_by_redact(user: Client, room_id: str, event_id: str) -> Response:
    return await ask_redact(user, room_id, event_id, reason="oops")


@pytest.mark.parametrize("ask", [ask_by_send, ask_by_redact])
@pytest.mark.parametrize("version", VERSIONS)
async def test_redact_event_strips_the_content(rooms: RoomServer, version: str, ask: object) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version=version)
    event_id = await send(alice, room_id, "oops")
    assert callable(ask)
    response = await ask(alice, room_id, event_id)
    assert response.status == 200, response.body
    redaction_id = response.json["event_id"]
    event = await get_event(alice, room_id, event_id)
    assert event["content"] == {}
    because = event["unsigned"]["redacted_because"]
    assert (because["event_id"], because["content"]["reason"]) == (redaction_id, "oops")
    redaction = await get_event(alice, room_id, redaction_id)
    assert redaction["type"] == "m.room.redaction"
    assert event_id in (redaction.get("redacts"), redaction["content"].get("redacts"))


@pytest.mark.parametrize(("version", "in_content"), [("10", False), ("11", True)])
@pytest.mark.parametrize("ask", [ask_by_send, ask_by_redact])
async def test_redact_event_says_what_it_redacts_where_the_version_has_it(
    rooms: RoomServer, version: str, in_content: bool, ask: object
) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_version=version)
    event_id = await send(alice, room_id, "oops")
    assert callable(ask)
    response = await ask(alice, room_id, event_id)
    with rooms.store.snapshot() as snapshot:
        found = timeline.find_row(snapshot, EventId(response.json["event_id"]))
        assert found is not None
        pdu = timeline.get_pdu(snapshot, found[0])
    expected = {"reason": "oops", "redacts": event_id} if in_content else {"reason": "oops"}
    assert (pdu.content, pdu.json.get("redacts")) == (expected, None if in_content else event_id)
    assert pdu.redacts == event_id


async def test_redact_event_strips_what_others_sent_with_the_power_to(rooms: RoomServer) -> None:
    room_id, alice, bob, carol = await crowd(rooms)
    theirs = await send(carol, room_id, "spam")
    above = await send(alice, room_id, "rules")
    for event_id in (theirs, above):
        assert (await ask_redact(bob, room_id, event_id)).status == 200
        assert (await get_event(carol, room_id, event_id))["content"] == {}


@pytest.mark.parametrize("version", ["1", "2", "3", "11", "12"])
async def test_redact_event_forbidden_for_what_others_sent(rooms: RoomServer, version: str) -> None:
    room_id, _, bob, carol = await crowd(rooms, version)
    theirs = await send(bob, room_id, "hello")
    dave = await rooms.register("dave")
    async with rooms.leaves_no_trace():
        for user in (carol, dave):
            assert (await ask_redact(user, room_id, theirs)).outcome == (403, "M_FORBIDDEN")
            assert (await ask_by_send(user, room_id, theirs)).outcome == (403, "M_FORBIDDEN")
    await leave(bob, room_id)
    async with rooms.leaves_no_trace():
        assert (await ask_redact(bob, room_id, theirs)).outcome == (403, "M_FORBIDDEN")


async def test_redact_event_forbidden_below_the_level_of_redactions(rooms: RoomServer) -> None:
    room_id, alice, _, carol = await crowd(rooms)
    own = await send(carol, room_id, "oops")
    await set_levels(alice, room_id, events={"m.room.redaction": 10})
    async with rooms.leaves_no_trace():
        assert (await ask_redact(carol, room_id, own)).outcome == (403, "M_FORBIDDEN")


async def test_redact_event_lets_administrators_redact_local_users(rooms: RoomServer) -> None:
    admin, bob = await rooms.register("admin"), await rooms.register("bob")
    room_id = await create(bob)
    event_id = await send(bob, room_id, "spam")
    async with rooms.leaves_no_trace():
        assert (await ask_redact(admin, room_id, event_id)).outcome == (403, "M_FORBIDDEN")
    await join(admin, room_id)
    assert (await ask_redact(admin, room_id, event_id)).status == 200
    assert (await get_event(bob, room_id, event_id))["content"] == {}


async def test_redact_event_not_found(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id, other = await create(alice), await create(alice)
    elsewhere = await send(alice, other, "hello")
    async with rooms.leaves_no_trace():
        for event_id in ("$nothing", elsewhere):
            assert (await ask_redact(alice, room_id, event_id)).outcome == (404, "M_NOT_FOUND")
            assert (await ask_by_send(alice, room_id, event_id)).outcome == (404, "M_NOT_FOUND")


async def test_redact_event_refuses_what_names_no_event(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    async with rooms.leaves_no_trace():
        for event_id in ("nothing", "$" + "x" * 255, "$\0"):
            assert (await ask_redact(alice, room_id, event_id)).outcome == (400, "M_INVALID_PARAM")
            assert (await ask_by_send(alice, room_id, event_id)).outcome == (400, "M_INVALID_PARAM")
        assert (await ask_redact(alice, room_id, "$event", reason=5)).outcome == (400, "M_BAD_JSON")
        for content in ({}, {"redacts": 5}):
            assert (await ask_send(alice, room_id, content, "m.room.redaction")).outcome == (400, "M_BAD_JSON")


async def test_redact_event_takes_no_body(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "oops")
    assert (await alice.put(in_room(room_id, "redact", event_id, "1"))).status == 200


async def test_redact_event_again_changes_nothing_more(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "oops")
    first = await redact(alice, room_id, event_id)
    second = await redact(alice, room_id, event_id)
    assert first != second
    assert (await get_event(alice, room_id, event_id))["unsigned"]["redacted_because"]["event_id"] == first


@pytest.mark.parametrize("version", VERSIONS)
async def test_redact_event_leaves_state_as_it_stands(rooms: RoomServer, version: str) -> None:
    room_id, alice, bob, carol = await crowd(rooms, version)
    name = await set_state(alice, room_id, "m.room.name", {"name": "rude"})
    assert (await ask_redact(bob, room_id, name)).status == 200
    assert await get_content(alice, room_id, "m.room.name") == {}
    state = await get_state(alice, room_id)
    assert (await ask_redact(alice, room_id, state["m.room.member", carol.user_id]["event_id"])).status == 200
    assert await membership_of(alice, room_id, carol.user_id) == "join"
    levels = state["m.room.power_levels", ""]
    assert (await ask_redact(alice, room_id, levels["event_id"])).status == 200
    assert (await get_content(alice, room_id, "m.room.power_levels"))["users"] == levels["content"]["users"]
    assert (await ask_redact(bob, room_id, await send(carol, room_id, "still a moderator"))).status == 200


async def test_redact_event_redacts_a_redaction(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "oops")
    redaction = (await ask_redact(alice, room_id, event_id, reason="rude")).json["event_id"]
    await redact(alice, room_id, redaction)
    assert (await get_event(alice, room_id, redaction))["content"] == {"redacts": event_id}
    assert (await get_event(alice, room_id, event_id))["content"] == {}


async def test_redact_event_sends_a_transaction_once(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    phone = await rooms.log_in(alice)
    room_id = await create(alice)
    event_id, other = await send(alice, room_id, "one"), await send(alice, room_id, "two")

    async def by_txn(user: Client, target: str) -> str:
        answer: str = (await ask_redact(user, room_id, target, "1")).json["event_id"]
        return answer

    first = await by_txn(alice, event_id)
    async with rooms.leaves_no_trace():
        assert await by_txn(alice, event_id) == first
    assert len({first, await by_txn(alice, other), await by_txn(phone, event_id)}) == 3
    sent = await ask_send(alice, room_id, {"redacts": event_id}, "m.room.redaction", "1")
    async with rooms.leaves_no_trace():
        again = await ask_send(alice, room_id, {"redacts": other}, "m.room.redaction", "1")
    assert again.json == sent.json


async def test_redact_event_user_suspended_for_what_others_sent(rooms: RoomServer) -> None:
    room_id, _, bob, carol = await crowd(rooms)
    own, theirs = await send(bob, room_id, "oops"), await send(carol, room_id, "hello")
    await rooms.change_account(bob, is_suspended=True)
    async with rooms.leaves_no_trace():
        assert (await ask_redact(bob, room_id, theirs)).outcome == (403, "M_USER_SUSPENDED")
    assert (await ask_redact(bob, room_id, own)).status == 200


async def test_redact_event_guest_access_forbidden(rooms: RoomServer) -> None:
    alice, gast = await rooms.register("alice"), await rooms.register("gast")
    room_id = await create(alice)
    await join(gast, room_id)
    own = await send(gast, room_id, "oops")
    await rooms.change_account(gast, is_guest=True)
    async with rooms.leaves_no_trace():
        assert (await ask_redact(gast, room_id, own)).outcome == (403, "M_GUEST_ACCESS_FORBIDDEN")
    assert (await ask_by_send(gast, room_id, own)).status == 200
