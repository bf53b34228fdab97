"""Two devices that compare emoji: short authentication strings through messages to devices.

Spec: client-server-api/#short-authentication-string-sas-verification
"""

from __future__ import annotations

import secrets
import time
from hashlib import sha256
from typing import Any

from vodozemac import Curve25519PublicKey, EstablishedSas, Sas

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.hashes import encode_base64
from tests.rig.olm import Device

START = {
    "method": "m.sas.v1",
    "key_agreement_protocols": ["curve25519-hkdf-sha256"],
    "hashes": ["sha256"],
    "message_authentication_codes": ["hkdf-hmac-sha256.v2"],
    "short_authentication_string": ["emoji", "decimal"],
}
Json = dict[str, Any]
PATIENCE_S = 30


class Side:
    """One of the two. A patient one waits for messages to come from another server."""

    def __init__(self, device: Device, keys: dict[str, str], *, is_patient: bool = False) -> None:
        self.device = device
        self._patience_s = PATIENCE_S if is_patient else 0
        self.keys = keys
        """What this side vouches for, by key id."""
        self.sas = Sas()
        self.public = self.sas.public_key.to_base64()
        self.established: EstablishedSas | None = None

    def send(self, to: Side, event_type: str, content: Json) -> None:
        self.device.send_to_device(event_type, {to.device.user_id: {to.device.device_id: content}})

    def receive(self, event_type: str, sender: Side) -> Json:
        """The next message of the verification, which must be of this type."""
        deadline = time.monotonic() + self._patience_s
        self.device.sync()
        while not self.device.inbox and time.monotonic() < deadline:
            self.device.sync(wait_ms=1000)
        (event,), self.device.inbox = self.device.inbox, []
        assert (event["type"], event["sender"]) == (event_type, sender.device.user_id)
        content: Json = event["content"]
        return content

    def agree(self, key: str) -> None:
        self.established = self.sas.diffie_hellman(Curve25519PublicKey.from_base64(key))


def verify(one: Side, two: Side) -> tuple[list[int], list[int]]:
    """Both sides' emoji. Each has checked the keys that the other vouches for; raises if one is another."""
    txn = {"transaction_id": secrets.token_hex(8)}
    start = {**START, **txn, "from_device": one.device.device_id}
    one.send(two, "m.key.verification.start", start)
    received = two.receive("m.key.verification.start", one)
    commitment = encode_base64(sha256(two.public.encode() + encode_canonical_json(received, strict=True)).digest())
    accept = {
        "key_agreement_protocol": "curve25519-hkdf-sha256",
        "hash": "sha256",
        "message_authentication_code": "hkdf-hmac-sha256.v2",
        "short_authentication_string": ["emoji"],
    }
    two.send(one, "m.key.verification.accept", {**accept, **txn, "commitment": commitment})
    promised = one.receive("m.key.verification.accept", two)["commitment"]
    one.send(two, "m.key.verification.key", {**txn, "key": one.public})
    two.agree(two.receive("m.key.verification.key", one)["key"])
    two.send(one, "m.key.verification.key", {**txn, "key": two.public})
    key = one.receive("m.key.verification.key", two)["key"]
    assert promised == encode_base64(sha256(key.encode() + encode_canonical_json(start, strict=True)).digest())
    one.agree(key)
    emoji = tuple(_emoji(side, one, two, txn["transaction_id"]) for side in (one, two))
    for side, other in ((one, two), (two, one)):
        _send_mac(side, other, txn["transaction_id"])
        _check_mac(other, side, txn["transaction_id"])
    return emoji[0], emoji[1]


def _emoji(side: Side, one: Side, two: Side, txn_id: str) -> list[int]:
    assert side.established is not None
    parts = [[it.device.user_id, it.device.device_id, it.public] for it in (one, two)]
    info = "|".join(["MATRIX_KEY_VERIFICATION_SAS", *parts[0], *parts[1], txn_id])
    return list(side.established.bytes(info).emoji_indices)


def _info(sender: Side, receiver: Side, txn_id: str, key_id: str) -> str:
    names = (*sender.device.name, *receiver.device.name)
    return "MATRIX_KEY_VERIFICATION_MAC" + "".join(names) + txn_id + key_id


def _send_mac(sender: Side, receiver: Side, txn_id: str) -> None:
    assert sender.established is not None
    macs = {
        key_id: sender.established.calculate_mac(key, _info(sender, receiver, txn_id, key_id))
        for key_id, key in sender.keys.items()
    }
    names = sender.established.calculate_mac(",".join(sorted(macs)), _info(sender, receiver, txn_id, "KEY_IDS"))
    sender.send(receiver, "m.key.verification.mac", {"transaction_id": txn_id, "mac": macs, "keys": names})


def _check_mac(receiver: Side, sender: Side, txn_id: str) -> None:
    """The keys are those that the receiver was told of by its server."""
    assert receiver.established is not None
    content = receiver.receive("m.key.verification.mac", sender)
    names = ",".join(sorted(content["mac"]))
    receiver.established.verify_mac(names, _info(sender, receiver, txn_id, "KEY_IDS"), content["keys"])
    user_id, device_id = sender.device.name
    answer = receiver.device.query(user_id)
    known = {**answer["device_keys"][user_id][device_id]["keys"], **answer["master_keys"][user_id]["keys"]}
    for key_id, mac in content["mac"].items():
        receiver.established.verify_mac(known[key_id], _info(sender, receiver, txn_id, key_id), mac)
