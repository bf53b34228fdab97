"""``/_matrix/client/v3/pushrules/``

Spec: client-server-api/#push-rules-api
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import Unrecognized
from conduit_py.service.users.push_rules import PushRuleService

_GLOBAL = "/_matrix/client/v3/pushrules/global"
_RULE = f"{_GLOBAL}/<kind>/<rule_id>"


def routes(auth: Authenticator, push_rules: PushRuleService) -> Routes:
    """The operations of this module."""
    routes = Routes("pushrules")
    _add_reads(routes, auth, push_rules)

    @routes.put(_RULE)
    async def set_push_rule(request: Request, kind: str, rule_id: str) -> Json:
        requester = auth.require_user(request)
        before, after = request.args.get("before"), request.args.get("after")
        body = await request.json_object()
        await push_rules.put_rule(requester, kind, rule_id, body, before=before, after=after)
        return {}

    @routes.delete(_RULE)
    async def delete_push_rule(request: Request, kind: str, rule_id: str) -> Json:
        await push_rules.delete_rule(auth.require_user(request), kind, rule_id)
        return {}

    @routes.put(f"{_RULE}/enabled")
    async def set_push_rule_enabled(request: Request, kind: str, rule_id: str) -> Json:
        requester = auth.require_user(request)
        await push_rules.set_enabled(requester, kind, rule_id, await request.json_object())
        return {}

    @routes.put(f"{_RULE}/actions")
    async def set_push_rule_actions(request: Request, kind: str, rule_id: str) -> Json:
        requester = auth.require_user(request)
        await push_rules.set_actions(requester, kind, rule_id, await request.json_object())
        return {}

    return routes


def _add_reads(routes: Routes, auth: Authenticator, push_rules: PushRuleService) -> None:
    # Both paths end in a slash, which is a rest of the path that is empty.
    @routes.get("/_matrix/client/v3/pushrules/<path:rest>")
    async def get_push_rules(request: Request, rest: str) -> Json:
        _require_nothing(rest)
        return {"global": push_rules.get_ruleset(auth.require_user(request)).to_json()}

    @routes.get(f"{_GLOBAL}/<path:rest>")
    async def get_push_rules_global(request: Request, rest: str) -> Json:
        _require_nothing(rest)
        return push_rules.get_ruleset(auth.require_user(request)).to_json()

    @routes.get(_RULE)
    async def get_push_rule(request: Request, kind: str, rule_id: str) -> Json:
        return push_rules.require_rule(auth.require_user(request), kind, rule_id).to_json()

    @routes.get(f"{_RULE}/enabled")
    async def is_push_rule_enabled(request: Request, kind: str, rule_id: str) -> Json:
        return {"enabled": push_rules.require_rule(auth.require_user(request), kind, rule_id).enabled}

    @routes.get(f"{_RULE}/actions")
    async def get_push_rule_actions(request: Request, kind: str, rule_id: str) -> Json:
        return {"actions": list(push_rules.require_rule(auth.require_user(request), kind, rule_id).actions)}


def _require_nothing(rest: str) -> None:
    if rest:
        raise Unrecognized("Unrecognized request")
