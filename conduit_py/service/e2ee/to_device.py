"""Messages between devices, kept until the receiving device says that it has them.

Spec: client-server-api/#send-to-device-messaging
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

import orjson

from conduit_py.data import devices, received_messages, short_ids, to_device, transactions
from conduit_py.matrix.edus import DirectToDevice, build_direct_to_device
from conduit_py.matrix.ids import DeviceId, Malformed, ServerName, UserId, parse_user_id, server_name_of
from conduit_py.matrix.sync_token import SyncToken
from conduit_py.service.e2ee.in_flight import InFlight
from conduit_py.service.e2ee.outbox import EduOutbox
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
RECEIVERS_MAX: Final = 3_000
"""Devices that one request sends to."""
EDU_BYTES_MAX: Final = 64 * 1024
"""Of the contents that go to one server in one EDU: a hundred of them make a transaction."""
DELIVERED_PER_BATCH: Final = 1000
DROPPED_PART: Final = 100
"""Of a queue that is full, so large a part is dropped: the hundredth."""
COUNTED_MAX: Final = 10_000
"""Devices of which is remembered how much waits for them, about 250 bytes each. Not all of them ever come for it."""
ATTEMPTS_MAX: Final = 10
"""How often a request is decided again because a device changed under it."""

ALL_DEVICES: Final = "*"

Messages = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Contents by user id and device id."""
Json = Mapping[str, Any]
Contents = Mapping[UserId, Mapping[str, str]]
"""The same as JSON texts."""
Remote = Sequence[tuple[ServerName, Mapping[UserId, Mapping[DeviceId, Json]]]]
Receiver = tuple[ShortUserId, DeviceId]
Addressed = tuple[Receiver, Device, str]


class ToDeviceService:
    """One per server."""

    def __init__(
        self, server_name: ServerName, store: Store, hub: SyncHub, in_flight: InFlight, outbox: EduOutbox | None
    ) -> None:
        self._server_name = server_name
        self._store = store
        self._hub = hub
        self._in_flight = in_flight
        self._outbox = outbox
        self._waiting: dict[Receiver, int] = {}
        """At least how many messages wait for a device, for devices that were sent to since they last took theirs."""

    async def send(self, requester: Requester, event_type: str, txn_id: str, messages: Messages) -> None:
        """Put messages into the queues of local devices, and into those of other servers for theirs.

        Local devices that do not exist are passed over. A transaction that was done is not done again. A queue that is
        full loses its oldest messages. Raises ``TooLarge``, ``Malformed``.
        """
        if len(event_type) > TYPE_CHARS_MAX:
            raise TooLarge(f"The type must not be longer than {TYPE_CHARS_MAX} characters")
        contents = _encode(messages)
        local = {user_id: texts for user_id, texts in contents.items() if server_name_of(user_id) == self._server_name}
        remote = split_by_server({it: messages[it] for it in contents.keys() - local.keys()})
        device_id = requester.device_id or ""
        async with self._store.locks.hold(("to_device", requester.user, device_id)):
            await _decide(lambda: self._try_send(requester, event_type, txn_id, local, remote))

    async def receive(self, received: DirectToDevice) -> None:
        """Messages of another server's user. What was received before is not delivered again.

        A message that is too large is left out, and so is what goes to other servers' devices.
        """
        if len(received.type) > TYPE_CHARS_MAX:
            raise Malformed(f"the type must not be longer than {TYPE_CHARS_MAX} characters")
        own = {it: by_device for it, by_device in received.messages.items() if server_name_of(it) == self._server_name}
        contents = _encode(own, leave_out=True)
        async with self._store.locks.hold(("to_device", received.sender)):
            await _decide(lambda: self._try_receive(received, contents))

    async def _try_receive(self, received: DirectToDevice, contents: Contents) -> None:
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if received_messages.is_received(snapshot, received.sender, received.message_id):
                    return
                receivers = islice(_scan_receivers(snapshot, contents), RECEIVERS_MAX)
                self._stage_messages(snapshot, turn, received.sender, received.type, receivers)
                now_ms = self._store.now_ms()
                received_messages.stage_received(turn, received.sender, received.message_id, now_ms=now_ms)

    async def _try_send(
        self, requester: Requester, event_type: str, txn_id: str, contents: Contents, remote: Remote
    ) -> None:
        device_id, endpoint = requester.device_id or "", f"sendToDevice/{event_type}"
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if transactions.get_answer(snapshot, requester.user, device_id, endpoint, txn_id) is not None:
                    return
                receivers = list(islice(_scan_receivers(snapshot, contents), RECEIVERS_MAX + 1))
                if len(receivers) > RECEIVERS_MAX:
                    raise TooLarge(f"A request must not send to more than {RECEIVERS_MAX} devices")
                self._stage_messages(snapshot, turn, requester.user_id, event_type, receivers)
                self._stage_remote(snapshot, turn, requester.user_id, event_type, remote)
                now_ms = self._store.now_ms()
                transactions.stage_answer(turn, requester.user, device_id, endpoint, txn_id, now_ms=now_ms)

    def _stage_messages(
        self, snapshot: Snapshot, turn: Turn, sender: UserId, event_type: str, receivers: Iterable[Addressed]
    ) -> None:
        woken = set()
        for receiver, device, content in receivers:
            self._stage_message(snapshot, turn, receiver, device, ToDevice(sender, event_type, content))
            woken.add(receiver[0])
        turn.on_landed(lambda: self._hub.publish(woken))

    def _stage_remote(self, snapshot: Snapshot, turn: Turn, sender: UserId, event_type: str, remote: Remote) -> None:
        if self._outbox is None:
            return
        for server_name, messages in remote:
            edu = build_direct_to_device(
                DirectToDevice(sender=sender, type=event_type, message_id=str(turn.take_pos()), messages=messages)
            )
            self._outbox.stage_edu(snapshot, turn, [server_name], edu)

    def _stage_message(
        self, snapshot: Snapshot, turn: Turn, receiver: Receiver, device: Device, message: ToDevice
    ) -> None:
        waiting = self._waiting.get(receiver)
        if waiting is None:
            waiting = to_device.count_messages(snapshot, *receiver)
        if waiting >= TO_DEVICE_PER_DEVICE_MAX:
            # Some at a time: to find the oldest, all of them are counted.
            kept = TO_DEVICE_PER_DEVICE_MAX - max(1, TO_DEVICE_PER_DEVICE_MAX // DROPPED_PART)
            waiting = min(kept, to_device.stage_oldest_removed(snapshot, turn, *receiver, kept=kept))
        self._waiting[receiver] = waiting + 1
        if len(self._waiting) > COUNTED_MAX:
            del self._waiting[next(iter(self._waiting))]
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


async def _decide(attempt: Callable[[], Awaitable[None]]) -> None:
    """Try again when a device changed meanwhile."""
    for _ in range(ATTEMPTS_MAX):
        try:
            await attempt()
        except PreconditionFailed:
            continue
        return
    raise LimitExceeded("The devices change faster than they can be sent to")


def _encode(
    messages: Mapping[UserId, Any] | Mapping[str, Any], *, leave_out: bool = False
) -> dict[UserId, dict[str, str]]:
    """JSON texts. Raises ``TooLarge``, or leaves out what is too large."""
    contents: dict[UserId, dict[str, str]] = {}
    for text, by_device in messages.items():
        encoded = {device_id: orjson.dumps(content).decode() for device_id, content in by_device.items()}
        fitting = {device_id: it for device_id, it in encoded.items() if len(it) <= CONTENT_BYTES_MAX}
        if len(fitting) < len(encoded) and not leave_out:
            raise TooLarge(f"A message to a device must not exceed {CONTENT_BYTES_MAX} bytes")
        contents[parse_user_id(text)] = fitting
    return contents


def split_by_server(messages: Messages) -> list[tuple[ServerName, dict[UserId, dict[DeviceId, Json]]]]:
    """What goes to which server, in parts that are not much larger than ``EDU_BYTES_MAX``."""
    parts: list[tuple[ServerName, dict[UserId, dict[DeviceId, Json]]]] = []
    open_parts: dict[ServerName, tuple[int, dict[UserId, dict[DeviceId, Json]]]] = {}
    for text, by_device in messages.items():
        user_id = UserId(text)
        server_name = server_name_of(user_id)
        for device_id, content in by_device.items():
            size = len(orjson.dumps(content))
            before, part = open_parts.get(server_name, (EDU_BYTES_MAX, {}))
            if before + size > EDU_BYTES_MAX:
                before, part = 0, {}
                parts.append((server_name, part))
            part.setdefault(user_id, {})[DeviceId(device_id)] = content
            open_parts[server_name] = (before + size, part)
    return parts


def _scan_receivers(snapshot: Snapshot, contents: Contents) -> Iterator[Addressed]:
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
