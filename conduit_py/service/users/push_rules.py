"""A user's push rules. What is stored is what the user changed, as account data, so a change reaches the syncs.

Spec: client-server-api/#push-rules
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import orjson

from conduit_py.data import account_data
from conduit_py.data.apart import PUSH_RULES
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.push import edit
from conduit_py.matrix.push.edit import NO_CHANGES, UserRules, build_ruleset, parse_user_rules
from conduit_py.matrix.push.evaluate import CompiledRuleset
from conduit_py.matrix.push.ruleset import PushRule, Ruleset, parse_kind
from conduit_py.service.errors import TooLarge
from conduit_py.service.requester import Requester
from conduit_py.service.users.sessions import Wake
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.account_data import GLOBAL_ROOM
from kvschema.catalog.rooms import ShortUserId

RULES_CHARS_MAX: Final = 512 * 1024
"""Of all that a user has changed, as JSON: it is read as a whole for one change, and to judge an event."""
_CACHED_BYTES = 8000
_BYTES_PER_STORED = 4


def store_rules(rules: UserRules) -> str:
    """The account data content that ``get_user_rules`` reads."""
    return orjson.dumps(rules.to_json()).decode()


def get_user_rules(snapshot: Snapshot, user: ShortUserId) -> UserRules:
    """What the user changed."""
    stored = account_data.get_content(snapshot, user, GLOBAL_ROOM, PUSH_RULES)
    return NO_CHANGES if stored is None else parse_user_rules(orjson.loads(stored))


def get_ruleset(snapshot: Snapshot, user: ShortUserId, user_id: UserId) -> Ruleset:
    """The rules in force, as clients see them."""
    return build_ruleset(get_user_rules(snapshot, user), user_id)


def get_compiled_ruleset(snapshot: Snapshot, user: ShortUserId, user_id: UserId) -> CompiledRuleset:
    """The rules in force, ready to be evaluated; kept in the object cache until the user changes one."""
    key = account_data.cache_key(user, GLOBAL_ROOM, PUSH_RULES)
    cached = snapshot.cache.get(key, snapshot.pos)
    if cached is None:
        stored = account_data.get_content(snapshot, user, GLOBAL_ROOM, PUSH_RULES) or ""
        cached = CompiledRuleset(get_ruleset(snapshot, user, user_id), user_id)
        snapshot.cache.put(key, cached, _CACHED_BYTES + _BYTES_PER_STORED * len(stored), snapshot.pos)
    return cast("CompiledRuleset", cached)


def build_event_content(stored: str, user_id: UserId) -> dict[str, Any]:
    """What clients see in place of the stored content: ``{"global": ruleset}``.

    Spec: client-server-api/#mpush_rules
    """
    return {"global": build_ruleset(parse_user_rules(orjson.loads(stored)), user_id).to_json()}


class PushRuleService:
    """The push rules API. Kinds and rule ids are the path's; errors are ``PushRuleError`` of ``matrix.push``."""

    def __init__(self, store: Store, *, wake: Wake) -> None:
        self._store = store
        self._wake = wake

    def get_ruleset(self, requester: Requester) -> Ruleset:
        with self._store.snapshot() as snapshot:
            return get_ruleset(snapshot, requester.user, requester.user_id)

    def require_rule(self, requester: Requester, kind: str, rule_id: str) -> PushRule:
        """Raises ``RuleNotFound``."""
        return self.get_ruleset(requester).require(parse_kind(kind), rule_id)

    async def put_rule(
        self, requester: Requester, kind: str, rule_id: str, body: Any, *, before: str | None, after: str | None
    ) -> None:
        change = partial(edit.put_rule, before=before, after=after)
        await self._edit(requester, lambda rules: change(rules, parse_kind(kind), rule_id, body))

    async def delete_rule(self, requester: Requester, kind: str, rule_id: str) -> None:
        await self._edit(requester, lambda rules: edit.delete_rule(rules, parse_kind(kind), rule_id))

    async def set_enabled(self, requester: Requester, kind: str, rule_id: str, body: Any) -> None:
        await self._edit(requester, lambda rules: edit.set_enabled(rules, parse_kind(kind), rule_id, body))

    async def set_actions(self, requester: Requester, kind: str, rule_id: str, body: Any) -> None:
        await self._edit(requester, lambda rules: edit.set_actions(rules, parse_kind(kind), rule_id, body))

    async def _edit(self, requester: Requester, change: Callable[[UserRules], UserRules]) -> None:
        user = requester.user
        async with self._store.locks.hold(("account_data", user)), self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                before = get_user_rules(snapshot, user)
                changed = store_rules(change(before))
                if len(changed) > RULES_CHARS_MAX and len(changed) > len(store_rules(before)):
                    raise TooLarge(f"Push rules must not exceed {RULES_CHARS_MAX} characters together")
                account_data.stage_content(snapshot, turn, user, GLOBAL_ROOM, PUSH_RULES, changed)
            turn.on_landed(lambda: self._wake([user]))
