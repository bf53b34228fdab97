"""Runs the blocks of one page, in order, as somebody who reads it would."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.docs.pages import ROOT, Block
from tests.rig.ports import free_port

BLOCK_S_MAX: Final = 60
START_S_MAX: Final = 60
PORTS: Final = ("6167", "8000", "8008", "8448", "9090", "9001")
"""Ports that pages name, to be replaced: others may use them on the machine of the test."""

_LAUNCHER: Final = f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m conduit_py "$@"\n'


class PageFailed(AssertionError):
    """A block did not do what the page says."""


class Story:
    """One reading of one page, in ``home``. Use it in a ``with`` block, at whose end the server is stopped."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._server: subprocess.Popen[bytes] | None = None
        self._printed = ""
        tools = home / ".tools"
        tools.mkdir(parents=True)
        (tools / "conduit_py").write_text(_LAUNCHER)
        (tools / "conduit_py").chmod(0o755)
        self._ports = {port: str(free_port()) for port in PORTS}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CONDUIT_")}
        path = os.pathsep.join((str(tools), str(Path(sys.executable).parent), os.environ["PATH"]))
        self._environment = {**kept, "HOME": str(home), "PATH": path}

    def __enter__(self) -> Story:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is None:
            return
        if kind is None:
            self.stop()
        else:
            assert self._server.stdout is not None
            self._server.stdout.close()
            self._server.kill()
            self._server.wait()

    def tell(self, block: Block) -> None:
        """Do what ``block`` asks for. Raises `PageFailed`."""
        text = self._replace_ports(block.text)
        if block.file is not None:
            path = self.home / block.file.removeprefix("~/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if block.language == "text" and block.word == "output":
            self._compare(block, text)
        elif block.language == "sh" and block.word == "run":
            self._run(block, text)
        elif block.language == "sh" and block.word == "serve":
            self._serve(block, text)
        elif block.language == "sh" and block.word == "stop":
            self.stop()

    def _replace_ports(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda match: self._ports[match[1]], text)

    def _run(self, block: Block, text: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_S_MAX,
            check=False,
        )
        self._printed = done.stdout
        if done.returncode != 0:
            raise PageFailed(f"{block} ended with {done.returncode}:\n{done.stdout}")

    def _serve(self, block: Block, text: str) -> None:
        assert self._server is None, f"{block}: a server runs already"
        with (self.home / ".server.log").open("ab") as log:
            self._server = subprocess.Popen(
                ["bash", "-euc", f"exec {text.strip()}"],
                cwd=self.home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._server.stdout is not None
        said, deadline = b"", time.monotonic() + START_S_MAX
        while b"READY\n" not in said:
            ready, _, _ = select.select([self._server.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._server.stdout.fileno(), 4096) if ready else b""
            if not chunk:
                complaint = (self.home / ".server.log").read_text()
                raise PageFailed(f"{block}: the server is not ready: {said.decode()}{complaint}")
            said += chunk
        self._printed = said.decode()

    def stop(self) -> None:
        """End the server as a process manager would."""
        server, self._server = self._server, None
        assert server is not None, "no server runs"
        server.send_signal(signal.SIGTERM)
        assert server.stdout is not None
        server.stdout.close()
        code = server.wait(timeout=BLOCK_S_MAX)
        if code != 0:
            raise PageFailed(f"the server ended with {code}: {(self.home / '.server.log').read_text()}")

    def _compare(self, block: Block, text: str) -> None:
        wanted = [line for line in text.splitlines() if line.strip() not in ("", "...")]
        lines = iter(self._printed.splitlines())
        for line in wanted:
            pattern = ".*".join(re.escape(part) for part in line.rstrip().split("..."))
            if not any(re.fullmatch(pattern, found.rstrip()) for found in lines):
                raise PageFailed(f"{block}: not printed, or not in this order: {line!r}, in\n{self._printed}")
