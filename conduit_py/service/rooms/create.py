"""Creating rooms: every event of a new room in one batch.

Spec: client-server-api/#creation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from conduit_py.data import rooms
from conduit_py.log import get_logger
from conduit_py.matrix.ids import (
    Malformed,
    RoomAlias,
    RoomId,
    UserId,
    parse_room_alias,
    parse_user_id,
    server_name_of,
)
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.service.appservices.queries import AppServiceQueries
from conduit_py.service.errors import BadJson, Forbidden, InvalidParam, MalformedEvent, MatrixError, NotFound
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.elsewhere import Elsewhere
from conduit_py.service.rooms.member_events import MEMBER, build_member_content, membership_content
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.errors import PreconditionFailed, StorageFull

_log = get_logger(__name__)

PRESETS: Mapping[str, tuple[str, str]] = {
    "private_chat": ("invite", "can_join"),
    "trusted_private_chat": ("invite", "can_join"),
    "public_chat": ("public", "forbidden"),
}
"""Join rule and guest access. History is ``shared`` in all of them."""

TOMBSTONE_LEVEL = 150
"""In rooms whose creators stand above all levels."""

INVITES_MAX = 100
INITIAL_STATE_MAX = 100
"""Events that a new room begins with are all written at once."""
"""Users invited by one request: each costs an event in the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRoom:
    """What is asked for. Spec: client-server-api/#post_matrixclientv3createroom"""

    version: RoomVersion
    preset: str
    is_public: bool
    alias_localpart: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: tuple[UserId, ...] = ()
    is_direct: bool = False
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: tuple[tuple[str, str, Mapping[str, Any]], ...] = ()
    """type, state_key, content"""
    power_level_content_override: Mapping[str, Any] = field(default_factory=dict)


class CreateService:
    """One per server."""

    def __init__(
        self,
        writes: RoomWrites,
        remote: Elsewhere,
        queries: AppServiceQueries,
        *,
        new_room_id: Callable[[], RoomId],
        allow_room_creation: bool,
        allow_encryption: bool,
        throttle: RateLimiter,
    ) -> None:
        self._throttle = throttle
        self._writes = writes
        self._remote = remote
        self._queries = queries
        self._new_room_id = new_room_id
        self._allow_room_creation = allow_room_creation
        self._allow_encryption = allow_encryption

    async def create_room(self, requester: Requester, room: NewRoom) -> RoomId:
        """Make a room and the requester its first member. Everything lands together or nothing does.

        Users of other servers are invited once the room is there, because their servers have to sign the invites. One
        that cannot be invited does not undo the room, nor does one of this server that is not there.
        """
        requester.require_not_suspended()
        self._throttle(("room_creation", requester.limited_as))
        if not (self._allow_room_creation or requester.is_admin):
            raise Forbidden("only administrators may create rooms on this server")
        if not self._allow_encryption and any(entry[0] == "m.room.encryption" for entry in room.initial_state):
            raise Forbidden("this server does not allow encryption to be turned on")
        if len(room.invite) > INVITES_MAX:
            raise InvalidParam(f"at most {INVITES_MAX} users can be invited with a new room")
        if len(room.initial_state) > INITIAL_STATE_MAX:
            raise InvalidParam(f"a new room can begin with at most {INITIAL_STATE_MAX} events of initial_state")
        alias = None if room.alias_localpart is None else self._parse_alias(room.alias_localpart)
        if alias is not None:
            self._queries.appservices.check_alias(alias, requester.appservice_id)
        for user_id in filter(self._is_local, room.invite):
            await self._queries.ask_for_user(user_id)
        try:
            room_id = await self._writes.create(
                requester.user_id, lambda snapshot, turn: self._stage(snapshot, turn, requester, room, alias)
            )
        except PreconditionFailed:
            raise _alias_in_use(alias) from None
        async with trio.open_nursery() as nursery:
            for user_id in dict.fromkeys(room.invite):
                if not self._is_local(user_id):
                    nursery.start_soon(self._invite, requester, room_id, user_id, _invite_content(room))
        return room_id

    def _is_local(self, user_id: UserId) -> bool:
        return server_name_of(user_id) == self._writes.append.server_name

    async def _invite(self, requester: Requester, room_id: RoomId, user_id: UserId, content: Mapping[str, Any]) -> None:
        try:
            await self._remote.invite(requester, room_id, user_id, content)
        except (MatrixError, StorageFull) as error:
            _log.info("a user is not invited to a new room", user=user_id, room=room_id, error=str(error))

    def _parse_alias(self, localpart: str) -> RoomAlias:
        try:
            return parse_room_alias(f"#{localpart}:{self._writes.append.server_name}")
        except Malformed as error:
            raise InvalidParam(f"room_alias_name: {error}") from None

    def _stage(
        self, snapshot: Snapshot, turn: Turn, requester: Requester, room: NewRoom, alias: RoomAlias | None
    ) -> RoomAppend:
        if alias is not None and rooms.get_alias(snapshot, alias) is not None:
            raise _alias_in_use(alias)
        append = self._begin(snapshot, turn, requester, room)
        put = _StatePutter(snapshot, append, requester)
        put(MEMBER, membership_content("join", None), requester.user_id)
        put("m.room.power_levels", _power_levels(requester, room))
        if alias is not None:
            rooms.stage_alias(turn, append.room.short, append.room.room_id, alias, requester.user_id)
            put("m.room.canonical_alias", {"alias": alias})
        for event_type, state_key, content in _state_of(room):
            put(event_type, content, state_key)
        for user_id in filter(self._is_local, dict.fromkeys(room.invite)):
            try:
                put(MEMBER, _invite_content(room), user_id)
            except NotFound as error:
                _log.info("a user is not invited to a new room", user=user_id, error=str(error))
        if room.is_public:
            rooms.stage_public(turn, append.room.short, is_public=True)
        return append

    def _begin(self, snapshot: Snapshot, turn: Turn, requester: Requester, room: NewRoom) -> RoomAppend:
        return self._writes.append.begin_new(
            snapshot,
            turn,
            version=room.version,
            room_id=self._new_room_id() if room.version.event_format.create_has_room_id else None,
            creator=requester.user_id,
            content=_create_content(requester, room),
        )


class _StatePutter:
    """Builds, checks and stages one state event after the other."""

    def __init__(self, snapshot: Snapshot, append: RoomAppend, requester: Requester) -> None:
        self._snapshot = snapshot
        self._append = append
        self._requester = requester

    def __call__(self, type: str, content: Mapping[str, Any], state_key: str = "") -> None:
        """Raises ``M_INVALID_ROOM_STATE`` for what the rules refuse, and what ``build_member_content`` raises."""
        if type == MEMBER:
            user_id = parse_user_id(state_key)
            content = build_member_content(self._snapshot, self._append, self._requester, user_id, content)
        sender = self._requester.user_id
        try:
            pdu = self._append.create_event(sender=sender, type=type, content=content, state_key=state_key)
            self._append.append(pdu)
        except (Forbidden, MalformedEvent) as error:
            raise MatrixError(f"{type}: {error}", errcode="M_INVALID_ROOM_STATE", status=400) from None


def _invite_content(room: NewRoom) -> dict[str, Any]:
    return membership_content("invite", None, **({"is_direct": True} if room.is_direct else {}))


def _alias_in_use(alias: RoomAlias | None) -> MatrixError:
    return MatrixError(f"the alias {alias} is taken", errcode="M_ROOM_IN_USE", status=400)


def _create_content(requester: Requester, room: NewRoom) -> dict[str, Any]:
    content = {key: value for key, value in room.creation_content.items() if key not in ("creator", "room_version")}
    for name, kind in _CREATION_KINDS.items():
        if name in content and not isinstance(content[name], kind):
            raise BadJson(f"{name} in creation_content must be a JSON {_KIND_NAMES[kind]}")
    content["room_version"] = room.version.id
    if room.version.auth.create_has_creator:
        content["creator"] = requester.user_id
    if room.version.auth.additional_creators:
        named = _parse_creators(content.get("additional_creators", []))
        if room.preset == "trusted_private_chat":
            named = [*named, *room.invite]
        if named:
            content["additional_creators"] = list(dict.fromkeys(named))
    return content


_CREATION_KINDS: Mapping[str, type] = {"m.federate": bool, "type": str, "predecessor": dict}
_KIND_NAMES: Mapping[type, str] = {bool: "boolean", str: "string", dict: "object"}


def _parse_creators(named: Any) -> list[UserId]:
    if not isinstance(named, list) or not all(isinstance(user_id, str) for user_id in named):
        raise InvalidParam("additional_creators must be a list of user ids")
    return [parse_user_id(user_id) for user_id in named]


def _power_levels(requester: Requester, room: NewRoom) -> dict[str, Any]:
    """The defaults, and ``power_level_content_override`` over them, key by key.

    Spec: client-server-api/#post_matrixclientv3createroom
    """
    rules = room.version.auth
    users = {} if rules.privileged_creators else {requester.user_id: 100}
    if room.preset == "trusted_private_chat" and not rules.privileged_creators:
        users.update(dict.fromkeys(room.invite, 100))
    levels = {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.encryption": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 0 if room.preset != "public_chat" else 50,
        "notifications": {"room": 50},
        **room.power_level_content_override,
    }
    return _with_tombstone(room, levels) if rules.privileged_creators else levels


def _with_tombstone(room: NewRoom, levels: dict[str, Any]) -> dict[str, Any]:
    """Only creators replace a room of version 12: above ``state_default``, and out of administrators' reach.

    An override that names no level for it does not lower it.
    """
    events, wanted = levels["events"], room.power_level_content_override.get("events")
    if not isinstance(events, dict) or (isinstance(wanted, dict) and _TOMBSTONE in wanted):
        return levels
    state_default = levels["state_default"]
    above = state_default + 1 if isinstance(state_default, int) else 0
    return levels | {"events": {**events, _TOMBSTONE: max(TOMBSTONE_LEVEL, above)}}


_TOMBSTONE = "m.room.tombstone"


def _state_of(room: NewRoom) -> list[tuple[str, str, Mapping[str, Any]]]:
    """The preset, then initial_state over it, then name and topic over both, each entry once."""
    join_rule, guest_access = PRESETS[room.preset]
    state: dict[tuple[str, str], Mapping[str, Any]] = {
        ("m.room.join_rules", ""): {"join_rule": join_rule},
        ("m.room.history_visibility", ""): {"history_visibility": "shared"},
        ("m.room.guest_access", ""): {"guest_access": guest_access},
    }
    implied: dict[tuple[str, str], Mapping[str, Any]] = {}
    if room.name is not None:
        implied["m.room.name", ""] = {"name": room.name}
    if room.topic is not None:
        text = {"m.text": [{"mimetype": "text/plain", "body": room.topic}]}
        implied["m.room.topic", ""] = {"topic": room.topic, "m.topic": text}
    for event_type, state_key, content in room.initial_state:
        if (event_type, state_key) not in implied:
            state.pop((event_type, state_key), None)
            state[event_type, state_key] = content
    state.update(implied)
    return [(*key, content) for key, content in state.items()]
