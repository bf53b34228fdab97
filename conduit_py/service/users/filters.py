"""Filters that clients upload once and name from then on.

Spec: client-server-api/#filtering
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from typing import Any, Final

import orjson

from conduit_py.data import filters
from conduit_py.matrix.filters import parse_sync_filter
from conduit_py.service.errors import Forbidden, NotFound, TooLarge
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from kvschema.catalog.users import FILTERS_PER_USER_MAX

FILTER_BYTES_MAX: Final = 64 * 1024
_ID_PADDING: Final = "=="
_ID_CHARS: Final = 22


class FilterService:
    """One per server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def define_filter(self, requester: Requester, user_id: str, definition: Mapping[str, Any]) -> str:
        """Store a filter and name it. Raises ``Forbidden``, ``InvalidFilter``, ``TooLarge``."""
        requester.require_self(user_id, "define filters")
        parse_sync_filter(definition)
        text = orjson.dumps(definition, option=orjson.OPT_SORT_KEYS).decode()
        if len(text.encode()) > FILTER_BYTES_MAX:
            raise TooLarge(f"A filter must not exceed {FILTER_BYTES_MAX} bytes")
        digest = filters.hash_filter(text)
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if filters.get_filter(snapshot, requester.user, digest) is None:
                    if filters.count_filters(snapshot, requester.user) >= FILTERS_PER_USER_MAX:
                        raise Forbidden(f"You have {FILTERS_PER_USER_MAX} filters already")
                    filters.stage_filter(turn, requester.user, text)
        return urlsafe_b64encode(digest).decode().rstrip("=")

    def require_filter(self, requester: Requester, user_id: str, filter_id: str) -> dict[str, Any]:
        """The filter as it was uploaded. Raises ``Forbidden``, ``NotFound``."""
        requester.require_self(user_id, "read the filters")
        digest = _parse_filter_id(filter_id)
        with self._store.snapshot() as snapshot:
            text = None if digest is None else filters.get_filter(snapshot, requester.user, digest)
        if text is None:
            raise NotFound("There is no such filter")
        definition: dict[str, Any] = orjson.loads(text)
        return definition


def _parse_filter_id(filter_id: str) -> bytes | None:
    if len(filter_id) != _ID_CHARS:
        return None
    try:
        digest = urlsafe_b64decode(filter_id + _ID_PADDING)
    except (NotBase64, ValueError):
        return None
    return digest if len(digest) == filters.DIGEST_BYTES else None
