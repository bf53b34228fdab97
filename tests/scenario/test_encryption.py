"""Alice and Bob, two devices each and more as time goes by, talk in an encrypted room: with real Olm and Megolm.

The server is a process of its own. It is shown nothing but ciphertext and public keys, and what each device needs
reaches it through the server alone.
"""

from __future__ import annotations

from pathlib import Path

from vodozemac import PkDecryption

from tests.rig.crypto import CrossSigning, without_signatures
from tests.rig.olm import ENCRYPTION, Device, log_in, sign_up
from tests.rig.process import ServerProcess, check_files
from tests.rig.sas import Side, verify
from tests.scenario.conversation import Conversation, back_up, restore


def sign_master_key(device: Device, mine: CrossSigning, theirs: CrossSigning) -> None:
    """The user vouches for another one, for good."""
    signed = mine.sign("user_signing", without_signatures(theirs.key("master")))
    body = {theirs.user_id: {theirs.public("master"): signed}}
    assert device.post("keys", "signatures", "upload", json=body)["failures"] == {}


def identity(device: Device, keys: CrossSigning) -> dict[str, str]:
    """What a side of a verification vouches for."""
    master = keys.public("master")
    return {
        f"ed25519:{device.device_id}": device.account.ed25519_key.to_base64(),
        f"ed25519:{master}": master,
    }


def test_every_device_reads_what_it_should(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.start()
        alice, bob = sign_up(server.address, "alice"), sign_up(server.address, "bob")
        first = [alice, log_in(server.address, alice.user_id), bob, log_in(server.address, bob.user_id)]

        # Everybody's devices are vouched for, and the two compare emoji.
        mine, theirs = CrossSigning(alice.user_id), CrossSigning(bob.user_id)
        for index, device in enumerate(first):
            device.cross_sign(mine if index < 2 else theirs, is_first=index % 2 == 0)
        room_id = alice.post("createRoom", json={"preset": "public_chat", "initial_state": [ENCRYPTION]})["room_id"]
        bob.post("join", room_id, json={})
        for device in first:
            device.sync()
            assert all(device.is_vouched_for(*other.name) for other in first)
        emoji = verify(Side(alice, identity(alice, mine)), Side(bob, identity(bob, theirs)))
        assert emoji[0] == emoji[1]
        assert len(emoji[0]) == 7
        sign_master_key(alice, mine, theirs)
        seen = alice.query(bob.user_id)["master_keys"][bob.user_id]["signatures"]
        assert f"ed25519:{mine.public('user_signing')}" in seen[alice.user_id]
        assert alice.user_id not in bob.query(bob.user_id)["master_keys"][bob.user_id]["signatures"]

        conversation = Conversation(room_id, *first)
        conversation.say(200)
        conversation.check()

        # Bob gets a new device in the middle of it, and his old one goes.
        tablet = log_in(server.address, bob.user_id)
        tablet.cross_sign(theirs, is_first=False)
        conversation.listen()
        conversation.add(tablet)
        assert alice.is_vouched_for(*tablet.name)
        conversation.say(100)
        server.kill()
        server.start()
        conversation.say(50)
        conversation.remove(first[3])
        conversation.listen()
        assert first[3].device_id not in alice.query(bob.user_id)["device_keys"][bob.user_id]
        conversation.say(150)
        conversation.check()

        # Alice loses her phone, and reads everything on a new one.
        recovery = PkDecryption()
        kept = back_up(alice, recovery)
        phone = log_in(server.address, alice.user_id)
        phone.cross_sign(mine, is_first=False)
        phone.sync()
        assert len(phone.unread) == 500
        assert restore(phone, recovery) == kept
        assert phone.unread == []
        assert sorted(phone.read) == sorted(alice.read)
        for device in (*conversation.devices, phone):
            device.close()
        server.stop()
    assert check_files(server.data) == []
