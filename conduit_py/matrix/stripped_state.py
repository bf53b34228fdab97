"""Stripped state: the glimpse of a room that somebody gets with an invite or a knock.

Between servers the events travel whole, so that they can be checked; to clients they go with four properties each.

Spec: client-server-api/#stripped-state
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from conduit_py.matrix.ids import UserId

STRIPPED_EVENTS_MAX: Final = 64
"""Events taken from what another server sends. A room has eight worth showing, and the spec lets servers add some."""

CREATE: Final = ("m.room.create", "")

_TYPES: Final = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


def stripped_state_keys(sender: UserId | None) -> tuple[tuple[str, str], ...]:
    """``(type, state_key)`` of the state that goes with an invite or knock, the create event first.

    ``sender`` is who invites: clients show their name and avatar, which only the membership event has. ``None`` for a
    knock, whose sender is nobody to the room yet, and for what is shown to anybody who could join.
    """
    keys = tuple((event_type, "") for event_type in _TYPES)
    return keys if sender is None else (*keys, ("m.room.member", sender))


def strip_event(event: Any) -> dict[str, Any] | None:
    """The four properties of a stripped state event, or ``None`` if the event is no state event with all of them."""
    if not isinstance(event, Mapping):
        return None
    event_type, state_key = event.get("type"), event.get("state_key")
    sender, content = event.get("sender"), event.get("content")
    if not isinstance(event_type, str) or not isinstance(state_key, str) or not isinstance(sender, str):
        return None
    if not isinstance(content, Mapping):
        return None
    return {"type": event_type, "state_key": state_key, "sender": sender, "content": content}


def build_stripped_state(events: Any, member_event: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The ``events`` of ``invite_state`` or ``knock_state``, from our own state or from what another server sent.

    What is not a state event is left out, and of two events for the same state the first counts. ``member_event`` is
    the invite or knock itself: clients look for it here, and it outranks what the other server claims in its place.

    Spec: client-server-api/#get_matrixclientv3sync_response-200_invitestate
    """
    claimed: Iterable[Any] = events if isinstance(events, list | tuple) else ()
    own = None if member_event is None else strip_event(member_event)
    by_key: dict[tuple[str, str], dict[str, Any]] = {}
    if own is not None:
        by_key[own["type"], own["state_key"]] = own
    for event in claimed:
        if len(by_key) >= STRIPPED_EVENTS_MAX:
            break
        stripped = strip_event(event)
        if stripped is not None:
            by_key.setdefault((stripped["type"], stripped["state_key"]), stripped)
    if own is not None:
        # The event that this is all about comes last, after the room it is about.
        by_key[own["type"], own["state_key"]] = by_key.pop((own["type"], own["state_key"]))
    return list(by_key.values())


def get_stripped(events: Any, event_type: str, state_key: str) -> Mapping[str, Any]:
    """One entry of stripped state, empty if it is not there."""
    for event in events if isinstance(events, list | tuple) else ():
        if isinstance(event, Mapping) and (event.get("type"), event.get("state_key")) == (event_type, state_key):
            return event
    return {}


def find_create_event(events: Any) -> Mapping[str, Any] | None:
    """The create event among what another server sent with an invite or knock, where it must be since v1.16.

    Whether it is well formed, signed and of this room is for the rules of the room version to say.

    Spec: server-server-api/#put_matrixfederationv2inviteroomideventid
    """
    for event in events if isinstance(events, list | tuple) else ():
        if isinstance(event, Mapping) and (event.get("type"), event.get("state_key")) == CREATE:
            return event
    return None
