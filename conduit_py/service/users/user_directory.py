"""Searching for users by the beginnings of the words in their names.

Found is who shares a room with the searcher, or is in a room that anybody may join or read; of other servers only who
shares a room. A search reads the users of this server whose names match, and their rooms; then members of other servers
in the searcher's rooms, the smallest rooms first, since no index has their names: ``MATCHES_MAX`` of both together.

Spec: client-server-api/#post_matrixclientv3user_directorysearch
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

import orjson

from conduit_py.data import members, profiles, row_fields, short_ids, state, timeline, user_directory
from conduit_py.data.user_directory import name_words, split_words
from conduit_py.matrix.visibility import HistoryVisibility, parse_history_visibility
from conduit_py.service.errors import InvalidParam
from conduit_py.service.requester import Requester
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId

T = TypeVar("T")

_SHOWN: Final = ("displayname", "avatar_url")
LIMIT_DEFAULT: Final = 10
LIMIT_MAX: Final = 50
TERM_CHARS_MAX: Final = 256
MATCHES_MAX: Final = 2000
"""Users that one search looks at, about 40 ms. Who wants more results has to type more."""


@dataclass(frozen=True, slots=True)
class FoundUsers:
    results: list[dict[str, Any]]
    """In the form of the spec; whole words that match come before beginnings."""
    is_limited: bool


class UserDirectory:
    """One per server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def search(self, requester: Requester, term: str, limit: int | None) -> FoundUsers:
        """Users whose id or display name has a word beginning like each word of ``term``, but not the requester.

        Raises ``InvalidParam`` for a limit below 0 and a term that is absurdly long.
        """
        if limit is not None and limit < 0:
            raise InvalidParam("limit must not be negative")
        if len(term) > TERM_CHARS_MAX:
            raise InvalidParam(f"search_term must not be longer than {TERM_CHARS_MAX} characters")
        results_max = min(LIMIT_DEFAULT if limit is None else limit, LIMIT_MAX)
        with self._store.snapshot() as snapshot:
            search = _Search(snapshot, requester, term)
            found = list(islice(search.scan(), results_max + 1))
        return FoundUsers(found[:results_max], len(found) > results_max or search.is_cut_off)


class _Search:
    """One search in one snapshot."""

    def __init__(self, snapshot: Snapshot, requester: Requester, term: str) -> None:
        self._snapshot = snapshot
        self._requester = requester
        self._own_rooms = {room for room, _ in members.scan_rooms(snapshot, requester.user, JOIN)}
        self._is_open: dict[ShortRoomId, bool] = {}
        term = term.strip().casefold()
        self._user_id_start = term if term.startswith("@") else ""
        self._words = split_words(term.partition(":")[0] if self._user_id_start else term)
        self._seen = {requester.user}
        self._left = MATCHES_MAX
        self.is_cut_off = False
        """Were there more users than one search looks at?"""

    def scan(self) -> Iterator[dict[str, Any]]:
        if not self._words:
            return
        # The longest word is begun by the fewest names.
        for user in self._budget(user_directory.scan_users(self._snapshot, max(self._words, key=len))):
            if user not in self._seen:
                self._seen.add(user)
                found = self._match(user, profiles.get_profile(self._snapshot, user))
                if found is not None and self._is_visible(user):
                    yield found
        for user, event in self._budget(self._scan_remote()):
            if user not in self._seen:
                self._seen.add(user)
                content = orjson.loads(row_fields.get_content_json(timeline.require_row(self._snapshot, event)))
                shown = {name: content[name] for name in _SHOWN if isinstance(content.get(name), str)}
                found = self._match(user, shown)
                if found is not None:
                    yield found

    def _scan_remote(self) -> Iterator[tuple[ShortUserId, ShortEventId]]:
        sizes = {room: members.get_member_count(self._snapshot, room, JOIN) for room in self._own_rooms}
        for room in sorted(self._own_rooms, key=sizes.__getitem__):
            yield from members.scan_remote_joined(self._snapshot, room)

    def _budget(self, users: Iterator[T]) -> Iterator[T]:
        for user in users:
            if not self._left:
                self.is_cut_off = True
                return
            self._left -= 1
            yield user

    def _match(self, user: ShortUserId, profile: Mapping[str, Any]) -> dict[str, Any] | None:
        user_id = short_ids.get_user_id(self._snapshot, user)
        words = name_words(user_id, profile.get("displayname"))
        if not all(any(word.startswith(wanted) for word in words) for wanted in self._words):
            return None
        if not user_id.casefold().startswith(self._user_id_start):
            return None
        found: dict[str, Any] = {"user_id": user_id}
        if "displayname" in profile:
            found["display_name"] = profile["displayname"]
        if "avatar_url" in profile:
            found["avatar_url"] = profile["avatar_url"]
        return found

    def _is_visible(self, user: ShortUserId) -> bool:
        rooms = [room for room, _ in members.scan_rooms(self._snapshot, user, JOIN)]
        return not self._own_rooms.isdisjoint(rooms) or any(map(self._is_open_room, rooms))

    def _is_open_room(self, room: ShortRoomId) -> bool:
        """May anybody join the room, or read it?"""
        if room not in self._is_open:
            join_rules = state.get_current_pdu(self._snapshot, room, "m.room.join_rules", "")
            visibility = state.get_current_pdu(self._snapshot, room, "m.room.history_visibility", "")
            self._is_open[room] = (join_rules is not None and join_rules.content.get("join_rule") == "public") or (
                visibility is not None
                and parse_history_visibility(visibility.content) is HistoryVisibility.WORLD_READABLE
            )
        return self._is_open[room]
