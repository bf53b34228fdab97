"""Rooms that name a policy server: what is sent to them needs its signature."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.data import timeline
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import EventId, KeyId, RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.policy_server import POLICY_KEY_ID, PolicyServer, verify_policy_signature
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.signing import SigningKey, sign_event
from conduit_py.outbound.errors import Refused
from conduit_py.service.rooms.receive import Arrival, Receipt, Standing
from tests.rig.asking import ask_send, ask_state
from tests.rig.client import Client, path
from tests.rig.remote import Question
from tests.rig.rooms import Json, RoomServer, create, send, set_state

POLICY = ServerName("policy.test")
KEY = SigningKey.from_seed(KeyId(POLICY_KEY_ID), b"p" * 32)
CONTENT: Json = {"via": POLICY, "public_keys": {"ed25519": encode_base64(KEY.public_key)}}


def sign(question: Question) -> Json:
    """What a policy server answers that likes everything."""
    assert (question.method, question.segments) == ("POST", ("policy", "v1", "sign"))
    assert question.content is not None
    signed = sign_event(question.content, ROOM_VERSIONS["11"], server_name=POLICY, signing_key=KEY)
    return {POLICY: {POLICY_KEY_ID: signed["signatures"][POLICY][POLICY_KEY_ID]}}


def asked_about(rooms: RoomServer) -> list[str]:
    return [question.content["type"] for question in rooms.remotes.asked if question.content is not None]


async def open_guarded(rooms: RoomServer, **room: Any) -> tuple[Client, str]:
    """Alice, and her room that asks the policy server, which is in the room."""
    alice = await rooms.register("alice")
    room_id = await create(alice, **room)
    rooms.remotes.servers[POLICY] = sign
    await join_remotely(rooms, room_id, f"@guard:{POLICY}")
    await set_state(alice, room_id, "m.room.policy", CONTENT)
    return alice, room_id


async def join_remotely(rooms: RoomServer, room_id: str, user_id: str) -> None:
    await rooms.writes.write(
        RoomId(room_id),
        lambda snapshot, turn, room: room.append(
            room.create_event(
                sender=UserId(user_id), type="m.room.member", state_key=user_id, content={"membership": "join"}
            )
        ),
    )


def stored(rooms: RoomServer, event_id: str) -> Json:
    with rooms.store.snapshot() as snapshot:
        event = timeline.get_event(snapshot, EventId(event_id))
        assert event is not None
        return dict(timeline.get_pdu(snapshot, event).json)


async def test_event_is_stored_with_the_signatures_of_both_servers(rooms: RoomServer) -> None:
    alice, room_id = await open_guarded(rooms)
    event_id = await send(alice, room_id, "hello")
    event = stored(rooms, event_id)
    verify_policy_signature(event, ROOM_VERSIONS["11"], PolicyServer(POLICY, CONTENT["public_keys"]["ed25519"]))
    assert set(event["signatures"]) == {"one.test", POLICY}
    # Nobody is asked about what says who the policy server is.
    assert asked_about(rooms) == ["m.room.message"]


async def test_every_kind_of_event_is_asked_about(rooms: RoomServer) -> None:
    alice, room_id = await open_guarded(rooms)
    bob = await rooms.register("bob")
    await set_state(alice, room_id, "m.room.topic", {"topic": "tea"})
    await set_state(alice, room_id, "m.room.policy", {"x": 1}, "other")
    assert (await bob.post(path("rooms", room_id, "join"), {})).status == 200
    assert asked_about(rooms) == ["m.room.topic", "m.room.policy", "m.room.member"]


@pytest.mark.parametrize(
    "refusal", [(400, "M_FORBIDDEN"), (404, "M_NOT_FOUND"), (403, "M_FORBIDDEN"), (429, "M_LIMIT_EXCEEDED")]
)
async def test_event_that_the_policy_server_refuses_is_not_sent(rooms: RoomServer, refusal: tuple[int, str]) -> None:
    alice, room_id = await open_guarded(rooms)

    def refuse(question: Question) -> Json:
        raise Refused(*refusal, "no spam here", retry_after_ms=1500 if refusal[0] == 429 else None)

    rooms.remotes.servers[POLICY] = refuse
    async with rooms.leaves_no_trace():
        response = await ask_send(alice, room_id, {"msgtype": "m.text", "body": "spam"})
        assert (response.outcome, response.json["error"]) == (refusal, "no spam here")
        assert (await ask_state(alice, room_id, "m.room.topic", {"topic": "spam"})).outcome == refusal
    # The room can rid itself of the policy server.
    assert (await ask_state(alice, room_id, "m.room.policy", {})).status == 200
    assert (await ask_send(alice, room_id, {"msgtype": "m.text", "body": "free"})).status == 200


async def test_policy_servers_error_about_tokens_is_not_passed_on(rooms: RoomServer) -> None:
    alice, room_id = await open_guarded(rooms)

    def refuse(question: Question) -> Json:
        raise Refused(401, "M_UNKNOWN_TOKEN", "who are you?")

    rooms.remotes.servers[POLICY] = refuse
    async with rooms.leaves_no_trace():
        assert (await ask_send(alice, room_id, {"body": "x", "msgtype": "m.text"})).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {POLICY: {}},
        {POLICY: {POLICY_KEY_ID: 1}},
        {POLICY: {POLICY_KEY_ID: "x" * 1000}},
        {POLICY: {POLICY_KEY_ID: encode_base64(bytes(64))}},
        {"other.test": {POLICY_KEY_ID: encode_base64(bytes(64))}},
    ],
)
async def test_event_is_not_sent_without_a_signature_that_counts(rooms: RoomServer, answer: Json) -> None:
    alice, room_id = await open_guarded(rooms)
    rooms.remotes.servers[POLICY] = lambda question: answer
    async with rooms.leaves_no_trace():
        assert (await ask_send(alice, room_id, {"msgtype": "m.text", "body": "x"})).outcome == (502, "M_UNKNOWN")


async def test_nobody_is_asked_while_the_policy_server_is_not_in_the_room(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice)
    rooms.remotes.servers[POLICY] = sign
    await set_state(alice, room_id, "m.room.policy", CONTENT)
    await send(alice, room_id, "hello")
    assert rooms.remotes.asked == []


async def test_repeated_transaction_is_not_asked_about_again(rooms: RoomServer) -> None:
    alice, room_id = await open_guarded(rooms)
    first, again = [await ask_send(alice, room_id, {"msgtype": "m.text", "body": "x"}, txn_id="t") for _ in range(2)]
    assert first.json == again.json
    assert asked_about(rooms) == ["m.room.message"]


async def build_unsigned(rooms: RoomServer, room_id: str, user_id: str) -> Pdu:
    """A message that nobody has stored, as its sender's server would send it that asked no policy server."""
    pdu = await rooms.writes.write(
        RoomId(room_id),
        lambda snapshot, turn, room: room.create_event(
            sender=UserId(user_id), type="m.room.message", content={"msgtype": "m.text", "body": "hello"}
        ),
    )
    rooms.remotes.asked.clear()
    signatures = {name: value for name, value in pdu.signatures.items() if name != POLICY}
    return parse_pdu({**pdu.json, "signatures": signatures}, ROOM_VERSIONS["11"])


async def receive(rooms: RoomServer, room_id: str, pdu: Pdu) -> Standing:
    [receipt] = await rooms.writes.receive(RoomId(room_id), [Arrival(pdu=pdu)])
    assert isinstance(receipt, Receipt)
    return receipt.standing


async def test_received_event_gets_the_signature_that_it_lacks(rooms: RoomServer) -> None:
    alice, room_id = await open_guarded(rooms)
    pdu = await build_unsigned(rooms, room_id, alice.user_id)
    assert await receive(rooms, room_id, pdu) is Standing.ACCEPTED
    event = stored(rooms, pdu.event_id)
    verify_policy_signature(event, ROOM_VERSIONS["11"], PolicyServer(POLICY, CONTENT["public_keys"]["ed25519"]))
    # Nobody is asked about what has it, or is held already.
    assert asked_about(rooms) == ["m.room.message"]
    assert await receive(rooms, room_id, pdu) is Standing.ACCEPTED
    assert asked_about(rooms) == ["m.room.message"]


async def test_received_event_that_is_refused_the_signature_is_soft_failed(rooms: RoomServer) -> None:
    alice, room_id = await open_guarded(rooms)
    pdu = await build_unsigned(rooms, room_id, alice.user_id)
    del rooms.remotes.servers[POLICY]
    rooms.remotes.servers["other.test"] = sign
    assert await receive(rooms, room_id, pdu) is Standing.SOFT_FAILED
    response = await alice.get(path("rooms", room_id, "event", pdu.event_id))
    assert response.outcome == (404, "M_NOT_FOUND")
