"""A copy of the data that is put back is recognized, and no key is handed out a second time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

from tests.rig.client import Client
from tests.rig.crypto import ALGORITHM, Keys
from tests.rig.process import ServerProcess, check_files, copy_data
from tests.rig.wire import WireClient

WARNING = "the database is a copy that was put back"


class Owner:
    """Somebody with a device that has keys."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._wire = WireClient(server.address)
        auth = {"type": "m.login.dummy"}
        body = {"username": "alice", "password": "correct horse battery staple", "auth": auth, "device_id": "PHONE"}
        session = self._wire.post("register", json=body)
        self.user_id, self.device_id, token = session["user_id"], session["device_id"], session["access_token"]
        self._wire.access_token = token
        self._keys = Keys(cast("Client", self))
        self.upload(*range(5))

    def upload(self, *numbers: int) -> None:
        body = {"device_keys": self._keys.device_keys(), "one_time_keys": self._keys.one_time_keys(*numbers)}
        self._wire.post("keys", "upload", json={**body, "fallback_keys": self._keys.fallback_keys(1000)})

    def claim(self) -> str:
        """The name of the key."""
        wanted = {self.user_id: {self.device_id: ALGORITHM}}
        claimed: Any = self._wire.post("keys", "claim", json={"one_time_keys": wanted})
        (name,) = claimed["one_time_keys"][self.user_id][self.device_id]
        return str(name)

    def supply(self) -> tuple[int, list[str]]:
        reply: Any = self._wire.get("sync", timeout="0")
        return reply["device_one_time_keys_count"][ALGORITHM], reply["device_unused_fallback_key_types"]

    def cut_off(self) -> None:
        self._wire.close()


def test_copy_that_was_put_back_hands_out_no_key_again(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "server") as server:
        server.start()
        alice = Owner(server)
        claimed = [alice.claim()]
        alice.cut_off()
        server.stop()
        backup = tmp_path / "backup"
        copy_data(server.data, backup)

        server.start()
        assert alice.supply() == (4, [ALGORITHM])
        claimed += [alice.claim(), alice.claim()]
        alice.cut_off()
        server.stop()
        assert WARNING not in server.read_log()

        shutil.rmtree(server.data)
        shutil.copytree(backup, server.data)
        server.start()
        assert server.read_log().count(WARNING) == 1
        assert alice.supply() == (0, [])
        assert alice.claim() == f"{ALGORITHM}:F1000"
        alice.upload(*range(100, 103))
        assert {alice.claim() for _ in range(3)}.isdisjoint(claimed)
        alice.cut_off()
        server.stop()

        server.start()
        assert server.read_log().count(WARNING) == 1
        server.stop()
    assert check_files(server.data) == []


def test_copy_is_recognized_again_if_the_server_died_over_it(tmp_path: Path) -> None:
    """The new file is noted when everything is set right, and not before."""
    with ServerProcess(tmp_path / "server") as server:
        server.start()
        alice = Owner(server)
        alice.cut_off()
        server.kill()
        copy_data(server.data, tmp_path / "copy")
        shutil.rmtree(server.data)
        shutil.copytree(tmp_path / "copy", server.data)
        server.start(wait=False)
        server.kill()
        server.start()
        assert alice.supply() == (0, [])
        alice.cut_off()
        server.stop()
