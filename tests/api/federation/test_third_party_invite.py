"""``exchange_third_party_invite`` and ``3pid/onbind``: invites by address, once it is known whose that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId
from conduit_py.matrix.signing import SigningKey, sign_json
from kvschema.engine import Engine
from tests.api.federation.scene import Scene
from tests.rig.client import Client, path
from tests.rig.network import open_network
from tests.rig.peer import FEDERATION
from tests.rig.rooms import create, in_room, set_state

TOKEN = "abc123"
IDENTITY = SigningKey.from_seed(KeyId("ed25519:i"), b"i" * 32)


async def leave_token(user: Client, room_id: str) -> None:
    """What inviting somebody by an address leaves in a room."""
    content = {
        "display_name": "b...@e...",
        "key_validity_url": "https://id.test/valid",
        "public_key": encode_base64(IDENTITY.public_key),
    }
    await set_state(user, room_id, "m.room.third_party_invite", content, TOKEN)


def sign(mxid: str, key: SigningKey = IDENTITY) -> dict[str, Any]:
    return sign_json({"mxid": mxid, "token": TOKEN}, entity="id.test", signing_key=key)


def bound(room_id: str, sender: str, mxid: str, signed: dict[str, Any]) -> dict[str, Any]:
    invite = {
        "medium": "email",
        "address": "bob@example.test",
        "mxid": mxid,
        "room_id": room_id,
        "sender": sender,
        "signed": signed,
    }
    return {"medium": "email", "address": "bob@example.test", "mxid": mxid, "invites": [invite]}


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
async def test_bound_address_becomes_an_invite(
    make_engine: Callable[[], Engine], autojump_clock: MockClock, version: str
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
        dave = await network["one.test"].register("dave")
        room_id = await create(alice, room_version=version, preset="private_chat")
        await leave_token(alice, room_id)
        for server, user in (("two.test", bob), ("one.test", dave)):
            client = network[server].client()
            body = bound(room_id, alice.user_id, user.user_id, sign(user.user_id))
            assert (await client.put(f"{FEDERATION}/v1/3pid/onbind", body)).json == {}
            assert list((await user.get("/sync")).json["rooms"]["invite"]) == [room_id]
            member = (await alice.get(in_room(room_id, "state", "m.room.member", user.user_id))).json
            assert member["membership"] == "invite"
            assert member["third_party_invite"]["signed"]["token"] == TOKEN
        assert (await bob.post(path("join", room_id), {})).status == 200


async def test_onbind_of_what_is_no_invite_changes_nothing(scene: Scene) -> None:
    room_id = await create(scene.alice)
    dave = await scene.one.register("dave")
    client = scene.one.client()
    forged = sign(dave.user_id, SigningKey.from_seed(KeyId("ed25519:i"), b"x" * 32))
    await leave_token(scene.alice, room_id)
    good = bound(room_id, scene.alice.user_id, dave.user_id, sign(dave.user_id))
    invite: Any
    with scene.leaves_no_trace():
        for invite in (
            7,
            {},
            good["invites"][0] | {"signed": forged},
            good["invites"][0] | {"signed": sign("@eve:one.test")},
            good["invites"][0] | {"sender": "nobody"},
            good["invites"][0] | {"room_id": "!other:one.test"},
            good["invites"][0] | {"sender": dave.user_id},
        ):
            response = await client.put(f"{FEDERATION}/v1/3pid/onbind", good | {"invites": [invite]})
            assert response.json == {}
        nobody = await client.put(f"{FEDERATION}/v1/3pid/onbind", good | {"mxid": "@nobody:one.test"})
        assert nobody.outcome == (403, "M_FORBIDDEN")


async def test_exchange_third_party_invite_is_refused(scene: Scene) -> None:
    room_id, bob = await create(scene.alice), scene.two.user("bob")
    await leave_token(scene.alice, room_id)
    content = {"membership": "invite", "third_party_invite": {"display_name": "bob", "signed": sign(bob)}}
    good = {
        "type": "m.room.member",
        "room_id": room_id,
        "sender": scene.alice.user_id,
        "state_key": bob,
        "content": content,
    }
    forged = sign(bob, SigningKey.from_seed(KeyId("ed25519:i"), b"x" * 32))
    where = f"{FEDERATION}/v1/exchange_third_party_invite"
    with scene.leaves_no_trace():
        for wrong, outcome in (
            ({"type": "m.room.message"}, (400, "M_INVALID_PARAM")),
            ({"room_id": "!other:one.test"}, (400, "M_INVALID_PARAM")),
            ({"sender": "alice"}, (400, "M_INVALID_PARAM")),
            ({"content": {"membership": "join"}}, (400, "M_INVALID_PARAM")),
            ({"sender": "@eve:two.test"}, (403, "M_FORBIDDEN")),
            ({"state_key": "@bob:three.test"}, (403, "M_FORBIDDEN")),
            ({"content": {**content, "third_party_invite": {"signed": forged}}}, (403, "M_FORBIDDEN")),
        ):
            response = await scene.two.request("PUT", where + path(room_id), good | wrong)
            assert response.outcome == outcome, wrong
        elsewhere = await scene.two.request(
            "PUT", where + path("!other:one.test"), good | {"room_id": "!other:one.test"}
        )
        assert elsewhere.outcome == (404, "M_NOT_FOUND")
