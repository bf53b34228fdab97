"""Receipts, typing and unread counts as /sync tells them.

Spec: client-server-api/#receipts, client-server-api/#typing-notifications, client-server-api/#receiving-notifications
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from conduit_py.data import receipts, timeline
from conduit_py.data.notified import MAIN_TIMELINE, NOTHING, Count, get_unread
from conduit_py.data.receipts import READ_PRIVATE
from conduit_py.service.sync.since import View
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortRoomId

RECEIPT, TYPING = "m.receipt", "m.typing"
_COUNT = b'"notification_count":%d,"highlight_count":%d'


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
    if unread is None:
        return [_render_count(NOTHING)]
    if not view.filter.room.timeline.unread_thread_notifications:
        return [_render_count(unread.all)]
    parts = [_render_count(unread.by_thread.get(MAIN_TIMELINE, NOTHING))]
    threads = [
        b"%s:{%s}" % (orjson.dumps(timeline.require_row(snapshot, root).event_id), _COUNT % count)
        for root, count in unread.by_thread.items()
        if root != MAIN_TIMELINE
    ]
    if threads:
        parts.append(b'"unread_thread_notifications":{' + b",".join(threads) + b"}")
    return parts


def _render_count(count: Count) -> bytes:
    return b'"unread_notifications":{%s}' % (_COUNT % count)
