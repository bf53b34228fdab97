"""What clients do with pushers.

Spec: client-server-api/#push-notifications
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from conduit_py.data import devices, pushers
from conduit_py.matrix.ids import DeviceId
from conduit_py.outbound.push_gateway import NOTIFY_PATH, is_gateway_url
from conduit_py.service.errors import BadJson, InvalidParam, MissingParam, UnknownToken
from conduit_py.service.push.notification import EVENT_ID_ONLY
from conduit_py.service.push.rings import PushRings
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.service.users.tokens import account_key
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.push import PUSHERS_PER_USER_MAX, Pushed, Pusher, PusherKey
from kvschema.catalog.rooms import ShortUserId

PUSHKEY_BYTES_MAX = 512
APP_ID_CHARS_MAX = 64
NAME_CHARS_MAX = 255
DATA_BYTES_MAX = 8192
"""All of it is sent with every notification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PusherRequest:
    """What a client says of a pusher."""

    app_id: str
    pushkey: str
    app_display_name: str
    device_display_name: str
    lang: str
    profile_tag: str | None
    data: dict[str, Any]
    append: bool
    """Leave the pushers of other users with the same app id and pushkey."""


def pusher_lock(key: PusherKey) -> tuple[str, bytes]:
    """The lock under which pushers with one app id and pushkey are changed. It may be taken under an account's."""
    return ("pusher", key.digest)


class PusherService:
    """One per server. Observes devices, since a pusher ends with the session that made it."""

    def __init__(self, store: Store, rings: PushRings) -> None:
        self._store = store
        self._rings = rings

    def get_pushers(self, requester: Requester) -> list[dict[str, Any]]:
        """Spec: client-server-api/#get_matrixclientv3pushers"""
        with self._store.snapshot() as snapshot:
            return [_render(pusher) for _, pusher in pushers.scan_pushers(snapshot, requester.user)]

    async def set_pusher(self, requester: Requester, asked: PusherRequest) -> None:
        """Make a pusher, or change the one with the same app id and pushkey.

        Raises ``InvalidParam``, ``MissingParam``, ``BadJson``, and ``UnknownToken`` if the session ended meanwhile.

        Spec: client-server-api/#post_matrixclientv3pushersset
        """
        _check_request(asked)
        key, store = pushers.make_key(requester.user, asked.app_id, asked.pushkey), self._store
        async with (
            store.locks.hold(account_key(requester.user)),
            store.locks.hold(pusher_lock(key)),
            store.writer.turn() as turn,
        ):
            with store.snapshot() as snapshot:
                _require_session(snapshot, requester)
                if not asked.append:
                    for other in list(pushers.scan_others(snapshot, key)):
                        pushers.stage_removed(turn, other)
                before = pushers.get_pusher(snapshot, key)
                if before is None and sum(1 for _ in pushers.scan_pushers(snapshot, key.user)) >= PUSHERS_PER_USER_MAX:
                    raise InvalidParam(f"There must not be more than {PUSHERS_PER_USER_MAX} pushers")
                # A pusher that is there goes on where it is, and its gateway is asked again at once.
                pushed = Pushed(turn.take_pos())
                if before is not None:
                    pushed = pushers.get_pushed(snapshot, key)._replace(failures=0, retry_ms=0)
                pushers.stage_pusher(turn, key, self._make_pusher(requester, asked), pushed)
            turn.on_landed(lambda: self._rings.ring(key.user))

    async def delete_pusher(self, requester: Requester, app_id: str, pushkey: str) -> None:
        """One that is not there is no error. Raises ``InvalidParam``."""
        _check_key(app_id, pushkey)
        key = pushers.make_key(requester.user, app_id, pushkey)
        async with self._store.locks.hold(pusher_lock(key)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                if pushers.get_pusher(snapshot, key) is not None:
                    pushers.stage_removed(turn, key)

    def stage_changed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        """See ``DeviceObserver``. A new name of a device is nothing to its pushers."""

    def stage_removed(self, snapshot: Snapshot, turn: Turn, user: ShortUserId, device_id: DeviceId) -> None:
        """See ``DeviceObserver``."""
        for key, pusher in list(pushers.scan_pushers(snapshot, user)):
            if pusher.device_id == device_id:
                pushers.stage_removed(turn, key)

    def _make_pusher(self, requester: Requester, asked: PusherRequest) -> Pusher:
        return Pusher(
            app_id=asked.app_id,
            pushkey=asked.pushkey,
            app_display_name=asked.app_display_name,
            device_display_name=asked.device_display_name,
            lang=asked.lang,
            profile_tag=asked.profile_tag,
            data=asked.data,
            device_id=requester.device_id or "",
            set_ms=self._store.now_ms(),
        )


def _require_session(snapshot: Snapshot, requester: Requester) -> None:
    """Nothing may be left behind by a session that ends while it makes a pusher."""
    device_id = requester.device_id
    if device_id is not None and devices.get_device(snapshot, requester.user, device_id) is None:
        raise UnknownToken("Unknown access token", extra={"soft_logout": False})


def _render(pusher: Pusher) -> dict[str, Any]:
    tag = {} if pusher.profile_tag is None else {"profile_tag": pusher.profile_tag}
    return {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "kind": "http",
        "app_display_name": pusher.app_display_name,
        "device_display_name": pusher.device_display_name,
        "lang": pusher.lang,
        "data": pusher.data,
        **tag,
    }


def _check_key(app_id: str, pushkey: str) -> None:
    """Raises ``InvalidParam``."""
    if not 0 < len(app_id) <= APP_ID_CHARS_MAX:
        raise InvalidParam(f"app_id must have 1 to {APP_ID_CHARS_MAX} characters")
    if not 0 < len(pushkey.encode()) <= PUSHKEY_BYTES_MAX:
        raise InvalidParam(f"pushkey must have 1 to {PUSHKEY_BYTES_MAX} bytes")


def _check_request(asked: PusherRequest) -> None:
    """Raises ``InvalidParam``, ``MissingParam``, ``BadJson``."""
    _check_key(asked.app_id, asked.pushkey)
    for name in ("app_display_name", "device_display_name", "lang", "profile_tag"):
        if len(getattr(asked, name) or "") > NAME_CHARS_MAX:
            raise InvalidParam(f"{name} must not be longer than {NAME_CHARS_MAX} characters")
    _check_data(asked.data)


def _check_data(data: Mapping[str, Any]) -> None:
    url = data.get("url")
    if url is None:
        raise MissingParam("data.url is missing")
    if not isinstance(url, str):
        raise BadJson("data.url must be a string")
    if not is_gateway_url(url):
        raise InvalidParam(f"data.url must be an https:// address with the path {NOTIFY_PATH}")
    if data.get("format", EVENT_ID_ONLY) != EVENT_ID_ONLY:
        raise InvalidParam(f"data.format must be {EVENT_ID_ONLY} if it is given")
    if len(orjson.dumps(data)) > DATA_BYTES_MAX:
        raise InvalidParam(f"data must not exceed {DATA_BYTES_MAX} bytes")
