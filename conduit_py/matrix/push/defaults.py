"""The server-default rules, exactly as the spec words them and in its order.

The rules that looked for mentions in the body (``.m.rule.contains_display_name``, ``.m.rule.contains_user_name`` and
``.m.rule.roomnotif``) are no longer among them since v1.17: a mention is what ``m.mentions`` says.

Spec: client-server-api/#predefined-rules
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from conduit_py.matrix.ids import UserId
from conduit_py.matrix.push.ruleset import Action, Condition, Kind, PushRule, Ruleset

MASTER: Final = ".m.rule.master"
"""The one default rule that comes before the user's own."""

_SOUND: Final[Action] = {"set_tweak": "sound", "value": "default"}
_RING: Final[Action] = {"set_tweak": "sound", "value": "ring"}
_HIGHLIGHT: Final[Action] = {"set_tweak": "highlight"}


def _event_match(key: str, pattern: str) -> Condition:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _rule(rule_id: str, conditions: list[Condition], *actions: Action, enabled: bool = True) -> PushRule:
    return PushRule(rule_id=rule_id, actions=actions, enabled=enabled, is_default=True, conditions=tuple(conditions))


def _override(user_id: UserId) -> tuple[PushRule, ...]:
    """Spec: client-server-api/#default-override-rules"""
    return (
        _rule(MASTER, [], enabled=False),
        _rule(".m.rule.suppress_notices", [_event_match("content.msgtype", "m.notice")]),
        _rule(
            ".m.rule.invite_for_me",
            [
                _event_match("type", "m.room.member"),
                _event_match("content.membership", "invite"),
                _event_match("state_key", user_id),
            ],
            "notify",
            _SOUND,
        ),
        _rule(".m.rule.member_event", [_event_match("type", "m.room.member")]),
        _rule(
            ".m.rule.is_user_mention",
            [{"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": user_id}],
            "notify",
            _SOUND,
            _HIGHLIGHT,
        ),
        _rule(
            ".m.rule.is_room_mention",
            [
                {"kind": "event_property_is", "key": "content.m\\.mentions.room", "value": True},
                {"kind": "sender_notification_permission", "key": "room"},
            ],
            "notify",
            _HIGHLIGHT,
        ),
        _rule(
            ".m.rule.tombstone",
            [_event_match("type", "m.room.tombstone"), _event_match("state_key", "")],
            "notify",
            _HIGHLIGHT,
        ),
        _rule(".m.rule.reaction", [_event_match("type", "m.reaction")]),
        _rule(".m.rule.room.server_acl", [_event_match("type", "m.room.server_acl"), _event_match("state_key", "")]),
        _rule(
            ".m.rule.suppress_edits",
            [{"kind": "event_property_is", "key": "content.m\\.relates_to.rel_type", "value": "m.replace"}],
        ),
    )


def _underride() -> tuple[PushRule, ...]:
    """Spec: client-server-api/#default-underride-rules"""
    one_to_one: Condition = {"kind": "room_member_count", "is": "2"}
    encrypted, message = _event_match("type", "m.room.encrypted"), _event_match("type", "m.room.message")
    return (
        _rule(".m.rule.call", [_event_match("type", "m.call.invite")], "notify", _RING),
        _rule(".m.rule.encrypted_room_one_to_one", [one_to_one, encrypted], "notify", _SOUND),
        _rule(".m.rule.room_one_to_one", [one_to_one, message], "notify", _SOUND),
        _rule(".m.rule.message", [message], "notify"),
        _rule(".m.rule.encrypted", [encrypted], "notify"),
    )


def default_ruleset(user_id: UserId) -> Ruleset:
    """The rules of a user who changed nothing."""
    return Ruleset(override=_override(user_id), underride=_underride())


@lru_cache(maxsize=1)
def default_rule_ids() -> dict[Kind, frozenset[str]]:
    """The ids of the default rules of each kind; they are the same for every user."""
    rules = default_ruleset(UserId(""))
    return {kind: frozenset(rule.rule_id for rule in rules.of_kind(kind)) for kind in Kind}
