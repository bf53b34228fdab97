"""How events relate to one another: replies, replacements, annotations, threads and references.

Everything is read from ``m.relates_to`` in the cleartext content, of encrypted events too. What does not have the shape
of the spec is no relation: it is ignored, never an error.

Spec: client-server-api/#forming-relationships-between-events
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.matrix.ids import EventId

REPLACE: Final = "m.replace"
ANNOTATION: Final = "m.annotation"
THREAD: Final = "m.thread"
REFERENCE: Final = "m.reference"

THREAD_HOPS_MAX: Final = 3
"""Relations followed in search of a thread. Spec: client-server-api/#receiving-notifications"""

_ENCRYPTED: Final = "m.room.encrypted"

Event = Mapping[str, Any]
"""An event in the client format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """The ``m.relates_to`` of an event. ``rel_type`` and ``event_id`` are either both set or both ``None``."""

    rel_type: str | None = None
    event_id: EventId | None = None
    key: str | None = None
    """What an annotation says, such as an emoji. Spec: client-server-api/#mannotation-relationship-type"""
    in_reply_to: EventId | None = None
    """Spec: client-server-api/#rich-replies"""
    is_falling_back: bool = False
    """The reply is only there for clients without threads. Spec: client-server-api/#fallback-for-unthreaded-clients"""


def parse_relation(content: Any) -> Relation | None:
    """The relation that the content states, or ``None``."""
    # Asked of every event, and nearly all are dicts: an abstract class takes ten times as long to say so.
    if type(content) is not dict and not isinstance(content, Mapping):
        return None
    relates_to = content.get("m.relates_to")
    if relates_to is None or not isinstance(relates_to, Mapping):
        return None
    rel_type, event_id = relates_to.get("rel_type"), _parse_event_id(relates_to.get("event_id"))
    if not isinstance(rel_type, str) or event_id is None:
        rel_type, event_id = None, None
    reply = relates_to.get("m.in_reply_to")
    in_reply_to = _parse_event_id(reply.get("event_id")) if isinstance(reply, Mapping) else None
    if rel_type is None and in_reply_to is None:
        return None
    key = relates_to.get("key")
    return Relation(
        rel_type=rel_type,
        event_id=event_id,
        key=key if isinstance(key, str) else None,
        in_reply_to=in_reply_to,
        is_falling_back=relates_to.get("is_falling_back") is True,
    )


def _parse_event_id(value: Any) -> EventId | None:
    return EventId(value) if isinstance(value, str) and value.startswith("$") else None


def parse_parent(content: Any) -> tuple[str, EventId] | None:
    """``(rel_type, event_id)`` of the event that the content relates to; replies without a ``rel_type`` have none."""
    relation = parse_relation(content)
    if relation is None or relation.rel_type is None or relation.event_id is None:
        return None
    return relation.rel_type, relation.event_id


def parse_thread_root(content: Any) -> EventId | None:
    """The root of the thread that the event itself is part of."""
    match parse_parent(content):
        case (rel_type, event_id) if rel_type == THREAD:
            return event_id
        case _:
            return None


def find_thread_root(content: Any, get_content: Callable[[EventId], Any | None]) -> EventId | None:
    """The root of the thread that the event belongs to, by itself or through the events it relates to.

    A reaction to a message in a thread belongs to the thread. ``None`` is the main timeline, which is also where an
    event belongs when no thread is found in a few steps or when ``get_content`` does not know an event on the way.

    Spec: client-server-api/#receiving-notifications
    """
    for _ in range(THREAD_HOPS_MAX):
        parent = parse_parent(content)
        if parent is None:
            return None
        rel_type, event_id = parent
        if rel_type == THREAD:
            return event_id
        content = get_content(event_id)
    return parse_thread_root(content)


def check_thread_root(content: Any) -> str | None:
    """Why no thread can start from the event with this content, or ``None`` if one can.

    A request to do so is refused with 400 and ``M_UNKNOWN``.

    Spec: client-server-api/#validation-of-mthread-relationships
    """
    # A plain reply may be a root: only a relationship with a rel_type makes an event somebody's child.
    if parse_parent(content) is not None:
        return "a thread cannot start from an event that relates to another"
    return None


def check_replacement(original: Event, replacement: Event) -> str | None:
    """Why the replacement is to be ignored, or ``None`` if it is valid. Both need ``room_id``.

    That ``replacement`` has an ``m.replace`` relation to ``original`` is for the caller to know.

    Spec: client-server-api/#validity-of-replacement-events
    """
    if original.get("room_id") != replacement.get("room_id"):
        return "the events are in different rooms"
    if original.get("sender") != replacement.get("sender"):
        return "the events are from different senders"
    if original.get("type") != replacement.get("type"):
        return "the events are of different types"
    if "state_key" in original or "state_key" in replacement:
        return "state events cannot be replaced"
    parent = parse_parent(original.get("content"))
    if parent is not None and parent[0] == REPLACE:
        return "the original is itself a replacement"
    # Of an encrypted replacement, m.new_content is in the encrypted part; in the cleartext it means nothing.
    if replacement.get("type") != _ENCRYPTED and "m.new_content" not in replacement.get("content", {}):
        return "the replacement has no m.new_content"
    return None


@dataclass(frozen=True, slots=True)
class Annotation:
    """What makes two annotations of one user the same.

    Spec: client-server-api/#avoiding-duplicate-annotations
    """

    event_id: EventId
    type: str
    key: str


def parse_annotation(event_type: str, content: Any) -> Annotation | None:
    """The annotation that an event of this type and content is, or ``None``."""
    relation = parse_relation(content)
    if relation is None or relation.rel_type != ANNOTATION or relation.event_id is None or relation.key is None:
        return None
    return Annotation(relation.event_id, event_type, relation.key)
