"""``PUT /_matrix/federation/v1/invite`` and ``.../v2/invite``: a user of another server invites one of ours."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.signing import verify_event_signatures
from conduit_py.service.federation.handshakes.invites import received
from tests.api.federation.scene import VERSIONS, Scene
from tests.rig.client import Response, path
from tests.rig.peer import FEDERATION, Peer
from tests.rig.rooms import create, in_room


def begin(two: Peer, version: str) -> list[Pdu]:
    """The first events of a room of two.test: its creation, its creator, its name."""
    bob, rules = two.user("bob"), ROOM_VERSIONS[version]
    content: dict[str, Any] = {"room_version": version}
    if rules.auth.create_has_creator:
        content["creator"] = bob
    room_id = f"!{version}:two.test" if rules.event_format.create_has_room_id else None
    create = two.build(version, room_id, type="m.room.create", sender=bob, content=content)
    auth = [create] if rules.auth.create_in_auth_events else []
    join = two.build(
        version,
        create.room_id,
        type="m.room.member",
        sender=bob,
        state_key=bob,
        content={"membership": "join", "displayname": "Bob"},
        prev_events=[create],
        auth_events=auth,
    )
    name = two.build(
        version,
        create.room_id,
        type="m.room.name",
        sender=bob,
        content={"name": "Tea"},
        prev_events=[join],
        auth_events=[*auth, join],
    )
    return [create, join, name]


def invite(two: Peer, version: str, first: list[Pdu], user_id: str, **changes: Any) -> Pdu:
    how: dict[str, Any] = {
        "type": "m.room.member",
        "sender": two.user("bob"),
        "state_key": user_id,
        "content": {"membership": "invite", "is_direct": True},
        "prev_events": first[-1:],
        "auth_events": first[:2] if ROOM_VERSIONS[version].auth.create_in_auth_events else first[1:2],
    }
    return two.build(version, first[0].room_id, **(how | changes))


async def put(two: Peer, version: str, pdu: Pdu, shown: list[Pdu], **changes: Any) -> Response:
    body = {"room_version": version, "event": pdu.json, "invite_room_state": [it.json for it in shown], **changes}
    return await two.request("PUT", f"{FEDERATION}/v2/invite{path(pdu.room_id, pdu.event_id)}", body)


async def put_v1(two: Peer, pdu: Pdu, shown: list[Pdu]) -> Response:
    body = {**pdu.json, "unsigned": {"invite_room_state": [it.json for it in shown]}}
    return await two.request("PUT", f"{FEDERATION}/v1/invite{path(pdu.room_id, pdu.event_id)}", body)


async def invited(scene: Scene) -> dict[str, Any]:
    """What Alice's client is told of rooms that she is invited to."""
    rooms: dict[str, Any] = (await scene.alice.get("/sync")).json.get("rooms", {})
    return {room_id: room["invite_state"]["events"] for room_id, room in rooms.get("invite", {}).items()}


def assert_signed_by_both(scene: Scene, event: dict[str, Any], pdu: Pdu, version: str) -> None:
    signatures = event.pop("signatures")
    assert signatures.keys() == {"one.test", "two.test"}
    assert event == {key: value for key, value in pdu.json.items() if key != "signatures"}
    own = scene.one.built.federation.own_keys.get_verify_keys()
    as_ours = {**event, "signatures": signatures, "sender": "@nobody:one.test"}
    assert as_ours["signatures"]["one.test"].keys() == own.keys()
    checked = parse_pdu({**event, "signatures": signatures}, ROOM_VERSIONS[version])
    # As if two.test were this server: its signature is of the same bytes as ours.
    as_two = {**checked.json, "signatures": {"two.test": signatures["one.test"]}}
    verify_event_signatures(as_two, ROOM_VERSIONS[version], {ServerName("two.test"): own})


@pytest.mark.parametrize("version", VERSIONS)
async def test_invite_is_signed_and_shown(scene: Scene, version: str) -> None:
    first = begin(scene.two, version)
    pdu = invite(scene.two, version, first, scene.alice.user_id)
    response = await put(scene.two, version, pdu, first)
    assert response.status == 200
    events = (await invited(scene))[pdu.room_id]
    assert [(event["type"], event["state_key"]) for event in events] == [
        ("m.room.create", ""),
        ("m.room.member", scene.two.user("bob")),
        ("m.room.name", ""),
        ("m.room.member", scene.alice.user_id),
    ]
    assert events[2] == {
        "type": "m.room.name",
        "state_key": "",
        "sender": scene.two.user("bob"),
        "content": {"name": "Tea"},
    }
    assert_signed_by_both(scene, response.json["event"], pdu, version)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_invite_v1_is_signed_and_shown(scene: Scene, version: str) -> None:
    first = begin(scene.two, version)
    pdu = invite(scene.two, version, first, scene.alice.user_id)
    status, answer = (await put_v1(scene.two, pdu, first)).json
    assert status == 200
    assert len((await invited(scene))[pdu.room_id]) == 4
    assert "invite_room_state" in answer["event"].pop("unsigned")
    assert_signed_by_both(scene, answer["event"], pdu, version)


async def test_glimpse_of_an_older_room_may_be_stripped(scene: Scene) -> None:
    first = begin(scene.two, "10")
    pdu = invite(scene.two, "10", first, scene.alice.user_id)
    shown = [{"type": "m.room.name", "state_key": "", "sender": scene.two.user("bob"), "content": {"name": "Tea"}}]
    assert (await put(scene.two, "10", pdu, [], invite_room_state=[*shown, 7, {"type": 1}])).status == 200
    assert [event["type"] for event in (await invited(scene))[pdu.room_id]] == ["m.room.name", "m.room.member"]


async def test_invite_again_replaces_the_first(scene: Scene) -> None:
    first = begin(scene.two, "11")
    for reason in ("tea", "cake"):
        content = {"membership": "invite", "reason": reason}
        pdu = invite(scene.two, "11", first, scene.alice.user_id, content=content)
        assert (await put(scene.two, "11", pdu, first)).status == 200
    assert (await invited(scene))[first[0].room_id][-1]["content"]["reason"] == "cake"


async def test_invite_wakes_a_long_poll(scene: Scene) -> None:
    since = (await scene.alice.get("/sync")).json["next_batch"]
    first = begin(scene.two, "11")
    await put(scene.two, "11", invite(scene.two, "11", first, scene.alice.user_id), first)
    rooms = (await scene.alice.get("/sync", since=since)).json["rooms"]
    assert list(rooms["invite"]) == [first[0].room_id]


async def test_send_invite_incompatible_room_version(scene: Scene) -> None:
    first = begin(scene.two, "11")
    async with scene.leaves_no_trace():
        response = await put(scene.two, "99", invite(scene.two, "11", first, scene.alice.user_id), first)
        assert response.outcome == (400, "M_INCOMPATIBLE_ROOM_VERSION")
        assert response.json["room_version"] == "99"


@pytest.mark.parametrize("version", ["1", "11"])
async def test_send_invite_invalid_param(scene: Scene, version: str) -> None:
    two, first, alice = scene.two, begin(scene.two, version), scene.alice.user_id
    good = invite(two, version, first, alice)
    wrong = [
        invite(two, version, first, alice, type="m.room.message"),
        invite(two, version, first, alice, content={"membership": "join"}),
        invite(two, version, first, "@alice:three.test"),
        invite(two, version, first, "alice"),
        invite(two, version, first, alice, sender="@bob:three.test"),
    ]
    async with scene.leaves_no_trace():
        for pdu in wrong:
            assert (await put(two, version, pdu, first)).outcome == (400, "M_INVALID_PARAM")
        forged = {**good.json, "signatures": wrong[0].signatures}
        tampered = {**good.json, "content": {"membership": "invite", "reason": "gold"}}
        for raw in (forged, tampered, {**good.json, "depth": "deep"}, {**good.json, "room_id": "!other:two.test"}):
            assert (await put(two, version, good, first, event=raw)).outcome == (400, "M_INVALID_PARAM")


async def test_send_invite_bad_json(scene: Scene) -> None:
    first = begin(scene.two, "11")
    pdu = invite(scene.two, "11", first, scene.alice.user_id)
    async with scene.leaves_no_trace():
        assert (await put(scene.two, "11", pdu, first, event=[])).outcome == (400, "M_BAD_JSON")
        where = f"{FEDERATION}/v2/invite{path(pdu.room_id, pdu.event_id)}"
        assert (await scene.two.request("PUT", where, {"event": pdu.json})).outcome == (400, "M_MISSING_PARAM")


async def test_send_invite_invalid_param_for_a_glimpse_of_a_new_room_that_does_not_hold(scene: Scene) -> None:
    two, first = scene.two, begin(scene.two, "12")
    pdu = invite(two, "12", first, scene.alice.user_id)
    other = begin(two, "11")
    forged = {**first[2].json, "signatures": first[1].signatures}
    message = two.build(
        "12", pdu.room_id, type="m.room.message", sender=two.user("bob"), state_key=None, content={}, auth_events=[]
    )
    shown: list[list[Any]] = [
        [],
        [it.json for it in first[1:]],
        [first[0].json, first[1].json, forged],
        [first[0].json, other[0].json],
        [first[0].json, message.json],
        [first[0].json, 7],
        [first[0].json] * 65,
    ]
    async with scene.leaves_no_trace():
        for state in shown:
            response = await put(two, "12", pdu, [], invite_room_state=state)
            assert response.outcome == (400, "M_INVALID_PARAM"), state


async def test_send_invite_forbidden_for_who_is_not_here(scene: Scene) -> None:
    first = begin(scene.two, "11")
    async with scene.leaves_no_trace():
        pdu = invite(scene.two, "11", first, "@nobody:one.test")
        assert (await put(scene.two, "11", pdu, first)).outcome == (403, "M_FORBIDDEN")


async def test_send_invite_forbidden_by_who_is_ignored(scene: Scene) -> None:
    ignored: dict[str, Any] = {"ignored_users": {scene.two.user("bob"): {}}}
    await scene.alice.put(scene.alice.user_path("account_data", "m.ignored_user_list"), ignored)
    first = begin(scene.two, "11")
    async with scene.leaves_no_trace():
        pdu = invite(scene.two, "11", first, scene.alice.user_id)
        assert (await put(scene.two, "11", pdu, first)).outcome == (403, "M_FORBIDDEN")


async def test_send_invite_blocked(scene: Scene) -> None:
    where = scene.alice.user_path("account_data", "m.invite_permission_config")
    await scene.alice.put(where, {"default_action": "block"})
    first = begin(scene.two, "1")
    async with scene.leaves_no_trace():
        pdu = invite(scene.two, "1", first, scene.alice.user_id)
        assert (await put(scene.two, "1", pdu, first)).outcome == (403, "M_INVITE_BLOCKED")
        assert (await put_v1(scene.two, pdu, first)).outcome == (403, "M_INVITE_BLOCKED")


async def test_invite_to_a_room_we_are_in_is_signed_and_waits_for_the_room_to_hear_of_it(scene: Scene) -> None:
    room_id, bob = await create(scene.alice), scene.two.user("bob")
    carol = await scene.one.register("carol")
    answer = (await scene.two.join(room_id, bob)).json
    rules = ROOM_VERSIONS["12"]
    state = {(event["type"], event["state_key"]): parse_pdu(event, rules) for event in answer["state"]}
    join = parse_pdu(answer["event"], rules)
    levels = {**state["m.room.power_levels", ""].content, "invite": 0}
    await scene.alice.put(in_room(room_id, "state", "m.room.power_levels"), levels)
    auth = [state["m.room.power_levels", ""], join, state["m.room.join_rules", ""]]
    pdu = invite(scene.two, "12", [join], carol.user_id, auth_events=auth)
    pdu = scene.two.sign({"room_version": "12", "event": {**pdu.json, "room_id": room_id}})
    async with scene.leaves_no_trace():
        response = await put(scene.two, "12", pdu, [])
        assert response.status == 200
        assert response.json["event"]["signatures"].keys() == {"one.test", "two.test"}
    assert await scene.membership(room_id, carol.user_id) is None
    await scene.alice.post(in_room(room_id, "ban"), {"user_id": carol.user_id})
    async with scene.leaves_no_trace():
        assert (await put(scene.two, "12", pdu, [])).outcome == (403, "M_FORBIDDEN")


async def test_glimpse_that_is_too_large_is_cut(scene: Scene) -> None:
    first = begin(scene.two, "10")
    pdu = invite(scene.two, "10", first, scene.alice.user_id)
    shown = [
        {"type": f"m.{number}", "state_key": "", "sender": scene.two.user("bob"), "content": {"x": "x" * 30_000}}
        for number in range(10)
    ]
    assert (await put(scene.two, "10", pdu, [], invite_room_state=shown)).status == 200
    assert [event["type"] for event in (await invited(scene))[pdu.room_id]] == [
        *("m.0", "m.1", "m.2", "m.3"),
        "m.room.member",
    ]


async def test_send_invite_forbidden_to_who_has_too_many(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "INVITES_WAITING_MAX", 1)
    first = begin(scene.two, "11")
    assert (await put(scene.two, "11", invite(scene.two, "11", first, scene.alice.user_id), first)).status == 200
    other = begin(scene.two, "10")
    async with scene.leaves_no_trace():
        pdu = invite(scene.two, "10", other, scene.alice.user_id)
        assert (await put(scene.two, "10", pdu, other)).outcome == (403, "M_FORBIDDEN")
