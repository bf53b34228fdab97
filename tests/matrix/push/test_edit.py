from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.ids import Malformed, RoomId, UserId
from conduit_py.matrix.push import edit
from conduit_py.matrix.push.defaults import default_ruleset
from conduit_py.matrix.push.edit import (
    NO_CHANGES,
    UserRules,
    build_ruleset,
    delete_rule,
    follow_room,
    parse_user_rules,
    put_rule,
    set_actions,
    set_enabled,
)
from conduit_py.matrix.push.ruleset import (
    BadJson,
    InvalidParam,
    Kind,
    MissingParam,
    PushRuleError,
    RelativeRuleNotFound,
    RuleNotFound,
    TooLarge,
)
from tests.matrix.push.test_ruleset import JSON

ALICE = UserId("@alice:one.test")
SILENT: dict[str, Any] = {"actions": []}
LOUD: dict[str, Any] = {"actions": ["notify"]}


def rooms(*rule_ids: str) -> UserRules:
    """Room rules with these ids, the first the most important."""
    rules = NO_CHANGES
    for rule_id in reversed(rule_ids):
        rules = put_rule(rules, Kind.ROOM, rule_id, SILENT)
    return rules


def ids(rules: UserRules, kind: Kind = Kind.ROOM) -> list[str]:
    return [rule.rule_id for rule in build_ruleset(rules, ALICE).of_kind(kind)]


def test_build_ruleset_is_the_default_one_for_a_user_who_changed_nothing() -> None:
    assert build_ruleset(NO_CHANGES, ALICE) == default_ruleset(ALICE)


def test_build_ruleset_puts_own_rules_between_master_and_the_other_defaults() -> None:
    rules = put_rule(NO_CHANGES, Kind.OVERRIDE, "mine", SILENT)
    assert ids(rules, Kind.OVERRIDE)[:3] == [".m.rule.master", "mine", ".m.rule.suppress_notices"]
    rules = put_rule(rules, Kind.UNDERRIDE, "mine", SILENT)
    assert ids(rules, Kind.UNDERRIDE)[:2] == ["mine", ".m.rule.call"]


def test_put_rule_makes_a_new_rule_the_most_important() -> None:
    assert ids(put_rule(rooms("a", "b"), Kind.ROOM, "new", SILENT)) == ["new", "a", "b"]


@pytest.mark.parametrize(
    ("before", "after", "order"),
    [
        ("b", None, ["a", "new", "b"]),
        (None, "a", ["a", "new", "b"]),
        (None, "b", ["a", "b", "new"]),
        ("a", "b", ["new", "a", "b"]),
        ("b", "missing", ["a", "new", "b"]),
    ],
)
def test_put_rule_places_a_new_rule(before: str | None, after: str | None, order: list[str]) -> None:
    assert ids(put_rule(rooms("a", "b"), Kind.ROOM, "new", SILENT, before=before, after=after)) == order


@pytest.mark.parametrize(
    ("before", "after", "order"),
    [
        (None, None, ["a", "b", "c"]),
        ("b", None, ["a", "b", "c"]),
        ("a", None, ["b", "a", "c"]),
        (None, "c", ["a", "c", "b"]),
    ],
)
def test_put_rule_moves_a_rule_only_when_asked(before: str | None, after: str | None, order: list[str]) -> None:
    rules = put_rule(rooms("a", "b", "c"), Kind.ROOM, "b", LOUD, before=before, after=after)
    assert ids(rules) == order
    assert build_ruleset(rules, ALICE).require(Kind.ROOM, "b").actions == ("notify",)


def test_put_rule_leaves_a_disabled_rule_disabled() -> None:
    rules = set_enabled(rooms("a"), Kind.ROOM, "a", {"enabled": False})
    rules = put_rule(rules, Kind.ROOM, "a", LOUD)
    assert not build_ruleset(rules, ALICE).require(Kind.ROOM, "a").enabled


@pytest.mark.parametrize("rule_id", [".mine", "a/b", "a\\b", "", "x" * 600])
def test_put_rule_refuses_reserved_and_unusable_ids(rule_id: str) -> None:
    with pytest.raises(InvalidParam):
        put_rule(NO_CHANGES, Kind.ROOM, rule_id, SILENT)


def test_put_rule_refuses_an_unknown_neighbour() -> None:
    with pytest.raises(RelativeRuleNotFound, match="before/after rule not found: b") as caught:
        put_rule(rooms("a"), Kind.ROOM, "new", SILENT, before="b")
    assert caught.value.errcode == "M_UNKNOWN"


def test_put_rule_refuses_a_default_neighbour() -> None:
    with pytest.raises(InvalidParam):
        put_rule(NO_CHANGES, Kind.UNDERRIDE, "new", SILENT, after=".m.rule.call")


def test_put_rule_refuses_too_many_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit, "USER_RULES_MAX", 2)
    with pytest.raises(TooLarge):
        put_rule(rooms("a", "b"), Kind.ROOM, "c", SILENT)
    assert ids(put_rule(rooms("a", "b"), Kind.ROOM, "b", LOUD)) == ["a", "b"]


def test_delete_rule_takes_one_rule_away() -> None:
    assert ids(delete_rule(rooms("a", "b"), Kind.ROOM, "a")) == ["b"]


def test_delete_rule_refuses_unknown_rules() -> None:
    with pytest.raises(RuleNotFound) as caught:
        delete_rule(rooms("a"), Kind.SENDER, "a")
    assert caught.value.errcode == "M_NOT_FOUND"


def test_delete_rule_refuses_default_rules() -> None:
    with pytest.raises(InvalidParam):
        delete_rule(NO_CHANGES, Kind.UNDERRIDE, ".m.rule.call")


def test_set_enabled_changes_a_default_rule_and_stores_only_that() -> None:
    rules = set_enabled(NO_CHANGES, Kind.OVERRIDE, ".m.rule.master", {"enabled": True})
    assert build_ruleset(rules, ALICE).require(Kind.OVERRIDE, ".m.rule.master").enabled
    assert rules.to_json() == {"rules": {}, "changes": {"override": {".m.rule.master": {"enabled": True}}}}


def test_set_enabled_back_to_the_default_stores_nothing() -> None:
    rules = set_enabled(NO_CHANGES, Kind.OVERRIDE, ".m.rule.master", {"enabled": True})
    assert set_enabled(rules, Kind.OVERRIDE, ".m.rule.master", {"enabled": False}) == NO_CHANGES


def test_set_actions_changes_a_default_rule_beside_its_enabled_flag() -> None:
    rules = set_enabled(NO_CHANGES, Kind.UNDERRIDE, ".m.rule.call", {"enabled": False})
    rules = set_actions(rules, Kind.UNDERRIDE, ".m.rule.call", LOUD)
    rule = build_ruleset(rules, ALICE).require(Kind.UNDERRIDE, ".m.rule.call")
    assert (rule.enabled, rule.actions, rule.is_default) == (False, ("notify",), True)


def test_set_actions_changes_an_own_rule() -> None:
    rules = set_actions(rooms("a"), Kind.ROOM, "a", LOUD)
    assert build_ruleset(rules, ALICE).require(Kind.ROOM, "a").actions == ("notify",)


@pytest.mark.parametrize("change", [set_enabled, set_actions])
@pytest.mark.parametrize("rule_id", ["nothing", ".m.rule.contains_display_name", ".m.rule.master"])
def test_changing_an_unknown_rule_is_refused(change: Any, rule_id: str) -> None:
    with pytest.raises(RuleNotFound):
        change(NO_CHANGES, Kind.UNDERRIDE, rule_id, {"enabled": True, "actions": []})


@pytest.mark.parametrize(
    ("change", "body", "error"),
    [
        (set_enabled, {}, MissingParam),
        (set_enabled, {"enabled": 1}, BadJson),
        (set_enabled, None, BadJson),
        (set_actions, {}, MissingParam),
        (set_actions, {"actions": None}, BadJson),
    ],
)
def test_changing_a_rule_refuses_bad_bodies(change: Any, body: Any, error: type[PushRuleError]) -> None:
    with pytest.raises(error):
        change(NO_CHANGES, Kind.UNDERRIDE, ".m.rule.call", body)


_IDS = st.sampled_from(["a", "b", "c", ".m.rule.call", ".m.rule.master", ".m.gone"])
_BODIES = st.sampled_from([{**SILENT, "pattern": "x"}, {**LOUD, "pattern": "y"}, {"enabled": True}, {"enabled": False}])
_EDITS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(Kind), _IDS, _BODIES, st.none() | _IDS, st.none() | _IDS),
    st.tuples(st.sampled_from(["delete", "enable", "actions"]), st.sampled_from(Kind), _IDS, _BODIES),
)


def apply_edit(rules: UserRules, what: str, kind: Kind, rule_id: str, body: Any, *places: str | None) -> UserRules:
    match what:
        case "put":
            return put_rule(rules, kind, rule_id, body, before=places[0], after=places[1])
        case "delete":
            return delete_rule(rules, kind, rule_id)
        case "enable":
            return set_enabled(rules, kind, rule_id, body)
        case _:
            return set_actions(rules, kind, rule_id, body)


OLD, NEW = RoomId("!old:one.test"), RoomId("!new:one.test")


def in_room(room_id: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": "room_id", "pattern": room_id}


def test_follow_room_lets_rules_of_a_room_hold_for_the_next() -> None:
    body: dict[str, Any] = {"actions": [], "conditions": [in_room(OLD), {"kind": "room_member_count", "is": ">2"}]}
    rules = rooms("!a:one.test", OLD, "!b:one.test")
    rules = put_rule(rules, Kind.OVERRIDE, OLD, body)
    rules = set_enabled(rules, Kind.OVERRIDE, OLD, {"enabled": False})
    followed = follow_room(rules, OLD, NEW)
    assert [rule.rule_id for rule in followed.of_kind(Kind.ROOM)] == ["!a:one.test", OLD, NEW, "!b:one.test"]
    old, new = followed.of_kind(Kind.OVERRIDE)
    assert (old.rule_id, old.conditions, new.rule_id, new.enabled) == (OLD, tuple(body["conditions"]), NEW, False)
    assert new.conditions == (in_room(NEW), body["conditions"][1])
    assert follow_room(followed, OLD, NEW) == followed


def test_follow_room_leaves_what_is_not_of_the_room() -> None:
    body: dict[str, Any] = {"actions": [], "conditions": [in_room(OLD)]}
    rules = put_rule(rooms("!a:one.test"), Kind.OVERRIDE, "mine", body)
    assert follow_room(rules, OLD, NEW) == rules
    rules = put_rule(rooms(OLD), Kind.ROOM, NEW, LOUD)
    assert follow_room(rules, OLD, NEW) == rules


def test_follow_room_makes_no_more_rules_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = rooms("!a:one.test", OLD)
    monkeypatch.setattr(edit, "USER_RULES_MAX", 2)
    assert follow_room(rules, OLD, NEW) == rules


@given(st.lists(_EDITS, max_size=12))
def test_any_edits_keep_the_ruleset_whole(edits: list[Any]) -> None:
    rules = NO_CHANGES
    for one in edits:
        with suppress(PushRuleError):
            rules = apply_edit(rules, *one)
    assert parse_user_rules(rules.to_json()) == rules
    ruleset = build_ruleset(rules, ALICE)
    for kind in Kind:
        all_ids = [rule.rule_id for rule in ruleset.of_kind(kind)]
        assert len(all_ids) == len(set(all_ids))
        default_ids = [rule.rule_id for rule in ruleset.of_kind(kind) if rule.is_default]
        assert default_ids == [rule.rule_id for rule in default_ruleset(ALICE).of_kind(kind)]
    assert ruleset.override[0].rule_id == ".m.rule.master"


@given(st.fixed_dictionaries({"rules": JSON, "changes": JSON}) | JSON)
def test_parse_user_rules_accepts_or_refuses_any_json(stored: Any) -> None:
    try:
        rules = parse_user_rules(stored)
    except Malformed:
        return
    assert isinstance(rules, UserRules)


def test_parse_user_rules_refuses_broken_rules() -> None:
    stored = {"rules": {"room": [{"rule_id": "a", "enabled": 1, "actions": []}]}, "changes": {}}
    with pytest.raises(Malformed):
        parse_user_rules(stored)


def test_build_ruleset_passes_over_changes_to_rules_that_are_gone() -> None:
    rules = parse_user_rules({"rules": {}, "changes": {"override": {".m.rule.roomnotif": {"enabled": False}}}})
    assert build_ruleset(rules, ALICE) == default_ruleset(ALICE)
    assert parse_user_rules(rules.to_json()) == rules
