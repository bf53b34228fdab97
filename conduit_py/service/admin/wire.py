"""How the command line talks to the server that runs: a socket in the data directory, and JSON, a line for each thing.

The request is ``{"command": ..., "body": ...}``. The answer is, any number of times, how far the command is, which is
``{"progress": {"done": ..., "total": ...}}``, and then the fields of an ``Answer``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "admin.sock"
LINE_BYTES_MAX: Final = 4 << 20
"""Of one line: what a command may be given, or answer."""
ADDRESS_BYTES_MAX: Final = 107
"""What the system takes for the path of a socket."""


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """An address for the socket at ``path`` that is short enough, however long the path is."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
