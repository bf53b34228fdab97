"""Devices that have keys, without a client library: what they upload, signed as the specification asks."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId
from conduit_py.matrix.signing import SigningKey, sign_json
from tests.rig.client import Client, Response

Json = dict[str, Any]
DEHYDRATED = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
ALGORITHM = "signed_curve25519"


def make_key(name: str, key_id: str = "") -> SigningKey:
    """The same key for the same name."""
    return SigningKey.from_seed(KeyId(f"ed25519:{key_id}"), sha256(name.encode()).digest())


def public(key: SigningKey) -> str:
    return encode_base64(key.public_key)


class Keys:
    """The keys of one device."""

    def __init__(self, client: Client, salt: str = "") -> None:
        self.client = client
        self.user_id, self.device_id = client.user_id, client.device_id
        self.signing_key = make_key(f"{self.user_id} {self.device_id} {salt}", self.device_id)

    def sign(self, json: Json) -> Json:
        return sign_json(json, entity=self.user_id, signing_key=self.signing_key)

    def device_keys(self, **more: Any) -> Json:
        return self.sign(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
                "keys": {
                    f"curve25519:{self.device_id}": encode_base64(sha256(self.device_id.encode()).digest()),
                    f"ed25519:{self.device_id}": public(self.signing_key),
                },
                **more,
            }
        )

    def one_time_key(self, number: int, **more: Any) -> Json:
        return self.sign({"key": encode_base64(sha256(b"%d" % number).digest()), **more})

    def one_time_keys(self, *numbers: int) -> Json:
        return {f"{ALGORITHM}:{number:04}": self.one_time_key(number) for number in numbers}

    def fallback_keys(self, number: int) -> Json:
        return {f"{ALGORITHM}:F{number}": self.one_time_key(number, fallback=True)}

    async def upload(self, **body: Any) -> Response:
        return await self.client.post("/keys/upload", body)

    async def upload_all(self, count: int = 2) -> Json:
        """Device keys, some one-time keys and a fallback key."""
        response = await self.upload(
            device_keys=self.device_keys(),
            one_time_keys=self.one_time_keys(*range(count)),
            fallback_keys=self.fallback_keys(1000),
        )
        assert response.status == 200, response.body
        return self.device_keys()


class CrossSigning:
    """The three keys of a user."""

    def __init__(self, user_id: str, salt: str = "") -> None:
        self.user_id = user_id
        self.keys: dict[str, SigningKey] = {}
        for usage in ("master", "self_signing", "user_signing"):
            self.use(usage, salt)

    def use(self, usage: str, salt: str) -> None:
        """Take another key for one usage."""
        key = make_key(f"{self.user_id} {usage} {salt}")
        self.keys[usage] = make_key(f"{self.user_id} {usage} {salt}", public(key))

    def public(self, usage: str) -> str:
        return public(self.keys[usage])

    def sign(self, usage: str, json: Json) -> Json:
        return sign_json(json, entity=self.user_id, signing_key=self.keys[usage])

    def key(self, usage: str) -> Json:
        name = self.public(usage)
        key = {"user_id": self.user_id, "usage": [usage], "keys": {f"ed25519:{name}": name}}
        return key if usage == "master" else self.sign("master", key)

    def body(self, *usages: str) -> Json:
        """What is uploaded: all keys, or those that are named."""
        return {f"{usage}_key": self.key(usage) for usage in usages or self.keys}


def without_signatures(json: Json) -> Json:
    return {name: value for name, value in json.items() if name not in ("signatures", "unsigned")}


def dehydrate(client: Client, device_id: str) -> Json:
    """What a client uploads to leave a device behind."""
    keys = Keys(client)
    keys.device_id = device_id
    keys.signing_key = make_key(f"{keys.user_id} {device_id}", device_id)
    return {
        "device_id": device_id,
        "device_data": {"algorithm": "org.matrix.msc3814.v2", "device_pickle": "encrypted", "nonce": "x"},
        "initial_device_display_name": "Dehydrated device",
        "device_keys": keys.device_keys(dehydrated=True),
        "one_time_keys": keys.one_time_keys(1, 2),
        "fallback_keys": keys.fallback_keys(3),
    }


async def query(asker: Client, *user_ids: str, **more: Any) -> Json:
    response = await asker.post("/keys/query", {"device_keys": {user_id: [] for user_id in user_ids}, **more})
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer


async def claim(asker: Client, user_id: str, *device_ids: str) -> Json:
    """The keys by device id."""
    wanted = {user_id: dict.fromkeys(device_ids, ALGORITHM)}
    response = await asker.post("/keys/claim", {"one_time_keys": wanted})
    assert response.status == 200, response.body
    keys: Json = response.json["one_time_keys"].get(user_id, {})
    return keys


async def sync(user: Client, since: str | None = None, **query: str) -> Json:
    response = await user.get("/sync", **query, **({} if since is None else {"since": since}))
    assert response.status == 200, response.body
    reply: Json = response.json
    return reply
