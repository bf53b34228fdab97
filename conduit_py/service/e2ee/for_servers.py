"""What other servers are answered about the devices and keys of local users.

Spec: server-server-api/#end-to-end-encryption, server-server-api/#device-management
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from conduit_py.data import announcements, short_ids, users
from conduit_py.matrix.ids import ServerName, UserId, parse_user_id, server_name_of
from conduit_py.service.e2ee.answers import Answer, read_keys
from conduit_py.service.e2ee.keys import KeyService
from conduit_py.service.errors import InvalidParam, NotFound, TooLarge
from conduit_py.service.users.store import Store

USERS_MAX: Final = 10_000
"""That one request asks about."""


class KeysForServers:
    """One per server."""

    def __init__(self, server_name: ServerName, store: Store, keys: KeyService) -> None:
        self._server_name = server_name
        self._store = store
        self._keys = keys

    def require_devices(self, user_id: str) -> dict[str, Any]:
        """The devices of a user that have keys, with the version of the list. Raises ``NotFound``.

        Changes that other servers have yet to be told of may be in it: then they come once more, and change nothing.
        """
        owner_id = self._parse(user_id)
        with self._store.snapshot() as snapshot:
            owner = short_ids.get_user(snapshot, owner_id)
            if owner is None or users.get_account(snapshot, owner) is None:
                raise NotFound("There is no such user")
            keys = read_keys(snapshot, owner, owner_id)
            stream_id = announcements.get_stream_id(snapshot, owner)
        answer: dict[str, Any] = {"user_id": owner_id, "stream_id": stream_id}
        answer["devices"] = [build_device(device_id, device) for device_id, device in keys.devices.items()]
        if keys.master is not None:
            answer["master_key"] = keys.master
        if keys.self_signing is not None:
            answer["self_signing_key"] = keys.self_signing
        return answer

    async def query(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Keys by user id and device id; no device ids for all of them."""
        answer = Answer(None)
        await self._keys.add_local(answer, self._parse_all(wanted))
        return answer.json

    async def claim(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        """One key for each device, by algorithm. Returns when it is on disk that the keys are gone."""
        return {"one_time_keys": await self._keys.claim_local(self._parse_all(wanted))}

    def _parse_all(self, wanted: Mapping[str, Any]) -> dict[UserId, Any]:
        if len(wanted) > USERS_MAX:
            raise TooLarge(f"A request must not ask about more than {USERS_MAX} users")
        return {self._parse(user_id): what for user_id, what in wanted.items()}

    def _parse(self, user_id: str) -> UserId:
        parsed = parse_user_id(user_id)
        if server_name_of(parsed) != self._server_name:
            raise InvalidParam(f"{user_id} is not a user of this server")
        return parsed


def build_device(device_id: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """A device as ``user/devices`` tells it, whose name does not stand with the keys."""
    device: dict[str, Any] = {
        "device_id": device_id,
        "keys": {name: value for name, value in keys.items() if name != "unsigned"},
    }
    name = keys.get("unsigned", {}).get("device_display_name")
    if name is not None:
        device["device_display_name"] = name
    return device
