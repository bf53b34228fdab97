"""Opening and closing sessions: a device and the tokens that belong to it.

Spec: client-server-api/#relationship-between-access-tokens-and-devices
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from conduit_py.data import devices, tokens, users
from conduit_py.matrix.ids import DeviceId, UserId
from conduit_py.service.errors import Forbidden, InvalidParam
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import Tokens, TokenService, account_key, user_locked
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import DEVICE_ID_BYTES_MAX, Device

DISPLAY_NAME_CHARS_MAX: Final = 255
_DEVICE_ID_CHARS: Final = 10
_DEVICE_ID_LETTERS: Final = string.ascii_uppercase

Wake = Callable[[Iterable[ShortUserId]], None]
"""Something may be new for the syncs of these users."""


class DeviceObserver(Protocol):
    """Who keeps more about a device than this package does: its keys, its to-device messages, its pushers.

    Called inside the turn, under the account's lock, so what it stages lands together with the change.
    """

    def stage_changed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        """A device was made or renamed."""

    def stage_removed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        """A device is going away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """What a client says about its device when it logs in or registers."""

    device_id: str | None = None
    display_name: str | None = None
    may_refresh: bool = False
    address: str = ""
    """Where the client is, for the user's list of devices."""


NO_WISHES: Final = DeviceRequest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session that was opened."""

    user_id: UserId
    device_id: DeviceId
    tokens: Tokens


class SessionService:
    """One per server."""

    def __init__(
        self,
        store: Store,
        token_service: TokenService,
        *,
        wake: Wake,
        observers: Sequence[DeviceObserver] = (),
    ) -> None:
        self._store = store
        self._tokens = token_service
        self._wake = wake
        self._observers = observers

    def stage_opened(
        self, snapshot: Snapshot, turn: Turn, user_id: UserId, user: ShortUserId, asked: DeviceRequest
    ) -> Session:
        """Make a device, or take over one that is there and invalidate its tokens. Under the account's lock."""
        device_id = check_device_id(asked.device_id) if asked.device_id is not None else _new_device_id()
        if devices.get_device(snapshot, user, device_id) is not None:
            tokens.stage_device_closed(snapshot, turn, user, device_id)
        else:
            self.stage_device(snapshot, turn, user, device_id, asked.display_name, address=asked.address)
        granted = self._tokens.stage_tokens(turn, user_id, user, device_id, may_refresh=asked.may_refresh)
        return Session(user_id=user_id, device_id=device_id, tokens=granted)

    def stage_device(
        self,
        snapshot: Snapshot,
        turn: Turn,
        user: ShortUserId,
        device_id: str,
        display_name: str | None,
        *,
        address: str = "",
    ) -> None:
        """Make a device, without tokens. Under the account's lock. Raises ``InvalidParam``."""
        made, now_ms = check_device_id(device_id), self._store.now_ms()
        device = Device(now_ms, check_display_name(display_name), now_ms, address)
        devices.stage_device(turn, user, made, device)
        self.stage_changed(snapshot, turn, user, made)

    async def open(self, user_id: UserId, user: ShortUserId, asked: DeviceRequest) -> Session:
        """Log in a user who has proven to be one. Raises ``Forbidden`` or ``M_USER_LOCKED`` if that came to nothing."""
        async with self._store.locks.hold(account_key(user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                account = users.get_account(snapshot, user)
                if account is None or account.is_deactivated:
                    raise Forbidden("There is no such account any more")
                if account.is_locked:
                    raise user_locked()
                return self.stage_opened(snapshot, turn, user_id, user, asked)

    def stage_closed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        """Remove a device with its tokens and all that others keep of it. Under the account's lock."""
        tokens.stage_device_closed(snapshot, turn, user, device_id)
        devices.stage_removed(turn, user, device_id)
        for observer in self._observers:
            observer.stage_removed(snapshot, turn, user, device_id)
        turn.on_landed(lambda: self._wake([user]))

    def stage_all_closed(
        self, snapshot: Snapshot, turn: Turn, user: ShortUserId, *, but: DeviceId | None = None
    ) -> None:
        """Remove every device of a user, except one."""
        for device_id, _ in list(devices.scan_devices(snapshot, user)):
            if device_id != but:
                self.stage_closed(snapshot, turn, user, device_id)

    def stage_changed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        """Tell the observers of a device that was made or renamed."""
        for observer in self._observers:
            observer.stage_changed(snapshot, turn, user, device_id)

    async def log_out(self, requester: Requester) -> None:
        """Close the requester's session. An application service has none."""
        if requester.device_id is None:
            return
        async with self._store.locks.hold(account_key(requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                self.stage_closed(snapshot, turn, requester.user, requester.device_id)

    async def log_out_all(self, requester: Requester) -> None:
        """Close every session of the requester, this one too."""
        async with self._store.locks.hold(account_key(requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                self.stage_all_closed(snapshot, turn, requester.user)


def check_device_id(device_id: str) -> DeviceId:
    """The id of a device to be made. Raises ``InvalidParam``."""
    if not devices.is_storable(device_id):
        raise InvalidParam(f"A device id must be 1 to {DEVICE_ID_BYTES_MAX} bytes without control characters")
    return DeviceId(device_id)


def check_display_name(display_name: str | None) -> str | None:
    """The display name of a device. Raises ``InvalidParam``."""
    if display_name is not None and len(display_name) > DISPLAY_NAME_CHARS_MAX:
        raise InvalidParam(f"The display name of a device must not be longer than {DISPLAY_NAME_CHARS_MAX} characters")
    return display_name


def _new_device_id() -> DeviceId:
    return DeviceId("".join(secrets.choice(_DEVICE_ID_LETTERS) for _ in range(_DEVICE_ID_CHARS)))
