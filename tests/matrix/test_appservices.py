"""Registrations are read as the specification has them, and namespaces match from the start."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.appservices import Namespace, Registration, matches, parse_registration
from conduit_py.matrix.ids import Malformed

DOCUMENT: dict[str, Any] = {
    "id": "IRC Bridge",
    "url": "http://127.0.0.1:1234",
    "as_token": "one",
    "hs_token": "two",
    "sender_localpart": "_irc_bot",
    "namespaces": {
        "users": [{"exclusive": True, "regex": "@_irc_bridge_.*"}],
        "aliases": [{"exclusive": False, "regex": "#_irc_bridge_.*"}],
        "rooms": [],
    },
}


def test_example_of_the_specification_is_read() -> None:
    parsed = parse_registration(DOCUMENT)
    assert (parsed.id, parsed.url, parsed.sender_localpart) == ("IRC Bridge", "http://127.0.0.1:1234", "_irc_bot")
    assert (parsed.rate_limited, parsed.receive_ephemeral, parsed.protocols) == (True, False, ())
    assert [it.exclusive for it in (*parsed.users, *parsed.aliases)] == [True, False]
    assert matches(parsed.users, "@_irc_bridge_bob:one.test", is_exclusive=True)
    assert not matches(parsed.users, "x@_irc_bridge_bob:one.test")
    assert matches(parsed.aliases, "#_irc_bridge_tea:one.test")
    assert not matches(parsed.aliases, "#_irc_bridge_tea:one.test", is_exclusive=True)


def test_tokens_are_not_shown() -> None:
    parsed = parse_registration(DOCUMENT | {"as_token": "SECRET1", "hs_token": "SECRET2"})
    assert "SECRET" not in f"{parsed} {parsed!r}"


def test_what_is_optional_is_read() -> None:
    more = {"url": None, "rate_limited": False, "receive_ephemeral": True, "protocols": ["irc"], "other": 1}
    parsed = parse_registration(DOCUMENT | more)
    assert (parsed.url, parsed.rate_limited, parsed.receive_ephemeral) == (None, False, True)
    assert parsed.protocols == ("irc",)
    assert isinstance(parsed, Registration)
    assert all(isinstance(it, Namespace) for it in parsed.users)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        *({name: value for name, value in DOCUMENT.items() if name != gone} for gone in DOCUMENT if gone != "url"),
        DOCUMENT | {"id": ""},
        DOCUMENT | {"as_token": 1},
        DOCUMENT | {"url": "ftp://127.0.0.1"},
        DOCUMENT | {"url": "http://"},
        DOCUMENT | {"url": "http://host/?query"},
        DOCUMENT | {"namespaces": []},
        DOCUMENT | {"namespaces": {"users": {}}},
        DOCUMENT | {"namespaces": {"users": [{"regex": "("}]}},
        DOCUMENT | {"namespaces": {"users": [{"regex": "(", "exclusive": True}]}},
        DOCUMENT | {"namespaces": {"users": [{"regex": "x", "exclusive": "yes"}]}},
        DOCUMENT | {"namespaces": {"users": [{"regex": "x", "exclusive": True}] * 101}},
        DOCUMENT | {"rate_limited": "no"},
        DOCUMENT | {"protocols": "irc"},
        DOCUMENT | {"protocols": [1]},
    ],
)
def test_what_is_no_registration_is_malformed(document: Any) -> None:
    with pytest.raises(Malformed):
        parse_registration(document)
