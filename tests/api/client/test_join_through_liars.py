"""``POST /_matrix/client/v3/join``: the server that is asked answers with what cannot be, or with too little."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pytest
import trio
from trio.testing import MockClock

from conduit_py.data.rooms import get_room
from conduit_py.http.in_process import ClientReply
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.federation.handshakes.joins import installing, join_body
from kvschema.engine import Engine
from tests.rig.client import Client, path
from tests.rig.network import Node, open_network
from tests.rig.peer import Peer, open_peer
from tests.rig.rooms import in_room

Json = dict[str, Any]
VERSION = "11"


@dataclass
class Resident:
    """A server in a room, which answers as the test says. It is a node of the network by what it can do."""

    peer: Peer
    template: Json = field(default_factory=dict)
    state: list[Any] = field(default_factory=list)
    chain: list[Any] = field(default_factory=list)
    body: bytes | None = None
    """In place of the answer that ``state`` and ``chain`` make."""
    event: Json | None = None

    @property
    def name(self) -> str:
        return str(self.peer.name)

    async def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> ClientReply:
        await trio.lowlevel.checkpoint()
        if "/make_join/" in path:
            user_id = unquote(path.partition("?")[0].rpartition("/")[2])
            event = {"sender": user_id, "state_key": user_id, "content": {"membership": "join"}}
            whole = {"room_version": VERSION, **self.template}
            return _reply({**whole, "event": {**event, **whole["event"]}})
        if "/send_join/" in path:
            if self.body is not None:
                return ClientReply(200, {}, self.body)
            answer = {"state": self.state, "auth_chain": self.chain}
            return _reply(answer if self.event is None else {**answer, "event": {**json.loads(body), **self.event}})
        return ClientReply(404, {}, b"{}")

    async def stop(self) -> None:
        await trio.lowlevel.checkpoint()

    def check(self) -> None:
        pass


def _reply(value: Json) -> ClientReply:
    return ClientReply(200, {}, json.dumps(value).encode())


@dataclass
class Scene:
    one: Node
    alice: Client
    two: Resident
    room_id: str
    events: list[Pdu]
    """create, member, power levels, join rules, name"""

    async def join(self) -> tuple[int, str | None]:
        response = await self.alice.post(path("join", self.room_id) + "?via=two.test", {})
        return response.status, response.json.get("errcode")

    async def state(self) -> set[tuple[str, str]]:
        events = (await self.alice.get(in_room(self.room_id, "state"))).json
        return {(event["type"], event["state_key"]) for event in events}

    def tell(self, state: Sequence[Any], chain: Sequence[Any] | None = None) -> None:
        self.two.state = [it.json if isinstance(it, Pdu) else it for it in state]
        self.two.chain = self.two.state if chain is None else [it.json if isinstance(it, Pdu) else it for it in chain]


def begin(two: Peer, room_id: str, join_rule: str = "public") -> list[Pdu]:
    bob = two.user("bob")

    def add(type: str, content: Json, state_key: str, events: list[Pdu], auth: list[Pdu]) -> Pdu:
        made = two.build(
            VERSION,
            room_id,
            type=type,
            sender=bob,
            content=content,
            state_key=state_key,
            prev_events=events[-1:],
            auth_events=auth,
        )
        events.append(made)
        return made

    events: list[Pdu] = []
    create = add("m.room.create", {"room_version": VERSION}, "", events, [])
    member = add("m.room.member", {"membership": "join"}, bob, events, [create])
    levels = add("m.room.power_levels", {"users": {bob: 100}}, "", events, [create, member])
    add("m.room.join_rules", {"join_rule": join_rule}, "", events, [create, member, levels])
    add("m.room.name", {"name": "Tea"}, "", events, [create, member, levels])
    return events


@asynccontextmanager
async def open_scene(make_engine: Callable[[], Engine]) -> AsyncIterator[Scene]:
    async with open_network(make_engine, "one.test") as network:
        one = network["one.test"]
        alice, peer = await one.register("alice"), await open_peer(one)
        room_id = "!tea:two.test"
        events = begin(peer, room_id)
        two = Resident(peer)
        network.add(two)  # type: ignore[arg-type]  # all of a node that a network asks for
        scene = Scene(one, alice, two, room_id, events)
        scene.tell(events)
        two.template = {"event": template(room_id, events)}
        yield scene


def template(room_id: str, events: Sequence[Pdu]) -> Json:
    return {
        "type": "m.room.member",
        "room_id": room_id,
        "auth_events": [events[at].event_id for at in (0, 2, 3)],
        "prev_events": [events[-1].event_id],
        "depth": 6,
        "origin_server_ts": 5,
        "unsigned": {"prompt": "believe me"},
        "hashes": {"sha256": "none"},
    }


@pytest.fixture
async def scene(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> AsyncIterator[Scene]:
    async with open_scene(make_engine) as scene:
        yield scene


EVERYTHING = {
    ("m.room.create", ""),
    ("m.room.member", "@bob:two.test"),
    ("m.room.member", "@alice:one.test"),
    ("m.room.power_levels", ""),
    ("m.room.join_rules", ""),
    ("m.room.name", ""),
}


async def refused(scene: Scene) -> None:
    """The join is refused, and there is no half of a room."""
    assert await scene.join() == (502, "M_UNKNOWN")
    dump = scene.one.dump()
    for tree in ("roomid_shortstatehash", "roomstate_shorteventid", "roomuserid_member", "userroomid_membership"):
        assert dump[tree] == []
    rooms = (await scene.alice.get("/sync")).json["rooms"]
    assert not any(rooms.values())


async def accepted(scene: Scene) -> None:
    assert await scene.join() == (200, None)


async def test_join_of_what_an_honest_server_tells(scene: Scene) -> None:
    await accepted(scene)
    assert await scene.state() == EVERYTHING


async def test_join_by_an_answer_that_goes_to_a_file(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_body, "IN_MEMORY_MAX", 1000)
    monkeypatch.setattr(join_body, "WRITE_BYTES", 500)
    await accepted(scene)
    assert await scene.state() == EVERYTHING


async def test_join_refused_for_an_answer_that_is_too_large(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_body, "JOIN_BYTES_MAX", 1000)
    await refused(scene)


async def test_join_in_steps_of_two_events(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHECKED_AT_ONCE", "STORED_AT_ONCE", "ROWS_AT_ONCE", "TOLD_EVERY"):
        monkeypatch.setattr(installing, name, 2)
    await accepted(scene)
    assert await scene.state() == EVERYTHING


@pytest.mark.parametrize(
    "wrong",
    [
        {"room_id": "!other:two.test"},
        {"type": "m.room.power_levels"},
        {"sender": "@bob:two.test"},
        {"state_key": "@bob:two.test"},
        {"content": {"membership": "ban"}},
        {"content": "join"},
        {"auth_events": "all"},
        {"prev_events": [7]},
        {"depth": "deep"},
    ],
    ids=str,
)
async def test_join_refused_for_a_template_that_is_none(scene: Scene, wrong: Json) -> None:
    scene.two.template["event"] = {**template(scene.room_id, scene.events), **wrong}
    await refused(scene)


@pytest.mark.parametrize("room_version", ["99", "12", 11])
async def test_join_refused_for_a_template_of_another_version(scene: Scene, room_version: object) -> None:
    scene.two.template["room_version"] = room_version
    await refused(scene)


async def test_join_says_nothing_that_a_template_adds(scene: Scene) -> None:
    content = {"membership": "join", "displayname": "Eve", "join_authorised_via_users_server": "@bob:two.test"}
    scene.two.template["event"]["content"] = content
    await refused(scene)  # Nobody signed for the one who is said to have vouched.
    del content["join_authorised_via_users_server"]
    await accepted(scene)
    member = (await scene.alice.get(in_room(scene.room_id, "state", "m.room.member", scene.alice.user_id))).json
    assert member.get("displayname") != "Eve"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"state":[]}', b'{"state":7,"auth_chain":{}}', b"x" * 100])
async def test_join_refused_for_what_is_no_answer(scene: Scene, body: bytes) -> None:
    scene.two.body = body
    await refused(scene)


@pytest.mark.parametrize("missing", [0, 2, 3])
async def test_join_refused_without_what_allows_it(scene: Scene, missing: int) -> None:
    scene.tell([event for at, event in enumerate(scene.events) if at != missing])
    await refused(scene)


async def test_join_refused_by_the_rules_of_the_room_as_it_is_told(scene: Scene) -> None:
    events = begin(scene.two.peer, scene.room_id, join_rule="invite")
    scene.tell(events)
    scene.two.template["event"] = template(scene.room_id, events)
    await refused(scene)


async def test_join_refused_for_two_events_in_one_place(scene: Scene) -> None:
    create, member, levels, _, name = scene.events
    other = scene.two.peer.build(
        VERSION,
        scene.room_id,
        type="m.room.name",
        sender=scene.two.peer.user("bob"),
        content={"name": "Coffee"},
        prev_events=[name],
        auth_events=[create, member, levels],
    )
    scene.tell([*scene.events, other])
    await refused(scene)


async def test_join_refused_for_a_message_told_as_state(scene: Scene) -> None:
    create, member, levels, _, name = scene.events
    message = scene.two.peer.build(
        VERSION,
        scene.room_id,
        type="m.room.message",
        sender=scene.two.peer.user("bob"),
        content={"body": "hi"},
        state_key=None,
        prev_events=[name],
        auth_events=[create, member, levels],
    )
    scene.tell([*scene.events, message])
    await refused(scene)


async def test_join_leaves_out_what_does_not_hold(scene: Scene) -> None:
    """Forged, of another room, by somebody who may not, or by nothing that was told."""
    create, member, levels, _, name = scene.events
    peer = scene.two.peer
    forged = {**name.json, "signatures": member.signatures, "state_key": "forged"}
    stray = peer.build(
        VERSION, "!other:two.test", type="m.room.topic", sender=peer.user("bob"), content={}, auth_events=[create]
    )
    eve = peer.build(
        VERSION,
        scene.room_id,
        type="m.room.topic",
        sender=peer.user("eve"),
        content={"topic": "mine"},
        prev_events=[name],
        auth_events=[create, levels],
    )
    lost = peer.build(
        VERSION,
        scene.room_id,
        type="m.room.avatar",
        sender=peer.user("bob"),
        content={},
        prev_events=[name],
        auth_events=[create, member, levels, eve, stray],
    )
    scene.tell([*scene.events, forged, stray, eve, lost, 7, {}])
    await accepted(scene)
    assert await scene.state() == EVERYTHING


async def test_join_takes_only_what_redaction_leaves_of_a_tampered_event(scene: Scene) -> None:
    *others, name = scene.events
    scene.tell([*others, {**name.json, "content": {"name": "Poison"}}])
    await accepted(scene)
    assert (await scene.alice.get(in_room(scene.room_id, "state", "m.room.name", ""))).json == {}


async def test_join_keeps_the_signatures_that_it_gets(scene: Scene) -> None:
    scene.two.event = {"signatures": {"two.test": {"ed25519:r": "bm90IGNoZWNrZWQ"}}, "content": {"membership": "ban"}}
    await accepted(scene)
    assert await scene.state() == EVERYTHING


async def test_join_works_after_one_that_did_not(scene: Scene) -> None:
    """What was stored in vain is no trouble, and is used."""
    events = scene.two.template["event"]["auth_events"]
    scene.two.template["event"]["auth_events"] = [*events, scene.events[1].event_id]
    await refused(scene)
    stored = len(scene.one.dump()["shorteventid_pdu"])
    assert stored == len(scene.events)
    scene.two.template["event"]["auth_events"] = events
    await accepted(scene)
    assert await scene.state() == EVERYTHING
    assert len(scene.one.dump()["shorteventid_pdu"]) == stored + 1


async def test_version_of_a_room_is_what_its_first_event_says(scene: Scene) -> None:
    """Whoever told of the room before may have been wrong."""
    store = scene.one.store
    async with store.writer.turn() as turn:
        with store.snapshot() as snapshot:
            store.ids.intern_room(snapshot, turn, RoomId(scene.room_id), "10")
    await accepted(scene)
    create = (await scene.alice.get(in_room(scene.room_id, "state", "m.room.create", ""))).json
    assert create["room_version"] == VERSION
    with store.snapshot() as snapshot:
        room = get_room(snapshot, RoomId(scene.room_id))
    assert room is not None
    assert room.version.id == VERSION
