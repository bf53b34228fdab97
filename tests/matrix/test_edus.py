from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix import edus
from conduit_py.matrix.edus import (
    DeviceListUpdate,
    DirectToDevice,
    Presence,
    Receipt,
    SigningKeyUpdate,
    Typing,
    parse_edu,
)
from conduit_py.matrix.ids import DeviceId, EventId, Malformed, RoomId, ServerName, UserId
from tests.matrix.test_filters import JSON

ONE, TWO = ServerName("one.test"), ServerName("two.test")
ALICE, BOB = UserId("@alice:one.test"), UserId("@bob:two.test")
ROOM = RoomId("!room:one.test")
PHONE = DeviceId("PHONE")

PARSERS: list[Callable[[Any, ServerName], object]] = [
    edus.parse_typing,
    edus.parse_receipts,
    edus.parse_presence,
    edus.parse_device_list_update,
    edus.parse_signing_key_update,
    edus.parse_direct_to_device,
]
NAMES = st.sampled_from(["room_id", "user_id", "typing", "push", "sender", "messages", "stream_id", ROOM, "device_id"])
VALUES = JSON | st.sampled_from([ROOM, ALICE, BOB]) | st.dictionaries(st.sampled_from([ALICE, "m.read"]), JSON)


@pytest.mark.parametrize("parse", PARSERS)
@given(content=st.dictionaries(NAMES, VALUES))
def test_any_content_is_parsed_or_malformed(
    parse: Callable[[Any, ServerName], object], content: dict[str, Any]
) -> None:
    answer: object
    try:
        answer = parse(content, ONE)
    except Malformed as error:
        answer = error
    assert answer is not None


def round_trip(edu: Any, parse: Callable[[Any, ServerName], Any]) -> Any:
    edu_type, content = parse_edu(edu)
    assert edu_type == edu["edu_type"]
    return parse(content, ONE)


def test_parse_edu_reads_type_and_content() -> None:
    assert parse_edu({"edu_type": "m.presence", "content": {"push": []}}) == ("m.presence", {"push": []})


@pytest.mark.parametrize("edu", [None, [], {}, {"edu_type": 1, "content": {}}, {"edu_type": "x"}, {"content": {}}])
def test_parse_edu_refuses_other_shapes(edu: Any) -> None:
    with pytest.raises(Malformed):
        parse_edu(edu)


@pytest.mark.parametrize("typing", [True, False])
def test_typing_is_read_as_it_was_built(typing: bool) -> None:
    value = Typing(room_id=ROOM, user_id=ALICE, typing=typing)
    assert round_trip(edus.build_typing(value), edus.parse_typing) == value


@pytest.mark.parametrize(
    "change", [{"typing": 1}, {"typing": None}, {"room_id": "room"}, {"user_id": "alice"}, {"user_id": BOB}]
)
def test_parse_typing_refuses_bad_fields_and_other_servers_users(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        edus.parse_typing({"room_id": ROOM, "user_id": ALICE, "typing": True, **change}, ONE)


def receipt(**change: Any) -> Receipt:
    given = {"room_id": ROOM, "user_id": ALICE, "type": "m.read", "event_id": EventId("$a"), "ts": 5, **change}
    return Receipt(**given)


@pytest.mark.parametrize("thread_id", [None, "main", "$root"])
def test_receipt_is_read_as_it_was_built(thread_id: str | None) -> None:
    value = receipt(thread_id=thread_id)
    (edu,) = edus.build_receipts([value])
    assert round_trip(edu, edus.parse_receipts) == (value,)


def test_build_receipts_has_the_shape_of_the_spec() -> None:
    entry = {"event_ids": ["$a"], "data": {"ts": 5}}
    assert edus.build_receipts([receipt()]) == [
        {"edu_type": "m.receipt", "content": {ROOM: {"m.read": {ALICE: entry}}}}
    ]


def test_build_receipts_sends_the_threads_of_one_user_apart() -> None:
    values = [receipt(), receipt(thread_id="main"), receipt(user_id=UserId("@carol:one.test"))]
    built = edus.build_receipts(values)
    assert len(built) == 2
    read = [value for edu in built for value in edus.parse_receipts(edu["content"], ONE)]
    assert set(read) == set(values)


def test_build_receipts_refuses_private_ones() -> None:
    with pytest.raises(ValueError, match=r"m\.read\.private"):
        edus.build_receipts([receipt(type="m.read.private")])


def test_parse_receipts_drops_only_the_bad_entries() -> None:
    good = {"event_ids": ["$a"], "data": {"ts": 5}}
    bad: list[Any] = [
        None,
        {},
        {"event_ids": [], "data": {"ts": 5}},
        {"event_ids": ["a"], "data": {"ts": 5}},
        {"event_ids": ["$a"], "data": {}},
        {"event_ids": ["$a"], "data": {"ts": True}},
        {"event_ids": ["$a"], "data": {"ts": 5, "thread_id": "root"}},
    ]
    by_user = {BOB: good, "alice": good, **{f"@{number}:one.test": entry for number, entry in enumerate(bad)}}
    content = {
        ROOM: {"m.read": {**by_user, ALICE: good}, "m.read.private": {ALICE: good}},
        "room": {"m.read": {ALICE: good}},
        "!other:one.test": [],
    }
    assert edus.parse_receipts(content, ONE) == (receipt(),)


def test_parse_receipts_takes_one_end_of_several() -> None:
    entry = {"event_ids": ["$x", "$a"], "data": {"ts": 5}}
    assert edus.parse_receipts({ROOM: {"m.read": {ALICE: entry}}}, ONE) == (receipt(),)


def test_presence_is_read_as_it_was_built() -> None:
    values = (
        Presence(user_id=ALICE, presence="online", last_active_ago_ms=7, status_msg="x", currently_active=True),
        Presence(user_id=UserId("@carol:one.test"), presence="offline", last_active_ago_ms=0),
    )
    assert round_trip(edus.build_presence(values), edus.parse_presence) == values


def test_build_presence_always_has_last_active_ago() -> None:
    edu = edus.build_presence([Presence(user_id=ALICE, presence="online", last_active_ago_ms=None)])
    assert edu["content"]["push"][0]["last_active_ago"] == 0


def test_parse_presence_drops_only_the_bad_entries() -> None:
    good = {"user_id": ALICE, "presence": "online", "last_active_ago": 1}
    changes: list[dict[str, Any]] = [
        {"user_id": BOB},
        {"presence": "busy"},
        {"last_active_ago": "1"},
        {"status_msg": 1},
    ]
    bad = [None, {}, *({**good, **change} for change in changes)]
    read = edus.parse_presence({"push": [*bad, good]}, ONE)
    assert read == (Presence(user_id=ALICE, presence="online", last_active_ago_ms=1),)
    assert edus.parse_presence({"push": {}}, ONE) == ()


def test_parse_presence_without_knowing_when() -> None:
    update = {"user_id": ALICE, "presence": "offline"}
    assert edus.parse_presence({"push": [update]}, ONE) == (
        Presence(user_id=ALICE, presence="offline", last_active_ago_ms=None),
    )


def test_parse_presence_cuts_long_status_messages() -> None:
    update = {"user_id": ALICE, "presence": "online", "last_active_ago": 1, "status_msg": "x" * 100_000}
    (read,) = edus.parse_presence({"push": [update]}, ONE)
    assert read.status_msg == "x" * edus.STATUS_MSG_CHARS_MAX


def test_build_presence_event_has_the_shape_of_the_spec() -> None:
    update = Presence(user_id=ALICE, presence="online", last_active_ago_ms=None)
    assert edus.build_presence_event(update, displayname="Alice", avatar_url="mxc://one.test/a") == {
        "type": "m.presence",
        "sender": ALICE,
        "content": {
            "presence": "online",
            "currently_active": False,
            "displayname": "Alice",
            "avatar_url": "mxc://one.test/a",
        },
    }


@pytest.mark.parametrize(
    "value",
    [
        DeviceListUpdate(user_id=ALICE, device_id=PHONE, stream_id=6),
        DeviceListUpdate(user_id=ALICE, device_id=PHONE, stream_id=6, prev_id=(4, 5), deleted=True),
        DeviceListUpdate(user_id=ALICE, device_id=PHONE, stream_id=6, device_display_name="x", keys={"a": 1}),
    ],
)
def test_device_list_update_is_read_as_it_was_built(value: DeviceListUpdate) -> None:
    assert round_trip(edus.build_device_list_update(value), edus.parse_device_list_update) == value


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": BOB},
        {"user_id": None},
        {"device_id": 1},
        {"stream_id": "6"},
        {"stream_id": None},
        {"prev_id": [True]},
        {"prev_id": 5},
        {"keys": []},
        {"device_display_name": 1},
    ],
)
def test_parse_device_list_update_refuses_bad_fields(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        edus.parse_device_list_update({"user_id": ALICE, "device_id": PHONE, "stream_id": 6, **change}, ONE)


@pytest.mark.parametrize(
    "value",
    [
        SigningKeyUpdate(user_id=ALICE),
        SigningKeyUpdate(user_id=ALICE, master_key={"usage": ["master"]}, self_signing_key={"usage": []}),
    ],
)
def test_signing_key_update_is_read_as_it_was_built(value: SigningKeyUpdate) -> None:
    assert round_trip(edus.build_signing_key_update(value), edus.parse_signing_key_update) == value


@pytest.mark.parametrize("content", [{}, {"user_id": BOB}, {"user_id": ALICE, "master_key": []}])
def test_parse_signing_key_update_refuses_bad_fields(content: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        edus.parse_signing_key_update(content, ONE)


def test_direct_to_device_is_read_as_it_was_built() -> None:
    value = DirectToDevice(
        sender=ALICE, type="m.dummy", message_id="m1", messages={BOB: {PHONE: {}, edus.ALL_DEVICES: {"a": 1}}}
    )
    assert round_trip(edus.build_direct_to_device(value), edus.parse_direct_to_device) == value


def test_parse_direct_to_device_drops_only_the_bad_entries() -> None:
    messages = {BOB: {PHONE: {"a": 1}, "X": 1}, "bob": {PHONE: {}}, "@carol:two.test": []}
    content = {"sender": ALICE, "type": "x", "message_id": "m1", "messages": messages}
    assert edus.parse_direct_to_device(content, ONE).messages == {BOB: {PHONE: {"a": 1}}}


@pytest.mark.parametrize(
    "change", [{"sender": BOB}, {"type": 1}, {"message_id": None}, {"message_id": "x" * 256}, {"messages": []}]
)
def test_parse_direct_to_device_refuses_bad_fields(change: dict[str, Any]) -> None:
    content = {"sender": ALICE, "type": "x", "message_id": "m1", "messages": {}, **change}
    with pytest.raises(Malformed):
        edus.parse_direct_to_device(content, ONE)


def test_of_too_many_entries_the_first_are_read() -> None:
    users = [f"@user{number}:{ONE}" for number in range(edus.ENTRIES_MAX + 1)]
    entry = {"event_ids": ["$e"], "data": {"ts": 1}}
    of_one_room = {"!r:x": {"m.read": dict.fromkeys(users, entry)}}
    of_many_rooms = {f"!r{number}:x": {"m.read": {users[0]: entry}} for number in range(len(users))}
    for content in (of_one_room, of_many_rooms):
        assert len(edus.parse_receipts(content, ONE)) == edus.ENTRIES_MAX
    push = [{"user_id": user_id, "presence": "online", "last_active_ago": 1} for user_id in users]
    assert len(edus.parse_presence({"push": push}, ONE)) == edus.ENTRIES_MAX
    message = {"sender": users[0], "type": "x", "message_id": "1"}
    to_many = {**message, "messages": {user_id: {"A": {}, "B": {}} for user_id in users}}
    read = edus.parse_direct_to_device(to_many, ONE).messages
    assert sum(map(len, read.values())) == edus.ENTRIES_MAX
