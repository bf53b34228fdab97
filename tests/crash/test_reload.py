"""SIGHUP, as a process manager sends it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.process import PATIENCE_S, ServerProcess
from tests.rig.wire import WireClient


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, {"CONDUIT_REQUIRE_ADMIN_TOKEN": "false"}) as server:
        server.start()
        yield server


def register(server: ServerProcess, name: str) -> int:
    body = {"username": name, "password": "correct horse", "auth": {"type": "m.login.dummy"}}
    with WireClient(server.address) as client:
        return client.ask("POST", "register", json=body)[0]


def reload(server: ServerProcess, *changes: tuple[str, str]) -> str:
    """Change the file, send the signal; what the server says of it."""
    text = server.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    server.config.write_text(text)
    before = server.read_log()
    server.signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE_S
    while "the configuration " not in server.read_log().removeprefix(before):
        assert time.monotonic() < deadline
        server.let_run(0.01)
    return server.read_log().removeprefix(before)


def test_reloaded_server_says_what_it_took_over_and_goes_on(server: ServerProcess) -> None:
    assert register(server, "alice") == 200
    port = f"\nport = {server.address[1]}\n"
    said = reload(server, ("allow_registration = true", "allow_registration = false"), (port, "\nport = 1\n"))
    assert "changed=allow_registration needs_restart=port" in said
    assert register(server, "bob") == 403
    server.stop()


def test_broken_file_changes_nothing(server: ServerProcess) -> None:
    said = reload(server, ("allow_registration = true", "allow_registration = maybe"))
    assert "the configuration cannot be read again, nothing has changed" in said
    assert "line " in said
    assert register(server, "alice") == 200
