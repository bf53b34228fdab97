from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.ids import ServerName
from conduit_py.matrix.server_acl import NO_ACL, parse_server_acl
from tests.matrix.test_filters import JSON


def allows(content: Any, server_name: str) -> bool:
    return parse_server_acl(content).allows(ServerName(server_name))


def test_1_room_without_the_event_allows() -> None:
    assert parse_server_acl(None) is NO_ACL
    assert allows(None, "1.2.3.4")


@pytest.mark.parametrize("name", ["1.2.3.4", "1.2.3.4:8448", "[::1]", "[2001:db8::1]:8448", "999.1.1.1"])
def test_2_ip_literal_is_denied_when_ip_literals_are_not_allowed(name: str) -> None:
    assert not allows({"allow": ["*", name], "allow_ip_literals": False}, name)
    assert allows({"allow": ["*"], "allow_ip_literals": True}, name)
    assert allows({"allow": ["*"]}, name)
    assert allows({"allow": ["*"], "allow_ip_literals": "false"}, name)


@pytest.mark.parametrize("name", ["one.test", "1.2.3.4.test", "1.2.3", "test.1.2.3.4"])
def test_2_host_name_is_no_ip_literal(name: str) -> None:
    assert allows({"allow": ["*"], "allow_ip_literals": False}, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("evil.test", "evil.test"),
        ("evil.test", "evil.test:1234"),
        ("EVIL.test", "evil.TEST"),
        ("*.evil.test", "very.evil.test:8448"),
        ("evi?.test", "evil.test"),
        ("[::1]", "[::1]:8448"),
        ("*", "anything"),
    ],
)
def test_3_server_in_the_deny_list_is_denied(pattern: str, name: str) -> None:
    assert not allows({"allow": ["*"], "deny": [pattern]}, name)
    assert allows({"allow": [pattern]}, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*.evil.test", "evil.test"),
        ("evil.test", "not-evil.test"),
        ("evil.test:8448", "evil.test:8448"),
        ("e.t", "ext"),
    ],
)
def test_patterns_match_the_whole_name_without_port(pattern: str, name: str) -> None:
    assert allows({"allow": ["*"], "deny": [pattern]}, name)
    assert not allows({"allow": [pattern]}, name)


def test_4_server_in_the_allow_list_is_allowed() -> None:
    assert allows({"allow": ["one.test", "*.two.test"]}, "a.two.test")


@pytest.mark.parametrize("content", [{}, {"allow": []}, {"allow": "*"}, {"allow": [1, None]}, {"deny": []}, [], "*"])
def test_5_everybody_else_is_denied(content: Any) -> None:
    assert not allows(content, "one.test")


def test_invalid_deny_list_denies_nobody() -> None:
    assert allows({"allow": ["*"], "deny": "one.test"}, "one.test")
    assert not allows({"allow": ["*"], "deny": [1, "one.test"]}, "one.test")


@given(st.fixed_dictionaries({"allow": JSON, "deny": JSON, "allow_ip_literals": JSON}), st.text(max_size=10))
def test_any_content_has_an_answer_for_any_name(content: dict[str, Any], name: str) -> None:
    assert allows(content, name) in (True, False)
    assert not allows({**content, "deny": ["*"]}, name)
