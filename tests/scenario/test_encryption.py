"""Alice and Bob, two devices each, talk in an encrypted room: with real Olm and Megolm, and the server in between.

The server is shown nothing but ciphertext and public keys, and what each device needs reaches it through the server
alone.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from vodozemac import (
    Account,
    AnyOlmMessage,
    Curve25519PublicKey,
    Ed25519PublicKey,
    Ed25519Signature,
    GroupSession,
    InboundGroupSession,
    MegolmMessage,
    Session,
    SessionKey,
)

from conduit_py.data.consistency import check_consistency
from conduit_py.matrix.canonical_json import encode_canonical_json
from tests.rig.client import Client, Response, path
from tests.rig.rooms import create, in_room, join
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole

OLM, MEGOLM = "m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"
Json = dict[str, Any]


@pytest.fixture
async def whole(server: Server) -> AsyncIterator[WholeServer]:
    async with open_whole(server) as whole:
        yield whole
        with whole.store.snapshot() as snapshot:
            assert list(check_consistency(snapshot)) == []


class Device:
    """A client that encrypts for every device of every member, and reads what it is sent."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.account = Account()
        self.since: str | None = None
        self.known: dict[str, Json] = {}
        """Device keys of each user, by device id. A user whose list is outdated is not here."""
        self.sessions: dict[str, Session] = {}
        """By the other's curve25519 key."""
        self.room_keys: dict[str, InboundGroupSession] = {}
        self.read: list[str] = []

    @property
    def name(self) -> tuple[str, str]:
        return self.client.user_id, self.client.device_id

    def sign(self, json: Json) -> Json:
        signature = self.account.sign(encode_canonical_json(json, strict=True)).to_base64()
        return {**json, "signatures": {self.client.user_id: {f"ed25519:{self.client.device_id}": signature}}}

    async def publish(self, count: int) -> None:
        user_id, device_id = self.name
        keys = {
            f"curve25519:{device_id}": self.account.curve25519_key.to_base64(),
            f"ed25519:{device_id}": self.account.ed25519_key.to_base64(),
        }
        device_keys = {"user_id": user_id, "device_id": device_id, "algorithms": [OLM, MEGOLM], "keys": keys}
        self.account.generate_one_time_keys(count)
        one_time_keys = {
            f"signed_curve25519:{key_id}": self.sign({"key": key.to_base64()})
            for key_id, key in self.account.one_time_keys.items()
        }
        body = {"device_keys": self.sign(device_keys), "one_time_keys": one_time_keys}
        assert done(await self.client.post("/keys/upload", body)) == {
            "one_time_key_counts": {"signed_curve25519": count}
        }
        self.account.mark_keys_as_published()

    async def say(self, room_id: str, text: str) -> None:
        """Share a new room key with every device there is, then send one message."""
        devices = await self._find_devices(room_id)
        await self._open_sessions(devices)
        outbound = GroupSession()
        inbound = InboundGroupSession(outbound.session_key)
        self.room_keys[outbound.session_id] = inbound
        room_key = {"room_id": room_id, "session_id": outbound.session_id}
        room_key["session_key"] = outbound.session_key.to_base64()
        messages: Json = {}
        for (user_id, device_id), keys in devices.items():
            curve = keys["keys"][f"curve25519:{device_id}"]
            kind, body = self.sessions[curve].encrypt(orjson.dumps(room_key)).to_parts()
            ciphertext = {curve: {"type": kind, "body": b64encode(body).decode()}}
            mine = self.account.curve25519_key.to_base64()
            content = {"algorithm": OLM, "sender_key": mine, "ciphertext": ciphertext}
            messages.setdefault(user_id, {})[device_id] = content
        to_device = path("sendToDevice", "m.room.encrypted", secrets.token_hex(8))
        done(await self.client.put(to_device, {"messages": messages}))
        content = {"algorithm": MEGOLM, "session_id": outbound.session_id}
        content["ciphertext"] = outbound.encrypt(text.encode()).to_base64()
        done(await self.client.put(in_room(room_id, "send", "m.room.encrypted", secrets.token_hex(8)), content))

    async def _find_devices(self, room_id: str) -> dict[tuple[str, str], Json]:
        members = done(await self.client.get(in_room(room_id, "joined_members")))["joined"]
        outdated: Json = {user_id: [] for user_id in members if user_id not in self.known}
        if outdated:
            answer = done(await self.client.post("/keys/query", {"device_keys": outdated}))
            self.known |= answer["device_keys"]
        devices = {(user_id, it): keys for user_id in members for it, keys in self.known[user_id].items()}
        devices.pop(self.name)
        return devices

    async def _open_sessions(self, devices: dict[tuple[str, str], Json]) -> None:
        wanted: Json = {}
        for (user_id, device_id), keys in devices.items():
            if keys["keys"][f"curve25519:{device_id}"] not in self.sessions:
                wanted.setdefault(user_id, {})[device_id] = "signed_curve25519"
        claimed = done(await self.client.post("/keys/claim", {"one_time_keys": wanted}))["one_time_keys"]
        for user_id, by_device in wanted.items():
            for device_id in by_device:
                keys = devices[user_id, device_id]["keys"]
                (one_time_key,) = claimed[user_id][device_id].values()
                check_signature(one_time_key, user_id, device_id, keys[f"ed25519:{device_id}"])
                curve = keys[f"curve25519:{device_id}"]
                self.sessions[curve] = self.account.create_outbound_session(
                    Curve25519PublicKey.from_base64(curve), Curve25519PublicKey.from_base64(one_time_key["key"])
                )

    async def listen(self) -> None:
        query = {} if self.since is None else {"since": self.since}
        reply = done(await self.client.get("/sync", **query))
        self.since = reply["next_batch"]
        for user_id in reply["device_lists"]["changed"]:
            self.known.pop(user_id, None)
        for event in reply["to_device"]["events"]:
            self._take_room_key(event["content"])
        for section in reply["rooms"]["join"].values():
            for event in section["timeline"]["events"]:
                if event["type"] == "m.room.encrypted":
                    self._decrypt(event["content"])

    def _take_room_key(self, content: Json) -> None:
        sender_key = content["sender_key"]
        sent = content["ciphertext"][self.account.curve25519_key.to_base64()]
        message = AnyOlmMessage.from_parts(sent["type"], b64decode(sent["body"]))
        pre_key = message.to_pre_key()
        session = self.sessions.get(sender_key)
        if pre_key is not None and (session is None or not session.session_matches(pre_key)):
            sender = Curve25519PublicKey.from_base64(sender_key)
            self.sessions[sender_key], plaintext = self.account.create_inbound_session(sender, pre_key)
        else:
            assert session is not None
            plaintext = session.decrypt(message)
        room_key = orjson.loads(plaintext)
        key = InboundGroupSession(SessionKey(room_key["session_key"]))
        self.room_keys[room_key["session_id"]] = key

    def _decrypt(self, content: Json) -> None:
        message = MegolmMessage.from_base64(content["ciphertext"])
        self.read.append(self.room_keys[content["session_id"]].decrypt(message).plaintext.decode())


def check_signature(json: Json, user_id: str, device_id: str, key: str) -> None:
    signature = Ed25519Signature.from_base64(json["signatures"][user_id][f"ed25519:{device_id}"])
    signed = {name: value for name, value in json.items() if name != "signatures"}
    Ed25519PublicKey.from_base64(key).verify_signature(encode_canonical_json(signed, strict=True), signature)


def done(response: Response) -> Json:
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def test_everybody_reads_everything(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    clients = [alice, await whole.log_in(alice), bob, await whole.log_in(bob)]
    devices = [Device(client) for client in clients]
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": MEGOLM}}
    room_id = await create(alice, initial_state=[encryption])
    await join(bob, room_id)
    for device in devices:
        await device.publish(10)
        await device.listen()

    texts = [f"{turn} from {number}" for turn in range(2) for number in range(4)]
    for text in texts:
        await devices[int(text[-1])].say(room_id, text)
        for device in devices:
            await device.listen()

    assert [device.read for device in devices] == [texts] * 4

    late = Device(await whole.log_in(bob))
    await late.publish(10)
    await late.client.get("/sync")
    for device in devices:
        await device.listen()
    await devices[0].say(room_id, "and to the new device")
    late.since = devices[0].since
    for device in (late, *devices):
        await device.listen()
    assert [device.read[-1] for device in (late, *devices)] == ["and to the new device"] * 5
