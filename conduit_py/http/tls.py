"""The certificate that connections are opened with, which can be renewed while the server runs."""

from __future__ import annotations

import ssl
from pathlib import Path

from hypercorn.config import Config as HypercornConfig

__all__ = ["Tls"]


class Tls:
    """PEM files of a certificate chain and its private key. Raises ``OSError`` where they do not serve."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self.context = _context(certificate, private_key)
        """For the next connection; those that are open keep theirs."""

    def load(self, certificate: Path, private_key: Path) -> None:
        """Read the files anew. Raises ``OSError``, and goes on with the old ones then."""
        self.context = _context(certificate, private_key)


def _context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """HTTP/1.1 alone is offered: hypercorn's HTTP/2 falls over requests that anybody can send, and nothing here
    needs it, as browsers and servers open several connections and a reverse proxy speaks HTTP/1.1 behind itself."""
    hypercorn = HypercornConfig()
    hypercorn.alpn_protocols = ["http/1.1"]
    hypercorn.certfile = str(certificate)
    hypercorn.keyfile = str(private_key)
    context = hypercorn.create_ssl_context()
    assert context is not None, "there is a certificate"
    return context
