"""Grammar of identifiers: what is accepted, what is refused, and that nothing else happens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.ids import (
    Malformed,
    ServerName,
    UserId,
    byte_length,
    check_namespaced_id,
    check_new_localpart,
    is_compliant_user_id,
    localpart_of,
    parse_device_id,
    parse_domain_event_id,
    parse_domain_room_id,
    parse_event_id,
    parse_hash_room_id,
    parse_key_id,
    parse_room_alias,
    parse_room_id,
    parse_server_name,
    parse_user_id,
    server_name_of,
)

HASH = "Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ"

PARSERS: list[Callable[[str], str]] = [
    parse_server_name,
    parse_user_id,
    parse_room_id,
    parse_hash_room_id,
    parse_domain_room_id,
    parse_room_alias,
    parse_event_id,
    parse_domain_event_id,
    parse_device_id,
    parse_key_id,
    check_namespaced_id,
]


@pytest.mark.parametrize(
    "name",
    [
        "matrix.org",
        "matrix.org:8888",
        "1.2.3.4",
        "1.2.3.4:1234",
        "[1234:5678::abcd]",
        "[1234:5678::abcd]:5678",
        "[::1]",
        "localhost",
        "EXAMPLE.org",
        "1.2.3",
        "a-b.c",
    ],
)
def test_server_name_is_accepted(name: str) -> None:
    assert parse_server_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":8448",
        "matrix.org:",
        "matrix.org:123456",
        "matrix.org:http",
        "1.2.3.256",
        "1234:5678::abcd",
        "[12345::]",
        "[::1",
        "[]",
        "matrix_org",
        "matrix.org/path",
        "user@matrix.org",
        "münchen.example",
        "matrix.org\n",
        "a" * 256,
        "٣.example",
    ],
)
def test_server_name_is_refused(name: str) -> None:
    with pytest.raises(Malformed):
        parse_server_name(name)


@pytest.mark.parametrize(
    "user_id",
    [
        "@alice:one.test",
        "@:one.test",
        "@Älice \x01:one.test:8448",
        "@a=b/c+d._-:[::1]:1",
        "@" + "a" * 245 + ":one.test",
    ],
)
def test_user_id_of_history_is_accepted(user_id: str) -> None:
    assert parse_user_id(user_id) == user_id


@pytest.mark.parametrize(
    "user_id",
    [
        "",
        "alice:one.test",
        "#alice:one.test",
        "@alice",
        "@alice:",
        "@alice:b:one.test",
        "@ali\0ce:one.test",
        "@al\ud800ice:one.test",
        "@" + "a" * 246 + ":one.test",
        "@" + "ä" * 130 + ":one.test",
    ],
)
def test_user_id_is_refused(user_id: str) -> None:
    with pytest.raises(Malformed):
        parse_user_id(user_id)


def test_limit_counts_bytes_and_is_named() -> None:
    assert byte_length("@" + "ä" * 122 + ":one.test") == 254
    parse_user_id("@" + "ä" * 122 + ":one.test")
    with pytest.raises(Malformed, match="255 bytes"):
        parse_user_id("@" + "ä" * 123 + ":one.test")


@pytest.mark.parametrize("localpart", ["alice", "a.b_c=d-e/f+0", "0"])
def test_new_localpart_is_accepted(localpart: str) -> None:
    assert check_new_localpart(localpart, ServerName("one.test")) == f"@{localpart}:one.test"


@pytest.mark.parametrize("localpart", ["", "Alice", "al ice", "älice", "alice\n", "al:ice", "alice*", "a" * 246])
def test_new_localpart_is_refused(localpart: str) -> None:
    with pytest.raises(Malformed):
        check_new_localpart(localpart, ServerName("one.test"))


@pytest.mark.parametrize(
    ("user_id", "compliant"),
    [("@alice:a", True), ("@ALICE!~:a", True), ("@:a", False), ("@a b:a", False), ("@é:a", False), ("@\x7f:a", False)],
)
def test_user_id_compliance_follows_the_printable_range(user_id: str, compliant: bool) -> None:
    assert is_compliant_user_id(UserId(user_id)) is compliant


@pytest.mark.parametrize("room_id", ["!opaque:one.test", "!:one.test", f"!{HASH}"])
def test_room_id_is_accepted_in_both_forms(room_id: str) -> None:
    assert parse_room_id(room_id) == room_id


@pytest.mark.parametrize("room_id", ["", "!", "!abc", f"!{HASH}x", f"!{HASH[1:]}", f"!{HASH[1:]}/", f"#{HASH}", "!a:"])
def test_room_id_is_refused(room_id: str) -> None:
    with pytest.raises(Malformed):
        parse_room_id(room_id)


def test_room_id_forms_are_told_apart() -> None:
    with pytest.raises(Malformed):
        parse_domain_room_id(f"!{HASH}")
    with pytest.raises(Malformed):
        parse_hash_room_id("!opaque:one.test")


@pytest.mark.parametrize("event_id", ["$x", "$x:one.test", "$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk", f"${HASH}"])
def test_event_id_of_any_version_is_accepted(event_id: str) -> None:
    assert parse_event_id(event_id) == event_id


@pytest.mark.parametrize("event_id", ["", "$", "x", "!x", "$\0", "$" + "a" * 255, "$" + "ä" * 128, "$\ud800"])
def test_event_id_is_refused(event_id: str) -> None:
    with pytest.raises(Malformed):
        parse_event_id(event_id)


def test_domain_event_id_needs_a_domain() -> None:
    assert parse_domain_event_id("$opaque:one.test") == "$opaque:one.test"
    with pytest.raises(Malformed):
        parse_domain_event_id(f"${HASH}")


@pytest.mark.parametrize("alias", ["#room:one.test", "#räum mit leerzeichen:one.test", "#:one.test"])
def test_room_alias_is_accepted(alias: str) -> None:
    assert parse_room_alias(alias) == alias


@pytest.mark.parametrize("alias", ["room:one.test", "#room", "#a\0:one.test", "#" + "a" * 250 + ":one.test"])
def test_room_alias_is_refused(alias: str) -> None:
    with pytest.raises(Malformed):
        parse_room_alias(alias)


@pytest.mark.parametrize("device_id", ["JLAFKJWSCS", "anything goes ☃", "d" * 512])
def test_device_id_is_accepted(device_id: str) -> None:
    assert parse_device_id(device_id) == device_id


@pytest.mark.parametrize("device_id", ["", "\0", "d" * 513, "ä" * 257])
def test_device_id_that_cannot_be_stored_is_refused(device_id: str) -> None:
    with pytest.raises(Malformed):
        parse_device_id(device_id)


@pytest.mark.parametrize("key_id", ["ed25519:", "ed25519:a-b", "ed25519", "curve25519:abc", "ed25519:ä"])
def test_key_id_is_refused(key_id: str) -> None:
    with pytest.raises(Malformed):
        parse_key_id(key_id)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (check_namespaced_id, "m.read", "M.read"),
        (check_namespaced_id, "a" * 255, "a" * 256),
        (check_namespaced_id, "a-0_.", "0a"),
        (parse_key_id, "ed25519:a_B9", "ed25519:a b"),
    ],
)
def test_small_grammars(check: Callable[[str], str], good: str, bad: str) -> None:
    assert check(good) == good
    with pytest.raises(Malformed):
        check(bad)


def test_parts_of_an_identifier_keep_the_port() -> None:
    assert server_name_of("@alice:one.test:8448") == "one.test:8448"
    assert localpart_of("@alice:one.test:8448") == "alice"
    assert localpart_of(f"${HASH}") == HASH
    with pytest.raises(Malformed):
        server_name_of(f"!{HASH}")


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.text(st.characters()) | st.from_regex(r"[@!#$]?[a-z:.\[\]0-9]*", fullmatch=True))
def test_any_text_is_returned_unchanged_or_malformed(parse: Callable[[str], str], text: str) -> None:
    with suppress(Malformed):
        assert parse(text) == text
