"""Power levels when a room is replaced."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.ids import UserId
from conduit_py.matrix.power_levels import PowerLevels
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.service.rooms.upgraded_levels import build_closed_levels, build_copied_levels

ALICE = UserId("@alice:one.test")
BOB = "@bob:one.test"


def copy(content: dict[str, Any], version: str, *, old: str = "9", creators: frozenset[str] = frozenset()) -> Any:
    levels = PowerLevels(ROOM_VERSIONS[old].auth, content, frozenset({ALICE}))
    return build_copied_levels(levels, content, ROOM_VERSIONS[version].auth, ALICE, creators)


def test_what_is_no_level_is_not_copied() -> None:
    content = {"ban": "60", "kick": "none", "invite": True, "users": {ALICE: "100", "bob": 50}, "events": ["no"]}
    assert copy(content, "10") == {"ban": 60, "users": {ALICE: 100}, "events": {}, "notifications": {}}


def test_what_nobody_knows_is_copied() -> None:
    assert copy({"org.example": {"kept": "yes"}}, "11")["org.example"] == {"kept": "yes"}


def test_creators_above_all_levels_are_not_listed() -> None:
    content = {"users": {ALICE: 100, BOB: 50}}
    assert copy(content, "12", creators=frozenset({ALICE}))["users"] == {BOB: 50}
    assert copy(content, "11", creators=frozenset({ALICE}))["users"] == {ALICE: 100, BOB: 50}


@pytest.mark.parametrize(
    ("levels", "tombstone"),
    [
        ({}, 150),
        ({"events": {"m.room.tombstone": 100}}, 100),
        ({"events": {"m.room.tombstone": 50}}, 150),
        ({"state_default": 200}, 201),
    ],
)
def test_replacing_a_room_with_creators_takes_more_than_setting_its_state(
    levels: dict[str, Any], tombstone: int
) -> None:
    assert copy(levels, "12")["events"]["m.room.tombstone"] == tombstone


@pytest.mark.parametrize(
    ("levels", "own"), [({}, 100), ({"users": {BOB: 120}}, 120), ({"events": {"m.room.tombstone": 150}}, 150)]
)
def test_a_creator_above_all_levels_gets_the_highest_of_them(levels: dict[str, Any], own: int) -> None:
    assert copy(levels, "11", old="12")["users"][ALICE] == own


@pytest.mark.parametrize(
    ("levels", "closed"),
    [
        ({}, {"events_default": 50, "invite": 50}),
        ({"users_default": 70}, {"users_default": 70, "events_default": 71, "invite": 71}),
        ({"events_default": 60, "invite": 90}, {"events_default": 60, "invite": 90}),
        ({"users_default": "70", "ban": 80}, {"users_default": "70", "ban": 80, "events_default": 71, "invite": 71}),
    ],
)
def test_the_old_room_is_closed_to_ordinary_members(levels: dict[str, Any], closed: dict[str, Any]) -> None:
    assert build_closed_levels(levels) == closed
