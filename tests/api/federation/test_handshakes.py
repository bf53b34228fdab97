"""Users of another server join, knock, leave: templates and what is made of them."""

from __future__ import annotations

import pytest

from conduit_py.matrix.hashes import content_hash, encode_base64, event_id_of
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.pdu import parse_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from tests.api.federation.scene import VERSIONS, Scene
from tests.rig.rooms import create, in_room, set_state


@pytest.mark.parametrize("version", VERSIONS)
async def test_join_of_a_public_room(scene: Scene, version: str) -> None:
    room_id = await create(scene.alice, room_version=version)
    bob = scene.two.user("bob")
    made = await scene.two.make("join", room_id, bob)
    assert made.status == 200
    assert made.json["room_version"] == version
    template = made.json["event"]
    assert (template["type"], template["room_id"], template["sender"]) == ("m.room.member", room_id, bob)
    assert (template["state_key"], template["content"]) == (bob, {"membership": "join"})
    assert not template.keys() & {"signatures", "hashes"}

    join = scene.two.sign(made.json)
    answer = (await scene.two.send("join", join)).json
    assert await scene.membership(room_id, bob) == "join"
    rules = ROOM_VERSIONS[version]
    told = {event_id_of(event, rules): parse_pdu(event, rules) for event in answer["state"]}
    types = sorted(pdu.type for pdu in told.values())
    assert types[0] == "m.room.create"
    assert types.count("m.room.member") == 1
    chain = {event_id_of(event, rules) for event in answer["auth_chain"]}
    for pdu in told.values():
        assert set(pdu.auth_events) <= chain
    assert set(join.auth_events) <= chain
    assert answer["members_omitted"] is False
    assert answer["servers_in_room"] == ["one.test"]
    assert answer["event"]["signatures"].keys() == {"one.test", "two.test"}

    again = await scene.two.send("join", join)
    assert again.status == 200
    assert again.json["state"] == answer["state"]


async def test_join_with_members_omitted(scene: Scene) -> None:
    room_id = await create(scene.alice, name="Tea")
    for name in ("carol", "dave"):
        await scene.two.join(room_id, scene.two.user(name))
    made = await scene.two.make("join", room_id, scene.two.user("bob"))
    answer = (await scene.two.send("join", scene.two.sign(made.json), "omit_members=true")).json
    assert answer["members_omitted"] is True
    assert answer["servers_in_room"] == ["one.test", "two.test"]
    state = [(event["type"], event["state_key"]) for event in answer["state"]]
    assert "m.room.member" not in {event_type for event_type, _ in state}
    chain = [(event["type"], event["state_key"]) for event in answer["auth_chain"]]
    assert chain == [("m.room.member", scene.alice.user_id)]


async def test_join_with_members_omitted_tells_whom_a_room_without_name_is_called_after(scene: Scene) -> None:
    room_id = await create(scene.alice)
    carol = scene.two.user("carol")
    await scene.two.join(room_id, carol)
    made = await scene.two.make("join", room_id, scene.two.user("bob"))
    answer = (await scene.two.send("join", scene.two.sign(made.json), "omit_members=true")).json
    heroes = [event["state_key"] for event in answer["state"] if event["type"] == "m.room.member"]
    assert sorted(heroes) == sorted([scene.alice.user_id, carol])


async def test_make_join_not_found_without_such_a_room(scene: Scene) -> None:
    async with scene.leaves_no_trace():
        response = await scene.two.make("join", "!nowhere:one.test", scene.two.user("bob"))
        assert response.outcome == (404, "M_NOT_FOUND")


async def test_make_join_forbidden_for_a_user_of_another_server(scene: Scene) -> None:
    room_id = await create(scene.alice)
    async with scene.leaves_no_trace():
        assert (await scene.two.make("join", room_id, "@bob:three.test")).outcome == (403, "M_FORBIDDEN")


async def test_make_join_incompatible_room_version(scene: Scene) -> None:
    room_id = await create(scene.alice, room_version="11")
    async with scene.leaves_no_trace():
        for query in ("ver=1&ver=10", ""):
            response = await scene.two.make("join", room_id, scene.two.user("bob"), query)
            assert response.outcome == (400, "M_INCOMPATIBLE_ROOM_VERSION")
            assert response.json["room_version"] == "11"
    old = await create(scene.alice, room_version="1")
    assert (await scene.two.make("join", old, scene.two.user("bob"), "")).status == 200


async def test_make_join_forbidden_by_the_rules(scene: Scene) -> None:
    private = await create(scene.alice, preset="private_chat")
    at_home = await create(scene.alice, creation_content={"m.federate": False})
    closed = await create(scene.alice)
    await set_state(scene.alice, closed, "m.room.server_acl", {"allow": ["*"], "deny": ["two.test"]})
    async with scene.leaves_no_trace():
        for room_id in (private, at_home, closed):
            assert (await scene.two.make("join", room_id, scene.two.user("bob"))).outcome == (403, "M_FORBIDDEN")


async def test_send_join_forbidden_for_who_was_banned_meanwhile(scene: Scene) -> None:
    room_id, bob = await create(scene.alice), scene.two.user("bob")
    made = await scene.two.make("join", room_id, bob)
    response = await scene.alice.post(in_room(room_id, "ban"), {"user_id": bob})
    assert response.status == 200
    async with scene.leaves_no_trace():
        assert (await scene.two.send("join", scene.two.sign(made.json))).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("version", ["1", "11"])
async def test_send_join_invalid_param(scene: Scene, version: str) -> None:
    room_id, bob = await create(scene.alice, room_version=version), scene.two.user("bob")
    made = (await scene.two.make("join", room_id, bob)).json
    other = await create(scene.alice, room_version=version)
    two = scene.two
    wrong = [
        two.sign(made, content={"membership": "leave"}),
        two.sign(made, type="m.room.message"),
        two.sign(made, state_key=two.user("carol")),
        two.sign(made, sender="@carol:three.test", state_key="@carol:three.test"),
    ]
    async with scene.leaves_no_trace():
        for pdu in wrong:
            assert (await two.send("join", pdu)).outcome == (400, "M_INVALID_PARAM")
        good = two.sign(made)
        forged = parse_pdu({**good.json, "signatures": wrong[0].signatures}, ROOM_VERSIONS[version])
        assert (await two.send("join", forged)).outcome == (400, "M_INVALID_PARAM")
        tampered = {**good.json, "content": {"membership": "join", "displayname": "Eve"}}
        assert (await two.send("join", parse_pdu(tampered, ROOM_VERSIONS[version]))).outcome == (400, "M_INVALID_PARAM")
        elsewhere = parse_pdu({**good.json, "room_id": RoomId(other)}, ROOM_VERSIONS[version])
        assert (await two.send("join", elsewhere)).outcome == (400, "M_INVALID_PARAM")
    assert await scene.membership(room_id, bob) is None


async def test_send_join_invalid_param_for_the_id_of_another_event(scene: Scene) -> None:
    """In the first room versions whoever sends an event chooses its id."""
    private = await create(scene.alice, preset="private_chat", room_version="1", name="Secret")
    open_room, bob = await create(scene.alice, room_version="1"), scene.two.user("bob")
    secret = await scene.alice.get(in_room(private, "state", "m.room.name") + "?format=event")
    made = (await scene.two.make("join", open_room, bob)).json
    mine, version = scene.two.sign(made), ROOM_VERSIONS["1"]
    for room_id in (open_room, private):
        event = {**mine.json, "event_id": secret.json["event_id"], "room_id": room_id}
        hashes = {"sha256": encode_base64(content_hash(event, version))}
        forged = parse_pdu({**event, "hashes": hashes}, version)
        async with scene.leaves_no_trace():
            assert (await scene.two.send("join", forged)).outcome == (400, "M_INVALID_PARAM")


async def _restrict(scene: Scene, room_version: str, allowed: list[str]) -> str:
    allow = [{"type": "m.room_membership", "room_id": room_id} for room_id in allowed]
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    return await create(scene.alice, room_version=room_version, initial_state=[rules])


@pytest.mark.parametrize("version", ["8", "10", "12"])
async def test_join_of_a_restricted_room_that_we_vouch_for(scene: Scene, version: str) -> None:
    lobby, bob = await create(scene.alice), scene.two.user("bob")
    room_id = await _restrict(scene, version, [lobby])
    async with scene.leaves_no_trace():
        assert (await scene.two.make("join", room_id, bob)).outcome == (403, "M_FORBIDDEN")
    await scene.two.join(lobby, bob)
    made = await scene.two.make("join", room_id, bob)
    assert made.json["event"]["content"]["join_authorised_via_users_server"] == scene.alice.user_id
    answer = (await scene.two.send("join", scene.two.sign(made.json))).json
    assert "one.test" in answer["event"]["signatures"]
    assert await scene.membership(room_id, bob) == "join"


async def test_make_join_unable_to_authorise_join(scene: Scene) -> None:
    room_id = await _restrict(scene, "11", ["!elsewhere:two.test"])
    async with scene.leaves_no_trace():
        outcome = (await scene.two.make("join", room_id, scene.two.user("bob"))).outcome
        assert outcome == (400, "M_UNABLE_TO_AUTHORISE_JOIN")


async def test_make_join_unable_to_grant_join(scene: Scene) -> None:
    lobby, bob = await create(scene.alice), scene.two.user("bob")
    await scene.two.join(lobby, bob)
    room_id = await _restrict(scene, "11", [lobby])
    levels = {"users": {scene.alice.user_id: 100}, "invite": 100}
    await set_state(scene.alice, room_id, "m.room.power_levels", levels)
    carol = scene.two.user("carol")
    await scene.two.join(lobby, carol)
    await scene.two.join(room_id, carol)
    await scene.alice.put(in_room(room_id, "state", "m.room.power_levels"), {"users": {carol: 100}, "invite": 100})
    async with scene.leaves_no_trace():
        assert (await scene.two.make("join", room_id, bob)).outcome == (400, "M_UNABLE_TO_GRANT_JOIN")


async def test_send_join_forbidden_for_who_has_left_the_allowed_room(scene: Scene) -> None:
    lobby, bob = await create(scene.alice), scene.two.user("bob")
    room_id = await _restrict(scene, "11", [lobby])
    await scene.two.join(lobby, bob)
    made = await scene.two.make("join", room_id, bob)
    left = await scene.two.make("leave", lobby, bob)
    assert (await scene.two.send("leave", scene.two.sign(left.json))).status == 200
    async with scene.leaves_no_trace():
        assert (await scene.two.send("join", scene.two.sign(made.json))).outcome == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("version", VERSIONS)
async def test_leave_of_who_was_invited(scene: Scene, version: str) -> None:
    room_id, bob = await create(scene.alice, room_version=version), scene.two.user("bob")
    await scene.two.join(room_id, bob)
    made = await scene.two.make("leave", room_id, bob)
    assert made.json["room_version"] == version
    assert made.json["event"]["content"] == {"membership": "leave"}
    leave = scene.two.sign(made.json)
    assert (await scene.two.send("leave", leave)).json == {}
    assert await scene.membership(room_id, bob) == "leave"


async def test_make_leave_forbidden_for_who_is_not_in_the_room(scene: Scene) -> None:
    room_id = await create(scene.alice)
    async with scene.leaves_no_trace():
        assert (await scene.two.make("leave", room_id, scene.two.user("bob"))).outcome == (403, "M_FORBIDDEN")


async def test_send_leave_invalid_param_for_a_join(scene: Scene) -> None:
    room_id, bob = await create(scene.alice), scene.two.user("bob")
    made = await scene.two.make("join", room_id, bob)
    async with scene.leaves_no_trace():
        assert (await scene.two.send("leave", scene.two.sign(made.json))).outcome == (400, "M_INVALID_PARAM")


async def _knockable(scene: Scene, version: str) -> str:
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    return await create(scene.alice, room_version=version, name="Tea", initial_state=[rules])


@pytest.mark.parametrize("version", ["7", "10", "11", "12"])
async def test_knock(scene: Scene, version: str) -> None:
    room_id, bob = await _knockable(scene, version), scene.two.user("bob")
    made = await scene.two.make("knock", room_id, bob)
    assert made.json["room_version"] == version
    answer = (await scene.two.send("knock", scene.two.sign(made.json))).json
    assert await scene.membership(room_id, bob) == "knock"
    shown = [parse_pdu(event, ROOM_VERSIONS[version]) for event in answer["knock_room_state"]]
    assert [pdu.type for pdu in shown] == ["m.room.create", "m.room.name", "m.room.join_rules"]
    assert all(pdu.room_id == room_id for pdu in shown)


async def test_make_knock_forbidden_where_nobody_may_knock(scene: Scene) -> None:
    rooms = [await create(scene.alice), await create(scene.alice, room_version="6")]
    async with scene.leaves_no_trace():
        for room_id in rooms:
            assert (await scene.two.make("knock", room_id, scene.two.user("bob"))).outcome == (403, "M_FORBIDDEN")


async def test_make_knock_incompatible_room_version(scene: Scene) -> None:
    room_id = await _knockable(scene, "11")
    async with scene.leaves_no_trace():
        response = await scene.two.make("knock", room_id, scene.two.user("bob"), "ver=7")
        assert response.outcome == (400, "M_INCOMPATIBLE_ROOM_VERSION")


async def test_send_knock_forbidden_once_knocks_are_not_taken(scene: Scene) -> None:
    room_id, bob = await _knockable(scene, "11"), scene.two.user("bob")
    made = await scene.two.make("knock", room_id, bob)
    await set_state(scene.alice, room_id, "m.room.join_rules", {"join_rule": "invite"})
    async with scene.leaves_no_trace():
        assert (await scene.two.send("knock", scene.two.sign(made.json))).outcome == (403, "M_FORBIDDEN")
        assert (await scene.two.send("leave", scene.two.sign(made.json))).outcome == (400, "M_INVALID_PARAM")


async def test_room_that_everybody_here_left_is_none_to_join_by(scene: Scene) -> None:
    room_id, bob = await create(scene.alice), scene.two.user("bob")
    await scene.two.join(room_id, bob)
    assert (await scene.alice.post(in_room(room_id, "leave"), {})).status == 200
    async with scene.leaves_no_trace():
        assert (await scene.two.make("join", room_id, scene.two.user("carol"))).outcome == (404, "M_NOT_FOUND")
        assert (await scene.two.make("leave", room_id, bob)).outcome == (404, "M_NOT_FOUND")
