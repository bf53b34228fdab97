"""What /sync tells a device: messages to it, whose keys changed, and how many keys it has left.

An idle poll costs a few short scans.

Spec: client-server-api/#e2e-extensions-to-sync, client-server-api/#extensions-to-sync
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import orjson

from conduit_py.data import one_time_keys, to_device
from conduit_py.data.one_time_keys import Supply
from conduit_py.matrix.ids import DeviceId
from conduit_py.service.e2ee.device_lists import NO_CHANGES, Changes, ReadChanges, ReadEverybody, Reading
from conduit_py.service.requester import Requester
from conduit_py.storage.database import Snapshot
from kvschema.catalog.e2ee import ToDevice
from kvschema.catalog.rooms import ShortRoomId

MESSAGES_MAX: Final = 100
"""In one reply, as the specification recommends. Spec: client-server-api/#send-to-device-messaging"""
MESSAGES_BYTES_MAX: Final = 1024 * 1024
"""In one reply: the message that goes beyond is the last."""
USUAL_ALGORITHM: Final = "signed_curve25519"
"""Told even when there are none left: some clients upload only when they read a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which part of the stream a reply tells."""

    since: int | None
    """None to tell everything."""
    until: int
    """The position of the snapshot."""
    to_device_since: int
    """The device has the messages up to here."""
    is_gap: bool
    """The client went on from what never happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNews:
    messages: list[bytes]
    """Events as JSON."""
    messages_until: int | None
    """The position of the last message, if there are more; None if these are all."""
    changes: Changes
    counts: dict[str, int]
    """One-time keys by algorithm."""
    fallbacks: list[str]
    """Algorithms of unused fallback keys."""
    has_lost_keys: bool
    """Others claimed keys of the device."""

    @property
    def is_empty(self) -> bool:
        return not (self.messages or self.changes.changed or self.changes.left or self.has_lost_keys)

    def render(self) -> tuple[bytes, ...]:
        """Members of the reply."""
        lists = {"changed": self.changes.changed, "left": self.changes.left}
        return (
            b'"to_device":{"events":[' + b",".join(self.messages) + b"]}",
            b'"device_lists":' + orjson.dumps(lists),
            b'"device_one_time_keys_count":' + orjson.dumps(self.counts),
            b'"device_unused_fallback_key_types":' + orjson.dumps(self.fallbacks),
        )


NO_NEWS: Final = DeviceNews(
    messages=[], messages_until=None, changes=NO_CHANGES, counts={}, fallbacks=[], has_lost_keys=False
)


def read_device_news(
    snapshot: Snapshot, requester: Requester, asked: Asked, rooms_with_news: Collection[ShortRoomId]
) -> tuple[DeviceNews, Reading | None]:
    """Everything for one reply. Nothing happened in the user's other rooms than those with news.

    The changes are what is read in the end, if that is not done at once.
    """
    reading: Reading | None = None
    if asked.since is not None:
        reading = ReadChanges(snapshot, requester.user, rooms_with_news, since=asked.since, until=asked.until)
    elif asked.is_gap:
        reading = ReadEverybody(snapshot, requester.user)
    changes = NO_CHANGES if reading is None else reading.changes
    unfinished = None if reading is None or reading.is_done else reading
    device_id = requester.device_id
    if device_id is None:
        return replace(NO_NEWS, changes=changes), unfinished
    messages, messages_until = _read_messages(snapshot, requester, device_id, asked)
    supply = one_time_keys.get_supply(snapshot, requester.user, device_id)
    has_lost_keys = asked.since is not None and supply.last_claim > asked.since
    return _build(supply, changes, messages, messages_until, has_lost_keys=has_lost_keys), unfinished


def get_supply(snapshot: Snapshot, requester: Requester) -> Supply | None:
    """What every reply says, news or not; None for who has no device."""
    if requester.device_id is None:
        return None
    return one_time_keys.get_supply(snapshot, requester.user, requester.device_id)


def _build(
    supply: Supply, changes: Changes, messages: list[bytes], messages_until: int | None, *, has_lost_keys: bool
) -> DeviceNews:
    return DeviceNews(
        messages=messages,
        messages_until=messages_until,
        changes=changes,
        counts={USUAL_ALGORITHM: 0} | supply.counts,
        fallbacks=supply.unused_fallbacks,
        has_lost_keys=has_lost_keys,
    )


def _read_messages(
    snapshot: Snapshot, requester: Requester, device_id: DeviceId, asked: Asked
) -> tuple[list[bytes], int | None]:
    messages: list[bytes] = []
    size, last = 0, None
    scanned = to_device.scan_messages(
        snapshot, requester.user, device_id, after=asked.to_device_since, until=asked.until
    )
    for pos, message in scanned:
        if len(messages) == MESSAGES_MAX or size >= MESSAGES_BYTES_MAX:
            return messages, last
        messages.append(render_message(message))
        size, last = size + len(messages[-1]), pos
    return messages, None


def render_message(message: ToDevice) -> bytes:
    """The event that the device gets."""
    head = orjson.dumps({"sender": message.sender, "type": message.type})
    return head[:-1] + b',"content":' + message.content.encode() + b"}"
