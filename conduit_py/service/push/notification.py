"""A notification in the words of the push gateway API.

Spec: push-gateway-api/#post_matrixpushv1notify
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conduit_py.data import members, short_ids, state, timeline
from conduit_py.data.notified import Group
from conduit_py.data.search import get_event_at
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.push.evaluate import get_tweaks
from conduit_py.matrix.stripped_state import get_stripped
from conduit_py.service.push.pending import Pending
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import INVITE
from kvschema.catalog.push import Pusher
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

EVENT_ID_ONLY = "event_id_only"

Notification = dict[str, Any]


def build_counts(pusher: Pusher, unread: int) -> Notification:
    """How much is unread, when it changed without an event.

    Zero is written out, although counts of zero should be left out: nothing else in here would say that there is
    nothing left.
    """
    return {"counts": {"unread": unread}, "devices": [_build_device(pusher, {})]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event, and what there is to say of its room."""

    event_id: str
    type: str
    sender: str
    state_key: str | None
    content: Mapping[str, Any]
    sent_ms: int | None
    """When its sender's server says it was sent, None where nobody says."""
    get_state: Callable[[str, str], Mapping[str, Any]]
    """Content of the room's state by type and state key; empty where there is none, or only a glimpse."""


def get_told(snapshot: Snapshot, user: ShortUserId, pending: Pending) -> Told | None:
    """None for an event that is not there any more."""
    event = get_event_at(snapshot, pending.room, pending.pos)
    if event is None:
        return _get_invite(snapshot, user, pending)

    def get_state(type: str, state_key: str) -> Mapping[str, Any]:
        current = state.get_current_pdu(snapshot, pending.room, type, state_key)
        return {} if current is None else current.content

    pdu = timeline.get_pdu(snapshot, event)
    return Told(
        event_id=pdu.event_id,
        type=pdu.type,
        sender=pdu.sender,
        state_key=pdu.state_key,
        content=pdu.content,
        sent_ms=pdu.origin_server_ts,
        get_state=get_state,
    )


def _get_invite(snapshot: Snapshot, user: ShortUserId, pending: Pending) -> Told | None:
    """To a room that we are not in, of which a glimpse is all there is."""
    standing = members.get_membership(snapshot, user, pending.room)
    if standing is None or standing[0] != INVITE or standing[1].pos != pending.pos:
        return None
    invite, user_id = standing[1], short_ids.get_user_id(snapshot, user)

    def get_state(type: str, state_key: str) -> Mapping[str, Any]:
        content = get_stripped(invite.stripped_state, type, state_key).get("content")
        return content if isinstance(content, Mapping) else {}

    return Told(
        event_id=invite.event_id,
        type="m.room.member",
        sender=invite.sender,
        state_key=user_id,
        content=get_state("m.room.member", user_id),
        sent_ms=None,
        get_state=get_state,
    )


def build_notification(
    snapshot: Snapshot, user: ShortUserId, pusher: Pusher, room: ShortRoomId, told: Told, group: Group, unread: int
) -> Notification:
    tweaks = get_tweaks(group.actions)
    notification: Notification = {
        "event_id": told.event_id,
        "room_id": short_ids.get_room_record(snapshot, room).room_id,
        "prio": "high" if told.type == "m.room.encrypted" or tweaks.get("highlight") or "sound" in tweaks else "low",
        "counts": {"unread": unread} if unread else {},
        "devices": [_build_device(pusher, tweaks)],
    }
    if pusher.data.get("format") != EVENT_ID_ONLY:
        notification |= _describe(told, short_ids.get_user_id(snapshot, user))
    return notification


def _describe(told: Told, user_id: UserId) -> Notification:
    """What is in the event, and where it was sent and by whom."""

    def named(type: str, state_key: str, name: str) -> str | None:
        value = told.get_state(type, state_key).get(name)
        return value if isinstance(value, str) and value else None

    described: Notification = {
        "type": told.type,
        "sender": told.sender,
        "sender_display_name": named("m.room.member", told.sender, "displayname"),
        "room_name": named("m.room.name", "", "name"),
        "room_alias": named("m.room.canonical_alias", "", "alias"),
        "content": told.content,
        "user_is_target": told.state_key == user_id if told.type == "m.room.member" else None,
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
