from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.globs import Glob
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.matrix.push import evaluate as evaluate_module
from conduit_py.matrix.push.defaults import default_ruleset
from conduit_py.matrix.push.edit import NO_CHANGES, UserRules, build_ruleset, put_rule, set_enabled
from conduit_py.matrix.push.evaluate import (
    NO_ACTIONS,
    CompiledRuleset,
    PreparedEvent,
    PushOutcome,
    compile_condition,
    prepare_event,
)
from conduit_py.matrix.push.ruleset import Kind
from tests.matrix.push.test_ruleset import JSON

ALICE, BOB = UserId("@alice:one.test"), UserId("@bob:two.test")
ROOM = RoomId("!Room:one.test")
SOUND = {"set_tweak": "sound", "value": "default"}
HIGHLIGHT = {"set_tweak": "highlight"}


def prepare(
    event: dict[str, Any],
    *,
    member_count: int = 3,
    power: float = 0,
    levels: dict[str, Any] | None = None,
    room_id: RoomId = ROOM,
) -> PreparedEvent:
    event = {"sender": BOB, "type": "m.room.message", "content": {}, **event}
    return prepare_event(
        event,
        room_id=room_id,
        member_count=member_count,
        sender_power_level=power,
        notification_levels=levels or {},
    )


def message(body: str = "hello", more: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"content": {"msgtype": "m.text", "body": body, **(more or {})}}


def evaluate(event: PreparedEvent, rules: UserRules = NO_CHANGES, *, display_name: str | None = None) -> PushOutcome:
    return CompiledRuleset(build_ruleset(rules, ALICE), ALICE).evaluate(event, display_name=display_name)


def holds(condition: dict[str, Any], event: PreparedEvent, display_name: str | None = None) -> bool:
    return compile_condition(condition)(event, display_name)


def with_rule(kind: Kind, rule_id: str, rules: UserRules = NO_CHANGES, **body: Any) -> UserRules:
    return put_rule(rules, kind, rule_id, {"actions": [], **body})


def mark(name: str) -> dict[str, str]:
    """An action that tells one rule from another."""
    return {"set_tweak": name}


MENTIONING_ALICE = message("hello", {"m.mentions": {"user_ids": [ALICE]}})

DEFAULT_CASES: list[tuple[str, PreparedEvent, tuple[Any, ...]]] = [
    (".m.rule.suppress_notices", prepare({"content": {"msgtype": "m.notice", "body": "x"}}), ()),
    (
        ".m.rule.invite_for_me",
        prepare({"type": "m.room.member", "state_key": ALICE, "content": {"membership": "invite"}}),
        ("notify", SOUND),
    ),
    (
        ".m.rule.member_event",
        prepare({"type": "m.room.member", "state_key": BOB, "content": {"membership": "join", "body": "x"}}),
        (),
    ),
    (
        ".m.rule.is_user_mention",
        prepare(message("hello", {"m.mentions": {"user_ids": [BOB, ALICE]}})),
        ("notify", SOUND, HIGHLIGHT),
    ),
    (
        ".m.rule.is_room_mention",
        prepare(message("hello", {"m.mentions": {"room": True}}), power=50),
        ("notify", HIGHLIGHT),
    ),
    (".m.rule.tombstone", prepare({"type": "m.room.tombstone", "state_key": ""}), ("notify", HIGHLIGHT)),
    (".m.rule.reaction", prepare({"type": "m.reaction"}), ()),
    (".m.rule.room.server_acl", prepare({"type": "m.room.server_acl", "state_key": ""}), ()),
    (".m.rule.suppress_edits", prepare(message("hello", {"m.relates_to": {"rel_type": "m.replace"}})), ()),
    (
        ".m.rule.call",
        prepare({"type": "m.call.invite"}),
        ("notify", {"set_tweak": "sound", "value": "ring"}),
    ),
    (
        ".m.rule.encrypted_room_one_to_one",
        prepare({"type": "m.room.encrypted"}, member_count=2),
        ("notify", SOUND),
    ),
    (".m.rule.room_one_to_one", prepare(message(), member_count=2), ("notify", SOUND)),
    (".m.rule.message", prepare(message()), ("notify",)),
    (".m.rule.encrypted", prepare({"type": "m.room.encrypted"}), ("notify",)),
]


@pytest.mark.parametrize(("rule_id", "event", "actions"), DEFAULT_CASES, ids=[case[0] for case in DEFAULT_CASES])
def test_default_rule_gives_its_actions(rule_id: str, event: PreparedEvent, actions: tuple[Any, ...]) -> None:
    assert evaluate(event).actions == actions
    kind = next(kind for kind in Kind if build_ruleset(NO_CHANGES, ALICE).get(kind, rule_id))
    assert evaluate(event).notify is ("notify" in actions)
    # Without the rule, a rule of the same effect must not be what answered.
    without = evaluate(event, set_enabled(NO_CHANGES, kind, rule_id, {"enabled": False}))
    if rule_id not in (".m.rule.reaction", ".m.rule.room.server_acl", ".m.rule.member_event"):
        assert without.actions != actions


def test_master_silences_everything_and_comes_before_own_rules() -> None:
    rules = with_rule(Kind.OVERRIDE, "loud", actions=["notify"])
    assert evaluate(prepare(message()), rules).notify
    rules = set_enabled(rules, Kind.OVERRIDE, ".m.rule.master", {"enabled": True})
    assert evaluate(prepare(message()), rules) == NO_ACTIONS


def test_own_events_never_notify() -> None:
    event = prepare({"sender": ALICE, **MENTIONING_ALICE})
    assert evaluate(event, with_rule(Kind.OVERRIDE, "loud", actions=["notify"])) is NO_ACTIONS


def test_edit_notifies_whom_it_mentions_anew() -> None:
    event = prepare(message("hello", {"m.relates_to": {"rel_type": "m.replace"}, "m.mentions": {"user_ids": [ALICE]}}))
    assert evaluate(event).highlight


def test_name_in_the_body_is_no_mention() -> None:
    event = prepare(message("alice, @alice:one.test, @room!"), power=100)
    assert evaluate(event, display_name="Alice").actions == ("notify",)


def test_event_without_a_matching_rule_gives_no_actions() -> None:
    assert evaluate(prepare({"type": "m.room.topic", "state_key": ""})) is NO_ACTIONS


def test_room_mention_needs_power() -> None:
    mention = message("hello", {"m.mentions": {"room": True}})
    assert not evaluate(prepare(mention, power=49)).highlight
    assert not evaluate(prepare(mention, power=50, levels={"room": 60})).highlight
    assert evaluate(prepare(mention, power=10, levels={"room": 10})).highlight
    assert evaluate(prepare(mention, power=math.inf, levels={"room": 2**53 - 1})).highlight


def test_kinds_are_checked_in_order() -> None:
    event = prepare(message("cake"))
    rules, expected = NO_CHANGES, ["notify"]
    assert evaluate(event, rules).actions == tuple(expected)
    for kind, rule_id, extra in [
        (Kind.SENDER, BOB, {}),
        (Kind.ROOM, ROOM, {}),
        (Kind.CONTENT, "cake", {"pattern": "CAKE"}),
        (Kind.OVERRIDE, "any", {}),
    ]:
        rules = with_rule(kind, rule_id, rules, actions=[mark(kind.value)], **extra)
        assert evaluate(event, rules).actions == (mark(kind.value),)


def test_first_rule_of_a_kind_wins() -> None:
    rules = with_rule(Kind.CONTENT, "tea", pattern="tea", actions=[mark("tea")])
    rules = with_rule(Kind.CONTENT, "time", rules, pattern="time", actions=[mark("time")])
    assert evaluate(prepare(message("It's time for tea")), rules).actions == (mark("time"),)


def test_room_bound_rules_keep_their_priority_among_the_others() -> None:
    here = {"kind": "event_match", "key": "room_id", "pattern": ROOM}
    rules = with_rule(Kind.OVERRIDE, "low", actions=[mark("low")])
    rules = with_rule(Kind.OVERRIDE, "room", rules, actions=[mark("room")], conditions=[here])
    assert evaluate(prepare(message()), rules).actions == (mark("room"),)
    assert evaluate(prepare(message(), room_id=RoomId("!x:y")), rules).actions == (mark("low"),)
    rules = with_rule(Kind.OVERRIDE, "high", rules, actions=[mark("high")])
    assert evaluate(prepare(message()), rules).actions == (mark("high"),)


def test_room_bound_rule_still_asks_its_other_conditions() -> None:
    conditions = [
        {"kind": "event_match", "key": "room_id", "pattern": ROOM},
        {"kind": "event_match", "key": "room_id", "pattern": "!other:one.test"},
    ]
    assert evaluate(prepare(message()), with_rule(Kind.OVERRIDE, "x", conditions=conditions)).notify


def test_disabled_rules_never_match() -> None:
    rules = set_enabled(with_rule(Kind.ROOM, ROOM), Kind.ROOM, ROOM, {"enabled": False})
    assert evaluate(prepare(message()), rules).notify


def test_rule_with_an_unknown_condition_never_matches() -> None:
    conditions = [{"kind": "org.example.moon"}, {"kind": "event_match", "key": "type", "pattern": "*"}]
    assert evaluate(prepare(message()), with_rule(Kind.OVERRIDE, "x", conditions=conditions)).notify


def test_content_rule_needs_a_body() -> None:
    rules = with_rule(Kind.CONTENT, "x", pattern="*", actions=[mark("star")])
    assert evaluate(prepare({"content": {"msgtype": "m.text"}}), rules).actions == ("notify",)
    assert evaluate(prepare(message("")), rules).actions == (mark("star"),)


def test_outcome_collects_tweaks() -> None:
    actions: list[Any] = ["notify", SOUND, {"set_tweak": "highlight", "value": False}, {"set_tweak": "x.y"}]
    outcome = evaluate(prepare(message()), with_rule(Kind.ROOM, ROOM, actions=actions))
    assert outcome == PushOutcome(
        notify=True,
        highlight=False,
        sound="default",
        tweaks={"sound": "default", "highlight": False},
        actions=tuple(actions),
    )


def test_outcome_never_highlights_without_notifying() -> None:
    outcome = evaluate(prepare(message()), with_rule(Kind.ROOM, ROOM, actions=[HIGHLIGHT]))
    assert (outcome.notify, outcome.highlight) == (False, False)


@pytest.mark.parametrize(
    ("key", "pattern", "expected"),
    [
        ("content.topic", "lunc?*", True),
        ("content.topic", "LUNCH PLANS", True),
        ("content.topic", "lunch", False),
        ("content.missing", "*", False),
        ("content.number", "*", False),
        ("content.null", "*", False),
        ("content", "*", False),
        ("state_key", "", True),
        ("content.m\\.x.y", "z", True),
        ("content.m.x.y", "z", False),
        ("content.body", "cake", True),
        ("content.body", "ake", False),
        ("room_id", "!room:ONE.test", True),
    ],
)
def test_event_match(key: str, pattern: str, expected: bool) -> None:
    content = {"topic": "Lunch plans", "number": 1, "null": None, "m.x": {"y": "z"}, "body": "the cake is"}
    event = prepare({"state_key": "", "content": content})
    assert holds({"kind": "event_match", "key": key, "pattern": pattern}, event) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("text", "text"), (1, "number"), (True, "true"), (None, "null"), (0, ""), (False, ""), ("1", ""), ("TEXT", "")],
)
def test_event_property_is(value: Any, expected: str) -> None:
    content = {"text": "text", "number": 1, "true": True, "null": None, "list": ["text"], "object": {}}
    event = prepare({"content": content})
    condition = {"kind": "event_property_is", "value": value}
    found = [name for name in content if holds({**condition, "key": f"content.{name}"}, event)]
    assert found == ([expected] if expected else [])


@pytest.mark.parametrize("value", ["a", 1, True, None])
def test_event_property_contains(value: Any) -> None:
    condition = {"kind": "event_property_contains", "key": "content.list", "value": value}
    assert holds(condition, prepare({"content": {"list": [{}, [], value]}}))
    others = [entry for entry in ("a", 1, True, None, "1", 0, False) if entry is not value]
    assert not holds(condition, prepare({"content": {"list": [*others, [value]]}}))
    assert not holds(condition, prepare({"content": {"list": value}}))
    assert not holds(condition, prepare({}))


@pytest.mark.parametrize("kind", ["event_property_is", "event_property_contains"])
@pytest.mark.parametrize("value", [[], {}, 2**53, 1.5])
def test_conditions_compare_plain_values_only(kind: str, value: Any) -> None:
    event = prepare({"content": {"plain": value, "list": [value]}})
    assert not holds({"kind": kind, "key": "content.plain", "value": value}, event)
    assert not holds({"kind": kind, "key": "content.list", "value": value}, event)


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        ("hi Alice!", "alice", True),
        ("malice", "alice", False),
        ("hi a*b", "a*b", True),
        ("hi axb", "a*b", False),
        ("hi a?b", "a*b", False),
        ("malice and alice", "Alice", True),
        ("hi", None, False),
        ("hi", "", False),
    ],
)
def test_contains_display_name(body: str, name: str | None, expected: bool) -> None:
    assert holds({"kind": "contains_display_name"}, prepare(message(body)), name) is expected


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("2", [2]),
        ("==2", [2]),
        ("<2", [0, 1]),
        ("<=2", [0, 1, 2]),
        (">2", [3]),
        (">=2", [2, 3]),
        ("=2", []),
        ("-2", []),
        ("2 ", []),
        ("", []),
        (2, []),
        (None, []),
        ("9" * 5000, []),
    ],
)
def test_room_member_count(text: Any, counts: list[int]) -> None:
    condition = {"kind": "room_member_count", "is": text}
    assert [count for count in range(4) if holds(condition, prepare({}, member_count=count))] == counts


@pytest.mark.parametrize(
    ("level", "needed"),
    [(None, 50), (20, 20), ("20", 20), (" +020\n", 20), (20.9, 20), (True, 50), ("many", 50), ([], 50), (-1, -1)],
)
def test_sender_notification_permission(level: Any, needed: int) -> None:
    condition = {"kind": "sender_notification_permission", "key": "x"}
    assert holds(condition, prepare({}, power=needed, levels={"x": level}))
    assert not holds(condition, prepare({}, power=needed - 1, levels={"x": level}))


_KINDS = st.sampled_from(
    [
        "event_match",
        "event_property_is",
        "event_property_contains",
        "contains_display_name",
        "room_member_count",
        "sender_notification_permission",
    ]
)
_KEYS = st.sampled_from(["content", "content.a", "content.body", "room_id", "type"]) | JSON


@given(
    st.fixed_dictionaries({"kind": _KINDS | JSON}, optional={"key": _KEYS, "pattern": JSON, "value": JSON, "is": JSON}),
    st.dictionaries(st.sampled_from(["a", "body", "m.mentions", "m.relates_to"]), JSON),
)
def test_any_condition_has_an_answer_for_any_content(condition: dict[str, Any], content: dict[str, Any]) -> None:
    event = prepare({"content": content})
    assert holds(condition, event, "Alice") in (True, False)
    assert isinstance(evaluate(event), PushOutcome)


def test_ruleset_says_whether_it_asks_for_the_display_name() -> None:
    alice = UserId("@alice:one.test")
    assert not CompiledRuleset(default_ruleset(alice), alice).asks_for_display_name
    body = {"actions": ["notify"], "conditions": [{"kind": "contains_display_name"}]}
    named = put_rule(NO_CHANGES, Kind.UNDERRIDE, "my.name", body)
    assert CompiledRuleset(build_ruleset(named, alice), alice).asks_for_display_name
    disabled = set_enabled(named, Kind.UNDERRIDE, "my.name", {"enabled": False})
    assert not CompiledRuleset(build_ruleset(disabled, alice), alice).asks_for_display_name


def test_patterns_are_looked_for_in_so_much_text_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = NO_CHANGES
    for number in range(10):
        rules = put_rule(rules, Kind.CONTENT, f"my.{number}", {"actions": ["notify"], "pattern": f"a-{number}"})
    ruleset = CompiledRuleset(build_ruleset(rules, ALICE), ALICE)
    looked: list[str] = []
    found_in_folded = Glob.found_in_folded

    def count(self: Glob, text: str) -> bool:
        looked.append(self.pattern)
        return found_in_folded(self, text)

    monkeypatch.setattr(Glob, "found_in_folded", count)
    monkeypatch.setattr(evaluate_module, "SEARCHED_CHARS_MAX", 500)
    event = prepare({"content": {"body": "x" * 100}})
    for _ in range(2):
        looked.clear()
        ruleset.evaluate(event, display_name=None)
        assert len(looked) == 5
    event.begin()
    assert not holds({"kind": "event_match", "key": "content.body", "pattern": "x" + "?" * 8 + "*"}, event)
    assert holds({"kind": "event_match", "key": "content.body", "pattern": "x??*"}, event)


def test_one_path_is_looked_up_once_however_it_is_written() -> None:
    event = prepare({"content": {"t\\x\\y": "A-B"}})
    for key in (r"content.t\x\y", r"content.t\\x\y", r"content.t\\x\\y"):
        assert holds({"kind": "event_match", "key": key, "pattern": "a-?"}, event)
    assert len(event._folded) == 1
