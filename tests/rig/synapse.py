"""Synapse as a peer: another implementation of the same protocol, from PyPI, in a virtual environment of its own.

It runs behind a link like our own servers (``tests.rig.federation``) and trusts the same authority.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.servers import SYNAPSE, default_cache, install_synapse, synapse_config
from tests.rig.federation import Link
from tests.rig.ports import free_port
from tests.rig.wire import Disconnected, WireClient, register

START_S_MAX = 60
STOP_S_MAX = 20
LOG_TAIL_CHARS = 4000


class Synapse:
    """One Synapse. Made by ``open_synapse``."""

    def __init__(self, directory: Path, link: Link, ca_file: Path) -> None:
        self.link = link
        self.name = f"localhost:{link.port}"
        self.address = ("127.0.0.1", free_port())
        self._directory = directory
        self._ca_file = ca_file
        self._python = install_synapse(SYNAPSE, default_cache())
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True)

    def write_config(self) -> None:
        command = [str(self._python), "-m", "synapse.app.homeserver", "--generate-config", "--report-stats", "no"]
        command += ["--server-name", self.name, "--config-path", str(self._directory / "homeserver.yaml")]
        subprocess.run(command, cwd=self._directory, check=True, capture_output=True)
        config = synapse_config(self.address[1]) | {
            "trusted_key_servers": [],
            "federation_custom_ca_list": [str(self._ca_file)],
            "ip_range_blacklist": [],
            "allow_public_rooms_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
        }
        (self._directory / "more.yaml").write_text(json.dumps(config))  # YAML holds JSON

    def start(self) -> None:
        command = [str(self._python), "-m", "synapse.app.homeserver", "-c", "homeserver.yaml", "-c", "more.yaml"]
        with (self._directory / "stdout.log").open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self._directory, stdout=output, stderr=subprocess.STDOUT, env=dict(os.environ)
            )
        deadline = time.monotonic() + START_S_MAX
        while not self._answers():
            assert self._process.poll() is None, self.read_log()
            assert time.monotonic() < deadline, self.read_log()
        self.link.target = self.address

    def _answers(self) -> bool:
        with WireClient(self.address) as client:
            try:
                client.send_raw(b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return client.receive()[0] == 200
            except Disconnected:
                return False

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def read_log(self) -> str:
        """The end of what it has written."""
        logs = (self._directory / name for name in ("stdout.log", "homeserver.log"))
        return "".join(log.read_text()[-LOG_TAIL_CHARS:] for log in logs if log.exists())

    def register(self, name: str) -> WireClient:
        """A new account, over a real socket."""
        session: dict[str, Any] = register(self.address, name)
        return WireClient(self.address, session["access_token"])


@contextmanager
def open_synapse(directory: Path, link: Link, ca_file: Path) -> Iterator[Synapse]:
    """Run it behind ``link`` until the block ends."""
    synapse = Synapse(directory, link, ca_file)
    synapse.write_config()
    try:
        synapse.start()
        yield synapse
    finally:
        synapse.stop()
