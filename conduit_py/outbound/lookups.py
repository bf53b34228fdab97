"""Questions to other servers that users make us ask, kept from taking all the places from what servers have to say.

Spec: server-server-api/#querying-for-information
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

import trio

from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.federation import ANSWER_BYTES_MAX, REQUEST_TIMEOUT_S, Fetcher

LOOKUPS_AT_ONCE: Final = 40
"""Of ``max_concurrent_requests``, which is 100 unless the operator says otherwise."""
LOOKUPS_PER_SERVER_MAX: Final = 8
"""One server that answers slowly must not make those wait who ask others."""


class Lookups:
    """Asks as long as there are few who ask. One per server."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._places = trio.CapacityLimiter(LOOKUPS_AT_ONCE)
        self._by_server: Counter[ServerName] = Counter()

    async def fetch(
        self,
        method: str,
        destination: ServerName,
        path: str,
        *,
        content: Mapping[str, Any] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
        bytes_max: int = ANSWER_BYTES_MAX,
        is_signed: bool = True,
        texts_of: Collection[str] = (),
    ) -> dict[str, Any]:
        """See `FederationClient.fetch`. Raises `Unreachable` too while the destination is asked much already."""
        if self._by_server[destination] >= LOOKUPS_PER_SERVER_MAX:
            raise Unreachable(f"{destination} is being asked for {LOOKUPS_PER_SERVER_MAX} things already")
        self._by_server[destination] += 1
        try:
            async with self._places:
                return await self._fetcher.fetch(
                    method,
                    destination,
                    path,
                    content=content,
                    timeout_s=timeout_s,
                    bytes_max=bytes_max,
                    is_signed=is_signed,
                    texts_of=texts_of,
                )
        finally:
            self._by_server[destination] -= 1
            if not self._by_server[destination]:
                del self._by_server[destination]
