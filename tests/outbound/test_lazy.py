"""A server that asks nobody pays nothing for being able to."""

from __future__ import annotations

import subprocess
import sys

SHOW = "import sys, conduit_py.server; sys.stdout.write(' '.join(m for m in ('httpcore2', 'dns') if m in sys.modules))"


def test_clients_of_the_network_are_imported_with_the_first_request() -> None:
    done = subprocess.run([sys.executable, "-c", SHOW], check=True, capture_output=True, text=True)
    assert done.stdout == ""
