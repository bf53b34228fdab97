from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.ids import EventId
from conduit_py.matrix.relations import (
    THREAD_HOPS_MAX,
    Annotation,
    Relation,
    check_replacement,
    check_thread_root,
    find_thread_root,
    parse_annotation,
    parse_parent,
    parse_relation,
    parse_thread_root,
)
from tests.matrix.test_filters import JSON

ALICE, BOB = "@alice:one.test", "@bob:two.test"
ROOT, OTHER = EventId("$root"), EventId("$other")


def relates(**relates_to: Any) -> dict[str, Any]:
    return {"body": "x", "m.relates_to": relates_to}


def related(rel_type: str, event_id: str = ROOT) -> dict[str, Any]:
    return relates(rel_type=rel_type, event_id=event_id)


def reply(event_id: Any) -> dict[str, Any]:
    return {"m.in_reply_to": {"event_id": event_id}}


@pytest.mark.parametrize(
    ("content", "relation"),
    [
        (related("m.reference"), Relation(rel_type="m.reference", event_id=ROOT)),
        (
            relates(rel_type="m.annotation", event_id=ROOT, key="+1"),
            Relation(rel_type="m.annotation", event_id=ROOT, key="+1"),
        ),
        (relates(**reply(OTHER)), Relation(in_reply_to=OTHER)),
        (
            relates(rel_type="m.thread", event_id=ROOT, is_falling_back=True, **reply(OTHER)),
            Relation(rel_type="m.thread", event_id=ROOT, in_reply_to=OTHER, is_falling_back=True),
        ),
        (relates(rel_type="m.thread", **reply(OTHER)), Relation(in_reply_to=OTHER)),
        (relates(rel_type="m.thread", event_id="root"), None),
        (relates(rel_type=1, event_id=ROOT), None),
        (relates(event_id=ROOT), None),
        (relates(**reply(1)), None),
        ({"m.relates_to": []}, None),
        ({}, None),
        (None, None),
    ],
)
def test_parse_relation_reads_what_has_the_shape_of_the_spec(content: Any, relation: Relation | None) -> None:
    assert parse_relation(content) == relation


@given(st.fixed_dictionaries({"m.relates_to": JSON | st.fixed_dictionaries({"rel_type": JSON, "event_id": JSON})}))
def test_parse_relation_ignores_any_other_json(content: dict[str, Any]) -> None:
    relation = parse_relation(content)
    assert relation is None or (relation.rel_type is None) == (relation.event_id is None)


def test_parse_parent_is_none_for_a_plain_reply() -> None:
    assert parse_parent(relates(**reply(OTHER))) is None
    assert parse_parent(related("m.reference")) == ("m.reference", ROOT)


def test_parse_thread_root_is_for_threads_only() -> None:
    assert parse_thread_root(related("m.thread")) == ROOT
    assert parse_thread_root(related("m.reference")) is None


def test_find_thread_root_follows_relations_for_three_hops() -> None:
    contents: dict[EventId, Any] = {EventId("$0"): related("m.thread")}
    for number in range(1, THREAD_HOPS_MAX + 2):
        contents[EventId(f"${number}")] = related("m.annotation", f"${number - 1}")
    found = [find_thread_root(content, contents.get) for content in contents.values()]
    assert found == [ROOT] * (THREAD_HOPS_MAX + 1) + [None]


def test_find_thread_root_of_events_outside_threads_is_none() -> None:
    contents = {ROOT: {"body": "x"}}
    assert find_thread_root({"body": "x"}, contents.get) is None
    assert find_thread_root(related("m.replace", ROOT), contents.get) is None
    assert find_thread_root(related("m.replace", "$unknown"), contents.get) is None
    assert find_thread_root(relates(**reply(ROOT)), contents.get) is None


def test_find_thread_root_ends_in_a_loop_of_relations() -> None:
    contents = {ROOT: related("m.reference", OTHER), OTHER: related("m.reference", ROOT)}
    assert find_thread_root(contents[ROOT], contents.get) is None


@pytest.mark.parametrize("rel_type", ["m.thread", "m.replace", "m.annotation", "m.reference", "org.example"])
def test_check_thread_root_refuses_events_that_relate_to_another(rel_type: str) -> None:
    assert check_thread_root(related(rel_type)) is not None


def test_check_thread_root_accepts_plain_events_and_replies() -> None:
    assert check_thread_root({"body": "x"}) is None
    assert check_thread_root(relates(**reply(OTHER))) is None


def message(event_id: str = ROOT, **more: Any) -> dict[str, Any]:
    event = {"event_id": event_id, "room_id": "!r", "sender": ALICE, "type": "m.room.message", "origin_server_ts": 1}
    return {**event, "content": {"body": "x"}, **more}


def edit(event_id: str = "$edit", **more: Any) -> dict[str, Any]:
    content = {**related("m.replace"), "m.new_content": {"body": "y"}}
    return message(event_id, **{"content": content, **more})


@pytest.mark.parametrize(
    ("original", "replacement", "why"),
    [
        (message(), edit(), None),
        (message(content={"body": "x", "msgtype": "m.text"}), edit(), None),
        (message(content=related("m.thread", "$x")), edit(), None),
        (message(), edit(room_id="!other"), "rooms"),
        (message(), edit(sender=BOB), "senders"),
        (message(), edit(type="m.sticker"), "types"),
        (message(state_key=""), edit(), "state"),
        (message(), edit(state_key=""), "state"),
        (message(content=related("m.replace", "$x")), edit(), "itself"),
        (message(), edit(content=related("m.replace")), "m.new_content"),
        (message(type="m.room.encrypted"), edit(type="m.room.encrypted", content=related("m.replace")), None),
        (message(type="m.room.encrypted"), edit(), "types"),
    ],
)
def test_check_replacement(original: dict[str, Any], replacement: dict[str, Any], why: str | None) -> None:
    answer = check_replacement(original, replacement)
    assert answer is None if why is None else answer is not None and why in answer


def test_parse_annotation_needs_a_key() -> None:
    content = relates(rel_type="m.annotation", event_id=ROOT, key="+1")
    assert parse_annotation("m.reaction", content) == Annotation(ROOT, "m.reaction", "+1")
    assert parse_annotation("m.reaction", related("m.annotation")) is None
    assert parse_annotation("m.reaction", relates(rel_type="m.reference", event_id=ROOT, key="+1")) is None
