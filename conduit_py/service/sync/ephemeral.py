"""Receipts, typing and unread counts as /sync tells them.

Spec: client-server-api/#receipts, client-server-api/#typing-notifications, client-server-api/#receiving-notifications
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import orjson

from conduit_py.data import receipts, timeline
from conduit_py.data.notified import MAIN_TIMELINE, Count, get_unread
from conduit_py.data.receipts import READ_PRIVATE
from conduit_py.service.sync.since import View
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortRoomId

RECEIPT, TYPING = "m.receipt", "m.typing"
_NOTHING = Count(0, 0)


def build_receipts(snapshot: Snapshot, room: ShortRoomId, view: View, *, after: int) -> list[bytes]:
    """``m.receipt`` events for what was set past ``after``, one for each thread, without others' private receipts."""
    threads: dict[str, dict[str, dict[str, dict[str, dict[str, Any]]]]] = {}
    for receipt in receipts.scan_receipts(snapshot, room, after=after, until=view.until):
        if receipt.type == READ_PRIVATE and receipt.user_id != view.requester.user_id:
            continue
        if receipt.user_id in view.ignored:
            continue
        content = threads.setdefault(receipt.thread_id, {})
        data: dict[str, Any] = {"ts": receipt.ts_ms}
        if receipt.thread_id:
            data["thread_id"] = receipt.thread_id
        content.setdefault(receipt.event_id, {}).setdefault(receipt.type, {})[receipt.user_id] = data
    return [orjson.dumps({"type": RECEIPT, "content": content}) for content in threads.values()]


def build_typing(user_ids: Iterable[str], view: View) -> bytes:
    """The whole list: it replaces what the client knew."""
    shown = [user_id for user_id in user_ids if user_id not in view.ignored]
    return orjson.dumps({"type": TYPING, "content": {"user_ids": shown}})


def build_unread(snapshot: Snapshot, room: ShortRoomId, view: View) -> list[bytes]:
    """``unread_notifications`` and, if the filter asks to count by thread, ``unread_thread_notifications``."""
    unread = get_unread(snapshot, view.requester.user, room)
    threads = {} if unread is None else dict(unread.counts)
    if view.filter.room.timeline.unread_thread_notifications:
        main = threads.pop(MAIN_TIMELINE, _NOTHING)
    else:
        main, threads = _sum(threads.values()), {}
    parts = [b'"unread_notifications":' + _render_count(main)]
    if threads:
        counts = (
            orjson.dumps(timeline.require_row(snapshot, root).event_id) + b":" + _render_count(count)
            for root, count in threads.items()
        )
        parts.append(b'"unread_thread_notifications":{' + b",".join(counts) + b"}")
    return parts


def _sum(counts: Collection[Count]) -> Count:
    return Count(sum(count.notifications for count in counts), sum(count.highlights for count in counts))


def _render_count(count: Count) -> bytes:
    return b'{"notification_count":%d,"highlight_count":%d}' % count
