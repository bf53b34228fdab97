"""``allow_encryption = false`` stops new rooms from being encrypted, and nothing else."""

from __future__ import annotations

from conduit_py.server import build
from tests.rig.asking import ask_send, ask_state
from tests.rig.crypto import Keys, claim, sync
from tests.rig.rooms import create
from tests.rig.server import Server, load_test_config
from tests.rig.whole import WholeServer, open_whole

ENCRYPTION = {"algorithm": "m.megolm.v1.aes-sha2"}


async def test_encrypted_rooms_go_on_when_encryption_is_not_allowed_any_more(server: Server) -> None:
    async with open_whole(server) as before:
        alice = await before.register("alice", device_id="PHONE")
        encryption = {"type": "m.room.encryption", "state_key": "", "content": ENCRYPTION}
        room_id = await create(alice, initial_state=[encryption])

    config = load_test_config(RATE_LIMITS__ENABLED="false", ALLOW_ENCRYPTION="false")
    built = await build(config, server.store, hash_limiter=None)
    after = WholeServer(server, built)
    alice_after, bob = after.client(), await after.register("bob", device_id="BOX")
    alice_after.access_token, alice_after.user_id = alice.access_token, alice.user_id
    alice_after.device_id = alice.device_id

    sent = await ask_send(alice_after, room_id, {"ciphertext": "x"}, type="m.room.encrypted")
    assert sent.status == 200
    keys = Keys(alice_after)
    await keys.upload_all(1)
    assert (await claim(bob, alice.user_id, "PHONE"))["PHONE"] == keys.one_time_keys(0)
    await bob.put("/sendToDevice/a.b/1", {"messages": {alice.user_id: {"PHONE": {"x": 1}}}})
    assert (await sync(alice_after))["to_device"]["events"][0]["content"] == {"x": 1}
    other = await create(alice_after)
    assert (await ask_state(alice_after, other, "m.room.encryption", ENCRYPTION)).outcome == (403, "M_FORBIDDEN")
