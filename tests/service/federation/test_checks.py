"""What an event must be before its room is asked: of the right form, signed, and what its hash says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from conduit_py.config import IgnoredKeys
from conduit_py.data import server_keys
from conduit_py.matrix.ids import KeyId, Malformed, ServerName
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.signing import InvalidSignature, SigningKey, VerifyKey, sign_event
from conduit_py.service.federation.checks import Checks
from conduit_py.service.federation.key_store import KeyStore
from conduit_py.service.federation.keys import KeyRing
from conduit_py.service.federation.own_keys import OwnKeys
from tests.rig.asking import VERSIONS
from tests.rig.remote_room import RemoteRoom
from tests.rig.rooms import RoomServer, create, with_rooms
from tests.rig.server import SERVER_NAME, START_MS, Server
from tests.service.federation.servers import DAY_MS, OWN_KEY, Source


@pytest.fixture
async def rooms(server: Server) -> RoomServer:
    return await with_rooms(server)


def make_checks(server: Server, source: Source, *, has_threads: bool = False) -> Checks:
    own_keys = OwnKeys(ServerName(SERVER_NAME), OWN_KEY, now_ms=server.store.now_ms)
    key_store = KeyStore(server.store, IgnoredKeys(frozenset(), {}))
    ring = KeyRing(server.store, key_store, source, own_keys, trusted_servers=[])
    return Checks(ring, now_ms=server.store.now_ms, has_threads=has_threads)


async def begin(rooms: RoomServer, version: str = "11", *, expired_ts: int | None = None) -> RemoteRoom:
    peer = RemoteRoom(rooms, await create(await rooms.register("alice"), room_version=version))
    peer.join("bob")
    key = VerifyKey(peer.key.key_id, peer.key.public_key, expired_ts or START_MS + DAY_MS, expired_ts)
    async with rooms.store.writer.turn() as turn:
        server_keys.stage_keys(turn, peer.name, key)
    return peer


@pytest.mark.parametrize("version", VERSIONS)
async def test_event_that_is_right_passes_as_it_is(rooms: RoomServer, version: str) -> None:
    peer = await begin(rooms, version)
    said = peer.say("bob", "hello")
    with_more = {**said.json, "unsigned": {"age": 1}}
    assert await make_checks(rooms, Source()).check(with_more, peer.version) == said


@pytest.mark.parametrize("version", VERSIONS)
async def test_event_with_another_content_is_what_redaction_leaves(rooms: RoomServer, version: str) -> None:
    peer = await begin(rooms, version)
    said = peer.say("bob", "hello")
    checked = await make_checks(rooms, Source()).check({**said.json, "content": {"body": "no"}}, peer.version)
    assert (checked.event_id, checked.content) == (said.event_id, {})


@pytest.mark.parametrize("version", VERSIONS)
async def test_event_with_another_sender_does_not_pass(rooms: RoomServer, version: str) -> None:
    peer = await begin(rooms, version)
    said = peer.say("bob", "hello")
    with pytest.raises(InvalidSignature):
        await make_checks(rooms, Source()).check({**said.json, "sender": peer.user("eve")}, peer.version)


async def test_event_of_an_id_of_another_server_needs_its_signature(rooms: RoomServer) -> None:
    peer = await begin(rooms, "2")
    said = peer.say("bob", "hello")
    claimed = sign_event(
        {**said.json, "event_id": "$of:three.test"}, peer.version, server_name=peer.name, signing_key=peer.key
    )
    with pytest.raises(InvalidSignature, match=r"three\.test"):
        await make_checks(rooms, Source()).check(claimed, peer.version)


@pytest.mark.parametrize(("version", "passes"), [("4", True), ("5", False), ("11", False)])
async def test_event_after_its_key_has_run_out(rooms: RoomServer, version: str, passes: bool) -> None:
    """Until room version 5 nobody asked for how long a key was valid."""
    peer = await begin(rooms, version)
    late = peer.say("bob", "late", ts=START_MS + 2 * DAY_MS)
    [checked] = await make_checks(rooms, Source()).check_many([late.json], peer.version)
    assert isinstance(checked, Pdu if passes else InvalidSignature)


@pytest.mark.parametrize(("ts", "passes"), [(START_MS - 10, True), (START_MS + 10, False)])
async def test_event_signed_by_a_key_that_was_given_up(rooms: RoomServer, ts: int, passes: bool) -> None:
    peer = await begin(rooms, "11", expired_ts=START_MS)
    [checked] = await make_checks(rooms, Source()).check_many([peer.say("bob", "x", ts=ts).json], peer.version)
    assert isinstance(checked, Pdu if passes else InvalidSignature)


async def test_join_needs_the_signature_of_who_let_the_user_in(rooms: RoomServer) -> None:
    peer = await begin(rooms, "11")
    content = {"membership": "join", "join_authorised_via_users_server": "@alice:one.test"}
    join = peer.make("eve", "m.room.member", content, state_key=peer.user("eve"))
    checks = make_checks(rooms, Source())
    with pytest.raises(InvalidSignature, match=r"one\.test"):
        await checks.check(join.json, peer.version)
    signed = sign_event(join.json, peer.version, server_name=ServerName(SERVER_NAME), signing_key=OWN_KEY)
    assert (await checks.check(signed, peer.version)).event_id == join.event_id


async def test_keys_of_many_events_are_asked_for_once(rooms: RoomServer) -> None:
    peer = await begin(rooms)
    source = Source()
    peer.key = SigningKey.from_seed(KeyId("ed25519:new"), bytes(32))
    said = [peer.say("bob", str(number)).json for number in range(30)]
    checked = await make_checks(rooms, source).check_many(said, peer.version)
    assert all(isinstance(it, InvalidSignature) for it in checked)
    assert source.asked == [peer.name]


@pytest.mark.parametrize("has_threads", [False, True])
async def test_each_of_many_is_told_in_its_place(rooms: RoomServer, has_threads: bool) -> None:
    peer = await begin(rooms)
    said = [peer.say("bob", str(number)) for number in range(250)]
    raws: list[Mapping[str, Any]] = [pdu.json for pdu in said]
    for place in range(0, 250, 7):
        raws[place] = {**raws[place], "sender": peer.user("eve")}
    for place in range(3, 250, 7):
        raws[place] = {"type": place}
    checked = await make_checks(rooms, Source(), has_threads=has_threads).check_many(raws, peer.version)
    for place, (it, pdu) in enumerate(zip(checked, said, strict=True)):
        if place % 7 == 0:
            assert isinstance(it, InvalidSignature)
        elif place % 7 == 3:
            assert isinstance(it, Malformed)
        else:
            assert it == pdu
