"""Messages between devices, kept until the receiving device says that it has them.

Spec: client-server-api/#send-to-device-messaging
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, Final

import orjson

from conduit_py.data import devices, short_ids, to_device, transactions
from conduit_py.matrix.ids import DeviceId, ServerName, UserId, parse_user_id, server_name_of
from conduit_py.matrix.sync_token import SyncToken
from conduit_py.service.e2ee.in_flight import InFlight
from conduit_py.service.errors import LimitExceeded, TooLarge
from conduit_py.service.hub import SyncHub
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.e2ee import TO_DEVICE_PER_DEVICE_MAX, ToDevice
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Device
from kvschema.errors import PreconditionFailed

CONTENT_BYTES_MAX: Final = 64 * 1024
TYPE_CHARS_MAX: Final = 255
RECEIVERS_MAX: Final = 10_000
"""Devices that one request sends to."""
DELIVERED_PER_BATCH: Final = 1000
ATTEMPTS_MAX: Final = 10
"""How often a request is decided again because a device changed under it."""

ALL_DEVICES: Final = "*"

Messages = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Contents by user id and device id."""
Receiver = tuple[ShortUserId, DeviceId]


class ToDeviceService:
    """One per server."""

    def __init__(self, server_name: ServerName, store: Store, hub: SyncHub, in_flight: InFlight) -> None:
        self._server_name = server_name
        self._store = store
        self._hub = hub
        self._in_flight = in_flight
        self._waiting: dict[Receiver, int] = {}
        """At least how many messages wait for a device, for devices that were sent to since they last took theirs."""

    async def send(self, requester: Requester, event_type: str, txn_id: str, messages: Messages) -> None:
        """Put messages into the queues of local devices; those that do not exist are passed over.

        A transaction that was done is not done again. A queue that is full loses its oldest message. Raises
        ``TooLarge``, ``Malformed``.
        """
        if len(event_type) > TYPE_CHARS_MAX:
            raise TooLarge(f"The type must not be longer than {TYPE_CHARS_MAX} characters")
        contents = self._encode(messages)
        device_id = requester.device_id or ""
        async with self._store.locks.hold(("to_device", requester.user, device_id)):
            for _ in range(ATTEMPTS_MAX):
                try:
                    await self._try_send(requester, event_type, txn_id, contents)
                except PreconditionFailed:
                    continue
                return
        raise LimitExceeded("The devices change faster than they can be sent to")

    def _encode(self, messages: Messages) -> dict[UserId, dict[str, str]]:
        """JSON texts for users of this server. Those of others get theirs through federation."""
        contents: dict[UserId, dict[str, str]] = {}
        for text, by_device in messages.items():
            user_id = parse_user_id(text)
            encoded = {device_id: orjson.dumps(content).decode() for device_id, content in by_device.items()}
            if any(len(content) > CONTENT_BYTES_MAX for content in encoded.values()):
                raise TooLarge(f"A message to a device must not exceed {CONTENT_BYTES_MAX} bytes")
            if server_name_of(user_id) == self._server_name:
                contents[user_id] = encoded
        return contents

    async def _try_send(
        self, requester: Requester, event_type: str, txn_id: str, contents: Mapping[UserId, Mapping[str, str]]
    ) -> None:
        device_id, endpoint = requester.device_id or "", f"sendToDevice/{event_type}"
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if transactions.get_answer(snapshot, requester.user, device_id, endpoint, txn_id) is not None:
                    return
                receivers = list(islice(_scan_receivers(snapshot, contents), RECEIVERS_MAX + 1))
                if len(receivers) > RECEIVERS_MAX:
                    raise TooLarge(f"A request must not send to more than {RECEIVERS_MAX} devices")
                for receiver, device, content in receivers:
                    message = ToDevice(requester.user_id, event_type, content)
                    self._stage_message(snapshot, turn, receiver, device, message)
                now_ms = self._store.now_ms()
                transactions.stage_answer(turn, requester.user, device_id, endpoint, txn_id, now_ms=now_ms)
            woken = {user for (user, _), _, _ in receivers}
            turn.on_landed(lambda: self._hub.publish(woken))

    def _stage_message(
        self, snapshot: Snapshot, turn: Turn, receiver: Receiver, device: Device, message: ToDevice
    ) -> None:
        waiting = self._waiting.get(receiver)
        if waiting is None:
            waiting = to_device.count_messages(snapshot, *receiver)
        if waiting >= TO_DEVICE_PER_DEVICE_MAX:
            kept = TO_DEVICE_PER_DEVICE_MAX - 1
            waiting = min(kept, to_device.stage_oldest_removed(snapshot, turn, *receiver, kept=kept))
        self._waiting[receiver] = waiting + 1
        key = to_device.stage_message(turn, *receiver, device, message)
        self._in_flight.note(turn, *receiver, partial(to_device.stage_delivered, key=key))

    async def acknowledge(self, requester: Requester, since: SyncToken) -> None:
        """The device has everything that was told up to this token: it need not be kept any longer.

        A token from a lost future acknowledges nothing: what it stands for was told by a history that is gone.
        """
        if requester.device_id is None:
            return
        receiver, told = (requester.user, requester.device_id), since.to_device_pos
        with self._store.snapshot() as snapshot:
            if next(to_device.scan_acknowledged(snapshot, *receiver, until=told), None) is None:
                return
            if snapshot.is_from_lost_future(since.pos):
                return
        is_going_on = True
        while is_going_on:
            async with self._store.writer.turn(may_use_reserve=True) as turn:
                with self._store.snapshot() as snapshot:
                    scanned = to_device.scan_acknowledged(snapshot, *receiver, until=told)
                    keys = list(islice(scanned, DELIVERED_PER_BATCH))
                for key in keys:
                    to_device.stage_delivered(turn, key)
            is_going_on = len(keys) == DELIVERED_PER_BATCH
        self._waiting.pop(receiver, None)


def _scan_receivers(
    snapshot: Snapshot, contents: Mapping[UserId, Mapping[str, str]]
) -> Iterator[tuple[Receiver, Device, str]]:
    for user_id, by_device in contents.items():
        user = short_ids.get_user(snapshot, user_id)
        if user is None:
            continue
        for device_id, content in by_device.items():
            if device_id == ALL_DEVICES:
                for each_id, device in devices.scan_devices(snapshot, user):
                    yield (user, each_id), device, content
                continue
            found = devices.get_device(snapshot, user, device_id)
            if found is not None:
                yield (user, DeviceId(device_id)), found, content
