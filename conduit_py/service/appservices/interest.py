"""Which application services a room concerns, and so all that happens in it.

Spec: application-service-api/#registration
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from conduit_py.data import rooms, short_ids
from conduit_py.matrix.appservices import Registration, matches
from conduit_py.matrix.ids import UserId
from conduit_py.service.appservice_registry import AppServices
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortRoomId, ShortUserId

REMEMBERED_MAX: Final = 100_000
"""Users of whom is remembered whether they are an application service's."""


class Interest:
    """One per server."""

    def __init__(self, appservices: AppServices) -> None:
        self._appservices = appservices
        self._theirs: dict[tuple[str, ShortUserId], bool] = {}

    def forget(self, appservice_id: str) -> None:
        """There is no such application service any more, or another one of that id."""
        for key in [key for key in self._theirs if key[0] == appservice_id]:
            del self._theirs[key]

    def is_in_room(
        self,
        snapshot: Snapshot,
        appservice: Registration,
        room: ShortRoomId,
        room_id: str,
        joined: Collection[ShortUserId],
    ) -> bool:
        """By the room, its aliases or who is in it: ``joined`` are the users of this server who are."""
        if matches(appservice.rooms, room_id):
            return True
        if self.has_any(snapshot, appservice, joined):
            return True
        return bool(appservice.aliases) and any(
            matches(appservice.aliases, alias) for alias in rooms.scan_aliases(snapshot, room)
        )

    def has_any(self, snapshot: Snapshot, appservice: Registration, users: Collection[ShortUserId]) -> bool:
        """Is one of these users of this server the application service's?"""
        return any(self._is_theirs(snapshot, appservice, user) for user in users)

    def _is_theirs(self, snapshot: Snapshot, appservice: Registration, user: ShortUserId) -> bool:
        """What namespaces a user is in never changes, so it is looked up once."""
        key = (appservice.id, user)
        known = self._theirs.get(key)
        if known is None:
            if len(self._theirs) >= REMEMBERED_MAX:
                self._theirs.clear()
            user_id = UserId(short_ids.get_user_id(snapshot, user))
            known = self._theirs[key] = self._appservices.has_user(appservice, user_id)
        return known
