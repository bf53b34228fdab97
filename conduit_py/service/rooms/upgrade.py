"""Replacing a room by one of another version.

The new room, the end of the old one, and the aliases that go from one to the other are one batch: after a power cut
either all of it is there or nothing is. Only the old room is locked, since nobody can know the new one yet.

Spec: client-server-api/#room-upgrades
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conduit_py.data import rooms
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.power_levels import creators_of
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.service.errors import Forbidden, MalformedEvent
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.aliases import CANONICAL_ALIAS, may_send_state
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.bans import copy_bans, find_bans
from conduit_py.service.rooms.member_events import membership_content, stage_membership
from conduit_py.service.rooms.space_children import SPACE_CHILD, get_children
from conduit_py.service.rooms.successors import Succession, stage_listing, stage_settings
from conduit_py.service.rooms.upgraded_levels import build_closed_levels, build_copied_levels
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Turn
from kvschema.errors import PreconditionFailed

COPIED = (
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.join_rules",
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
)
"""State that goes with the room, beside its power levels. Spec: client-server-api/#room-upgrades"""

CHILDREN_COPIED_MAX = 500
"""Rooms of a space that go with it: each costs an event in the batch, about a millisecond."""

_CREATE = "m.room.create"
_POWER_LEVELS = "m.room.power_levels"
_TOMBSTONE = "m.room.tombstone"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What is asked for."""

    version: RoomVersion
    additional_creators: tuple[UserId, ...] = ()
    """Of no effect where the version knows none."""


class UpgradeService:
    """One per server."""

    def __init__(
        self,
        database: Database,
        writes: RoomWrites,
        *,
        new_room_id: Callable[[], RoomId],
        allow_room_creation: bool,
        throttle: RateLimiter,
    ) -> None:
        self._database = database
        self._writes = writes
        self._new_room_id = new_room_id
        self._allow_room_creation = allow_room_creation
        self._throttle = throttle

    async def upgrade_room(self, requester: Requester, room_id: RoomId, upgrade: Upgrade) -> RoomId:
        """Replace a room, and return the one that replaces it: the same again if the request is repeated.

        Raises ``Forbidden`` and ``M_USER_SUSPENDED``.

        Spec: client-server-api/#post_matrixclientv3roomsroomidupgrade
        """
        requester.require_not_suspended()
        self._throttle(("room_creation", requester.limited_as))
        if not (self._allow_room_creation or requester.is_admin):
            raise Forbidden("only administrators may create rooms on this server")
        bans = await find_bans(self._database, room_id)

        def stage(snapshot: Snapshot, turn: Turn, old: RoomAppend) -> RoomId:
            replacement = _find_replacement(snapshot, old, requester, upgrade.version)
            if replacement is not None:
                return replacement
            if not may_send_state(old, requester.user_id, _TOMBSTONE):
                raise Forbidden("replacing a room needs the power to send m.room.tombstone")
            new = self._begin(snapshot, turn, requester, old, upgrade)
            stage_membership(snapshot, new, requester, requester.user_id, membership_content("join", None))
            copy_bans(old, new, requester, bans)
            _copy_state(snapshot, old, new, requester)
            _move_names(snapshot, turn, old, new, requester)
            succession = Succession(
                old=old.room.short, old_id=old.room.room_id, new=new.room.short, new_id=new.room.room_id
            )
            for user in old.scan_local_joined():
                stage_settings(snapshot, turn, user, succession)
            if rooms.is_public(snapshot, succession.old):
                stage_listing(turn, succession)
            _close(old, requester)
            new.finish()
            return new.room.room_id

        try:
            return await self._writes.write(room_id, stage)
        except PreconditionFailed:
            # The same user made a room with the very same first event at this moment. Now it is there to be seen.
            return await self._writes.write(room_id, stage)

    def _begin(
        self, snapshot: Snapshot, turn: Turn, requester: Requester, old: RoomAppend, upgrade: Upgrade
    ) -> RoomAppend:
        """The new room with its first event, and the event that leads to it from the old one."""
        version = upgrade.version
        content = _create_content(old, requester, upgrade)
        room_id = None
        if version.event_format.create_has_room_id:
            room_id = self._new_room_id()
            tombstone = _put(old, requester, _TOMBSTONE, _tombstone_content(room_id))
            content["predecessor"]["event_id"] = tombstone.event_id
        new = self._writes.append.begin_new(
            snapshot, turn, version=version, room_id=room_id, creator=requester.user_id, content=content
        )
        if room_id is None:
            _put(old, requester, _TOMBSTONE, _tombstone_content(new.room.room_id))
        return new


def _put(append: RoomAppend, requester: Requester, type: str, content: Mapping[str, Any], state_key: str = "") -> Pdu:
    pdu = append.create_event(sender=requester.user_id, type=type, content=content, state_key=state_key)
    append.append(pdu)
    return pdu


def _find_replacement(snapshot: Snapshot, old: RoomAppend, requester: Requester, version: RoomVersion) -> RoomId | None:
    """The room that the same user replaced this one by already, if it is of the version that is asked for."""
    tombstone = old.get_state(_TOMBSTONE, "")
    if tombstone is None or tombstone.sender != requester.user_id:
        return None
    replacement = tombstone.content.get("replacement_room")
    room = rooms.get_room(snapshot, RoomId(replacement)) if isinstance(replacement, str) else None
    return room.room_id if room is not None and room.version == version else None


def _tombstone_content(room_id: RoomId) -> dict[str, Any]:
    return {"body": "This room has been replaced", "replacement_room": room_id}


def _create_content(old: RoomAppend, requester: Requester, upgrade: Upgrade) -> dict[str, Any]:
    create = old.get_state(_CREATE, "")
    kept = (
        {} if create is None else {key: create.content[key] for key in ("m.federate", "type") if key in create.content}
    )
    rules = upgrade.version.auth
    content = {**kept, "room_version": upgrade.version.id, "predecessor": {"room_id": old.room.room_id}}
    if rules.create_has_creator:
        content["creator"] = requester.user_id
    if rules.additional_creators and upgrade.additional_creators:
        content["additional_creators"] = list(dict.fromkeys(upgrade.additional_creators))
    return content


def _copy_state(snapshot: Snapshot, old: RoomAppend, new: RoomAppend, requester: Requester) -> None:
    """Power levels come last: until then the creator may send everything, whatever the levels will be."""
    for event_type in COPIED:
        current = old.get_state(event_type, "")
        if current is not None:
            _put(new, requester, event_type, current.content)
    children = get_children(snapshot, old.room, suggested_only=False)
    if len(children) > CHILDREN_COPIED_MAX:
        _log.warning("%s has %d rooms, of which %d go with it", old.room.room_id, len(children), CHILDREN_COPIED_MAX)
    for child in children[:CHILDREN_COPIED_MAX]:
        _put(new, requester, SPACE_CHILD, child.content, child.room_id)
    levels = old.get_state(_POWER_LEVELS, "")
    if levels is not None:
        creators = creators_of(new.room.version, new.get_state(_CREATE, ""))
        rules = new.room.version.auth
        content = build_copied_levels(old.power_levels(), levels.content, rules, requester.user_id, creators)
        _put(new, requester, _POWER_LEVELS, content)


def _move_names(snapshot: Snapshot, turn: Turn, old: RoomAppend, new: RoomAppend, requester: Requester) -> None:
    """The aliases of this server."""
    moved = list(rooms.scan_aliases(snapshot, old.room.short))
    for alias in moved:
        rooms.stage_alias_moved(snapshot, turn, alias, old.room.short, new.room.short, new.room.room_id)
    current = old.get_state(CANONICAL_ALIAS, "")
    if moved and current is not None:
        taken, left = _split_names(current.content, frozenset(moved))
        if taken:
            levels = new.power_levels()
            if levels.of_user(requester.user_id) >= levels.to_send(CANONICAL_ALIAS, is_state=True):
                _put(new, requester, CANONICAL_ALIAS, taken)
            if may_send_state(old, requester.user_id, CANONICAL_ALIAS):
                _put(old, requester, CANONICAL_ALIAS, left)


def _split_names(content: Mapping[str, Any], moved: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a canonical alias event says of the aliases that move, and all the rest of it."""
    taken: dict[str, Any] = {}
    left = dict(content)
    if content.get("alias") in moved:
        taken["alias"] = left.pop("alias")
    alternatives = content.get("alt_aliases")
    if isinstance(alternatives, list):
        going = [alias for alias in alternatives if alias in moved]
        if going:
            taken["alt_aliases"] = going
            left["alt_aliases"] = [alias for alias in alternatives if alias not in moved]
    return taken, left


def _close(old: RoomAppend, requester: Requester) -> None:
    """Who may replace a room need not have the power to change its levels: it stays as open as it is then."""
    levels = old.get_state(_POWER_LEVELS, "")
    if levels is None:
        return
    content = build_closed_levels(levels.content)
    if content == levels.content:
        return
    try:
        _put(old, requester, _POWER_LEVELS, content)
    except (Forbidden, MalformedEvent) as error:
        _log.info("the power levels of %s stay as they are: %s", old.room.room_id, error)
