"""Ports for servers that others are told of before they start, or that start more than once."""

from __future__ import annotations

import socket
from contextlib import suppress
from random import SystemRandom

_PORTS = range(10_000, 32_768)
"""Below those that systems give to connections, where one of another test could take a port that its server left."""


def free_port() -> int:
    """A port of this machine that nobody listens on, and that no connection will be given by chance."""
    while True:
        port = SystemRandom().choice(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
