"""Push rules as values, in the JSON shape that clients see.

Spec: client-server-api/#push-rules
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final

from conduit_py.matrix.errcodes import Errcode

ACTIONS_MAX: Final = 32
CONDITIONS_MAX: Final = 32
"""Conditions of one rule. Each is looked at for every event in the user's rooms."""

PATTERN_CHARS_MAX: Final = 1024
RULE_ID_CHARS_MAX: Final = 512
RULE_JSON_CHARS_MAX: Final = 16_384
"""One rule, printed. With `edit.USER_RULES_MAX` this bounds what one user can make the server store and compile."""

_HISTORICAL_ACTIONS: Final = ("dont_notify", "coalesce")

Action = str | Mapping[str, Any]
Condition = Mapping[str, Any]


class Kind(StrEnum):
    """The kinds of rule, in the order in which they are checked."""

    OVERRIDE = "override"
    CONTENT = "content"
    ROOM = "room"
    SENDER = "sender"
    UNDERRIDE = "underride"


CONDITIONAL_KINDS: Final = (Kind.OVERRIDE, Kind.UNDERRIDE)


class PushRuleError(Exception):
    """A request about push rules that must be refused, with the error code for the client."""

    errcode: ClassVar[Errcode] = Errcode.M_UNKNOWN


class RuleNotFound(PushRuleError):
    """There is no such rule (404)."""

    errcode: ClassVar[Errcode] = Errcode.M_NOT_FOUND


class RelativeRuleNotFound(PushRuleError):
    """The rule named in ``before`` or ``after`` is not there (400)."""

    errcode: ClassVar[Errcode] = Errcode.M_UNKNOWN


class InvalidParam(PushRuleError):
    """The path or the query is not acceptable (400)."""

    errcode: ClassVar[Errcode] = Errcode.M_INVALID_PARAM


class MissingParam(PushRuleError):
    """The body lacks a property that this kind of rule needs (400)."""

    errcode: ClassVar[Errcode] = Errcode.M_MISSING_PARAM


class BadJson(PushRuleError):
    """A property of the body has the wrong shape (400)."""

    errcode: ClassVar[Errcode] = Errcode.M_BAD_JSON


class TooLarge(PushRuleError):
    """The rule, or the number of rules, is beyond a limit of this server (413)."""

    errcode: ClassVar[Errcode] = Errcode.M_TOO_LARGE


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRule:
    """One rule of whatever kind. The JSON inside ``actions`` and ``conditions`` must not be changed."""

    rule_id: str
    actions: tuple[Action, ...]
    enabled: bool
    is_default: bool
    conditions: tuple[Condition, ...] | None = None
    """Set for override and underride rules."""
    pattern: str | None = None
    """Set for content rules."""

    def to_json(self) -> dict[str, Any]:
        """Spec: client-server-api/#get_matrixclientv3pushrules_response-200_pushrule"""
        rule: dict[str, Any] = {
            "rule_id": self.rule_id,
            "default": self.is_default,
            "enabled": self.enabled,
            "actions": list(self.actions),
        }
        if self.conditions is not None:
            rule["conditions"] = list(self.conditions)
        if self.pattern is not None:
            rule["pattern"] = self.pattern
        return rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """All rules of one user, each kind in falling priority."""

    override: tuple[PushRule, ...] = ()
    content: tuple[PushRule, ...] = ()
    room: tuple[PushRule, ...] = ()
    sender: tuple[PushRule, ...] = ()
    underride: tuple[PushRule, ...] = ()

    def of_kind(self, kind: Kind) -> tuple[PushRule, ...]:
        rules: tuple[PushRule, ...] = getattr(self, kind.value)
        return rules

    def get(self, kind: Kind, rule_id: str) -> PushRule | None:
        return next((rule for rule in self.of_kind(kind) if rule.rule_id == rule_id), None)

    def require(self, kind: Kind, rule_id: str) -> PushRule:
        """Raises `RuleNotFound`."""
        rule = self.get(kind, rule_id)
        if rule is None:
            raise RuleNotFound("The push rule was not found.")
        return rule

    def to_json(self) -> dict[str, Any]:
        """The value under ``global``. Spec: client-server-api/#get_matrixclientv3pushrules"""
        return {kind.value: [rule.to_json() for rule in self.of_kind(kind)] for kind in Kind}


def parse_kind(text: str) -> Kind:
    """Raises `InvalidParam`."""
    try:
        return Kind(text)
    except ValueError:
        raise InvalidParam(f"kind must be one of {', '.join(Kind)}") from None


def parse_actions(actions: Any) -> tuple[Action, ...]:
    """Check an ``actions`` list and take out what servers must ignore. Raises `BadJson`, `TooLarge`.

    Spec: client-server-api/#historical-actions
    """
    if not isinstance(actions, list):
        raise BadJson("actions must be a list")
    if len(actions) > ACTIONS_MAX:
        raise TooLarge(f"actions must not have more than {ACTIONS_MAX} entries")
    if not all(isinstance(action, str | dict) for action in actions):
        raise BadJson("each action must be a string or an object")
    _require_small(actions)
    return tuple(action for action in actions if action not in _HISTORICAL_ACTIONS)


def check_actions(actions: tuple[Action, ...]) -> None:
    """Of a request: what no server does anything about is refused, so that nobody waits for it. Raises `BadJson`.

    Spec: client-server-api/#actions
    """
    for action in actions:
        if isinstance(action, str) and action != "notify":
            raise BadJson(f"there is no action {action}")
        if isinstance(action, Mapping) and not isinstance(action.get("set_tweak"), str):
            raise BadJson("an action that is an object sets a tweak: set_tweak must be its name")


def parse_rule(kind: Kind, rule_id: str, body: Any) -> PushRule:
    """The rule that a client asks for, enabled. Raises `MissingParam`, `BadJson` or `TooLarge`.

    Conditions of an unknown kind are kept: they match nothing here, but mean something to the client that set them.

    Spec: client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
    """
    if not isinstance(body, dict):
        raise BadJson("the body must be an object")
    if "actions" not in body:
        raise MissingParam("actions is missing")
    actions = parse_actions(body["actions"])
    conditions = _parse_conditions(body.get("conditions", [])) if kind in CONDITIONAL_KINDS else None
    pattern = _parse_pattern(body) if kind is Kind.CONTENT else None
    return PushRule(
        rule_id=rule_id, actions=actions, enabled=True, is_default=False, conditions=conditions, pattern=pattern
    )


def _parse_conditions(conditions: Any) -> tuple[Condition, ...]:
    if not isinstance(conditions, list):
        raise BadJson("conditions must be a list")
    if len(conditions) > CONDITIONS_MAX:
        raise TooLarge(f"conditions must not have more than {CONDITIONS_MAX} entries")
    for position, condition in enumerate(conditions):
        if not isinstance(condition, dict):
            raise BadJson(f"conditions[{position}] must be an object")
        if not isinstance(condition.get("kind"), str):
            raise BadJson(f"conditions[{position}].kind must be a string")
        pattern = condition.get("pattern")
        if isinstance(pattern, str) and len(pattern) > PATTERN_CHARS_MAX:
            raise TooLarge(f"conditions[{position}].pattern must not exceed {PATTERN_CHARS_MAX} characters")
    _require_small(conditions)
    return tuple(conditions)


def _parse_pattern(body: Mapping[str, Any]) -> str:
    if "pattern" not in body:
        raise MissingParam("pattern is missing")
    pattern = body["pattern"]
    if not isinstance(pattern, str):
        raise BadJson("pattern must be a string")
    if len(pattern) > PATTERN_CHARS_MAX:
        raise TooLarge(f"pattern must not exceed {PATTERN_CHARS_MAX} characters")
    return pattern


def _require_small(value: list[Any]) -> None:
    try:
        length = len(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        raise TooLarge("the rule is nested too deeply") from None
    if length > RULE_JSON_CHARS_MAX:
        raise TooLarge(f"the rule must not exceed {RULE_JSON_CHARS_MAX} characters")
