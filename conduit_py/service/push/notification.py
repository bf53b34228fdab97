"""A notification in the words of the push gateway API.

Spec: push-gateway-api/#post_matrixpushv1notify
"""

from __future__ import annotations

from typing import Any

from conduit_py.data import state, timeline
from conduit_py.data.notified import Group
from conduit_py.data.search import get_event_at
from conduit_py.data.short_ids import get_room_record
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.push.evaluate import get_tweaks
from conduit_py.service.push.pending import Pending
from conduit_py.storage.database import Snapshot
from kvschema.catalog.push import Pusher
from kvschema.catalog.rooms import ShortRoomId

EVENT_ID_ONLY = "event_id_only"

Notification = dict[str, Any]


def build_counts(pusher: Pusher, unread: int) -> Notification:
    """How much is unread, when it changed without an event.

    Zero is written out, although counts of zero should be left out: nothing else in here would say that there is
    nothing left.
    """
    return {"counts": {"unread": unread}, "devices": [_build_device(pusher, {})]}


def build_notification(
    snapshot: Snapshot, user_id: UserId, pusher: Pusher, pending: Pending, group: Group, unread: int
) -> Notification | None:
    """None for an event that is not in the timeline any more."""
    event = get_event_at(snapshot, pending.room, pending.pos)
    if event is None:
        return None
    pdu, tweaks = timeline.get_pdu(snapshot, event), get_tweaks(group.actions)
    notification = {
        "event_id": pdu.event_id,
        "room_id": get_room_record(snapshot, pending.room).room_id,
        "prio": "high" if pdu.type == "m.room.encrypted" or tweaks.get("highlight") or "sound" in tweaks else "low",
        "counts": {"unread": unread} if unread else {},
        "devices": [_build_device(pusher, tweaks)],
    }
    if pusher.data.get("format") != EVENT_ID_ONLY:
        notification |= _describe(snapshot, user_id, pending.room, pdu)
    return notification


def _describe(snapshot: Snapshot, user_id: UserId, room: ShortRoomId, pdu: Pdu) -> Notification:
    """What is in the event, and where it was sent and by whom."""

    def named(type: str, state_key: str, name: str) -> str | None:
        current = state.get_current_pdu(snapshot, room, type, state_key)
        value = None if current is None else current.content.get(name)
        return value if isinstance(value, str) and value else None

    described: Notification = {
        "type": pdu.type,
        "sender": pdu.sender,
        "sender_display_name": named("m.room.member", pdu.sender, "displayname"),
        "room_name": named("m.room.name", "", "name"),
        "room_alias": named("m.room.canonical_alias", "", "alias"),
        "content": pdu.content,
        "user_is_target": pdu.state_key == user_id if pdu.type == "m.room.member" else None,
    }
    return {key: value for key, value in described.items() if value is not None}


def _build_device(pusher: Pusher, tweaks: dict[str, Any]) -> Notification:
    return {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "pushkey_ts": pusher.set_ms // 1000,
        "data": {key: value for key, value in pusher.data.items() if key != "url"},
        **({"tweaks": tweaks} if tweaks else {}),
    }
