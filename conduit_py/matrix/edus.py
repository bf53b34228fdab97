"""Ephemeral data units: what servers tell one another that is no part of a room's history.

Each ``parse_x`` takes the ``content`` of an EDU and the server it came from. An EDU about one thing that is malformed,
or about somebody else's user, raises `Malformed`. One that carries many (receipts, presence, messages to devices)
loses only the entries that are. Each ``build_x_event`` gives the event that clients get in ``/sync``, every other
``build_x`` the whole EDU.

Spec: server-server-api/#edus
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeGuard

from conduit_py.matrix.canonical_json import INT_MAX, INT_MIN
from conduit_py.matrix.ids import (
    DeviceId,
    EventId,
    Malformed,
    RoomId,
    ServerName,
    UserId,
    parse_device_id,
    parse_event_id,
    parse_room_id,
    parse_user_id,
    server_name_of,
)

TYPING: Final = "m.typing"
RECEIPT: Final = "m.receipt"
PRESENCE: Final = "m.presence"
DEVICE_LIST_UPDATE: Final = "m.device_list_update"
SIGNING_KEY_UPDATE: Final = "m.signing_key_update"
DIRECT_TO_DEVICE: Final = "m.direct_to_device"

READ: Final = "m.read"
MAIN_THREAD: Final = "main"
PRESENCES: Final = ("offline", "unavailable", "online")
ALL_DEVICES: Final = DeviceId("*")

STATUS_MSG_CHARS_MAX: Final = 1024
"""Longer messages are cut. They are held in memory for everybody who is known to be around."""

ENTRIES_MAX: Final = 2_500
"""Of one EDU no more receipts, presences or messages are read: 8 to 20 ms. A hostile server can send ten thousands."""

MESSAGE_ID_CHARS_MAX: Final = 255
"""The spec says 32, but a message lost for that is a conversation that cannot be read."""

Edu = dict[str, Any]


def parse_edu(edu: Any) -> tuple[str, Mapping[str, Any]]:
    """``edu_type`` and ``content`` of an entry of a transaction. Raises `Malformed`."""
    if not isinstance(edu, Mapping):
        raise Malformed("an EDU must be an object")
    return _string(edu, "edu_type"), _object(edu, "content")


def build_edu(edu_type: str, content: Mapping[str, Any]) -> Edu:
    return {"edu_type": edu_type, "content": content}


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """Spec: server-server-api/#typing-notifications"""

    room_id: RoomId
    user_id: UserId
    typing: bool


def parse_typing(content: Mapping[str, Any], origin: ServerName) -> Typing:
    """Whether the user is in the room is for the caller to know."""
    typing = content.get("typing")
    if not isinstance(typing, bool):
        raise Malformed("typing must be a boolean")
    room_id = parse_room_id(_string(content, "room_id"))
    return Typing(room_id=room_id, user_id=_user_of(content.get("user_id"), origin), typing=typing)


def build_typing(typing: Typing) -> Edu:
    content = {"room_id": typing.room_id, "user_id": typing.user_id, "typing": typing.typing}
    return build_edu(TYPING, content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """How far one user has read in one room, or in one thread of it.

    Spec: client-server-api/#mreceipt
    """

    room_id: RoomId
    user_id: UserId
    type: str
    event_id: EventId
    ts: int
    """Milliseconds."""
    thread_id: str | None = None
    """The thread root's event ID, `MAIN_THREAD`, or ``None`` for a receipt that knows no threads."""


def parse_receipts(content: Mapping[str, Any], origin: ServerName) -> tuple[Receipt, ...]:
    """The public read receipts of the server's own users; other kinds of receipt are none between servers."""
    return tuple(_scan_receipts(content, origin))


def _scan_receipts(content: Mapping[str, Any], origin: ServerName) -> Iterator[Receipt]:
    for room_id, user_id, receipt in islice(_scan_receipt_entries(content), ENTRIES_MAX):
        try:
            yield _parse_receipt(room_id, user_id, receipt, origin)
        except Malformed:
            continue


def _scan_receipt_entries(content: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for room_id, receipts in islice(content.items(), ENTRIES_MAX):
        by_user = receipts.get(READ) if isinstance(receipts, Mapping) else None
        for user_id, receipt in by_user.items() if isinstance(by_user, Mapping) else ():
            yield room_id, user_id, receipt


def _parse_receipt(room_id: str, user_id: str, receipt: Any, origin: ServerName) -> Receipt:
    if not isinstance(receipt, Mapping):
        raise Malformed("a receipt must be an object")
    event_ids, data = receipt.get("event_ids"), _object(receipt, "data")
    if not isinstance(event_ids, list) or not event_ids:
        raise Malformed("event_ids must be a list that is not empty")
    thread_id = data.get("thread_id")
    if thread_id is not None and thread_id != MAIN_THREAD:
        thread_id = _event_id(thread_id)
    return Receipt(
        room_id=parse_room_id(room_id),
        user_id=_user_of(user_id, origin),
        type=READ,
        # The ends of what was read. Servers name one; of several, one is as good as another.
        event_id=_event_id(event_ids[-1]),
        ts=_integer(data, "ts"),
        thread_id=thread_id,
    )


def build_receipts(receipts: Iterable[Receipt]) -> list[Edu]:
    """Receipts of our users for another server; `ValueError` for private ones.

    An EDU has room for one receipt per user and room. Receipts in several threads make several EDUs.
    """
    contents: list[_ByRoomTypeAndUser] = []
    for receipt in receipts:
        if receipt.type != READ:
            raise ValueError(f"{receipt.type} receipts are not for other servers")
        _put_in_first_free(contents, receipt)
    return [build_edu(RECEIPT, content) for content in contents]


_ByRoomTypeAndUser = dict[str, dict[str, dict[str, Any]]]


def _put_in_first_free(contents: list[_ByRoomTypeAndUser], receipt: Receipt) -> None:
    data: dict[str, Any] = {"ts": receipt.ts}
    if receipt.thread_id is not None:
        data["thread_id"] = receipt.thread_id
    _put_entry(contents, receipt.room_id, receipt.user_id, {"event_ids": [receipt.event_id], "data": data})


def _put_entry(contents: list[_ByRoomTypeAndUser], room_id: str, user_id: str, entry: dict[str, Any]) -> None:
    for content in contents:
        by_user = content.setdefault(room_id, {}).setdefault(READ, {})
        if user_id not in by_user:
            by_user[user_id] = entry
            return
    contents.append({room_id: {READ: {user_id: entry}}})


def merge_receipts(contents: Iterable[Mapping[str, Any]]) -> list[Edu]:
    """As few EDUs as say the same as those with these contents, which ``build_receipts`` made."""
    merged: list[_ByRoomTypeAndUser] = []
    for content in contents:
        for room_id, by_type in content.items():
            for user_id, entry in by_type[READ].items():
                _put_entry(merged, room_id, user_id, entry)
    return [build_edu(RECEIPT, content) for content in merged]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Spec: server-server-api/#presence"""

    user_id: UserId
    presence: str
    """One of `PRESENCES`."""
    last_active_ago_ms: int | None
    """``None`` when it is not known."""
    status_msg: str | None = None
    currently_active: bool = False


def parse_presence(content: Mapping[str, Any], origin: ServerName) -> tuple[Presence, ...]:
    """The presence of the server's own users."""
    return tuple(_scan_presence(content, origin))


def _scan_presence(content: Mapping[str, Any], origin: ServerName) -> Iterator[Presence]:
    push = content.get("push")
    for update in push[:ENTRIES_MAX] if isinstance(push, list) else ():
        try:
            yield _parse_presence_update(update, origin)
        except Malformed:
            continue


def _parse_presence_update(update: Any, origin: ServerName) -> Presence:
    if not isinstance(update, Mapping):
        raise Malformed("a presence update must be an object")
    presence, status_msg = _string(update, "presence"), update.get("status_msg")
    if presence not in PRESENCES:
        raise Malformed(f"presence must be one of {', '.join(PRESENCES)}")
    if status_msg is not None and not isinstance(status_msg, str):
        raise Malformed("status_msg must be a string")
    return Presence(
        user_id=_user_of(update.get("user_id"), origin),
        presence=presence,
        # Servers leave it out for whom they have not seen since they started.
        last_active_ago_ms=_integer(update, "last_active_ago") if "last_active_ago" in update else None,
        status_msg=status_msg if status_msg is None else status_msg[:STATUS_MSG_CHARS_MAX],
        currently_active=update.get("currently_active") is True,
    )


def build_presence(updates: Iterable[Presence]) -> Edu:
    push = [{"user_id": update.user_id, **_presence_content(update)} for update in updates]
    for update in push:
        update.setdefault("last_active_ago", 0)
    return build_edu(PRESENCE, {"push": push})


def build_presence_event(
    update: Presence, *, displayname: str | None = None, avatar_url: str | None = None
) -> dict[str, Any]:
    """Spec: client-server-api/#mpresence"""
    content = _presence_content(update)
    if displayname is not None:
        content["displayname"] = displayname
    if avatar_url is not None:
        content["avatar_url"] = avatar_url
    return {"type": PRESENCE, "sender": update.user_id, "content": content}


def _presence_content(update: Presence) -> dict[str, Any]:
    content: dict[str, Any] = {"presence": update.presence, "currently_active": update.currently_active}
    if update.last_active_ago_ms is not None:
        content["last_active_ago"] = update.last_active_ago_ms
    if update.status_msg is not None:
        content["status_msg"] = update.status_msg
    return content


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceListUpdate:
    """Spec: server-server-api/#definition-mdevice_list_update"""

    user_id: UserId
    device_id: DeviceId
    stream_id: int
    prev_id: tuple[int, ...] = ()
    deleted: bool = False
    device_display_name: str | None = None
    keys: Mapping[str, Any] | None = None
    """The device's identity keys, as they came: their signatures are for the caller to check."""


def parse_device_list_update(content: Mapping[str, Any], origin: ServerName) -> DeviceListUpdate:
    prev_id, name, keys = content.get("prev_id", []), content.get("device_display_name"), content.get("keys")
    if not isinstance(prev_id, list) or not all(_is_integer(entry) for entry in prev_id):
        raise Malformed("prev_id must be a list of integers")
    if name is not None and not isinstance(name, str):
        raise Malformed("device_display_name must be a string")
    if keys is not None and not isinstance(keys, Mapping):
        raise Malformed("keys must be an object")
    return DeviceListUpdate(
        user_id=_user_of(content.get("user_id"), origin),
        device_id=parse_device_id(_string(content, "device_id")),
        stream_id=_integer(content, "stream_id"),
        prev_id=tuple(prev_id),
        deleted=content.get("deleted") is True,
        device_display_name=name,
        keys=keys,
    )


def build_device_list_update(update: DeviceListUpdate) -> Edu:
    content: dict[str, Any] = {
        "user_id": update.user_id,
        "device_id": update.device_id,
        "stream_id": update.stream_id,
        "prev_id": list(update.prev_id),
    }
    if update.deleted:
        content["deleted"] = True
    if update.device_display_name is not None:
        content["device_display_name"] = update.device_display_name
    if update.keys is not None:
        content["keys"] = update.keys
    return build_edu(DEVICE_LIST_UPDATE, content)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyUpdate:
    """Spec: server-server-api/#definition-msigning_key_update"""

    user_id: UserId
    master_key: Mapping[str, Any] | None = None
    """A cross-signing key as it came: whose it is and who signed it is for the caller to check."""
    self_signing_key: Mapping[str, Any] | None = None


def parse_signing_key_update(content: Mapping[str, Any], origin: ServerName) -> SigningKeyUpdate:
    return SigningKeyUpdate(
        user_id=_user_of(content.get("user_id"), origin),
        master_key=_object(content, "master_key") if "master_key" in content else None,
        self_signing_key=_object(content, "self_signing_key") if "self_signing_key" in content else None,
    )


def build_signing_key_update(update: SigningKeyUpdate) -> Edu:
    content: dict[str, Any] = {"user_id": update.user_id}
    if update.master_key is not None:
        content["master_key"] = update.master_key
    if update.self_signing_key is not None:
        content["self_signing_key"] = update.self_signing_key
    return build_edu(SIGNING_KEY_UPDATE, content)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectToDevice:
    """Spec: server-server-api/#definition-mdirect_to_device"""

    sender: UserId
    type: str
    message_id: str
    """The sending server's, for telling repetitions."""
    messages: Mapping[UserId, Mapping[DeviceId, Mapping[str, Any]]]
    """Contents by recipient and device; the device may be `ALL_DEVICES`."""


def parse_direct_to_device(content: Mapping[str, Any], origin: ServerName) -> DirectToDevice:
    """Which of the recipients are ours is for the caller to know."""
    message_id = _string(content, "message_id")
    if len(message_id) > MESSAGE_ID_CHARS_MAX:
        raise Malformed(f"message_id must not exceed {MESSAGE_ID_CHARS_MAX} characters")
    messages: dict[UserId, dict[DeviceId, Mapping[str, Any]]] = {}
    left = ENTRIES_MAX
    for user_id, by_device in islice(_object(content, "messages").items(), ENTRIES_MAX):
        try:
            recipient = parse_user_id(user_id)
        except Malformed:
            continue
        if isinstance(by_device, Mapping):
            read = dict(islice(by_device.items(), left))
            left -= len(read)
            messages[recipient] = {
                DeviceId(device_id): message for device_id, message in read.items() if isinstance(message, Mapping)
            }
    return DirectToDevice(
        sender=_user_of(content.get("sender"), origin),
        type=_string(content, "type"),
        message_id=message_id,
        messages=messages,
    )


def build_direct_to_device(message: DirectToDevice) -> Edu:
    content = {
        "sender": message.sender,
        "type": message.type,
        "message_id": message.message_id,
        "messages": message.messages,
    }
    return build_edu(DIRECT_TO_DEVICE, content)


def _user_of(value: Any, origin: ServerName) -> UserId:
    if not isinstance(value, str):
        raise Malformed("a user ID must be a string")
    user_id = parse_user_id(value)
    if server_name_of(user_id) != origin:
        raise Malformed(f"the user {user_id} is not of the sending server {origin}")
    return user_id


def _event_id(value: Any) -> EventId:
    if not isinstance(value, str):
        raise Malformed("an event ID must be a string")
    return parse_event_id(value)


def _string(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name} must be a string")
    return value


def _object(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = content.get(name)
    if not isinstance(value, Mapping):
        raise Malformed(f"{name} must be an object")
    return value


def _integer(content: Mapping[str, Any], name: str) -> int:
    value = content.get(name)
    if not _is_integer(value):
        raise Malformed(f"{name} must be an integer")
    return value


def _is_integer(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and INT_MIN <= value <= INT_MAX
