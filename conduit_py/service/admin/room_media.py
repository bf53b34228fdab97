"""The media that were sent in a room, as far as this server can know: what encrypted messages name, it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import trio

from conduit_py.data import row_fields, timeline
from conduit_py.service.errors import NotFound
from conduit_py.service.media.fetch import parse_mxc
from conduit_py.service.users.store import Store
from kvschema.catalog.media import ByMxc
from kvschema.catalog.rooms import ShortRoomId
from kvschema.catalog.timeline import EventRow

EVENTS_AT_ONCE: Final = 500
"""About 5 ms."""
SENT_IN: Final = ("m.room.message", "m.sticker", "m.room.avatar")
"""Types of events that bring media. People's avatars belong to them, and stay."""


async def find_media_of_room(store: Store, room: ShortRoomId) -> list[ByMxc]:
    """Each once, in the order in which they were first sent."""
    found: dict[ByMxc, None] = {}
    after: int | None = None
    while True:
        with store.snapshot() as snapshot:
            places = list(islice(timeline.scan_timeline(snapshot, room, after=after), EVENTS_AT_ONCE))
            for _, event in places:
                row = timeline.get_row(snapshot, event)
                if row is not None and b'"mxc://' in row.client and row_fields.get_type(row) in SENT_IN:
                    found.update(dict.fromkeys(_scan_media(row)))
        if len(places) < EVENTS_AT_ONCE:
            return list(found)
        after = places[-1][0]
        await trio.lowlevel.checkpoint()


def _scan_media(row: EventRow) -> Iterator[ByMxc]:
    content: Any = timeline.client_fields(row).get("content")
    info = content.get("info") if isinstance(content, dict) else None
    for part, url, file in ((content, "url", "file"), (info, "thumbnail_url", "thumbnail_file")):
        if not isinstance(part, dict):
            continue
        encrypted = part.get(file)
        for uri in (part.get(url), encrypted.get("url") if isinstance(encrypted, dict) else None):
            if isinstance(uri, str) and uri.startswith("mxc://"):
                server_name, _, media_id = uri.removeprefix("mxc://").partition("/")
                try:
                    yield parse_mxc(server_name, media_id)
                except NotFound:
                    continue
