"""Alice on one server and Bob on another, two devices each, talk in an encrypted room: with real Olm and Megolm.

Both servers are processes of their own that reach each other over TLS. The link between them is cut and heals, and each
of them is killed and comes back, in the middle of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig.crypto import CrossSigning
from tests.rig.federation import FederatedServer, open_federation
from tests.rig.olm import ENCRYPTION, Device, log_in, sign_up
from tests.rig.sas import Side, verify
from tests.scenario.conversation import Conversation
from tests.scenario.test_encryption import identity, sign_master_key

PATIENCE_S = 60
"""Servers repeat what failed after a pause."""


def wait_until(server: FederatedServer, is_so: Callable[[], bool], what: str) -> None:
    """The server goes on until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"{what} does not come to be"
        server.process.let_run(0.1)


def knows(device: Device, other: Device, *, is_there: bool = True) -> bool:
    """Is the device told of another one, of another server?"""
    device.sync()
    return (other.device_id in device.query(other.user_id)["device_keys"].get(other.user_id, {})) is is_there


def settle(server: FederatedServer, conversation: Conversation) -> None:
    """What is on its way arrives."""

    def is_read() -> bool:
        conversation.listen()
        return conversation.is_read()

    try:
        wait_until(server, is_read, "every message")
    finally:
        conversation.check()


def cut(*servers: FederatedServer) -> None:
    for server in servers:
        server.link.cut()


def heal(*servers: FederatedServer) -> None:
    for server in servers:
        server.link.heal()


@pytest.mark.slow
def test_every_device_of_two_servers_reads_what_it_should(tmp_path: Path) -> None:
    with open_federation(tmp_path, 2) as (one, two):
        alice, bob = sign_up(one.process.address, "alice"), sign_up(two.process.address, "bob")
        others = log_in(one.process.address, alice.user_id), log_in(two.process.address, bob.user_id)
        first = [alice, others[0], bob, others[1]]
        mine, theirs = CrossSigning(alice.user_id), CrossSigning(bob.user_id)
        for index, device in enumerate(first):
            device.cross_sign(mine if index < 2 else theirs, is_first=index % 2 == 0)
        room_id = alice.post("createRoom", json={"preset": "public_chat", "initial_state": [ENCRYPTION]})["room_id"]
        bob.request("POST", "join", room_id, json={}, via=one.name)
        for device in first:
            device.sync()
        wait_until(
            one, lambda: bob.user_id in alice.request("GET", "rooms", room_id, "joined_members")["joined"], "the join"
        )
        assert all(device.is_vouched_for(*other.name) for device in first for other in first)

        # They compare emoji across servers.
        sides = Side(alice, identity(alice, mine), is_patient=True), Side(bob, identity(bob, theirs), is_patient=True)
        emoji = verify(*sides)
        assert emoji[0] == emoji[1]
        sign_master_key(alice, mine, theirs)
        seen = alice.query(bob.user_id)["master_keys"][bob.user_id]["signatures"]
        assert f"ed25519:{mine.public('user_signing')}" in seen[alice.user_id]

        conversation = Conversation(room_id, *first)
        conversation.say(100)
        settle(one, conversation)

        # The link is cut, each server is killed, and a device comes and another goes meanwhile.
        cut(one, two)
        conversation.say(30)
        tablet = log_in(two.process.address, bob.user_id)
        tablet.cross_sign(theirs, is_first=False)
        one.restart()
        conversation.say(30)
        two.restart()
        conversation.say(30)
        heal(one, two)
        settle(one, conversation)
        for device in conversation.devices:
            wait_until(one, lambda device=device: knows(device, tablet), "the new device")  # type: ignore[misc]
        conversation.add(tablet)
        conversation.say(110)
        settle(one, conversation)
        assert alice.is_vouched_for(*tablet.name)

        conversation.remove(others[1])
        for device in conversation.devices:
            wait_until(one, lambda device=device: knows(device, others[1], is_there=False), "the loss")  # type: ignore[misc]
        conversation.say(200)
        settle(one, conversation)
        for device in conversation.devices:
            device.close()
