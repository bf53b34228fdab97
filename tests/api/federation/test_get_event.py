"""``GET /_matrix/federation/v1/event/{eventId}``"""

from __future__ import annotations

from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.pdu import parse_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from tests.api.federation.reading import BOB, Shared, put_member
from tests.rig.rooms import create, redact, send, set_state


async def test_get_event_gives_the_event_as_it_was_signed(shared: Shared) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")
    reply = await shared.two.get("event", event_id)
    answer = reply.json
    assert (reply.status, answer["origin"], list(answer)) == (200, "one.test", ["origin", "origin_server_ts", "pdus"])
    (event,) = answer["pdus"]
    version = (await shared.alice.get(f"/rooms/{shared.room_id}/state/m.room.create")).json["room_version"]
    pdu = parse_pdu(event, ROOM_VERSIONS[version])
    assert (pdu.event_id, pdu.room_id, pdu.content["body"]) == (event_id, RoomId(shared.room_id), "hello")
    assert "unsigned" not in event


async def test_get_event_gives_what_is_left_of_a_redacted_event(shared: Shared) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")
    await redact(shared.alice, shared.room_id, event_id)
    (event,) = (await shared.two.get("event", event_id)).json["pdus"]
    assert event["content"] == {}


async def test_get_event_not_found_tells_nothing_of_rooms_that_the_server_is_not_in(shared: Shared) -> None:
    elsewhere = await create(shared.alice)
    secret = await send(shared.alice, elsewhere, "secret")
    nothing = "$" + secret[:0:-1]
    async with shared.leaves_no_trace():
        replies = [await shared.two.get("event", event_id) for event_id in (secret, nothing)]
        assert [reply.outcome for reply in replies] == [(404, "M_NOT_FOUND")] * 2
        assert (await shared.three.get("event", secret)).outcome == (404, "M_NOT_FOUND")
    assert len({reply.json["error"].replace(secret, "").replace(nothing, "") for reply in replies}) == 1


async def test_get_event_not_found_once_the_server_has_left_or_is_shut_out(shared: Shared) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")
    assert (await shared.two.get("event", event_id)).status == 200
    acl = {"allow": ["*"], "deny": ["two.test"]}
    await set_state(shared.alice, shared.room_id, "m.room.server_acl", acl)
    assert (await shared.two.get("event", event_id)).outcome == (404, "M_NOT_FOUND")
    await set_state(shared.alice, shared.room_id, "m.room.server_acl", {"allow": ["*"]})
    assert (await shared.two.get("event", event_id)).status == 200
    await put_member(shared.node, shared.room_id, BOB, "leave")
    assert (await shared.two.get("event", event_id)).outcome == (404, "M_NOT_FOUND")


async def test_get_event_m_invalid_param(shared: Shared) -> None:
    assert (await shared.two.get("event", "no id")).outcome == (400, "M_INVALID_PARAM")


async def test_get_event_m_unauthorized(shared: Shared) -> None:
    event_id = await send(shared.alice, shared.room_id, "hello")
    reply = await shared.get_unsigned(f"event/{event_id}")
    assert reply.outcome == (401, "M_UNAUTHORIZED")
