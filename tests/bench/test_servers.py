"""Names of servers lead to servers, and the scene is as the workloads say."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from bench.compare import filesystem_of, label
from bench.driver.scene import GUESTS, MEMBERS, RESIDENTS, ROOMS, Account, Scene, guests_of
from bench.driver.wire import Address, DriverError
from bench.servers import ROOT, Attached, Ours, prepare_server

ACCOUNTS = [Account(f"@bench-{number}:bench.localhost", f"token{number}") for number in range(RESIDENTS + GUESTS + 1)]
GUEST_ACCOUNTS = ACCOUNTS[RESIDENTS : RESIDENTS + GUESTS]


def test_this_checkout_and_another(tmp_path: Path) -> None:
    assert prepare_server("ours", tmp_path) == Ours("ours", ROOT)
    assert prepare_server(f"ours:{tmp_path}", tmp_path) == Ours(f"ours:{tmp_path}", tmp_path)


@pytest.mark.parametrize("name", ["", "conduit", "ours@", "synapse:elsewhere", "https://127.0.0.1:8448", "ours@a b"])
def test_unknown_server_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="names no server"):
        prepare_server(name, tmp_path)


def test_server_that_runs_already(tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    users.write_text(json.dumps([{"user_id": each.user_id, "access_token": each.token} for each in ACCOUNTS]))
    server = prepare_server(f"http://localhost:8008?pid=77&users={users}", tmp_path)
    with server.start(tmp_path) as running:
        assert running.address == Address("127.0.0.1", 8008)
        assert running.gauges.pid == 77
        assert running.take_accounts() == ACCOUNTS


def test_server_on_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="loopback"):
        prepare_server("http://192.0.2.1:8008", tmp_path)


def test_same_server_twice_gets_two_names() -> None:
    server = Attached.parse("http://127.0.0.1:8008")
    assert label([server, server]) == ["http://127.0.0.1:8008", "http://127.0.0.1:8008 #2"]


def test_filesystem_is_the_innermost() -> None:
    assert filesystem_of(Path("/proc/self")) == "proc"


def test_every_guest_is_in_two_rooms_and_in_the_one_it_sends_to() -> None:
    rooms = [guests_of(GUEST_ACCOUNTS, room) for room in range(ROOMS)]
    assert {RESIDENTS + len(set(guests)) for guests in rooms} == {MEMBERS}
    assert set(Counter(guest for guests in rooms for guest in guests).values()) == {2}

    room_ids = [f"!room{room}" for room in range(ROOMS)]
    scene = Scene(Address("127.0.0.1", 1), None, ACCOUNTS[:RESIDENTS], GUEST_ACCOUNTS, ACCOUNTS[-1], room_ids)
    assert all(GUEST_ACCOUNTS[guest] in rooms[room_ids.index(scene.room_of(guest))] for guest in range(GUESTS))
    assert len(scene.members) == MEMBERS
