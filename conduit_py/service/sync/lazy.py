"""Which membership events a device was sent already, so that lazy loading need not send them again and again.

Only in memory, and only what a device has confirmed: a reply may never arrive, and a client may go back to an older
token. So what a reply tells is pending until the device asks on from that reply's token; a request with any other token
makes the server forget what it thought the device knew. Forgetting is always right, it costs a few redundant events.

Spec: client-server-api/#lazy-loading-room-members
"""

from __future__ import annotations

from collections import OrderedDict

from conduit_py.matrix.ids import DeviceId
from conduit_py.service.requester import Requester
from kvschema.catalog.rooms import ShortEventId, ShortUserId

DEVICES_MAX = 256
EVENTS_PER_DEVICE_MAX = 4000
EVENTS_MAX = 100_000
"""Of all devices, about 70 bytes each."""


class SentMembers:
    """What one device knows."""

    __slots__ = ("_known", "_known_pos", "_told", "_told_pos")

    def __init__(self) -> None:
        self._known: set[ShortEventId] = set()
        self._known_pos: int | None = None
        self._told: set[ShortEventId] = set()
        self._told_pos: int | None = None

    def go_on(self, since: int | None) -> None:
        """The device asks for what comes after ``since``."""
        if since is None or since not in (self._told_pos, self._known_pos):
            self._known.clear()
        elif since == self._told_pos:
            self._known |= self._told
        if len(self._known) > EVENTS_PER_DEVICE_MAX:
            self._known.clear()
        self._known_pos = since
        self._told, self._told_pos = set(), None

    @property
    def known_count(self) -> int:
        """How many events the device has confirmed."""
        return len(self._known)

    def __contains__(self, event: ShortEventId) -> bool:
        return event in self._known

    def has_all(self, events: frozenset[ShortEventId]) -> bool:
        return events <= self._known

    def tell(self, until: int, events: set[ShortEventId]) -> None:
        """A reply up to ``until`` is on its way and holds these events."""
        self._told, self._told_pos = events, until


class SentMembersByDevice:
    """One per server. The devices that were seen longest ago are forgotten first."""

    def __init__(self) -> None:
        self._devices: OrderedDict[tuple[ShortUserId, DeviceId | None], SentMembers] = OrderedDict()
        self._events = 0
        """How many of them all have confirmed."""

    def go_on(self, requester: Requester, since: int | None) -> SentMembers:
        """What the device knows that asks on from ``since``."""
        key = (requester.user, requester.device_id)
        sent = self._devices.pop(key, None) or SentMembers()
        self._devices[key] = sent
        before = sent.known_count
        sent.go_on(since)
        self._events += sent.known_count - before
        while len(self._devices) > DEVICES_MAX or self._events > EVENTS_MAX:
            _, forgotten = self._devices.popitem(last=False)
            self._events -= forgotten.known_count
        return sent
