"""The event format of every room version, its limits, and the order of the checks on receipt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.event_format import (
    AUTH_EVENTS_MAX,
    EVENT_BYTES_MAX,
    PREV_EVENTS_MAX,
    Accept,
    Drop,
    ReceiptVerdict,
    Reject,
    SoftFail,
    TooLarge,
    check_event_format,
    check_received,
)
from conduit_py.matrix.ids import Malformed
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.signing import InvalidSignature
from tests.matrix.events import ALL_VERSIONS, event_id_for, federation_json

V1, V2, V3, V5, V6, V11, V12 = (ROOM_VERSIONS[version_id] for version_id in ("1", "2", "3", "5", "6", "11", "12"))

every_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")


@every_version
@pytest.mark.parametrize(
    "key",
    ["type", "sender", "content", "origin_server_ts", "depth", "hashes", "signatures", "prev_events", "auth_events"],
)
@pytest.mark.parametrize("value", [..., None, True, 1.0, "text"])
def test_key_must_be_present_and_of_its_type(version: RoomVersion, key: str, value: Any) -> None:
    if key == "type" and value == "text":
        value = 5
    with pytest.raises(Malformed):
        check_event_format(federation_json(version, **{key: value}), version)


@every_version
@pytest.mark.parametrize("state_key", [None, 5, {}])
def test_state_key_must_be_a_string_when_present(version: RoomVersion, state_key: Any) -> None:
    with pytest.raises(Malformed, match="state_key"):
        check_event_format(federation_json(version, state_key=state_key), version)


@every_version
def test_room_id_is_required_and_of_the_form_of_its_version(version: RoomVersion) -> None:
    hash_form, domain_form = "!" + "a" * 43, "!room:one.test"
    good, bad = (hash_form, domain_form) if version.id == "12" else (domain_form, hash_form)
    check_event_format(federation_json(version, room_id=good), version)
    for room_id in (bad, ..., 5, "!", "@room:one.test"):
        with pytest.raises(Malformed):
            check_event_format(federation_json(version, room_id=room_id), version)


def test_create_event_must_not_have_a_room_id_since_v12() -> None:
    create = federation_json(V12, type="m.room.create", state_key="")
    with pytest.raises(Malformed, match="room_id"):
        check_event_format(create, V12)
    check_event_format(federation_json(V12, type="m.room.create", state_key="", room_id=...), V12)
    with pytest.raises(Malformed, match="room_id"):
        check_event_format(federation_json(V11, type="m.room.create", state_key="", room_id=...), V11)


@pytest.mark.parametrize("event_id", [..., 5, "$hash", "x:one.test", "$x:"])
def test_event_id_is_part_of_the_event_in_v1_and_v2(event_id: Any) -> None:
    for version in (V1, V2):
        with pytest.raises(Malformed):
            check_event_format(federation_json(version, event_id=event_id), version)
    check_event_format(federation_json(V3, event_id=event_id), V3)


@every_version
@pytest.mark.parametrize(("key", "count_max"), [("prev_events", PREV_EVENTS_MAX), ("auth_events", AUTH_EVENTS_MAX)])
def test_references_are_limited(version: RoomVersion, key: str, count_max: int) -> None:
    paired = version.event_format.references_have_hashes
    event_id = event_id_for(version)
    reference: list[Any] | str = [event_id, {"sha256": "x"}] if paired else event_id
    check_event_format(federation_json(version, **{key: [reference] * count_max}), version)
    with pytest.raises(Malformed, match=f"more than {count_max}"):
        check_event_format(federation_json(version, **{key: [reference] * (count_max + 1)}), version)


@every_version
@pytest.mark.parametrize("key", ["prev_events", "auth_events"])
def test_references_have_the_form_of_their_version(version: RoomVersion, key: str) -> None:
    plain, pair = "$x:one.test", ["$x:one.test", {"sha256": "x"}]
    good, bad = (pair, plain) if version.id in ("1", "2") else (plain, pair)
    check_event_format(federation_json(version, **{key: [good]}), version)
    wrong: list[Any] = [bad, None, 5, {}, [], ["$x:one.test"], ["$x:one.test", "x"], [5, {}], "x", "$" + "x" * 255]
    for reference in wrong:
        with pytest.raises(Malformed):
            check_event_format(federation_json(version, **{key: [reference]}), version)


@every_version
def test_depth_is_limited(version: RoomVersion) -> None:
    limit = version.event_format.depth_max
    for depth in (0, limit):
        check_event_format(federation_json(version, depth=depth), version)
    for depth in (-1, limit + 1):
        with pytest.raises(Malformed):
            check_event_format(federation_json(version, depth=depth), version)


@pytest.mark.parametrize("hashes", [{}, {"sha256": 5}, {"md5": "x"}, []])
def test_hashes_need_a_sha256(hashes: Any) -> None:
    with pytest.raises(Malformed):
        check_event_format(federation_json(V12, hashes=hashes), V12)


@pytest.mark.parametrize("signatures", [{"one.test": "x"}, {"one.test": None}, []])
def test_signatures_are_objects_by_server(signatures: Any) -> None:
    with pytest.raises(Malformed, match="signatures"):
        check_event_format(federation_json(V12, signatures=signatures), V12)


@pytest.mark.parametrize("number", [1.5, 2**53, -(2**53)])
def test_numbers_are_limited_in_the_whole_event_since_v6(number: float) -> None:
    for changes in ({"content": {"a": [number]}}, {"org.example.key": number}):
        check_event_format(federation_json(V5, **changes), V5)
        with pytest.raises(Malformed):
            check_event_format(federation_json(V6, **changes), V6)


@every_version
@pytest.mark.parametrize("key", ["type", "state_key"])
def test_keys_are_limited_in_bytes(version: RoomVersion, key: str) -> None:
    check_event_format(federation_json(version, **{key: "ä" * 127}), version)
    for text in ("ä" * 128, "a" * 256):
        with pytest.raises(TooLarge, match="255 bytes"):
            check_event_format(federation_json(version, **{key: text}), version)


@every_version
def test_event_is_limited_to_64_kib_of_canonical_json(version: RoomVersion) -> None:
    empty = federation_json(version, content={"body": ""})
    room = EVENT_BYTES_MAX - len(encode_canonical_json(empty, strict=True))
    check_event_format({**empty, "content": {"body": "x" * room}}, version)
    with pytest.raises(TooLarge, match="65536 bytes"):
        check_event_format({**empty, "content": {"body": "x" * (room + 1)}}, version)


@every_version
def test_event_nested_too_deep_is_malformed(version: RoomVersion) -> None:
    content: dict[str, Any] = {}
    for _ in range(300):
        content = {"a": content}
    with pytest.raises(Malformed, match="nested"):
        check_event_format(federation_json(version, content=content), version)


CHECKS = [
    "event_format",
    "signatures",
    "content_hash_matches",
    "auth_by_auth_events",
    "auth_by_state_before",
    "auth_by_current_state",
    "policy_server",
]


def receive(failing: set[str]) -> tuple[ReceiptVerdict, list[str]]:
    """The verdict when these checks fail, and the checks that were made."""
    made: list[str] = []

    def check(name: str) -> Callable[[], Any]:
        def run() -> Any:
            made.append(name)
            if name == "content_hash_matches":
                return name not in failing
            if name not in failing:
                return None
            if name == "event_format":
                raise Malformed(name)
            if name == "signatures":
                raise InvalidSignature(name)
            return name

        return run

    return check_received(**{name: check(name) for name in CHECKS}), made


@pytest.mark.parametrize(
    ("failing", "verdict"),
    [
        (set(), Accept()),
        ({"event_format"}, Drop("event_format")),
        ({"signatures"}, Drop("signatures")),
        ({"content_hash_matches"}, Accept(redacted=True)),
        ({"auth_by_auth_events"}, Reject("auth_by_auth_events")),
        ({"auth_by_state_before"}, Reject("auth_by_state_before")),
        ({"auth_by_current_state"}, SoftFail("auth_by_current_state")),
        ({"policy_server"}, SoftFail("policy_server")),
        ({"content_hash_matches", "auth_by_state_before"}, Reject("auth_by_state_before", redacted=True)),
        ({"content_hash_matches", "policy_server"}, SoftFail("policy_server", redacted=True)),
    ],
)
def test_verdict_of_the_failing_check(failing: set[str], verdict: ReceiptVerdict) -> None:
    assert receive(failing)[0] == verdict


@pytest.mark.parametrize("name", CHECKS)
def test_first_failure_decides_and_ends_the_checks(name: str) -> None:
    place = CHECKS.index(name)
    failing = set(CHECKS[place:])
    made = receive(failing)[1]
    ends = "auth_by_auth_events" if name == "content_hash_matches" else name
    assert made == CHECKS[: CHECKS.index(ends) + 1]
