"""Who may see an event, by the history visibility of its room.

The answer depends on the room as it was at the event, so the caller gives the state before and after it. The two differ
only for events that change what is asked about: the visibility itself, and the user's own membership. For those the
spec wants the more permissive of the two, which is why every function here asks both.

Spec: client-server-api/#room-history-visibility
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class HistoryVisibility(StrEnum):
    """Spec: client-server-api/#mroomhistory_visibility"""

    INVITED = "invited"
    JOINED = "joined"
    SHARED = "shared"
    WORLD_READABLE = "world_readable"


def parse_history_visibility(content: Any) -> HistoryVisibility:
    """The value in the content of ``m.room.history_visibility``; ``shared`` when there is none or none that is known.

    Give ``None`` for the content when the room has no such event.
    """
    value: Any = content.get("history_visibility") if isinstance(content, Mapping) else None
    try:
        return HistoryVisibility(value)
    except ValueError:
        return HistoryVisibility.SHARED


@dataclass(frozen=True, slots=True)
class UserView:
    """A room at one moment as one user meets it."""

    visibility: HistoryVisibility
    membership: str
    """The user's ``membership``, ``leave`` when there is no such event."""


def may_user_see(before: UserView, after: UserView, *, has_joined_since: bool) -> bool:
    """Whether a user may see an event, from the room before and after it.

    ``has_joined_since`` is whether the user joined, or was joined, at any point after the event.

    Spec: client-server-api/#room-history-visibility
    """
    if _may_see(before, has_joined_since=has_joined_since):
        return True
    return after != before and _may_see(after, has_joined_since=has_joined_since)


def _may_see(view: UserView, *, has_joined_since: bool) -> bool:
    # 1. If the history_visibility was set to world_readable, allow.
    if view.visibility is HistoryVisibility.WORLD_READABLE:
        return True
    # 2. If the user's membership was join, allow.
    if view.membership == "join":
        return True
    # 3. If history_visibility was set to shared, and the user joined the room at any point after the event was sent,
    #    allow.
    if view.visibility is HistoryVisibility.SHARED and has_joined_since:
        return True
    # 4. If the user's membership was invite, and the history_visibility was set to invited, allow.
    # 5. Otherwise, deny.
    return view.membership == "invite" and view.visibility is HistoryVisibility.INVITED


@dataclass(frozen=True, slots=True)
class ServerView:
    """A room at one moment as one server meets it."""

    visibility: HistoryVisibility
    memberships: Collection[str]
    """The different ``membership`` values of the server's users."""


def may_server_see(before: ServerView, after: ServerView, *, has_joined_since: bool) -> bool:
    """Whether a server may be given an event in full: whether one of its users may see it.

    ``has_joined_since`` is whether any of the server's users joined, or was joined, at any point after the event. The
    spec has no rules of its own for servers, but what a server is given it can show to any of its users.
    """
    return any(
        may_user_see(
            UserView(before.visibility, membership),
            UserView(after.visibility, membership),
            has_joined_since=has_joined_since,
        )
        for membership in {*before.memberships, *after.memberships, "leave"}
    )
