from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from conduit_py.matrix.visibility import (
    HistoryVisibility,
    ServerView,
    UserView,
    may_server_see,
    may_user_see,
    parse_history_visibility,
)

INVITED, JOINED = HistoryVisibility.INVITED, HistoryVisibility.JOINED
SHARED, WORLD_READABLE = HistoryVisibility.SHARED, HistoryVisibility.WORLD_READABLE
MEMBERSHIPS = ("join", "invite", "leave", "ban", "knock")

# Who sees an event that changes neither the visibility nor the user's membership: the memberships at the event that are
# enough, first for somebody who never joined afterwards, then for somebody who did.
SEEN_BY = {
    WORLD_READABLE: (set(MEMBERSHIPS), set(MEMBERSHIPS)),
    SHARED: ({"join"}, set(MEMBERSHIPS)),
    INVITED: ({"join", "invite"}, {"join", "invite"}),
    JOINED: ({"join"}, {"join"}),
}


@pytest.mark.parametrize(
    ("visibility", "membership", "has_joined_since"), list(product(HistoryVisibility, MEMBERSHIPS, (False, True)))
)
def test_may_user_see_follows_the_table(visibility: HistoryVisibility, membership: str, has_joined_since: bool) -> None:
    view = UserView(visibility, membership)
    expected = membership in SEEN_BY[visibility][has_joined_since]
    assert may_user_see(view, view, has_joined_since=has_joined_since) is expected


@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        (WORLD_READABLE, JOINED, True),
        (JOINED, WORLD_READABLE, True),
        (JOINED, INVITED, False),
        (SHARED, JOINED, False),
    ],
)
def test_visibility_event_is_seen_if_before_or_after_would_allow(
    before: HistoryVisibility, after: HistoryVisibility, seen: bool
) -> None:
    assert may_user_see(UserView(before, "leave"), UserView(after, "leave"), has_joined_since=False) is seen


@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        ("leave", "join", True),
        ("join", "leave", True),
        ("join", "ban", True),
        ("invite", "join", True),
        ("leave", "invite", False),
        ("leave", "ban", False),
    ],
)
def test_own_membership_event_is_seen_if_before_or_after_would_allow(before: str, after: str, seen: bool) -> None:
    assert may_user_see(UserView(JOINED, before), UserView(JOINED, after), has_joined_since=False) is seen


def test_invited_user_sees_the_invite_itself() -> None:
    assert may_user_see(UserView(INVITED, "leave"), UserView(INVITED, "invite"), has_joined_since=False)


@pytest.mark.parametrize(
    "content",
    [None, {}, {"history_visibility": None}, {"history_visibility": []}, {"history_visibility": "Joined"}, "joined"],
)
def test_parse_history_visibility_is_shared_when_missing_or_unknown(content: Any) -> None:
    assert parse_history_visibility(content) is SHARED


@pytest.mark.parametrize("value", list(HistoryVisibility))
def test_parse_history_visibility_reads_the_four_values(value: HistoryVisibility) -> None:
    assert parse_history_visibility({"history_visibility": value.value}) is value


@pytest.mark.parametrize(
    ("visibility", "memberships", "has_joined_since", "seen"),
    [
        (WORLD_READABLE, (), False, True),
        (SHARED, (), True, True),
        (SHARED, (), False, False),
        (SHARED, ("leave", "join"), False, True),
        (INVITED, ("leave", "invite"), False, True),
        (INVITED, ("leave",), True, False),
        (JOINED, ("invite",), True, False),
        (JOINED, ("leave", "join"), False, True),
    ],
)
def test_may_server_see_if_one_of_its_users_may(
    visibility: HistoryVisibility, memberships: tuple[str, ...], has_joined_since: bool, seen: bool
) -> None:
    view = ServerView(visibility, memberships)
    assert may_server_see(view, view, has_joined_since=has_joined_since) is seen


def test_may_server_see_the_membership_event_of_its_user() -> None:
    assert may_server_see(ServerView(JOINED, ()), ServerView(JOINED, ("join",)), has_joined_since=False)
    assert may_server_see(ServerView(JOINED, ("join",)), ServerView(JOINED, ("leave",)), has_joined_since=False)
