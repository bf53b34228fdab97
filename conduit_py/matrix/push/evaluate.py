"""Which push rule an event matches for a user, and what follows from it.

Evaluation runs once per local member for every event, so nothing that is the same for all members is done per member.
A `PreparedEvent` remembers each property that some rule asked for, its folded form and the words of the body. A
`CompiledRuleset` turns each condition into a function of a prepared event and drops disabled rules. Rules bound to one
room are kept in a table by room, so that somebody with a thousand muted rooms costs no more than anybody else.

Spec: client-server-api/#push-rules
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.matrix.canonical_json import INT_MAX, INT_MIN
from conduit_py.matrix.globs import Glob, compile_glob, fold_case, is_between_boundaries, words_of
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.matrix.power_levels import NOTIFICATION_LEVEL_DEFAULT, parse_any_level
from conduit_py.matrix.property_path import Path, get_property, parse_path
from conduit_py.matrix.push.ruleset import Action, Condition, PushRule, Ruleset

_ABSENT: Final = object()
_BODY_PATH: Final = ("content", "body")
_BODY: Final = repr(_BODY_PATH)
_ROOM_ID: Final = repr(("room_id",))
SEARCHED_CHARS_MAX: Final = 2_000_000
"""Characters in which the patterns of one user's rules are looked for, in one event: a few ms. What lies beyond does
not match. Of an event of the largest size that is thirty patterns, of a message of two lines 20,000."""
_MEMBER_COUNT = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,18})")
_SCALARS: Final = (str, int, bool, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOutcome:
    """What the matching rule wants."""

    notify: bool
    """Whether the event counts as a notification and goes to the user's pushers."""
    highlight: bool
    """Whether it also counts as a highlight. Never set without ``notify``."""
    sound: str | None
    tweaks: Mapping[str, Any]
    """The ``tweaks`` for the push gateway. Spec: push-gateway-api/#post_matrixpushv1notify"""
    actions: tuple[Action, ...]
    """The rule's actions as they are, for ``/notifications``."""


NO_ACTIONS: Final = PushOutcome(notify=False, highlight=False, sound=None, tweaks={}, actions=())


class PreparedEvent:
    """An event with what evaluation found out about it so far. `prepare_event` makes one, for all members."""

    __slots__ = (
        "_body_words",
        "_event",
        "_folded",
        "_notification_levels",
        "_search_left",
        "_strings",
        "_values",
        "folded_room_id",
        "member_count",
        "room_id",
        "sender",
        "sender_power_level",
    )

    def __init__(
        self,
        event: Mapping[str, Any],
        *,
        room_id: RoomId,
        member_count: int,
        sender_power_level: float,
        notification_levels: Mapping[str, Any],
    ) -> None:
        self._event = event
        self.sender: str = event.get("sender", "")
        self.room_id = room_id
        self.folded_room_id = fold_case(room_id)
        self.member_count = member_count
        self.sender_power_level = sender_power_level
        self._notification_levels = notification_levels
        self._values: dict[str, Any] = {_ROOM_ID: room_id}
        self._folded: dict[str, str | None] = {}
        self._strings: dict[str, frozenset[str]] = {}
        self._body_words: frozenset[str] | None = None
        self._search_left = SEARCHED_CHARS_MAX

    def begin(self) -> None:
        """The rules of another user are asked."""
        self._search_left = SEARCHED_CHARS_MAX

    def may_search(self, text: str, effort: int = 1) -> bool:
        """Count what it takes to look for a pattern in a text; false where that is too much."""
        cost = effort * len(text)
        if cost > self._search_left:
            return False
        self._search_left -= cost
        return True

    def get_value(self, key: str, path: Path) -> Any:
        """What stands at the path, or a value that is equal to none of JSON. ``key`` names the path."""
        value = self._values.get(key, self)
        if value is self:
            value = self._values[key] = get_property(self._event, path, absent=_ABSENT)
        return value

    def get_folded(self, key: str, path: Path) -> str | None:
        """The string at the path with its case folded, or ``None`` if there is none."""
        try:
            return self._folded[key]
        except KeyError:
            value = self.get_value(key, path)
            folded = self._folded[key] = fold_case(value) if isinstance(value, str) else None
            return folded

    def get_strings(self, key: str, path: Path) -> frozenset[str]:
        """The strings in the array at the path; mentions of hundreds of users are looked through once, not per user."""
        strings = self._strings.get(key)
        if strings is None:
            value = self.get_value(key, path)
            entries = value if isinstance(value, list | tuple) else ()
            strings = self._strings[key] = frozenset(entry for entry in entries if isinstance(entry, str))
        return strings

    def body_words(self) -> frozenset[str]:
        """The words of the folded body."""
        if self._body_words is None:
            self._body_words = words_of(self.get_folded(_BODY, _BODY_PATH) or "")
        return self._body_words

    def may_sender_notify(self, key: str) -> bool:
        """Whether the sender's power reaches what this notification type needs."""
        level = parse_any_level(self._notification_levels.get(key))
        return self.sender_power_level >= (NOTIFICATION_LEVEL_DEFAULT if level is None else level)


def prepare_event(
    event: Mapping[str, Any],
    *,
    room_id: RoomId,
    member_count: int,
    sender_power_level: float,
    notification_levels: Mapping[str, Any],
) -> PreparedEvent:
    """Take an event in the client format, and what the rules ask about its room.

    ``member_count`` is the number of joined members, ``sender_power_level`` the power at the event (infinite for a
    creator where the room version says so), ``notification_levels`` the ``notifications`` of ``m.room.power_levels``.
    """
    return PreparedEvent(
        event,
        room_id=room_id,
        member_count=member_count,
        sender_power_level=sender_power_level,
        notification_levels=notification_levels,
    )


_Test = Callable[[PreparedEvent, str | None], bool]
"""A condition: of an event, and of the user's display name in its room."""

_Rules = tuple[tuple[int, tuple[_Test, ...], PushOutcome], ...]
"""Priority, conditions, outcome; in falling priority."""


class CompiledRuleset:
    """A user's ruleset, ready to be evaluated. Keep it until the user changes a rule."""

    __slots__ = ("_content", "_override", "_room", "_sender", "_underride", "asks_for_display_name", "user_id")

    def __init__(self, ruleset: Ruleset, user_id: UserId) -> None:
        self.user_id = user_id
        conditional = (rule for rule in (*ruleset.override, *ruleset.underride) if rule.enabled)
        self.asks_for_display_name = any(
            condition.get("kind") == "contains_display_name"
            for rule in conditional
            for condition in rule.conditions or ()
        )
        """Whether ``display_name`` makes a difference to any rule. To none of the spec's own since v1.17."""
        self._override = _ConditionalRules(ruleset.override)
        self._content = tuple(
            (compile_glob(rule.pattern or "", ignore_case=True), _outcome(rule.actions))
            for rule in ruleset.content
            if rule.enabled
        )
        self._room = {rule.rule_id: _outcome(rule.actions) for rule in ruleset.room if rule.enabled}
        self._sender = {rule.rule_id: _outcome(rule.actions) for rule in ruleset.sender if rule.enabled}
        self._underride = _ConditionalRules(ruleset.underride)

    def evaluate(self, event: PreparedEvent, *, display_name: str | None) -> PushOutcome:
        """What the most important rule that matches wants; `NO_ACTIONS` when none does or the event is the user's own.

        ``display_name`` is the user's name in the room, for rules that look for it in the body.
        """
        if event.sender == self.user_id:
            return NO_ACTIONS
        event.begin()
        outcome = self._override.find(event, display_name)
        if outcome is None and self._content:
            outcome = self._find_content(event)
        if outcome is None:
            outcome = self._room.get(event.room_id) or self._sender.get(event.sender)
        if outcome is None:
            outcome = self._underride.find(event, display_name)
        return outcome or NO_ACTIONS

    def _find_content(self, event: PreparedEvent) -> PushOutcome | None:
        body = event.get_folded(_BODY, _BODY_PATH)
        if body is None:
            return None
        for glob, outcome in self._content:
            if _is_in_body(glob, body, event):
                return outcome
        return None


class _ConditionalRules:
    """Override or underride rules: those for any room in a row, those that name one room in a table."""

    __slots__ = ("_anywhere", "_by_room")

    def __init__(self, rules: tuple[PushRule, ...]) -> None:
        anywhere: list[tuple[int, tuple[_Test, ...], PushOutcome]] = []
        by_room: dict[str, list[tuple[int, tuple[_Test, ...], PushOutcome]]] = {}
        for priority, rule in enumerate(rules):
            if not rule.enabled:
                continue
            conditions = rule.conditions or ()
            tests = tuple(compile_condition(condition) for condition in conditions)
            if _never in tests:
                continue
            room = next(filter(None, map(_only_room, conditions)), None)
            target = anywhere if room is None else by_room.setdefault(room, [])
            target.append((priority, tests, _outcome(rule.actions)))
        self._anywhere: _Rules = tuple(anywhere)
        self._by_room: dict[str, _Rules] = {room: tuple(rules) for room, rules in by_room.items()}

    def find(self, event: PreparedEvent, display_name: str | None) -> PushOutcome | None:
        rules = self._anywhere
        if self._by_room and (here := self._by_room.get(event.folded_room_id)) is not None:
            rules = tuple(sorted((*here, *rules), key=_priority))
        for _, tests, outcome in rules:
            for test in tests:
                if not test(event, display_name):
                    break
            else:
                return outcome
        return None


def _priority(rule: tuple[int, tuple[_Test, ...], PushOutcome]) -> int:
    return rule[0]


def _only_room(condition: Condition) -> str | None:
    """The folded id of the only room in which the condition can hold, if it is of that sort."""
    pattern = condition.get("pattern")
    if condition.get("kind") != "event_match" or condition.get("key") != "room_id" or not isinstance(pattern, str):
        return None
    return compile_glob(pattern, ignore_case=True).literal


def get_tweaks(actions: Iterable[Action]) -> dict[str, Any]:
    """The ``tweaks`` that actions set. Spec: client-server-api/#actions"""
    tweaks: dict[str, Any] = {}
    for action in actions:
        if isinstance(action, Mapping) and isinstance(name := action.get("set_tweak"), str):
            if name == "highlight":
                tweaks[name] = action.get("value", True) is True
            elif "value" in action:
                tweaks[name] = action["value"]
    return tweaks


def _outcome(actions: tuple[Action, ...]) -> PushOutcome:
    tweaks = get_tweaks(actions)
    notify = "notify" in actions
    sound = tweaks.get("sound")
    return PushOutcome(
        notify=notify,
        highlight=notify and tweaks.get("highlight", False),
        sound=sound if isinstance(sound, str) else None,
        tweaks=tweaks,
        actions=actions,
    )


def _never(_event: PreparedEvent, _display_name: str | None) -> bool:
    return False


def compile_condition(condition: Condition) -> Callable[[PreparedEvent, str | None], bool]:
    """A test of an event. Conditions that are unknown or malformed never hold.

    Spec: client-server-api/#conditions-1
    """
    kind = condition.get("kind")
    compiler = _COMPILERS.get(kind) if isinstance(kind, str) else None
    return _never if compiler is None else compiler(condition)


def _compile_event_match(condition: Condition) -> _Test:
    key, pattern = condition.get("key"), condition.get("pattern")
    if not isinstance(key, str) or not isinstance(pattern, str):
        return _never
    glob = compile_glob(pattern, ignore_case=True)
    path = parse_path(key)
    # A path can be written in many ways, and what stands there is kept only once.
    key = repr(path)
    if path == _BODY_PATH:
        return _compile_body_match(glob)
    literal = glob.literal

    def is_literal(event: PreparedEvent, _display_name: str | None) -> bool:
        return event.get_folded(key, path) == literal

    def matches(event: PreparedEvent, _display_name: str | None) -> bool:
        folded = event.get_folded(key, path)
        return folded is not None and event.may_search(folded, glob.effort) and glob.matches_folded(folded)

    return matches if literal is None else is_literal


def _compile_body_match(glob: Glob) -> _Test:
    def found(event: PreparedEvent, _display_name: str | None) -> bool:
        body = event.get_folded(_BODY, _BODY_PATH)
        return body is not None and _is_in_body(glob, body, event)

    return found


def _is_in_body(glob: Glob, body: str, event: PreparedEvent) -> bool:
    if glob.is_word:
        return glob.literal in event.body_words()
    return event.may_search(body, glob.effort) and glob.found_in_folded(body)


def _compile_event_property_is(condition: Condition) -> _Test:
    key, value = condition.get("key"), condition.get("value", _ABSENT)
    if not isinstance(key, str) or not _is_comparable(value):
        return _never
    path, kind = parse_path(key), type(value)
    key = repr(path)

    def is_equal(event: PreparedEvent, _display_name: str | None) -> bool:
        found = event.get_value(key, path)
        # True == 1 in Python but not in JSON.
        return type(found) is kind and bool(found == value)

    return is_equal


def _compile_event_property_contains(condition: Condition) -> _Test:
    key, value = condition.get("key"), condition.get("value", _ABSENT)
    if not isinstance(key, str) or not _is_comparable(value):
        return _never
    path, kind = parse_path(key), type(value)
    key = repr(path)

    def has_string(event: PreparedEvent, _display_name: str | None) -> bool:
        return value in event.get_strings(key, path)

    def has_value(event: PreparedEvent, _display_name: str | None) -> bool:
        found = event.get_value(key, path)
        return isinstance(found, list | tuple) and any(type(entry) is kind and entry == value for entry in found)

    return has_string if kind is str else has_value


def _is_comparable(value: Any) -> bool:
    if not isinstance(value, _SCALARS):
        return False
    return not isinstance(value, int) or INT_MIN <= value <= INT_MAX


def _compile_contains_display_name(_condition: Condition) -> _Test:
    def contains_display_name(event: PreparedEvent, display_name: str | None) -> bool:
        body = event.get_folded(_BODY, _BODY_PATH)
        if not display_name or body is None:
            return False
        # A name is not a pattern: its own stars and question marks are looked for as they are.
        return event.may_search(body) and is_between_boundaries(fold_case(display_name), body)

    return contains_display_name


def _compile_room_member_count(condition: Condition) -> _Test:
    text = condition.get("is")
    match = _MEMBER_COUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return _never
    number = int(match.group(2))
    compare = _COMPARISONS[match.group(1) or "=="]

    def compares(event: PreparedEvent, _display_name: str | None) -> bool:
        return compare(event.member_count, number)

    return compares


def _compile_sender_notification_permission(condition: Condition) -> _Test:
    key = condition.get("key")
    if not isinstance(key, str):
        return _never

    def may_notify(event: PreparedEvent, _display_name: str | None) -> bool:
        return event.may_sender_notify(key)

    return may_notify


_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "==": int.__eq__,
    "<": int.__lt__,
    ">": int.__gt__,
    "<=": int.__le__,
    ">=": int.__ge__,
}

_COMPILERS: Final[Mapping[str, Callable[[Condition], _Test]]] = {
    "event_match": _compile_event_match,
    "event_property_is": _compile_event_property_is,
    "event_property_contains": _compile_event_property_contains,
    "contains_display_name": _compile_contains_display_name,
    "room_member_count": _compile_room_member_count,
    "sender_notification_permission": _compile_sender_notification_permission,
}
