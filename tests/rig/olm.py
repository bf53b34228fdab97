"""A client that encrypts, over a real socket, with real Olm and Megolm: what a user's app does, and nothing more.

It believes the server in nothing: devices and one-time keys have to be signed, and of cross-signing keys each by the
one above it.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any

import orjson
from vodozemac import (
    Account,
    AnyOlmMessage,
    Curve25519PublicKey,
    Ed25519PublicKey,
    Ed25519Signature,
    GroupSession,
    InboundGroupSession,
    MegolmDecryptionException,
    MegolmMessage,
    OlmDecryptionException,
    Session,
    SessionKey,
)

from conduit_py.matrix.canonical_json import encode_canonical_json
from tests.rig.crypto import ALGORITHM, CrossSigning, without_signatures
from tests.rig.wire import Disconnected, WireClient, path

OLM, MEGOLM = "m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": MEGOLM}}
PASSWORD = "x" * 12
KEYS_KEPT = 30
MESSAGES_PER_SESSION = 50
"""After so many a sender takes a new Megolm session."""
ATTEMPTS = 5
_FILTER = orjson.dumps({"room": {"timeline": {"limit": 1000}}}).decode()
Json = dict[str, Any]


@dataclass
class _Outbound:
    """A sender's Megolm session of one room."""

    session: GroupSession = field(default_factory=GroupSession)
    shared_with: set[tuple[str, str]] = field(default_factory=set)
    sent: int = 0


class Device:
    """Logged in. Requests that break off are sent again, so the server may be restarted between any two of them."""

    def __init__(self, address: tuple[str, int], session: Json) -> None:
        self.user_id, self.device_id = session["user_id"], session["device_id"]
        self.name = (self.user_id, self.device_id)
        self._wire = WireClient(address, session["access_token"])
        self.account = Account()
        self.since: str | None = None
        self.known: dict[str, dict[str, Json]] = {}
        """Device keys of each user, by device id. A user whose list is outdated is not here."""
        self.sessions: dict[str, list[Session]] = {}
        """By the other's curve25519 key; the last one is sent with."""
        self.room_keys: dict[tuple[str, str], InboundGroupSession] = {}
        """By room and session id."""
        self._outbound: dict[str, _Outbound] = {}
        self.read: list[str] = []
        self.unread: list[tuple[str, Json]] = []
        """What cannot be decrypted, yet."""
        self.inbox: list[Json] = []
        """Other messages to the device."""

    # Requests.

    def request(self, method: str, *parts: str, json: Any = None, **query: str) -> Json:
        """The reply; its status must be 200."""
        target = path(*parts) + ("?" + "&".join(f"{name}={_quote(it)}" for name, it in query.items()) if query else "")
        for attempt in range(ATTEMPTS):
            try:
                reply: Json = self._wire.require(method, target, json)
                return reply
            except Disconnected:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def post(self, *parts: str, json: Any) -> Json:
        return self.request("POST", *parts, json=json)

    def put(self, *parts: str, json: Any) -> Json:
        return self.request("PUT", *parts, json=json)

    def close(self) -> None:
        self._wire.close()

    def send_to_device(self, event_type: str, messages: Json) -> None:
        self.put("sendToDevice", event_type, secrets.token_hex(8), json={"messages": messages})

    # Keys.

    def sign(self, json: Json) -> Json:
        """With the device's key, beside the signatures that are there."""
        signed = encode_canonical_json(without_signatures(json), strict=True)
        signatures = {user_id: dict(it) for user_id, it in json.get("signatures", {}).items()}
        signature = self.account.sign(signed).to_base64()
        signatures.setdefault(self.user_id, {})[f"ed25519:{self.device_id}"] = signature
        return {**json, "signatures": signatures}

    def device_keys(self) -> Json:
        keys = {
            f"curve25519:{self.device_id}": self.account.curve25519_key.to_base64(),
            f"ed25519:{self.device_id}": self.account.ed25519_key.to_base64(),
        }
        json = {"user_id": self.user_id, "device_id": self.device_id, "algorithms": [OLM, MEGOLM], "keys": keys}
        return self.sign(json)

    def publish(self) -> None:
        """Upload device keys and one-time keys."""
        self.upload(KEYS_KEPT, device_keys=self.device_keys())

    def upload(self, count: int, **more: Any) -> None:
        self.account.generate_one_time_keys(count)
        keys = {
            f"{ALGORITHM}:{key_id}": self.sign({"key": key.to_base64()})
            for key_id, key in self.account.one_time_keys.items()
        }
        self.post("keys", "upload", json={"one_time_keys": keys, **more})
        self.account.mark_keys_as_published()

    def cross_sign(self, keys: CrossSigning, *, is_first: bool) -> None:
        """Publish the user's keys, if these are the first, and vouch for this device with them."""
        if is_first:
            self.post("keys", "device_signing", "upload", json=keys.body())
        signed = keys.sign("self_signing", without_signatures(self.device_keys()))
        master = self.sign(without_signatures(keys.key("master")))
        body = {self.user_id: {self.device_id: signed, keys.public("master"): master}}
        assert self.post("keys", "signatures", "upload", json=body)["failures"] == {}

    def query(self, *user_ids: str) -> Json:
        """Keys of users, checked."""
        answer = self.post("keys", "query", json={"device_keys": {user_id: [] for user_id in user_ids}})
        for user_id in user_ids:
            for device_id, keys in answer["device_keys"].get(user_id, {}).items():
                check_signature(keys, user_id, f"ed25519:{device_id}", keys["keys"][f"ed25519:{device_id}"])
        return answer

    def is_vouched_for(self, user_id: str, device_id: str) -> bool:
        """Is there an unbroken chain of signatures from the user's master key to the device?"""
        answer = self.query(user_id)
        master, self_signing = (_public(answer[name].get(user_id)) for name in ("master_keys", "self_signing_keys"))
        if master is None or self_signing is None:
            return False
        check_signature(answer["self_signing_keys"][user_id], user_id, f"ed25519:{master}", master)
        keys = answer["device_keys"][user_id][device_id]
        if f"ed25519:{self_signing}" not in keys["signatures"][user_id]:
            return False
        check_signature(keys, user_id, f"ed25519:{self_signing}", self_signing)
        return True

    # Sending.

    def say(self, room_id: str, text: str) -> None:
        """Send one message that every device that is known of can read."""
        devices = self._find_devices(room_id)
        outbound = self._outbound.get(room_id)
        if outbound is None or outbound.sent >= MESSAGES_PER_SESSION or outbound.shared_with - devices.keys():
            outbound = self._outbound[room_id] = _Outbound()
            session = outbound.session
            self.room_keys[room_id, session.session_id] = InboundGroupSession(session.session_key)
        self._share(room_id, outbound, {name: it for name, it in devices.items() if name not in outbound.shared_with})
        plaintext = orjson.dumps({"room_id": room_id, "content": {"body": text}})
        content = {"algorithm": MEGOLM, "session_id": outbound.session.session_id}
        content["ciphertext"] = outbound.session.encrypt(plaintext).to_base64()
        outbound.sent += 1
        self.put("rooms", room_id, "send", "m.room.encrypted", secrets.token_hex(8), json=content)

    def _find_devices(self, room_id: str) -> dict[tuple[str, str], Json]:
        members = self.request("GET", "rooms", room_id, "joined_members")["joined"]
        outdated = [user_id for user_id in members if user_id not in self.known]
        if outdated:
            answer = self.query(*outdated)
            self.known |= answer["device_keys"]
        devices = {(user_id, it): keys for user_id in members for it, keys in self.known.get(user_id, {}).items()}
        devices.pop(self.name, None)
        return devices

    def _share(self, room_id: str, outbound: _Outbound, devices: dict[tuple[str, str], Json]) -> None:
        self._open_sessions(devices)
        room_key = {"algorithm": MEGOLM, "room_id": room_id, "session_id": outbound.session.session_id}
        room_key["session_key"] = outbound.session.session_key.to_base64()
        messages: Json = {}
        for (user_id, device_id), keys in devices.items():
            messages.setdefault(user_id, {})[device_id] = self._encrypt(keys, "m.room_key", room_key)
        if messages:
            self.send_to_device("m.room.encrypted", messages)
        outbound.shared_with |= devices.keys()

    def _encrypt(self, keys: Json, event_type: str, content: Json) -> Json:
        user_id, device_id = keys["user_id"], keys["device_id"]
        curve = keys["keys"][f"curve25519:{device_id}"]
        event = {
            "type": event_type,
            "content": content,
            "sender": self.user_id,
            "recipient": user_id,
            "recipient_keys": {"ed25519": keys["keys"][f"ed25519:{device_id}"]},
            "keys": {"ed25519": self.account.ed25519_key.to_base64()},
        }
        kind, body = self.sessions[curve][-1].encrypt(orjson.dumps(event)).to_parts()
        ciphertext = {curve: {"type": kind, "body": b64encode(body).decode()}}
        mine = self.account.curve25519_key.to_base64()
        return {"algorithm": OLM, "sender_key": mine, "ciphertext": ciphertext}

    def _open_sessions(self, devices: dict[tuple[str, str], Json]) -> None:
        wanted: Json = {}
        for (user_id, device_id), keys in devices.items():
            if keys["keys"][f"curve25519:{device_id}"] not in self.sessions:
                wanted.setdefault(user_id, {})[device_id] = ALGORITHM
        if not wanted:
            return
        claimed = self.post("keys", "claim", json={"one_time_keys": wanted})["one_time_keys"]
        for user_id, by_device in wanted.items():
            for device_id in by_device:
                keys = devices[user_id, device_id]["keys"]
                (one_time_key,) = claimed[user_id][device_id].values()
                check_signature(one_time_key, user_id, f"ed25519:{device_id}", keys[f"ed25519:{device_id}"])
                curve = keys[f"curve25519:{device_id}"]
                session = self.account.create_outbound_session(
                    Curve25519PublicKey.from_base64(curve), Curve25519PublicKey.from_base64(one_time_key["key"])
                )
                self.sessions.setdefault(curve, []).append(session)

    # Receiving.

    def sync(self, *, wait_ms: int = 0) -> None:
        """Take everything that there is, or that comes first."""
        while self._take(self._ask(wait_ms)):
            wait_ms = 0

    def _ask(self, wait_ms: int) -> Json:
        query = {} if self.since is None else {"since": self.since}
        return self.request("GET", "sync", filter=_FILTER, timeout=str(wait_ms), **query)

    def _take(self, reply: Json) -> bool:
        """False if there were no messages to the device, and so there are no more."""
        for user_id in (*reply["device_lists"]["changed"], *reply["device_lists"]["left"]):
            self.known.pop(user_id, None)
        messages = reply["to_device"]["events"]
        for event in messages:
            if event["type"] == "m.room.encrypted":
                self._take_olm(event)
            else:
                self.inbox.append(event)
        for room_id, section in reply["rooms"]["join"].items():
            assert self.since is None or not section["timeline"]["limited"]
            events = [it for it in section["timeline"]["events"] if it["type"] == "m.room.encrypted"]
            self.unread += [(room_id, event["content"]) for event in events]
        self.retry()
        self.since = reply["next_batch"]
        have = reply["device_one_time_keys_count"].get(ALGORITHM, 0)
        if have < KEYS_KEPT // 2:
            self.upload(KEYS_KEPT - have)
        return bool(messages)

    def retry(self) -> None:
        """Read what could not be read before."""
        self.unread = [it for it in self.unread if not self._decrypt(*it)]

    def _take_olm(self, event: Json) -> None:
        content = event["content"]
        sent = content["ciphertext"][self.account.curve25519_key.to_base64()]
        message = AnyOlmMessage.from_parts(sent["type"], b64decode(sent["body"]))
        inner = orjson.loads(self._decrypt_olm(content["sender_key"], message))
        assert inner["sender"] == event["sender"]
        assert inner["recipient"] == self.user_id
        assert inner["recipient_keys"]["ed25519"] == self.account.ed25519_key.to_base64()
        assert inner["type"] == "m.room_key"
        key = inner["content"]
        self.room_keys[key["room_id"], key["session_id"]] = InboundGroupSession(SessionKey(key["session_key"]))

    def _decrypt_olm(self, sender_key: str, message: AnyOlmMessage) -> bytes:
        sessions, pre_key = self.sessions.setdefault(sender_key, []), message.to_pre_key()
        for session in sessions:
            if pre_key is not None and not session.session_matches(pre_key):
                continue
            try:
                return bytes(session.decrypt(message))
            except OlmDecryptionException:
                continue
        assert pre_key is not None, "a message of a session that is not known"
        session, plaintext = self.account.create_inbound_session(Curve25519PublicKey.from_base64(sender_key), pre_key)
        sessions.append(session)
        return bytes(plaintext)

    def _decrypt(self, room_id: str, content: Json) -> bool:
        key = self.room_keys.get((room_id, content["session_id"]))
        if key is None:
            return False
        try:
            plaintext = key.decrypt(MegolmMessage.from_base64(content["ciphertext"])).plaintext
        except MegolmDecryptionException:
            return False  # The key was shared for later messages only.
        event = orjson.loads(plaintext)
        assert event["room_id"] == room_id
        self.read.append(event["content"]["body"])
        return True


def check_signature(json: Json, user_id: str, key_id: str, key: str) -> None:
    """Raises if the key did not sign."""
    signature = Ed25519Signature.from_base64(json["signatures"][user_id][key_id])
    signed = encode_canonical_json(without_signatures(json), strict=True)
    Ed25519PublicKey.from_base64(key).verify_signature(signed, signature)


def _public(key: Json | None) -> str | None:
    return None if key is None else str(next(iter(key["keys"].values())))


def _quote(text: str) -> str:
    return path(text)[1:]


def sign_up(address: tuple[str, int], name: str) -> Device:
    """The first device of a new account, with its keys published."""
    body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    return _open(address, "register", body)


def log_in(address: tuple[str, int], user_id: str) -> Device:
    """Another device of an account."""
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user_id}, "password": PASSWORD}
    return _open(address, "login", body)


def _open(address: tuple[str, int], operation: str, body: Json) -> Device:
    with WireClient(address) as client:
        device = Device(address, client.post(operation, json=body))
    device.publish()
    return device
