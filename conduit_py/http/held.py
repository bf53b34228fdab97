"""How much of requests is held in memory at a time, before anybody knows who they are from.

A server's signature covers the whole body, so a body has to be read before it is known whose it is. Whoever opens
enough connections could fill the memory with bodies of the largest size; so they share what there is for them, and one
address has a part of it. Who gets none is told to come again. Small bodies are not counted: there are no more of them
than connections.
"""

from __future__ import annotations

from typing import Final

from conduit_py.http.errors import Busy
from conduit_py.networks import find_network

__all__ = ["Hold", "Shelf"]

HELD_BYTES_MAX: Final = 256 * 1024 * 1024
PER_ADDRESS_BYTES_MAX: Final = HELD_BYTES_MAX // 4
"""Also for all clients behind a reverse proxy that is not named in ``trusted_proxies``."""
SMALL_BYTES_MAX: Final = 16 * 1024
RETRY_S: Final = 5


class Shelf:
    """What the requests of one application hold."""

    def __init__(self) -> None:
        self.held = 0
        self.by_address: dict[str, int] = {}

    def take(self, address: str, size: int) -> None:
        """Raises ``Busy``."""
        of_address = self.by_address.get(address, 0) + size
        if self.held + size > HELD_BYTES_MAX or of_address > PER_ADDRESS_BYTES_MAX:
            raise Busy(
                "Too much is being sent at a time",
                headers={"Retry-After": str(RETRY_S)},
                extra={"retry_after_ms": RETRY_S * 1000},
            )
        self.held += size
        self.by_address[address] = of_address

    def give_back(self, address: str, size: int) -> None:
        self.held -= size
        left = self.by_address[address] - size
        if left:
            self.by_address[address] = left
        else:
            del self.by_address[address]


class Hold:
    """What one request holds, until it is answered."""

    __slots__ = ("_address", "_shelf", "_size")

    def __init__(self, shelf: Shelf, address: str) -> None:
        self._shelf = shelf
        self._address = find_network(address)
        self._size = 0

    def grow(self, size: int) -> None:
        """Hold at least so many bytes. Raises ``Busy``."""
        if size > self._size:
            self._shelf.take(self._address, size - self._size)
            self._size = size

    def release(self) -> None:
        size, self._size = self._size, 0
        if size:
            self._shelf.give_back(self._address, size)
