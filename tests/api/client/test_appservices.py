"""Application services as clients: who they are, what they may, and what is theirs alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conduit_py.data.consistency import check_consistency
from tests.rig.bridge import AS_TOKEN, SENDER, Wires, bridge_of, register_ghost, registration, write_registrations
from tests.rig.client import Client
from tests.rig.crypto import CrossSigning, Keys
from tests.rig.rooms import create, in_room, join
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole

TYPE = "m.login.application_service"
GHOST = "@_irc_bob:one.test"


@pytest.fixture
async def bridged(server: Server, tmp_path: Path) -> AsyncIterator[WholeServer]:
    """A server with a bridge, and with another one whose namespaces are open to everybody."""
    logger = registration(
        id="logger",
        as_token="the token of the logger",
        sender_localpart="logger",
        namespaces={"users": [{"regex": "@.*", "exclusive": False}], "aliases": [], "rooms": []},
        rate_limited=False,
    )
    async with open_whole(server, Wires(), **write_registrations(tmp_path, registration(), logger)) as whole:
        yield whole
        with whole.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


@pytest.fixture
def bridge(bridged: WholeServer) -> Client:
    return bridge_of(bridged)


async def test_get_token_owner_is_the_sender_unless_another_user_is_named(bridge: Client) -> None:
    assert (await bridge.get("/account/whoami")).json == {"user_id": SENDER, "is_guest": False}
    await register_ghost(bridge, "_irc_bob")
    assert (await bridge.get("/account/whoami", user_id=GHOST)).json["user_id"] == GHOST
    by_query = await bridge.request("GET", f"/account/whoami?access_token={AS_TOKEN.replace(' ', '%20')}", headers={})
    assert by_query.json["user_id"] == SENDER


@pytest.mark.parametrize("user_id", ["@alice:one.test", GHOST, "@_irc_bob:two.test", "@" + "_irc_" * 60 + ":one.test"])
async def test_get_token_owner_forbidden_for_users_that_are_not_its_own(
    bridged: WholeServer, bridge: Client, user_id: str
) -> None:
    await bridged.register("alice")
    async with bridged.leaves_no_trace():
        assert (await bridge.get("/account/whoami", user_id=user_id)).outcome == (403, "M_FORBIDDEN")


async def test_senders_are_there_and_never_become_administrators(bridged: WholeServer) -> None:
    sender = bridged.get_account(SENDER)
    assert sender is not None
    assert not sender.is_admin
    assert sender.password_hash == ""
    await bridged.register("alice")
    first = bridged.get_account("@alice:one.test")
    assert first is not None
    assert first.is_admin


async def test_register_of_an_appservice_needs_no_password(bridged: WholeServer, bridge: Client) -> None:
    body = {"type": TYPE, "username": "_irc_bob", "device_id": "BRIDGE"}
    response = await bridge.post("/register", body)
    assert (response.json["user_id"], response.json["device_id"]) == (GHOST, "BRIDGE")
    ghost = bridged.client()
    ghost.use_session(response.json)
    assert (await ghost.get("/account/whoami")).json["user_id"] == GHOST
    account = bridged.get_account(GHOST)
    assert account is not None
    assert (account.password_hash, account.is_admin) == ("", False)
    assert (await bridge.post("/register", body)).outcome == (400, "M_USER_IN_USE")


async def test_register_exclusive(bridged: WholeServer, bridge: Client) -> None:
    async with bridged.leaves_no_trace():
        for client, name in ((bridge, "alice"), (bridge_of(bridged, "the token of the logger"), "_irc_carol")):
            response = await client.post("/register", {"type": TYPE, "username": name})
            assert response.outcome == (400, "M_EXCLUSIVE")
    plain = {"password": "x" * 12, "auth": {"type": "m.login.dummy"}}
    somebody = bridged.client()
    for name in ("logger", "_irc_bob"):
        async with bridged.leaves_no_trace():
            response = await somebody.post("/register", {"username": name, **plain})
        assert response.outcome in {(400, "M_EXCLUSIVE"), (400, "M_INVALID_USERNAME")}
    assert (await somebody.get("/register/available", username="logger")).outcome == (400, "M_EXCLUSIVE")
    # A namespace that is not exclusive keeps nobody out.
    assert (await somebody.post("/register", {"username": "alice", **plain})).status == 200


@pytest.mark.parametrize("operation", ["/register", "/login"])
async def test_register_and_login_of_an_appservice_need_its_token(bridged: WholeServer, operation: str) -> None:
    body = {"type": TYPE, "username": "_irc_bob", "identifier": {"type": "m.id.user", "user": "_irc_bot"}}
    alice = await bridged.register("alice")
    async with bridged.leaves_no_trace():
        assert (await bridged.client().post(operation, body)).outcome == (401, "M_MISSING_TOKEN")
        assert (await bridge_of(bridged, "wrong").post(operation, body)).outcome == (401, "M_UNKNOWN_TOKEN")
        assert (await alice.post(operation, body)).outcome == (401, "M_UNKNOWN_TOKEN")


async def test_register_of_an_appservice_refuses_what_is_no_name(bridged: WholeServer, bridge: Client) -> None:
    async with bridged.leaves_no_trace():
        response = await bridge.post("/register", {"type": TYPE, "username": "_IRC"})
        assert response.outcome == (400, "M_INVALID_USERNAME")
        assert (await bridge.post("/register", {"type": TYPE})).outcome == (400, "M_MISSING_PARAM")


async def test_login_of_an_appservice(bridged: WholeServer, bridge: Client) -> None:
    assert {"type": TYPE} in (await bridged.client().get("/login")).json["flows"]
    await register_ghost(bridge, "_irc_bob")
    await bridged.register("alice")

    async def log_in(name: str) -> Client:
        ghost = bridged.client()
        response = await bridge.post("/login", {"type": TYPE, "identifier": {"type": "m.id.user", "user": name}})
        assert response.status == 200, response.body
        ghost.use_session(response.json)
        return ghost

    ghost = await log_in("_irc_bob")
    assert (await ghost.get("/account/whoami")).json["user_id"] == GHOST
    assert (await ghost.get("/devices")).json["devices"][0]["device_id"] == ghost.device_id
    for name, outcome in (("alice", (400, "M_EXCLUSIVE")), ("_irc_nobody", (403, "M_FORBIDDEN"))):
        async with bridged.leaves_no_trace():
            body = {"type": TYPE, "identifier": {"type": "m.id.user", "user": name}}
            assert (await bridge.post("/login", body)).outcome == outcome


async def test_appservice_acts_as_its_users_in_rooms(bridged: WholeServer, bridge: Client) -> None:
    alice = await bridged.register("alice")
    room_id = await create(alice)
    await register_ghost(bridge, "_irc_bob")
    assert (await bridge.post(in_room(room_id, "join"), {}, user_id=GHOST)).status == 200
    content = {"msgtype": "m.text", "body": "from afar"}
    url = in_room(room_id, "send", "m.room.message", "t1")
    sent = await bridge.put(url, content, user_id=GHOST)
    assert (await bridge.put(url, content, user_id=GHOST)).json == sent.json, "the transaction id names it once"
    event = (await alice.get(in_room(room_id, "event", sent.json["event_id"]))).json
    assert (event["sender"], event["content"]) == (GHOST, content)
    assert (await bridge.put(in_room(room_id, "send", "m.room.message", "t2"), content)).status == 403, "not joined"
    sync = await bridge.get("/sync", user_id=GHOST)
    assert room_id in sync.json["rooms"]["join"]


async def test_appservice_says_when_things_happened(bridged: WholeServer, bridge: Client) -> None:
    alice = await bridged.register("alice")
    levels = {"users": {alice.user_id: 100, SENDER: 50}}
    room_id = await create(alice, power_level_content_override=levels)
    await bridge.post(in_room(room_id, "join"), {})
    message, topic = in_room(room_id, "send", "m.room.message", "t1"), in_room(room_id, "state", "m.topic", "")
    member = in_room(room_id, "state", "m.room.member", SENDER)
    said = [
        (await bridge.put(message, {"body": "long ago", "msgtype": "m.text"}, ts="1234567890123")).json["event_id"],
        (await bridge.put(topic, {"topic": "long ago"}, ts="5")).json["event_id"],
        (await bridge.put(member, {"membership": "leave"}, ts="0")).json["event_id"],
    ]
    times = [(await alice.get(in_room(room_id, "event", event_id))).json["origin_server_ts"] for event_id in said]
    assert times == [1234567890123, 5, 0]
    by_alice = await alice.put(
        in_room(room_id, "send", "m.room.message", "t1"), {"msgtype": "m.text", "body": "x"}, ts="5"
    )
    event = (await alice.get(in_room(room_id, "event", by_alice.json["event_id"]))).json
    assert event["origin_server_ts"] > 5, "users say nothing by it"


@pytest.mark.parametrize("ts", ["-1", "x", "9007199254740992", "1.5", "²"])
async def test_appservice_cannot_say_what_is_no_time(bridged: WholeServer, bridge: Client, ts: str) -> None:
    room_id = (await bridge.post("/createRoom", {})).json["room_id"]
    async with bridged.leaves_no_trace():
        response = await bridge.put(in_room(room_id, "send", "m.x", "t1"), {}, ts=ts)
        assert response.outcome == (400, "M_INVALID_PARAM")


async def test_update_device_makes_devices_of_an_appservice(bridged: WholeServer, bridge: Client) -> None:
    await register_ghost(bridge, "_irc_bob")
    device = {"user_id": GHOST}
    response = await bridge.put("/devices/BRIDGE", {"display_name": "Bridge"}, **device)
    assert (response.status, response.json) == (201, {})
    assert (await bridge.put("/devices/BRIDGE", {"display_name": "Other"}, **device)).status == 200
    assert (await bridge.get("/devices/BRIDGE", **device)).json["display_name"] == "Other"
    whoami = await bridge.get("/account/whoami", device_id="BRIDGE", **device)
    assert whoami.json["device_id"] == "BRIDGE"
    assert (await bridge.get("/account/whoami", device_id="NONE", **device)).outcome == (400, "M_UNKNOWN_DEVICE")
    assert (await bridge.get("/account/whoami", device_id="BRIDGE")).outcome == (400, "M_UNKNOWN_DEVICE")


async def test_delete_devices_of_an_appservice_asks_for_no_password(bridged: WholeServer, bridge: Client) -> None:
    await register_ghost(bridge, "_irc_bob")
    for name in ("ONE", "TWO"):
        await bridge.put(f"/devices/{name}", {}, user_id=GHOST)
    assert (await bridge.request("DELETE", f"/devices/ONE?user_id={GHOST}")).json == {}
    assert (await bridge.post("/delete_devices", {"devices": ["TWO"]}, user_id=GHOST)).json == {}
    assert (await bridge.get("/devices", user_id=GHOST)).json == {"devices": []}


async def test_upload_keys_of_an_appservice_as_a_device(bridged: WholeServer, bridge: Client) -> None:
    await register_ghost(bridge, "_irc_bob")
    await bridge.put("/devices/BRIDGE", {}, user_id=GHOST)
    ghost = bridged.client()
    ghost.user_id, ghost.device_id = GHOST, "BRIDGE"
    body = {"device_keys": Keys(ghost).device_keys()}
    refused = await bridge.post("/keys/upload", body, user_id=GHOST)
    assert refused.status == 400, "keys are of a device, and none was named"
    assert (await bridge.post("/keys/upload", body, user_id=GHOST, device_id="BRIDGE")).status == 200
    response = await bridge.post("/keys/device_signing/upload", CrossSigning(GHOST).body(), user_id=GHOST)
    assert response.json == {}


async def test_aliases_of_an_appservice_are_its_own(bridged: WholeServer, bridge: Client) -> None:
    alice = await bridged.register("alice")
    room_id = await create(alice)
    theirs, free = "/directory/room/%23_irc_tea:one.test", "/directory/room/%23tea:one.test"
    async with bridged.leaves_no_trace():
        assert (await alice.put(theirs, {"room_id": room_id})).outcome == (400, "M_EXCLUSIVE")
        assert (await alice.post("/createRoom", {"room_alias_name": "_irc_tea"})).outcome == (400, "M_EXCLUSIVE")
    assert (await bridge.post(in_room(room_id, "join"), {})).status == 200
    async with bridged.leaves_no_trace():
        assert (await bridge.put(free, {"room_id": room_id})).outcome == (400, "M_EXCLUSIVE")
    assert (await bridge.put(theirs, {"room_id": room_id})).status == 200
    assert (await alice.put(free, {"room_id": room_id})).status == 200
    async with bridged.leaves_no_trace():
        assert (await alice.delete(theirs)).outcome == (400, "M_EXCLUSIVE")
    await bridge.post(in_room(room_id, "leave"), {})
    assert (await bridge.delete(theirs)).status == 200
    assert (await alice.get(theirs)).outcome == (404, "M_NOT_FOUND")


async def test_appservice_that_is_not_limited(server: Server, tmp_path: Path) -> None:
    limits = {
        "RATE_LIMITS__ENABLED": "true",
        "RATE_LIMITS__MESSAGE__BURST": "1",
        "RATE_LIMITS__MESSAGE__PER_SECOND": "0.001",
    }
    for rate_limited in (True, False):
        files = write_registrations(tmp_path, registration(rate_limited=rate_limited))
        async with open_whole(server, **files, **limits) as whole:
            bridge = bridge_of(whole)
            name = f"_irc_{rate_limited}".lower()
            ghost = {"user_id": await register_ghost(bridge, name)}
            room_id = (await bridge.post("/createRoom", {}, **ghost)).json["room_id"]
            statuses = [
                (await bridge.put(in_room(room_id, "send", "m.x", f"t{number}"), {}, **ghost)).status
                for number in range(3)
            ]
            assert statuses == ([200, 429, 429] if rate_limited else [200] * 3)
            # Who the application service is by itself is never limited.
            await bridge.post(in_room(room_id, "invite"), {"user_id": SENDER}, **ghost)
            await join(bridge, room_id)
            for number in range(3):
                assert (await bridge.put(in_room(room_id, "send", "m.x", f"s{number}"), {})).status == 200
