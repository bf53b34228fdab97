"""Filters: which events a client wants to see, and how much of each.

A filter is read and checked once and then asked for every event, so the lists become sets, the wildcards compiled
globs, and a filter without conditions says so (``passes_all``) and answers at once.

Types may hold ``*`` and nothing else: a ``?`` is a question mark. What a ``not_`` list names is left out even if it is
also asked for.

Spec: client-server-api/#filtering
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from conduit_py.matrix.errcodes import Errcode
from conduit_py.matrix.globs import Glob, compile_glob
from conduit_py.matrix.ids import Malformed
from conduit_py.matrix.property_path import Path, get_property, parse_path

ENTRIES_MAX: Final = 5000
"""Entries of one list. A request for a filter is smaller than this anyway unless somebody tries."""

TYPE_GLOBS_MAX: Final = 64
"""Types with a wildcard in one list; each is tried on every event."""

EVENT_FIELDS_MAX: Final = 256

EventFormat = Literal["client", "federation"]
_ABSENT: Final = object()


class InvalidFilter(Malformed):
    """The filter is not what the spec allows; ``field`` is where, such as ``room.timeline.limit``."""

    errcode: ClassVar[Errcode] = Errcode.M_BAD_JSON

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field or 'the filter'} {problem}")
        self.field = field


class TypeList:
    """A list of event types, some with wildcards."""

    __slots__ = ("_exact", "_globs", "types")

    def __init__(self, types: Collection[str]) -> None:
        self.types = tuple(types)
        self._exact = frozenset(text for text in types if "*" not in text)
        self._globs: tuple[Glob, ...] = tuple(
            compile_glob(text, ignore_case=False, question_mark=False) for text in dict.fromkeys(types) if "*" in text
        )

    def __contains__(self, event_type: str) -> bool:
        return event_type in self._exact or any(glob.matches_folded(event_type) for glob in self._globs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeList) and self.types == other.types

    def __hash__(self) -> int:
        return hash(self.types)

    def __repr__(self) -> str:
        return f"TypeList({list(self.types)})"


_NO_TYPES: Final = TypeList(())
_NO_IDS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events to include. ``types`` and ``senders`` are ``None`` when all are.

    Spec: client-server-api/#post_matrixclientv3useruseridfilter_request_eventfilter
    """

    limit: int | None = None
    types: TypeList | None = None
    not_types: TypeList = _NO_TYPES
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = _NO_IDS
    passes_all: bool = field(init=False, compare=False, repr=False)
    """Whether there is no condition, so that no event needs to be asked about (``limit`` is not a condition)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes_all", self._has_no_conditions())

    def _has_no_conditions(self) -> bool:
        return self.types is None and self.senders is None and not self.not_types.types and not self.not_senders

    def limit_or(self, default: int, *, maximum: int) -> int:
        """How many events to return at the most. Zero is an answer: some clients ask for none."""
        return min(default if self.limit is None else self.limit, maximum)

    def matches_type(self, event_type: str) -> bool:
        if self.types is not None and event_type not in self.types:
            return False
        return event_type not in self.not_types

    def matches_sender(self, sender: str) -> bool:
        if self.senders is not None and sender not in self.senders:
            return False
        return sender not in self.not_senders

    def matches(self, event_type: str, sender: str) -> bool:
        """Whether an event is wanted. Account data has no sender: ask `matches_type` for it."""
        return self.passes_all or (self.matches_type(event_type) and self.matches_sender(sender))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomEventFilter(EventFilter):
    """Which events of rooms to include.

    ``related_by_rel_types`` and ``related_by_senders`` ask for events that others relate to in one of these ways or
    from one of these users. They are no part of the spec; clients use them to list threads.

    Spec: client-server-api/#post_matrixclientv3useruseridfilter_request_roomeventfilter
    """

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = _NO_IDS
    contains_url: bool | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False
    related_by_rel_types: frozenset[str] | None = None
    related_by_senders: frozenset[str] | None = None

    def _has_no_conditions(self) -> bool:
        return (
            EventFilter._has_no_conditions(self)
            and self.rooms is None
            and not self.not_rooms
            and self.contains_url is None
            and not self.asks_for_relations
        )

    @property
    def asks_for_relations(self) -> bool:
        """Whether `matches_relations` must be asked too. Kept apart because it takes a read per event to answer."""
        return self.related_by_rel_types is not None or self.related_by_senders is not None

    def matches_room(self, room_id: str) -> bool:
        if self.rooms is not None and room_id not in self.rooms:
            return False
        return room_id not in self.not_rooms

    def matches_event(self, event_type: str, sender: str, *, has_url: bool) -> bool:
        """Whether an event of a room that `matches_room` is wanted, relations aside.

        ``has_url`` is whether its content has the key ``url``.
        """
        if self.passes_all:
            return True
        if self.contains_url is not None and self.contains_url is not has_url:
            return False
        return self.matches_type(event_type) and self.matches_sender(sender)

    def matches_relations(self, related_by: Iterable[tuple[str, str]]) -> bool:
        """``related_by`` are the ``(rel_type, sender)`` of the events that relate to the one asked about."""
        if not self.asks_for_relations:
            return True
        rel_types, senders = self.related_by_rel_types, self.related_by_senders
        return any(
            (rel_types is None or rel_type in rel_types) and (senders is None or sender in senders)
            for rel_type, sender in related_by
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomFilter:
    """Which rooms to include in ``/sync``, and what of them.

    Spec: client-server-api/#post_matrixclientv3useruseridfilter_request_roomfilter
    """

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = _NO_IDS
    include_leave: bool = False
    state: RoomEventFilter = RoomEventFilter()
    timeline: RoomEventFilter = RoomEventFilter()
    ephemeral: RoomEventFilter = RoomEventFilter()
    account_data: RoomEventFilter = RoomEventFilter()

    def matches_room(self, room_id: str) -> bool:
        if self.rooms is not None and room_id not in self.rooms:
            return False
        return room_id not in self.not_rooms


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFilter:
    """A whole filter, as uploaded or given inline to ``/sync``.

    Spec: client-server-api/#post_matrixclientv3useruseridfilter
    """

    event_fields: tuple[Path, ...] | None = None
    event_format: EventFormat = "client"
    presence: EventFilter = EventFilter()
    account_data: EventFilter = EventFilter()
    room: RoomFilter = RoomFilter()

    def project(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event with no more than the fields that the client asked for; the event itself when it asked for all."""
        return event if self.event_fields is None else project(event, self.event_fields)


NO_FILTER: Final = SyncFilter()
NO_ROOM_EVENT_FILTER: Final = RoomEventFilter()


def parse_sync_filter(value: Any) -> SyncFilter:
    """Check and compile a filter. Raises `InvalidFilter`; keys that the spec does not know are passed over."""
    filter_ = _object(value, "")
    return SyncFilter(
        event_fields=_parse_event_fields(filter_),
        event_format=_parse_event_format(filter_),
        presence=_parse_event_filter(filter_.get("presence", _ABSENT), "presence"),
        account_data=_parse_event_filter(filter_.get("account_data", _ABSENT), "account_data"),
        room=_parse_room_filter(filter_.get("room", _ABSENT), "room"),
    )


def parse_room_event_filter(value: Any) -> RoomEventFilter:
    """Like `parse_sync_filter`, for the ``filter`` of ``/messages``, ``/context`` and ``/search``."""
    return _parse_room_event_filter(value, "")


def project(event: Mapping[str, Any], fields: Iterable[Path]) -> dict[str, Any]:
    """A copy of the event with only the named fields. Lists and values are shared with the event.

    Spec: client-server-api/#post_matrixclientv3useruseridfilter_request_filter
    """
    projected: dict[str, Any] = {}
    whole: set[Path] = set()
    # Shorter paths first: what is included whole must not be cut down by a path into it.
    for path in sorted(fields, key=len):
        value = get_property(event, path, absent=_ABSENT)
        if value is _ABSENT or any(path[:length] in whole for length in range(1, len(path))):
            continue
        whole.add(path)
        target = projected
        for name in path[:-1]:
            target = target.setdefault(name, {})
        target[path[-1]] = value
    return projected


def _parse_event_fields(filter_: Mapping[str, Any]) -> tuple[Path, ...] | None:
    fields = _strings(filter_, "event_fields", "")
    if not fields:
        # None at all would be of no use to anybody, and a server may include more than was asked for.
        return None
    if len(fields) > EVENT_FIELDS_MAX:
        raise InvalidFilter("event_fields", f"must not have more than {EVENT_FIELDS_MAX} entries")
    return tuple(parse_path(text) for text in dict.fromkeys(fields))


def _parse_event_format(filter_: Mapping[str, Any]) -> EventFormat:
    match filter_.get("event_format", "client"):
        case "client":
            return "client"
        case "federation":
            return "federation"
        case _:
            raise InvalidFilter("event_format", "must be 'client' or 'federation'")


def _parse_room_filter(value: Any, where: str) -> RoomFilter:
    filter_ = _object(value, where)

    def part(name: str) -> RoomEventFilter:
        return _parse_room_event_filter(filter_.get(name, _ABSENT), f"{where}.{name}")

    return RoomFilter(
        rooms=_ids(filter_, "rooms", where, "!"),
        not_rooms=_ids(filter_, "not_rooms", where, "!") or _NO_IDS,
        include_leave=_boolean(filter_, "include_leave", where) or False,
        state=part("state"),
        timeline=part("timeline"),
        ephemeral=part("ephemeral"),
        account_data=part("account_data"),
    )


def _parse_event_filter(value: Any, where: str) -> EventFilter:
    return EventFilter(**_event_filter_fields(_object(value, where), where))


def _parse_room_event_filter(value: Any, where: str) -> RoomEventFilter:
    filter_ = _object(value, where)
    if not filter_:
        return NO_ROOM_EVENT_FILTER
    return RoomEventFilter(
        **_event_filter_fields(filter_, where),
        rooms=_ids(filter_, "rooms", where, "!"),
        not_rooms=_ids(filter_, "not_rooms", where, "!") or _NO_IDS,
        contains_url=_boolean(filter_, "contains_url", where),
        lazy_load_members=_boolean(filter_, "lazy_load_members", where) or False,
        include_redundant_members=_boolean(filter_, "include_redundant_members", where) or False,
        unread_thread_notifications=_boolean(filter_, "unread_thread_notifications", where) or False,
        related_by_rel_types=_set(_strings(filter_, "related_by_rel_types", where)),
        related_by_senders=_ids(filter_, "related_by_senders", where, "@"),
    )


def _event_filter_fields(filter_: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {
        "limit": _limit(filter_, where),
        "types": _types(filter_, "types", where),
        "not_types": _types(filter_, "not_types", where) or _NO_TYPES,
        "senders": _ids(filter_, "senders", where, "@"),
        "not_senders": _ids(filter_, "not_senders", where, "@") or _NO_IDS,
    }


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if value is _ABSENT:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidFilter(where, "must be an object")
    return value


def _limit(filter_: Mapping[str, Any], where: str) -> int | None:
    limit = filter_.get("limit", _ABSENT)
    if limit is _ABSENT:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise InvalidFilter(_join(where, "limit"), "must be an integer greater than 0")
    return limit


def _boolean(filter_: Mapping[str, Any], name: str, where: str) -> bool | None:
    value = filter_.get(name, _ABSENT)
    if value is _ABSENT:
        return None
    if not isinstance(value, bool):
        raise InvalidFilter(_join(where, name), "must be a boolean")
    return value


def _strings(filter_: Mapping[str, Any], name: str, where: str) -> list[str] | None:
    value = filter_.get(name, _ABSENT)
    if value is _ABSENT:
        return None
    if not isinstance(value, list):
        raise InvalidFilter(_join(where, name), "must be a list of strings")
    if len(value) > ENTRIES_MAX:
        raise InvalidFilter(_join(where, name), f"must not have more than {ENTRIES_MAX} entries")
    for position, entry in enumerate(value):
        if not isinstance(entry, str):
            raise InvalidFilter(f"{_join(where, name)}[{position}]", "must be a string")
    return value


def _types(filter_: Mapping[str, Any], name: str, where: str) -> TypeList | None:
    types = _strings(filter_, name, where)
    if types is None:
        return None
    if sum("*" in text for text in types) > TYPE_GLOBS_MAX:
        raise InvalidFilter(_join(where, name), f"must not have more than {TYPE_GLOBS_MAX} entries with a wildcard")
    return TypeList(types)


def _ids(filter_: Mapping[str, Any], name: str, where: str, sigil: str) -> frozenset[str] | None:
    ids = _strings(filter_, name, where)
    for position, entry in enumerate(ids or ()):
        if not entry.startswith(sigil):
            raise InvalidFilter(f"{_join(where, name)}[{position}]", f"must start with '{sigil}'")
    return _set(ids)


def _set(strings: list[str] | None) -> frozenset[str] | None:
    return None if strings is None else frozenset(strings)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
