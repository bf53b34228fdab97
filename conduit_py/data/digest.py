"""Fixed-width digests of strings whose length is the client's choice."""

from __future__ import annotations

from hashlib import blake2b

DIGEST_BYTES = 16


def digest(*parts: str) -> bytes:
    """BLAKE2b-16 of the parts with NUL between them, which no part may hold."""
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
