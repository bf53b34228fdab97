"""``/_matrix/client/v3/pushrules/``"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service.users import push_rules
from tests.rig.client import Client, path
from tests.rig.server import Server

RULE = {"actions": ["notify"], "pattern": "cake*lie"}
NOT_FOUND = (404, "M_NOT_FOUND")


@pytest.fixture
async def alice(server: Server) -> Client:
    return await server.register("alice")


def rule(rule_id: str, *parts: str, kind: str = "content") -> str:
    return path("pushrules", "global", kind, rule_id, *parts)


async def content_rules(user: Client) -> list[str]:
    return [it["rule_id"] for it in (await user.get("/pushrules/")).json["global"]["content"]]


async def test_get_push_rules_starts_with_the_defaults(alice: Client) -> None:
    ruleset = (await alice.get("/pushrules/")).json["global"]
    assert ruleset["override"][0]["rule_id"] == ".m.rule.master"
    assert (await alice.get("/pushrules/global/")).json == ruleset
    assert (await alice.get("/pushrules")).json["global"] == ruleset


async def test_get_push_rules_unrecognized_scope(alice: Client) -> None:
    assert (await alice.get("/pushrules/device/")).outcome == (404, "M_UNRECOGNIZED")
    assert (await alice.get("/pushrules/global/content")).outcome == (404, "M_UNRECOGNIZED")


async def test_get_push_rules_missing_token(server: Server) -> None:
    assert (await server.client().get("/pushrules/")).outcome == (401, "M_MISSING_TOKEN")
    assert (await server.client().get("/pushrules/global/")).outcome == (401, "M_MISSING_TOKEN")


async def test_set_push_rule_adds_it(alice: Client) -> None:
    assert (await alice.put(rule("cake"), RULE)).json == {}
    assert (await alice.get(rule("cake"))).json == {"rule_id": "cake", "default": False, "enabled": True, **RULE}


async def test_set_push_rule_places_it(alice: Client) -> None:
    for rule_id in ("a", "b"):
        await alice.put(rule(rule_id), RULE)
    await alice.put(rule("c"), RULE, after="b")
    await alice.put(rule("d"), RULE, before="b")
    assert await content_rules(alice) == ["d", "b", "c", "a"]


async def test_set_push_rule_wakes_the_syncs_of_the_user(server: Server, alice: Client) -> None:
    server.woken.clear()
    await alice.put(rule("cake"), RULE)
    assert len(server.woken) == 1


@pytest.mark.parametrize(
    ("target", "body", "query", "outcome"),
    [
        (rule(".m.rule.master"), RULE, {}, (400, "M_INVALID_PARAM")),
        (rule("x", kind="none"), RULE, {}, (400, "M_INVALID_PARAM")),
        (rule("x"), {"actions": []}, {}, (400, "M_MISSING_PARAM")),
        (rule("x"), {"pattern": "x"}, {}, (400, "M_MISSING_PARAM")),
        (rule("x"), {"actions": "notify", "pattern": "x"}, {}, (400, "M_BAD_JSON")),
        (rule("x"), {"actions": ["frobnicate"], "pattern": "x"}, {}, (400, "M_BAD_JSON")),
        (rule("x"), {"actions": [{"sound": "ring"}], "pattern": "x"}, {}, (400, "M_BAD_JSON")),
        (rule("x"), RULE, {"before": "gone"}, (400, "M_UNKNOWN")),
        (rule("x"), RULE | {"pattern": "x" * 2000}, {}, (413, "M_TOO_LARGE")),
    ],
)
async def test_set_push_rule_refused(
    server: Server, alice: Client, target: str, body: Any, query: dict[str, str], outcome: tuple[int, str]
) -> None:
    async with server.leaves_no_trace():
        assert (await alice.put(target, body, **query)).outcome == outcome


async def test_set_push_rule_too_large_with_all_that_are_there(
    server: Server, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_rules, "RULES_CHARS_MAX", 1000)
    long = RULE | {"pattern": "x" * 700}
    assert (await alice.put(rule("one"), long)).status == 200
    async with server.leaves_no_trace():
        assert (await alice.put(rule("two"), long)).outcome == (413, "M_TOO_LARGE")
    monkeypatch.setattr(push_rules, "RULES_CHARS_MAX", 500)
    assert (await alice.put(rule("one"), RULE | {"pattern": "x" * 600})).status == 200
    assert (await alice.delete(rule("one"))).status == 200
    assert "one" not in await content_rules(alice)


async def test_get_push_rule_not_found(alice: Client) -> None:
    assert (await alice.get(rule("gone"))).outcome == NOT_FOUND


async def test_get_push_rule_is_ones_own(server: Server, alice: Client) -> None:
    await alice.put(rule("cake"), RULE)
    bob = await server.register("bob")
    assert (await bob.get(rule("cake"))).outcome == NOT_FOUND


async def test_delete_push_rule_removes_it(alice: Client) -> None:
    await alice.put(rule("cake"), RULE)
    assert (await alice.delete(rule("cake"))).json == {}
    assert (await alice.get(rule("cake"))).outcome == NOT_FOUND


async def test_delete_push_rule_not_found(server: Server, alice: Client) -> None:
    async with server.leaves_no_trace():
        assert (await alice.delete(rule("gone"))).outcome == NOT_FOUND


async def test_delete_push_rule_invalid_param_for_a_default(server: Server, alice: Client) -> None:
    async with server.leaves_no_trace():
        response = await alice.delete(rule(".m.rule.master", kind="override"))
    assert response.outcome == (400, "M_INVALID_PARAM")


async def test_set_push_rule_enabled_changes_it(alice: Client) -> None:
    enabled = rule(".m.rule.master", "enabled", kind="override")
    assert (await alice.get(enabled)).json == {"enabled": False}
    assert (await alice.put(enabled, {"enabled": True})).json == {}
    assert (await alice.get(enabled)).json == {"enabled": True}


@pytest.mark.parametrize(
    ("rule_id", "body", "outcome"),
    [
        ("gone", {"enabled": True}, NOT_FOUND),
        ("cake", {}, (400, "M_MISSING_PARAM")),
        ("cake", {"enabled": 1}, (400, "M_BAD_JSON")),
    ],
)
async def test_set_push_rule_enabled_refused(
    server: Server, alice: Client, rule_id: str, body: Any, outcome: tuple[int, str]
) -> None:
    await alice.put(rule("cake"), RULE)
    async with server.leaves_no_trace():
        assert (await alice.put(rule(rule_id, "enabled"), body)).outcome == outcome


async def test_is_push_rule_enabled_not_found(alice: Client) -> None:
    assert (await alice.get(rule("gone", "enabled"))).outcome == NOT_FOUND


async def test_set_push_rule_actions_changes_them(alice: Client) -> None:
    actions = rule(".m.rule.message", "actions", kind="underride")
    assert (await alice.get(actions)).json == {"actions": ["notify"]}
    assert (await alice.put(actions, {"actions": []})).json == {}
    assert (await alice.get(actions)).json == {"actions": []}


@pytest.mark.parametrize(
    ("rule_id", "body", "outcome"),
    [
        ("gone", {"actions": []}, NOT_FOUND),
        ("cake", {}, (400, "M_MISSING_PARAM")),
        ("cake", {"actions": 1}, (400, "M_BAD_JSON")),
        ("cake", {"actions": ["frobnicate"]}, (400, "M_BAD_JSON")),
    ],
)
async def test_set_push_rule_actions_refused(
    server: Server, alice: Client, rule_id: str, body: Any, outcome: tuple[int, str]
) -> None:
    await alice.put(rule("cake"), RULE)
    async with server.leaves_no_trace():
        assert (await alice.put(rule(rule_id, "actions"), body)).outcome == outcome


async def test_get_push_rule_actions_not_found(alice: Client) -> None:
    assert (await alice.get(rule("gone", "actions"))).outcome == NOT_FOUND
