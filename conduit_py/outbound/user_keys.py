"""Questions to other servers about the devices and keys of their users. Nothing of the answers is checked.

Spec: server-server-api/#end-to-end-encryption, server-server-api/#device-management
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.outbound.federation import Fetcher, build_path

TIMEOUT_S: Final = 30.0
"""The longest that a client may wait for it as well."""
BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one answer: thousands of devices."""

Json = Mapping[str, Any]


class UserKeysClient:
    """One per server."""

    def __init__(self, client: Fetcher) -> None:
        self._client = client

    async def fetch_keys(self, server_name: ServerName, device_ids: Mapping[UserId, Any]) -> dict[str, Any]:
        """Keys of devices and cross-signing keys, by user id. Raises `RemoteError`.

        :param device_ids: by user id; none of them for all devices.

        Spec: server-server-api/#post_matrixfederationv1userkeysquery
        """
        return await self._post(server_name, "query", {"device_keys": device_ids})

    async def fetch_claimed(self, server_name: ServerName, algorithms: Mapping[UserId, Any]) -> dict[str, Any]:
        """One key for each device, by user id and device id. Raises `RemoteError`.

        Spec: server-server-api/#post_matrixfederationv1userkeysclaim
        """
        return await self._post(server_name, "claim", {"one_time_keys": algorithms})

    async def fetch_devices(self, server_name: ServerName, user_id: UserId) -> dict[str, Any]:
        """Every device of a user, with the place in the stream of changes. Raises `RemoteError`.

        Spec: server-server-api/#get_matrixfederationv1userdevicesuserid
        """
        path = build_path("_matrix", "federation", "v1", "user", "devices", user_id)
        return await self._client.fetch("GET", server_name, path, timeout_s=TIMEOUT_S, bytes_max=BYTES_MAX)

    async def _post(self, server_name: ServerName, what: str, content: Json) -> dict[str, Any]:
        path = build_path("_matrix", "federation", "v1", "user", "keys", what)
        return await self._client.fetch(
            "POST", server_name, path, content=content, timeout_s=TIMEOUT_S, bytes_max=BYTES_MAX
        )
