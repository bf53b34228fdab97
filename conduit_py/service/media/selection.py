"""Choosing among all media: by who uploaded them, where they are from, what they are and since when they are here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

import trio

from conduit_py.data import media
from conduit_py.service.users.store import Store
from kvschema.catalog.media import ByMxc, Media
from kvschema.catalog.rooms import ShortUserId

SCANNED_AT_ONCE: Final = 1000
"""About 5 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What media have to be. None is no condition."""

    server_name: str | None = None
    users: frozenset[ShortUserId] | None = None
    """Of this server: who uploaded media elsewhere is not known."""
    content_type: str | None = None
    """``image/png``, or ``image`` for all of that kind."""
    after_ms: int | None = None
    before_ms: int | None = None

    def matches(self, row: Media) -> bool:
        """Is a medium of that server one of them?"""
        return (
            (self.users is None or row.user in self.users)
            and (self.content_type is None or _is_of_type(row.content_type, self.content_type))
            and (self.after_ms is None or row.created_ms >= self.after_ms)
            and (self.before_ms is None or row.created_ms < self.before_ms)
        )


def _is_of_type(content_type: str, wanted: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return wanted.lower() in (kind, kind.partition("/")[0])


async def find_media(store: Store, selection: Selection) -> list[tuple[ByMxc, Media]]:
    """All of them, in the order of their URIs."""
    found: list[tuple[ByMxc, Media]] = []
    after: ByMxc | None = None
    while True:
        with store.snapshot() as snapshot:
            some = list(islice(media.scan_all(snapshot, selection.server_name, after=after), SCANNED_AT_ONCE))
        found += [(mxc, row) for mxc, row in some if selection.matches(row)]
        if len(some) < SCANNED_AT_ONCE:
            return found
        after = some[-1][0]
        await trio.lowlevel.checkpoint()
