from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.push.ruleset import (
    ACTIONS_MAX,
    CONDITIONS_MAX,
    PATTERN_CHARS_MAX,
    RULE_JSON_CHARS_MAX,
    BadJson,
    InvalidParam,
    Kind,
    MissingParam,
    PushRuleError,
    RuleNotFound,
    Ruleset,
    TooLarge,
    parse_actions,
    parse_kind,
    parse_rule,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.fixed_dictionaries({}, optional={"actions": JSON, "conditions": JSON, "pattern": JSON}) | JSON


@given(st.sampled_from(Kind), BODIES)
def test_parse_rule_accepts_or_refuses_any_json(kind: Kind, body: Any) -> None:
    try:
        rule = parse_rule(kind, "id", body)
    except (MissingParam, BadJson, TooLarge):
        return
    assert rule.enabled
    assert (rule.pattern is not None) == (kind is Kind.CONTENT)
    assert (rule.conditions is not None) == (kind in (Kind.OVERRIDE, Kind.UNDERRIDE))


def test_parse_actions_takes_out_historical_actions() -> None:
    assert parse_actions(["dont_notify", "notify", "coalesce", {"set_tweak": "sound"}]) == (
        "notify",
        {"set_tweak": "sound"},
    )


@pytest.mark.parametrize(
    ("kind", "body", "error", "says"),
    [
        (Kind.ROOM, {}, MissingParam, "actions"),
        (Kind.ROOM, [], BadJson, "object"),
        (Kind.ROOM, {"actions": "notify"}, BadJson, "actions"),
        (Kind.ROOM, {"actions": [1]}, BadJson, "action"),
        (Kind.ROOM, {"actions": ["notify"] * (ACTIONS_MAX + 1)}, TooLarge, "actions"),
        (Kind.ROOM, {"actions": ["x" * RULE_JSON_CHARS_MAX]}, TooLarge, "rule"),
        (Kind.CONTENT, {"actions": []}, MissingParam, "pattern"),
        (Kind.CONTENT, {"actions": [], "pattern": 1}, BadJson, "pattern"),
        (Kind.CONTENT, {"actions": [], "pattern": "x" * (PATTERN_CHARS_MAX + 1)}, TooLarge, "pattern"),
        (Kind.OVERRIDE, {"actions": [], "conditions": {}}, BadJson, "conditions"),
        (Kind.OVERRIDE, {"actions": [], "conditions": [1]}, BadJson, r"conditions\[0\]"),
        (Kind.OVERRIDE, {"actions": [], "conditions": [{}]}, BadJson, r"conditions\[0\]\.kind"),
        (Kind.OVERRIDE, {"actions": [], "conditions": [{"kind": "x"}] * (CONDITIONS_MAX + 1)}, TooLarge, "conditions"),
    ],
)
def test_parse_rule_names_what_is_wrong(kind: Kind, body: Any, error: type[PushRuleError], says: str) -> None:
    with pytest.raises(error, match=says):
        parse_rule(kind, "id", body)


def test_parse_rule_keeps_unknown_conditions() -> None:
    condition = {"kind": "org.example.moon_phase", "phase": "full"}
    assert parse_rule(Kind.UNDERRIDE, "id", {"actions": [], "conditions": [condition]}).conditions == (condition,)


def test_parse_rule_refuses_endless_nesting() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TooLarge):
        parse_rule(Kind.ROOM, "id", {"actions": [{"set_tweak": deep}]})


def test_to_json_is_the_shape_of_the_spec() -> None:
    rule = parse_rule(Kind.CONTENT, "nocake", {"actions": [], "pattern": "cake*lie"})
    ruleset = Ruleset(content=(rule,))
    assert ruleset.to_json() == {
        "override": [],
        "content": [{"actions": [], "pattern": "cake*lie", "rule_id": "nocake", "enabled": True, "default": False}],
        "room": [],
        "sender": [],
        "underride": [],
    }


def test_require_finds_a_rule_by_kind_and_id() -> None:
    rule = parse_rule(Kind.CONTENT, "nocake", {"actions": [], "pattern": "cake*lie"})
    ruleset = Ruleset(content=(rule,))
    assert ruleset.require(Kind.CONTENT, "nocake") is rule
    with pytest.raises(RuleNotFound):
        ruleset.require(Kind.ROOM, "nocake")


def test_parse_kind_knows_the_five_kinds() -> None:
    assert [parse_kind(text) for text in ("override", "content", "room", "sender", "underride")] == list(Kind)
    with pytest.raises(InvalidParam):
        parse_kind("device")
