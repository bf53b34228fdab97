"""What a user changed about the push rules, the requests that change it, and how it lies over the defaults.

Every request is a function from `UserRules` to `UserRules`; it either succeeds or raises a `PushRuleError`.

Spec: client-server-api/#push-rules-api
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from conduit_py.matrix.ids import Malformed, RoomId, UserId
from conduit_py.matrix.push.defaults import MASTER, default_rule_ids, default_ruleset
from conduit_py.matrix.push.ruleset import (
    RULE_ID_CHARS_MAX,
    Action,
    BadJson,
    InvalidParam,
    Kind,
    MissingParam,
    PushRule,
    PushRuleError,
    RelativeRuleNotFound,
    RuleNotFound,
    Ruleset,
    TooLarge,
    check_actions,
    parse_actions,
    parse_rule,
)

USER_RULES_MAX: Final = 2000
"""Rules of one kind that one user may make. All may be looked at for every event in the user's rooms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultChange:
    """What a user set on a default rule; ``None`` leaves the default."""

    enabled: bool | None = None
    actions: tuple[Action, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRules:
    """A user's own rules, in falling priority, and changes to default rules. The mappings must not be changed."""

    rules: Mapping[Kind, tuple[PushRule, ...]] = field(default_factory=dict)
    changes: Mapping[tuple[Kind, str], DefaultChange] = field(default_factory=dict)

    def of_kind(self, kind: Kind) -> tuple[PushRule, ...]:
        return self.rules.get(kind, ())

    def to_json(self) -> dict[str, Any]:
        """The form that is stored; `parse_user_rules` reads it."""
        changes: dict[str, dict[str, Any]] = {}
        for (kind, rule_id), change in self.changes.items():
            stored: dict[str, Any] = {}
            if change.enabled is not None:
                stored["enabled"] = change.enabled
            if change.actions is not None:
                stored["actions"] = list(change.actions)
            changes.setdefault(kind.value, {})[rule_id] = stored
        rules = {kind.value: [rule.to_json() for rule in rules] for kind, rules in self.rules.items() if rules}
        return {"rules": rules, "changes": changes}


NO_CHANGES: Final = UserRules()


def parse_user_rules(stored: Any) -> UserRules:
    """Read what `UserRules.to_json` wrote. Raises `Malformed`.

    Changes to rules that are no longer among the defaults are kept: the rule may come back.
    """
    try:
        rules = {
            Kind(kind): tuple(_parse_stored_rule(Kind(kind), rule) for rule in rules)
            for kind, rules in stored["rules"].items()
        }
        changes = {
            (Kind(kind), rule_id): _parse_change(change)
            for kind, by_id in stored["changes"].items()
            for rule_id, change in by_id.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError, PushRuleError) as error:
        raise Malformed(f"stored push rules are broken: {error!r}") from error
    return UserRules(rules=rules, changes=changes)


def _parse_stored_rule(kind: Kind, rule: Any) -> PushRule:
    parsed = parse_rule(kind, _require(rule["rule_id"], str), rule)
    return replace(parsed, enabled=_require(rule["enabled"], bool))


def _parse_change(change: Any) -> DefaultChange:
    return DefaultChange(
        enabled=_require(change["enabled"], bool) if "enabled" in change else None,
        actions=parse_actions(change["actions"]) if "actions" in change else None,
    )


def _require(value: Any, wanted: type[Any]) -> Any:
    if not isinstance(value, wanted):
        raise TypeError(f"{value!r} is not of {wanted}")
    return value


def build_ruleset(user_rules: UserRules, user_id: UserId) -> Ruleset:
    """The rules in force. The master rule comes first, then the user's own rules, then the other defaults."""
    defaults = default_ruleset(user_id)
    merged: dict[str, tuple[PushRule, ...]] = {}
    for kind in Kind:
        own = user_rules.of_kind(kind)
        server = tuple(_changed(rule, user_rules.changes.get((kind, rule.rule_id))) for rule in defaults.of_kind(kind))
        first = tuple(rule for rule in server if rule.rule_id == MASTER)
        rest = tuple(rule for rule in server if rule.rule_id != MASTER)
        merged[kind.value] = first + own + rest
    return Ruleset(**merged)


def _changed(rule: PushRule, change: DefaultChange | None) -> PushRule:
    if change is None:
        return rule
    enabled = rule.enabled if change.enabled is None else change.enabled
    actions = rule.actions if change.actions is None else change.actions
    return replace(rule, enabled=enabled, actions=actions)


def put_rule(
    user_rules: UserRules, kind: Kind, rule_id: str, body: Any, *, before: str | None = None, after: str | None = None
) -> UserRules:
    """Add or replace one of the user's own rules.

    A new rule is enabled and the most important of its kind; one that is replaced keeps its place and stays as enabled
    as it was. ``before`` puts the rule right before that one of the user's rules, ``after`` right behind it; with both,
    ``before`` decides.

    Spec: client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
    """
    _require_user_rule_id(rule_id)
    rule = parse_rule(kind, rule_id, body)
    check_actions(rule.actions)
    rules = list(user_rules.of_kind(kind))
    place = _place(rules, rule_id)
    if place is not None:
        rule = replace(rule, enabled=rules[place].enabled)
    elif len(rules) >= USER_RULES_MAX:
        raise TooLarge(f"there must not be more than {USER_RULES_MAX} rules of one kind")

    relative_id = before if before is not None else after
    if relative_id is not None:
        _require_place(rules, relative_id)
    if place is not None and relative_id in (None, rule_id):
        rules[place] = rule
        return _with_rules(user_rules, kind, rules)

    if place is not None:
        del rules[place]
    target = 0
    if relative_id is not None:
        target = _require_place(rules, relative_id) + (0 if before is not None else 1)
    rules.insert(target, rule)
    return _with_rules(user_rules, kind, rules)


def delete_rule(user_rules: UserRules, kind: Kind, rule_id: str) -> UserRules:
    """Take away one of the user's own rules. Raises `RuleNotFound`, and `InvalidParam` for a default rule.

    Spec: client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid
    """
    if rule_id in default_rule_ids()[kind]:
        raise InvalidParam("a server-default rule cannot be deleted, only disabled")
    rules = list(user_rules.of_kind(kind))
    place = _place(rules, rule_id)
    if place is None:
        raise RuleNotFound("The push rule was not found.")
    del rules[place]
    return _with_rules(user_rules, kind, rules)


def set_enabled(user_rules: UserRules, kind: Kind, rule_id: str, body: Any) -> UserRules:
    """``body`` is the request's: ``{"enabled": bool}``.

    Spec: client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled
    """
    enabled = _require_property(body, "enabled")
    if not isinstance(enabled, bool):
        raise BadJson("enabled must be a boolean")
    return _set(user_rules, kind, rule_id, enabled=enabled)


def set_actions(user_rules: UserRules, kind: Kind, rule_id: str, body: Any) -> UserRules:
    """``body`` is the request's: ``{"actions": [...]}``.

    Spec: client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions
    """
    actions = parse_actions(_require_property(body, "actions"))
    check_actions(actions)
    return _set(user_rules, kind, rule_id, actions=actions)


def follow_room(user_rules: UserRules, old: RoomId, new: RoomId) -> UserRules:
    """Let what the user set for one room hold for another as well, which replaces it.

    That is the rule of the room, and rules of conditions that have the room's id for their own and name it, which is
    how clients mute a room. A rule that the new room has already stays as it is.

    Spec: client-server-api/#room-upgrades
    """
    for kind in (Kind.OVERRIDE, Kind.ROOM, Kind.UNDERRIDE):
        rules = list(user_rules.of_kind(kind))
        place = _place(rules, old)
        if place is None or _place(rules, new) is not None or len(rules) >= USER_RULES_MAX:
            continue
        rules.insert(place + 1, _for_room(rules[place], old, new))
        user_rules = _with_rules(user_rules, kind, rules)
    return user_rules


def _for_room(rule: PushRule, old: RoomId, new: RoomId) -> PushRule:
    named = {"kind": "event_match", "key": "room_id", "pattern": old}
    conditions = rule.conditions and tuple(
        {**condition, "pattern": new} if condition == named else condition for condition in rule.conditions
    )
    return replace(rule, rule_id=new, conditions=conditions)


def _require_property(body: Any, name: str) -> Any:
    if not isinstance(body, dict):
        raise BadJson("the body must be an object")
    if name not in body:
        raise MissingParam(f"{name} is missing")
    return body[name]


def _set(
    user_rules: UserRules,
    kind: Kind,
    rule_id: str,
    *,
    enabled: bool | None = None,
    actions: tuple[Action, ...] | None = None,
) -> UserRules:
    if rule_id in default_rule_ids()[kind]:
        return _set_on_default(user_rules, kind, rule_id, enabled=enabled, actions=actions)
    rules = list(user_rules.of_kind(kind))
    place = _place(rules, rule_id)
    if place is None:
        raise RuleNotFound("The push rule was not found.")
    rule = rules[place]
    rules[place] = replace(
        rule,
        enabled=rule.enabled if enabled is None else enabled,
        actions=rule.actions if actions is None else actions,
    )
    return _with_rules(user_rules, kind, rules)


def _set_on_default(
    user_rules: UserRules, kind: Kind, rule_id: str, *, enabled: bool | None, actions: tuple[Action, ...] | None
) -> UserRules:
    # Neither of the two depends on whose rules these are, so any user id does.
    default = default_ruleset(UserId("")).require(kind, rule_id)
    old = user_rules.changes.get((kind, rule_id), DefaultChange())
    enabled = old.enabled if enabled is None else enabled
    actions = old.actions if actions is None else actions
    change = DefaultChange(
        enabled=None if enabled == default.enabled else enabled,
        actions=None if actions == default.actions else actions,
    )
    changes = {key: value for key, value in user_rules.changes.items() if key != (kind, rule_id)}
    if change != DefaultChange():
        changes[kind, rule_id] = change
    return replace(user_rules, changes=changes)


def _require_user_rule_id(rule_id: str) -> None:
    if rule_id.startswith("."):
        raise InvalidParam("rule ids that start with a dot are reserved for server-default rules")
    if "/" in rule_id or "\\" in rule_id:
        raise InvalidParam("a rule id must not contain slashes or backslashes")
    if not rule_id:
        raise InvalidParam("a rule id must not be empty")
    if len(rule_id) > RULE_ID_CHARS_MAX:
        raise InvalidParam(f"a rule id must not exceed {RULE_ID_CHARS_MAX} characters")


def _require_place(rules: list[PushRule], rule_id: str) -> int:
    if rule_id.startswith("."):
        raise InvalidParam("a rule cannot be placed relative to a server-default rule")
    place = _place(rules, rule_id)
    if place is None:
        raise RelativeRuleNotFound(f"before/after rule not found: {rule_id}")
    return place


def _place(rules: list[PushRule], rule_id: str) -> int | None:
    return next((place for place, rule in enumerate(rules) if rule.rule_id == rule_id), None)


def _with_rules(user_rules: UserRules, kind: Kind, rules: list[PushRule]) -> UserRules:
    return replace(user_rules, rules={**user_rules.rules, kind: tuple(rules)})
