"""A conversation of encrypting devices, and who has to be able to read what."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import orjson
from vodozemac import (
    Curve25519PublicKey,
    ExportedSessionKey,
    InboundGroupSession,
    Message,
    PkDecryption,
    PkEncryption,
)

from conduit_py.matrix.hashes import decode_base64, encode_base64
from tests.rig.olm import Device

BACKUP = "m.megolm_backup.v1.curve25519-aes-sha2"


class Conversation:
    """Devices in one room. A device has to read what is sent while it is here."""

    def __init__(self, room_id: str, *devices: Device) -> None:
        self.room_id = room_id
        self.devices = list(devices)
        self._expected: dict[Device, list[str]] = {device: [] for device in devices}
        self._chance = Random(1)
        self._number = 0

    def say(self, count: int, *, sync_every: int = 5) -> None:
        """Messages of devices at random; now and then one of them listens."""
        for _ in range(count):
            self._number += 1
            if self._number % sync_every == 0:
                self._chance.choice(self.devices).sync()
            sender = self._chance.choice(self.devices)
            text = f"{self._number} from {sender.device_id}"
            sender.say(self.room_id, text)
            for device in self.devices:
                self._expected[device].append(text)

    def add(self, device: Device) -> None:
        """Once everybody has heard of it, it reads what is sent from now on."""
        device.sync()
        device.read.clear()
        device.unread.clear()
        self.devices.append(device)
        self._expected[device] = []

    def remove(self, device: Device) -> None:
        """It is logged out, having read everything."""
        self.listen()
        self.devices.remove(device)
        device.post("logout", json={})
        device.close()

    def listen(self) -> None:
        for device in self.devices:
            device.sync()

    def is_read(self) -> bool:
        return all(Counter(device.read) == Counter(self._expected[device]) for device in self.devices)

    def check(self) -> None:
        """Every device has read everything that it has to, once each."""
        self.listen()
        for device in self.devices:
            missing = Counter(self._expected[device]) - Counter(device.read)
            assert (missing, device.unread) == (Counter(), []), (device.name, missing, len(device.unread))
            assert Counter(device.read) == Counter(self._expected[device])


def back_up(device: Device, recovery: PkDecryption) -> int:
    """Put away every room key of the device. Returns how many."""
    auth_data = {"public_key": recovery.public_key.to_base64()}
    version = device.post("room_keys", "version", json={"algorithm": BACKUP, "auth_data": auth_data})["version"]
    encryption = PkEncryption.from_key(recovery.public_key)
    rooms: dict[str, Any] = {}
    for (room_id, session_id), key in device.room_keys.items():
        exported = key.export_at(key.first_known_index)
        assert exported is not None
        sealed = encryption.encrypt(orjson.dumps({"session_key": exported.to_base64()}))
        rooms.setdefault(room_id, {"sessions": {}})["sessions"][session_id] = {
            "first_message_index": key.first_known_index,
            "forwarded_count": 0,
            "is_verified": True,
            "session_data": {
                "ciphertext": encode_base64(sealed.ciphertext),
                "mac": encode_base64(sealed.mac),
                "ephemeral": encode_base64(sealed.ephemeral_key),
            },
        }
    answer = device.request("PUT", "room_keys", "keys", json={"rooms": rooms}, version=version)
    assert answer["count"] == len(device.room_keys)
    return len(device.room_keys)


def restore(device: Device, recovery: PkDecryption) -> int:
    """Take every room key of the current backup. Returns how many."""
    info = device.request("GET", "room_keys", "version")
    assert info["algorithm"] == BACKUP
    assert Curve25519PublicKey.from_base64(info["auth_data"]["public_key"]) == recovery.public_key
    kept = device.request("GET", "room_keys", "keys", version=info["version"])
    count = 0
    for room_id, room in kept["rooms"].items():
        for session_id, row in room["sessions"].items():
            data = row["session_data"]
            sealed = Message(*(decode_base64(data[name]) for name in ("ciphertext", "mac", "ephemeral")))
            key = orjson.loads(recovery.decrypt(sealed))["session_key"]
            session = InboundGroupSession.import_session(ExportedSessionKey(key))
            assert session.session_id == session_id
            device.room_keys.setdefault((room_id, session_id), session)
            count += 1
    device.retry()
    return count
