from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.power_levels import LEVEL_DEFAULTS, PowerLevels, creators_of, parse_level
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from tests.matrix.auth.rig import ALICE, BOB, MOD, ZOE, Rig

FLOATS_PASS = ["1", "2", "3", "4", "5"]
STRINGS_PASS = [*FLOATS_PASS, "6", "7", "8", "9"]
CREATOR_IS_NAMED = [*STRINGS_PASS, "10"]
ALL = list(ROOM_VERSIONS)


def view(content: Mapping[str, Any] | None, *, version: str = "11") -> PowerLevels:
    rig = Rig(ROOM_VERSIONS[version])
    return PowerLevels.of_room(rig.room_version, content, rig.create)


def readers_of(value: Any) -> dict[str, int]:
    """Versions that read ``value`` as a level, and what they read."""
    parsed = {version: parse_level(room_version.auth, value) for version, room_version in ROOM_VERSIONS.items()}
    return {version: level for version, level in parsed.items() if level is not None}


@pytest.mark.parametrize("level", [0, 50, -1, 2**53 - 1, -(2**70)])
def test_integer_is_a_level_in_every_version(level: int) -> None:
    assert readers_of(level) == dict.fromkeys(ALL, level)


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("100", 100),
        ("000100", 100),
        ("+100", 100),
        ("-100", -100),
        (" 100 ", 100),
        (" 00100 ", 100),
        (" +100 ", 100),
        (" -100 ", -100),
        ("\t\n100\r", 100),
        ("0", 0),
    ],
)
def test_string_of_digits_is_a_level_up_to_version_9(text: str, level: int) -> None:
    assert readers_of(text) == dict.fromkeys(STRINGS_PASS, level)


@pytest.mark.parametrize(
    "text",
    ["", " ", "+", "--1", "+-1", "1 0", "+ 1", "1.0", "1e2", "1_000", "0x10", "\u0661", "NaN", "ten", "9" * 5000],
)
def test_other_string_is_no_level(text: str) -> None:
    assert readers_of(text) == {}


@pytest.mark.parametrize(
    ("number", "level"), [(50.57, 50), (5.114698e4, 51146), (-1.9, -1), (-0.0, 0), (1e300, int(1e300))]
)
def test_float_is_truncated_up_to_version_5(number: float, level: int) -> None:
    assert readers_of(number) == dict.fromkeys(FLOATS_PASS, level)


@pytest.mark.parametrize("value", [inf, -inf, nan, True, False, None, [], [50], {}])
def test_other_value_is_no_level(value: Any) -> None:
    assert readers_of(value) == {}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_loses_what_follows_the_point(number: float) -> None:
    level = parse_level(ROOM_VERSIONS["1"].auth, number)
    assert level is not None
    assert level == int(number)
    assert abs(number - level) < 1


@given(st.integers(), st.sampled_from(["", "+", "00"]), st.sampled_from(["", " ", "\u2003"]))
def test_string_reads_as_its_integer(number: int, prefix: str, space: str) -> None:
    text = f"{space}{prefix if number >= 0 else ''}{number}{space}"
    assert parse_level(ROOM_VERSIONS["9"].auth, text) == number


def test_user_has_listed_level_or_the_default() -> None:
    levels = view({"users": {MOD: 50}, "users_default": 5})
    assert (levels.of_user(MOD), levels.of_user(BOB)) == (50, 5)


def test_user_without_any_entry_has_none() -> None:
    assert view({}).of_user(BOB) == 0


@pytest.mark.parametrize("version", ALL)
def test_creator_without_power_levels_event_has_100_or_no_limit(version: str) -> None:
    levels = view(None, version=version)
    assert levels.of_user(ALICE) == (inf if version == "12" else 100)
    assert levels.of_user(BOB) == 0


@pytest.mark.parametrize("version", ALL)
def test_creator_with_power_levels_event_has_what_it_says_or_no_limit(version: str) -> None:
    levels = view({"users": {ALICE: 7}, "users_default": 3}, version=version)
    assert levels.of_user(ALICE) == (inf if version == "12" else 7)
    assert levels.of_user(BOB) == 3


@pytest.mark.parametrize("version", ALL)
def test_creators_are_named_or_send_the_create_event(version: str) -> None:
    rig = Rig(ROOM_VERSIONS[version]).with_create({"creator": MOD, "additional_creators": [ZOE, 1]})
    expected = {ALICE, ZOE} if version == "12" else {MOD} if version in CREATOR_IS_NAMED else {ALICE}
    assert creators_of(rig.room_version, rig.create) == expected


@pytest.mark.parametrize("content", [{"creator": 1}, {"creator": None}, {"additional_creators": BOB}])
@pytest.mark.parametrize("version", ALL)
def test_unreadable_creators_are_nobody(version: str, content: dict[str, Any]) -> None:
    rig = Rig(ROOM_VERSIONS[version]).with_create(content)
    has_none = version in CREATOR_IS_NAMED and "creator" in content
    assert creators_of(rig.room_version, rig.create) == (set() if has_none else {ALICE})
    assert creators_of(rig.room_version, None) == set()


def test_additional_creators_have_no_limit() -> None:
    rig = Rig(ROOM_VERSIONS["12"]).with_create({"additional_creators": [ZOE]})
    assert PowerLevels.of_room(rig.room_version, {"users": {ZOE: 1}}, rig.create).of_user(ZOE) == inf


def test_sending_needs_the_level_of_the_type_or_the_default_of_its_kind() -> None:
    levels = view({"events": {"x": 7}, "events_default": 1, "state_default": 2})
    assert [levels.to_send("x", is_state=True), levels.to_send("x", is_state=False)] == [7, 7]
    assert [levels.to_send("y", is_state=True), levels.to_send("y", is_state=False)] == [2, 1]


@pytest.mark.parametrize("content", [None, {}, {"events": [], "ban": "x", "state_default": None, "users": 1}])
def test_levels_that_are_not_there_are_the_defaults(content: dict[str, Any] | None) -> None:
    levels = view(content)
    assert (levels.to_invite(), levels.to_kick(), levels.to_ban(), levels.to_redact()) == (0, 50, 50, 50)
    assert (levels.to_send("x", is_state=True), levels.to_send("x", is_state=False)) == (50, 0)
    assert levels.of_user(BOB) == 0


def test_levels_are_those_of_the_event() -> None:
    levels = view({"invite": 1, "kick": 2, "ban": 3, "redact": 4})
    assert (levels.to_invite(), levels.to_kick(), levels.to_ban(), levels.to_redact()) == (1, 2, 3, 4)


def test_every_default_is_an_integer_property() -> None:
    assert set(LEVEL_DEFAULTS) == {
        "users_default",
        "events_default",
        "state_default",
        "ban",
        "redact",
        "kick",
        "invite",
    }
