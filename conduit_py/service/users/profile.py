"""Profiles: display name, avatar and any other field.

Spec: client-server-api/#profiles
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson

from conduit_py.data import profiles, user_directory, users
from conduit_py.data.user_directory import name_words
from conduit_py.matrix.ids import Malformed, UserId, check_namespaced_id
from conduit_py.service.errors import BadJson, InvalidParam, MatrixError, MissingParam, NotFound
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.service.users.throttle import Throttle
from kvschema.catalog.rooms import ShortUserId

PROFILE_BYTES_MAX: Final = 64 * 1024
"""The whole profile as JSON. Spec: client-server-api/#put_matrixclientv3profileuseridkeyname"""
DISPLAYNAME: Final = "displayname"
AVATAR_URL: Final = "avatar_url"
DISPLAYNAME_CHARS_MAX: Final = 256
AVATAR_URL_CHARS_MAX: Final = 1000

_IN_MEMBER_EVENTS: Final = (DISPLAYNAME, AVATAR_URL)

PropagateProfile = Callable[[ShortUserId, UserId], Awaitable[None]]
"""Write a user's new display name and avatar into the rooms the user is in."""


class ProfileService:
    """One per server. Knows local users only."""

    def __init__(self, store: Store, throttle: Throttle, *, propagate: PropagateProfile) -> None:
        self._store = store
        self._throttle = throttle
        self._propagate = propagate

    def require_profile(self, user_id: str) -> dict[str, Any]:
        """Every field. Raises ``NotFound``."""
        with self._store.snapshot() as snapshot:
            found = users.get_local(snapshot, UserId(user_id))
            if found is None or found[1].is_deactivated:
                raise NotFound("There is no such user")
            return dict(profiles.get_profile(snapshot, found[0]))

    def require_field(self, user_id: str, key_name: str) -> Any:
        """Raises ``NotFound``."""
        profile = self.require_profile(user_id)
        if key_name not in profile:
            raise NotFound("The user's profile has no such field")
        return profile[key_name]

    async def set_field(self, requester: Requester, user_id: str, key_name: str, body: dict[str, Any]) -> None:
        """Take the field from a body of the form ``{key_name: value}``; an empty name or avatar removes it.

        Raises ``Forbidden``, ``MissingParam``, ``BadJson``, ``InvalidParam``, ``M_KEY_TOO_LARGE``,
        ``M_PROFILE_TOO_LARGE``, ``LimitExceeded``.
        """
        _require_may_change(requester, user_id, key_name)
        if key_name not in body:
            raise MissingParam(f"{key_name} is missing")
        await self._change(requester, key_name, _check_value(key_name, body[key_name]))

    async def delete_field(self, requester: Requester, user_id: str, key_name: str) -> None:
        """Raises ``Forbidden``, ``InvalidParam``, ``M_KEY_TOO_LARGE``, ``LimitExceeded``."""
        _require_may_change(requester, user_id, key_name)
        await self._change(requester, key_name, _ABSENT)

    async def _change(self, requester: Requester, key_name: str, value: Any) -> None:
        user = requester.user
        if key_name in _IN_MEMBER_EVENTS:
            # Each change is an event in every room of the user.
            self._throttle(("message", requester.limited_as))
        async with self._store.locks.hold(("profile", user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                profile = profiles.get_profile(snapshot, user)
            is_changed = profile.get(key_name, _ABSENT) != value
            if is_changed and key_name == DISPLAYNAME:
                before, after = (name_words(requester.user_id, name) for name in (profile.get(DISPLAYNAME), value))
                user_directory.stage_words(turn, user, before, after)
            if value is _ABSENT:
                if is_changed:
                    profiles.stage_field_removed(turn, user, key_name)
            else:
                if len(orjson.dumps({**profile, key_name: value})) > PROFILE_BYTES_MAX:
                    raise MatrixError(
                        f"The profile would exceed {PROFILE_BYTES_MAX} bytes", errcode="M_PROFILE_TOO_LARGE", status=400
                    )
                if is_changed:
                    profiles.stage_field(turn, user, key_name, value)
        if is_changed and key_name in _IN_MEMBER_EVENTS:
            await self._propagate(user, requester.user_id)


_ABSENT: Final = object()


def _require_may_change(requester: Requester, user_id: str, key_name: str) -> None:
    requester.require_self(user_id, "change the profile")
    requester.require_not_suspended()
    if requester.is_guest and key_name != DISPLAYNAME:
        raise MatrixError("Guests may change their display name only", errcode="M_GUEST_ACCESS_FORBIDDEN", status=403)
    if profiles.is_key_too_long(key_name):
        raise MatrixError("The name of a profile field is too long", errcode="M_KEY_TOO_LARGE", status=400)
    try:
        check_namespaced_id(key_name)
    except Malformed as error:
        raise InvalidParam(f"Invalid profile field: {error}") from None


def _check_value(key_name: str, value: Any) -> Any:
    if key_name in _IN_MEMBER_EVENTS:
        if value is None or value == "":
            return _ABSENT
        if not isinstance(value, str):
            raise BadJson(f"{key_name} must be a string")
    if key_name == DISPLAYNAME and len(value) > DISPLAYNAME_CHARS_MAX:
        raise InvalidParam(f"A display name must not be longer than {DISPLAYNAME_CHARS_MAX} characters")
    if key_name == AVATAR_URL and (not value.startswith("mxc://") or len(value) > AVATAR_URL_CHARS_MAX):
        raise InvalidParam(f"avatar_url must be an mxc:// URI of at most {AVATAR_URL_CHARS_MAX} characters")
    if key_name == "m.tz" and not isinstance(value, str):
        raise BadJson("m.tz must be a string")
    return value
