"""``exchange_third_party_invite`` and ``3pid/onbind``: invites by address, once it is known whose that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import trio
from trio.testing import MockClock

from conduit_py.http.in_process import ClientReply
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId
from conduit_py.matrix.signing import SigningKey, sign_json
from kvschema.engine import Engine
from tests.api.federation.scene import Scene, set_up_scene
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


@dataclass
class IdentityServer:
    """Tells whether a key of its own still counts."""

    valid: Any = True
    asked: list[str] = field(default_factory=list)

    async def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> ClientReply:
        await trio.lowlevel.checkpoint()
        self.asked.append(f"{method} {path}")
        return ClientReply(200, {}, orjson.dumps({"valid": self.valid}))


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
        identity = network.played["id.test"] = IdentityServer()
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
            assert member["third_party_invite"]["display_name"] == "b...@e..."
        key = quote(encode_base64(IDENTITY.public_key), safe="")
        assert identity.asked == [f"GET /valid?public_key={key}"] * 2
        assert (await bob.post(path("join", room_id), {})).status == 200


@pytest.mark.parametrize(("valid", "outcome"), [(False, (403, "M_FORBIDDEN")), ("yes", (502, "M_UNKNOWN"))])
async def test_invite_is_not_made_with_a_key_that_does_not_count(
    make_engine: Callable[[], Engine], valid: Any, outcome: tuple[int, str]
) -> None:
    async with open_network(make_engine, "one.test") as network:
        network.played["id.test"] = IdentityServer(valid)
        scene = await set_up_scene(network)
        room_id, bob = await create(scene.alice), scene.two.user("bob")
        await leave_token(scene.alice, room_id)
        partial = {
            "type": "m.room.member",
            "room_id": room_id,
            "sender": scene.alice.user_id,
            "state_key": bob,
            "content": {"membership": "invite", "third_party_invite": {"display_name": "bob", "signed": sign(bob)}},
        }
        async with scene.leaves_no_trace():
            where = f"{FEDERATION}/v1/exchange_third_party_invite{path(room_id)}"
            assert (await scene.two.request("PUT", where, partial)).outcome == outcome


async def test_join_with_what_an_identity_server_signed(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    async with open_network(make_engine, "one.test", "two.test") as network:
        network.played["id.test"] = IdentityServer()
        alice, bob = await network["one.test"].register("alice"), await network["two.test"].register("bob")
        dave = await network["one.test"].register("dave")
        room_id = await create(alice, preset="private_chat")
        await leave_token(alice, room_id)
        for user in (bob, dave):
            said = {"mxid": user.user_id, "token": TOKEN, "sender": alice.user_id}
            signed = sign_json(said, entity="id.test", signing_key=IDENTITY)
            for wrong in ({"mxid": alice.user_id}, {"token": "other"}, {"sender": "@eve:one.test"}):
                refused = await user.post(path("join", room_id), {"third_party_signed": {**signed, **wrong}})
                assert refused.outcome == (403, "M_FORBIDDEN"), wrong
            assert (await user.post(path("join", room_id), {"third_party_signed": signed})).status == 200
            # Whoever is in, or invited, need not be invited.
            assert (await user.post(path("join", room_id), {"third_party_signed": signed})).status == 200
            member = (await alice.get(in_room(room_id, "state", "m.room.member", user.user_id))).json
            assert member["membership"] == "join"


async def test_onbind_of_what_is_no_invite_changes_nothing(scene: Scene) -> None:
    room_id = await create(scene.alice)
    dave = await scene.one.register("dave")
    client = scene.one.client()
    forged = sign(dave.user_id, SigningKey.from_seed(KeyId("ed25519:i"), b"x" * 32))
    await leave_token(scene.alice, room_id)
    good = bound(room_id, scene.alice.user_id, dave.user_id, sign(dave.user_id))
    invite: Any
    async with scene.leaves_no_trace():
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
    async with scene.leaves_no_trace():
        for wrong, outcome in (
            ({"type": "m.room.message"}, (400, "M_INVALID_PARAM")),
            ({"room_id": "!other:one.test"}, (400, "M_INVALID_PARAM")),
            ({"sender": "alice"}, (400, "M_INVALID_PARAM")),
            ({"content": {"membership": "join"}}, (400, "M_INVALID_PARAM")),
            ({"sender": "@eve:two.test"}, (403, "M_FORBIDDEN")),
            ({"state_key": "@bob:three.test"}, (403, "M_FORBIDDEN")),
            ({"content": {**content, "third_party_invite": {"signed": forged}}}, (403, "M_FORBIDDEN")),
            ({"content": {**content, "third_party_invite": {"signed": "x"}}}, (400, "M_INVALID_PARAM")),
        ):
            response = await scene.two.request("PUT", where + path(room_id), good | wrong)
            assert response.outcome == outcome, wrong
        elsewhere = await scene.two.request(
            "PUT", where + path("!other:one.test"), good | {"room_id": "!other:one.test"}
        )
        assert elsewhere.outcome == (404, "M_NOT_FOUND")
