"""The server as its own process: started as an operator starts it, killed, restarted on the same files, stopped."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from conduit_py.data.consistency import check_consistency
from conduit_py.service.admin.wire import SOCKET_NAME
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import DIRECTORY, Database
from kvschema.catalog import CATALOG
from kvschema.engine.lmdb import LmdbEngine
from tests.rig.ports import free_port

ROOT = Path(__file__).parents[2]
SERVER_NAME = "one.test"
PATIENCE_S = 120
"""Not what a server promises: where many tests run at once, one of its answers may wait for all the others."""
START_S_MAX = PATIENCE_S
STOP_S_MAX = 10
"""From SIGTERM to the end of the process: what an operator's process manager waits at the least, which is Docker."""

_CONFIG = """
server_name = "{server_name}"
database_path = "{database_path}"
database_reserve_mb = 1
port = {port}
metrics_address = "127.0.0.1:{metrics_port}"
allow_registration = true
require_admin_token = true
log = "info"
[password_hash]
time = 1
memory = 8192
[rate_limits]
enabled = false
"""
_LISTENING = re.compile(r"^listening on https?://([0-9.]+):([0-9]+)$", re.MULTILINE)
_BAD_LINE = re.compile(r"^Traceback|^\S+ (?:ERROR|CRITICAL) |Error:|^Exception ignored", re.MULTILINE)


class ServerProcess:
    """One server in ``directory``, running or not. Use it in a ``with`` block, which kills what still runs.

    Nobody is an administrator, and in the Admin Room, who did not register with the token of the greeting.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.greeting = ""
        """What the last start said on standard output."""
        self.data = directory / "data"
        """What the server keeps; nothing else writes there."""
        self.address = ("127.0.0.1", free_port())
        self.metrics_address = ("127.0.0.1", free_port())
        self.program: Sequence[str] = (sys.executable, "-m", "conduit_py")
        """What is run."""
        self.environment = dict(environment or {})
        """Variables of the process beside those of the tests."""
        self.config = directory / "conduit.toml"
        self._stderr = directory / "stderr.log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    def _write_config(self) -> None:
        text = _CONFIG.format(
            server_name=SERVER_NAME,
            database_path=self.data,
            port=self.address[1],
            metrics_port=self.metrics_address[1],
        )
        self.config.write_text(text)

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def start(self, *, wait: bool = True) -> None:
        """Start, and wait until it listens."""
        assert self._process is None, "the server runs already"
        self._write_config()
        with self._stderr.open("ab") as stderr:
            self._process = subprocess.Popen(
                [*self.program, "--config", str(self.config)],
                cwd=ROOT,
                env={**os.environ, "PYTHONWARNINGS": "error", **self.environment},
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        if wait:
            self.address = self._read_address(self._process)

    def _read_address(self, process: subprocess.Popen[bytes]) -> tuple[str, int]:
        assert process.stdout is not None
        deadline = time.monotonic() + START_S_MAX
        said = b""
        while b"READY\n" not in said:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(process.stdout.fileno(), 4096) if ready else b""
            assert chunk, f"the server is not ready and said {said!r}, and {self.read_log()}"
            said += chunk
        self.greeting = said.decode()
        found = _LISTENING.search(self.greeting)
        assert found is not None, said
        return found[1], int(found[2])

    def let_run(self, seconds: float) -> None:
        """Go on for so long; the process must not end by itself."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError(f"the server ended with {code}: {self.read_log()}")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: it runs no code of its own any more."""
        assert self._process is not None
        self._process.kill()
        self._reap()

    def stop(self) -> None:
        """SIGTERM: it must end by itself, in time, with 0, and without a complaint in its log."""
        self.signal(signal.SIGTERM)
        self.wait_stopped()

    def wait_stopped(self) -> None:
        """After SIGTERM: see ``stop``."""
        assert self._process is not None
        code = self._process.wait(timeout=STOP_S_MAX)
        self._reap()
        assert code == 0, self.read_log()
        self.check_log()

    def wait_killed(self) -> None:
        """The server must end by SIGKILL without being told."""
        assert self._process is not None
        code = self._process.wait(timeout=START_S_MAX)
        self._reap()
        assert code == -signal.SIGKILL, self.read_log()

    def wait_refused(self) -> str:
        """The server must end by itself with 1. Returns the last line it says."""
        assert self._process is not None
        code = self._process.wait(timeout=START_S_MAX)
        self._reap()
        assert code == 1, self.read_log()
        return self.read_log().splitlines()[-1]

    def _reap(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        process.wait()
        process.stdout.close()

    def read_log(self) -> str:
        """Everything that every start has written to standard error."""
        return self._stderr.read_text() if self._stderr.exists() else ""

    def check_log(self) -> None:
        """Nothing went wrong that the server knows of."""
        log = self.read_log()
        assert not _BAD_LINE.search(log), log


def check_files(data: Path) -> list[str]:
    """What is inconsistent in the files of a server that does not run."""
    engine = LmdbEngine(data / DIRECTORY, [tree.name for tree in CATALOG], reserve_bytes=0)
    with closing(engine), Database(engine, ObjectCache(0)).snapshot() as snapshot:
        return list(check_consistency(snapshot))


def copy_data(data: Path, to: Path) -> None:
    """Copy a data directory, but for the socket that a killed server leaves in it: Python cannot copy that."""
    shutil.copytree(data, to, ignore=shutil.ignore_patterns(SOCKET_NAME))
