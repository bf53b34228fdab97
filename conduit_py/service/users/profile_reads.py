"""Profiles of anybody: of this server's users, and of others by asking their servers.

Spec: client-server-api/#profiles
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from conduit_py.data.profiles import is_key_too_long
from conduit_py.matrix.ids import Malformed, ServerName, UserId, parse_user_id, server_name_of
from conduit_py.outbound.errors import RemoteError
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_queries import fetch_profile
from conduit_py.service.errors import NotFound
from conduit_py.service.remote_answers import build_refusal
from conduit_py.service.users.profile import AVATAR_URL, DISPLAYNAME, PROFILE_BYTES_MAX, ProfileService

KEPT_MS: Final = 60_000
"""Clients ask for each field on its own, and for the same user from several places."""
KEPT_MAX: Final = 1000
KEPT_BYTES_MAX: Final = 4096
"""A larger profile is asked for each time, so all that are kept take 4 MB at the most."""


class ProfileReads:
    """One per server."""

    def __init__(
        self, profiles: ProfileService, fetcher: Fetcher, *, server_name: ServerName, now_ms: Callable[[], int]
    ) -> None:
        self._profiles = profiles
        self._fetcher = fetcher
        self._server_name = server_name
        self._now_ms = now_ms
        self._kept: OrderedDict[UserId, tuple[int, dict[str, Any]]] = OrderedDict()

    async def get_profile(self, user_id: str) -> dict[str, Any]:
        """Every field. Raises ``NotFound``, ``Forbidden``, and 502 where the user's server does not answer.

        Spec: client-server-api/#get_matrixclientv3profileuserid
        """
        try:
            parsed = parse_user_id(user_id)
        except Malformed:
            raise NotFound("There is no such user") from None
        server_name = server_name_of(parsed)
        if server_name == self._server_name:
            return self._profiles.require_profile(parsed)
        kept = self._kept.get(parsed)
        if kept is not None and self._now_ms() < kept[0] + KEPT_MS:
            return kept[1]
        try:
            raw = await fetch_profile(self._fetcher, server_name, parsed)
        except RemoteError as error:
            raise build_refusal(error, server_name) from None
        profile = _parse_profile(raw)
        self._keep(parsed, profile)
        return profile

    async def get_field(self, user_id: str, key_name: str) -> Any:
        """One field. Raises the same.

        Spec: client-server-api/#get_matrixclientv3profileuseridkeyname
        """
        profile = await self.get_profile(user_id)
        if key_name not in profile:
            raise NotFound("The user's profile has no such field")
        return profile[key_name]

    def _keep(self, user_id: UserId, profile: dict[str, Any]) -> None:
        self._kept.pop(user_id, None)
        if len(orjson.dumps(profile)) <= KEPT_BYTES_MAX:
            self._kept[user_id] = (self._now_ms(), profile)
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)


def _parse_profile(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What may be shown of another server's answer: no field that is null, or is not what its name says."""
    profile = {key: value for key, value in raw.items() if value is not None and not is_key_too_long(key)}
    for key in (DISPLAYNAME, AVATAR_URL, "m.tz"):
        if not isinstance(profile.get(key, ""), str):
            del profile[key]
    if not profile.get(AVATAR_URL, "mxc://").startswith("mxc://"):
        del profile[AVATAR_URL]
    try:
        return profile if len(orjson.dumps(profile)) <= PROFILE_BYTES_MAX else {}
    except orjson.JSONEncodeError:  # a number that is larger than clients can read
        return {}
