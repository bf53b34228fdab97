"""What clients keep for their user: account data and tags, of a room or of none.

Spec: client-server-api/#client-config
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from conduit_py.data import account_data, short_ids
from conduit_py.data.apart import PUSH_RULES
from conduit_py.matrix.ids import RoomId, parse_room_id
from conduit_py.service.errors import BadJson, InvalidParam, MatrixError, NotFound, TooLarge
from conduit_py.service.requester import Requester
from conduit_py.service.users.push_rules import build_event_content
from conduit_py.service.users.sessions import Wake
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.account_data import GLOBAL_ROOM
from kvschema.catalog.rooms import ShortRoomId

FULLY_READ: Final = "m.fully_read"
TAG: Final = "m.tag"
SERVER_TYPES: Final = frozenset({FULLY_READ, PUSH_RULES})
"""Set through operations of their own."""

CONTENT_BYTES_MAX: Final = 512 * 1024
TYPES_MAX: Final = 1000
"""Types that a user may have in one room, and in none."""
TYPE_CHARS_MAX: Final = 255
TAG_BYTES_MAX: Final = 255
TAGS_MAX: Final = 100


class AccountDataService:
    """One per server. ``room_id`` is None for data of no room; user and room ids are as they stand in the path."""

    def __init__(self, store: Store, *, wake: Wake) -> None:
        self._store = store
        self._wake = wake

    def require_content(self, requester: Requester, user_id: str, room_id: str | None, type: str) -> dict[str, Any]:
        """Raises ``Forbidden``, ``NotFound``, ``Malformed``."""
        requester.require_self(user_id, "read the account data")
        parsed = None if room_id is None else parse_room_id(room_id)
        with self._store.snapshot() as snapshot:
            room = _get_room(snapshot, parsed)
            stored = None if room is None else account_data.get_content(snapshot, requester.user, room, type)
        if stored is None:
            raise NotFound("There is no such account data")
        if type == PUSH_RULES:
            return build_event_content(stored, requester.user_id)
        content: dict[str, Any] = orjson.loads(stored)
        return content

    async def set_content(
        self, requester: Requester, user_id: str, room_id: str | None, type: str, content: Mapping[str, Any]
    ) -> None:
        """Raises ``Forbidden``, ``NotFound`` for an unknown room, ``TooLarge``, and 405 for the server's own types."""
        requester.require_self(user_id, "set the account data")
        if type in SERVER_TYPES:
            raise MatrixError(f"{type} cannot be set through this API", errcode="M_BAD_JSON", status=405)
        if len(type) > TYPE_CHARS_MAX:
            raise InvalidParam(f"The type must not be longer than {TYPE_CHARS_MAX} characters")
        text = orjson.dumps(content).decode()
        if len(text.encode()) > CONTENT_BYTES_MAX:
            raise TooLarge(f"Account data must not exceed {CONTENT_BYTES_MAX} bytes")
        parsed = None if room_id is None else parse_room_id(room_id)
        async with self._store.locks.hold(("account_data", requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                room = _require_room(snapshot, parsed)
                if account_data.get_content(snapshot, requester.user, room, type) is None:
                    self._require_place(snapshot, requester, room)
                self._stage(snapshot, turn, requester, room, type, text)

    def get_tags(self, requester: Requester, user_id: str, room_id: str) -> dict[str, Any]:
        """The tags of a room with their contents. Raises ``Forbidden``, ``Malformed``."""
        requester.require_self(user_id, "read the tags")
        parsed = parse_room_id(room_id)
        with self._store.snapshot() as snapshot:
            room = _get_room(snapshot, parsed)
            return {} if room is None else _read_tags(snapshot, requester, room)

    async def set_tag(
        self, requester: Requester, user_id: str, room_id: str, tag: str, content: Mapping[str, Any]
    ) -> None:
        """Raises ``Forbidden``, ``NotFound`` for a room we do not know, ``BadJson``, ``InvalidParam``, ``TooLarge``.

        Spec: client-server-api/#room-tagging
        """
        requester.require_self(user_id, "set the tags")
        if len(tag.encode()) > TAG_BYTES_MAX:
            raise InvalidParam(f"A tag must not be longer than {TAG_BYTES_MAX} bytes")
        order = content.get("order")
        if order is not None and (isinstance(order, bool) or not isinstance(order, int | float)):
            raise BadJson("order must be a number")
        await self._change_tags(requester, room_id, tag, dict(content))

    async def delete_tag(self, requester: Requester, user_id: str, room_id: str, tag: str) -> None:
        """A tag that is not there is no error. Raises ``Forbidden``, ``NotFound`` for a room we do not know."""
        requester.require_self(user_id, "delete the tags")
        await self._change_tags(requester, room_id, tag, None)

    async def _change_tags(self, requester: Requester, room_id: str, tag: str, content: dict[str, Any] | None) -> None:
        parsed = parse_room_id(room_id)
        async with self._store.locks.hold(("account_data", requester.user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                room = _require_room(snapshot, parsed)
                before = _read_tags(snapshot, requester, room)
                tags = {name: value for name, value in before.items() if name != tag}
                if content is not None:
                    tags[tag] = content
                if len(tags) > TAGS_MAX:
                    raise TooLarge(f"A room must not have more than {TAGS_MAX} tags")
                text = orjson.dumps({"tags": tags}).decode()
                if len(text) > CONTENT_BYTES_MAX:
                    raise TooLarge(f"Account data must not exceed {CONTENT_BYTES_MAX} bytes")
                if tags != before:
                    self._stage(snapshot, turn, requester, room, TAG, text)

    def _stage(
        self, snapshot: Snapshot, turn: Turn, requester: Requester, room: ShortRoomId, type: str, text: str
    ) -> None:
        account_data.stage_content(snapshot, turn, requester.user, room, type, text)
        turn.on_landed(lambda: self._wake([requester.user]))

    def _require_place(self, snapshot: Snapshot, requester: Requester, room: ShortRoomId) -> None:
        if account_data.count_types(snapshot, requester.user, room) >= TYPES_MAX:
            raise TooLarge(f"There must not be more than {TYPES_MAX} types of account data in one place")


def _get_room(snapshot: Snapshot, room_id: RoomId | None) -> ShortRoomId | None:
    return GLOBAL_ROOM if room_id is None else short_ids.get_room(snapshot, room_id)


def _require_room(snapshot: Snapshot, room_id: RoomId | None) -> ShortRoomId:
    room = _get_room(snapshot, room_id)
    if room is None:
        raise NotFound("This server does not know the room")
    return room


def _read_tags(snapshot: Snapshot, requester: Requester, room: ShortRoomId) -> dict[str, Any]:
    """Clients may have written something else where the tags are, through the account data API."""
    stored = account_data.get_content(snapshot, requester.user, room, TAG)
    tags = {} if stored is None else orjson.loads(stored).get("tags")
    return tags if isinstance(tags, dict) else {}
