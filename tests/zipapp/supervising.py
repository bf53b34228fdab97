"""An account on a shared host, whose services are run by a real supervisord."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.docs.pages import load_pages
from tests.zipapp.pythons import Python

START_S_MAX: Final = 120
STOP_S_MAX: Final = 30
TICK_S: Final = 0.1

_CONF: Final = """
[supervisord]
logfile=%(here)s/supervisord.log
pidfile=%(here)s/supervisord.pid
childlogdir=%(here)s/logs

[unix_http_server]
file=%(here)s/supervisor.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://%(here)s/supervisor.sock

[include]
files=%(here)s/etc/services.d/*.ini
"""
"""What the host has set up for the account."""


class Host:
    """Use it in a ``with`` block, in which supervisord runs. ``home`` has the files of the page on shared hosting."""

    def __init__(self, home: Path, python: Python) -> None:
        self.home = home
        self._python = python
        self._supervisord: subprocess.Popen[bytes] | None = None
        self._conf = home / "supervisord.conf"
        self._conf.write_text(_CONF)
        for folder in ("bin", "logs", "etc/services.d"):
            (home / folder).mkdir(parents=True)
        (page,) = (page for page in load_pages() if page.name == "install-uberspace.md")
        (service,) = (block for block in page.blocks() if block.file == "etc/services.d/conduit_py.ini")
        (home / service.file).write_text(service.text)  # type: ignore[operator]

    def __enter__(self) -> Host:
        self._supervisord = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(self._conf)],
            cwd=self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Supervisord is told to end, and ends what it runs."""
        assert self._supervisord is not None
        self._supervisord.send_signal(signal.SIGTERM)
        self._supervisord.wait(timeout=STOP_S_MAX)

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join((str(self._python.executable.parent), "/usr/bin", "/bin"))
        return {"HOME": str(self.home), "PATH": path, "LD_LIBRARY_PATH": str(self._python.library)}

    def run(self, *command: str | Path) -> str:
        """What it says; it must end with 0."""
        done = subprocess.run(
            command,
            cwd=self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def control(self, *command: str) -> str:
        return self.run(sys.executable, "-m", "supervisor.supervisorctl", "-c", self._conf, *command)

    def read_log(self, channel: str) -> str:
        """All that the service has said so far on ``stdout`` or ``stderr``."""
        return "".join(path.read_text() for path in sorted((self.home / "logs").glob(f"conduit_py-{channel}*")))

    def wait_ready(self, starts: int) -> None:
        """Until the server is ready for this many times."""
        assert self._supervisord is not None
        deadline = time.monotonic() + START_S_MAX
        while self.read_log("stdout").count("READY\n") < starts:
            assert time.monotonic() < deadline, self.read_log("stderr")
            try:
                self._supervisord.wait(timeout=TICK_S)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"supervisord ended: {(self.home / 'supervisord.log').read_text()}")
