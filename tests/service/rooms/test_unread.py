"""Whom an event notifies: who has the default rules is not asked one by one, and the answer is the same."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import pytest

from conduit_py.data import short_ids, timeline
from conduit_py.data.apart import get_users_apart
from conduit_py.data.notified import scan_notified, unpack_users
from conduit_py.matrix.ids import EventId, RoomId, UserId
from conduit_py.matrix.push.evaluate import CompiledRuleset, prepare_event
from conduit_py.service.rooms.ignored import get_ignored_users
from conduit_py.service.rooms.unread import Noticed, UnreadService
from conduit_py.service.users.push_rules import get_compiled_ruleset
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortUserId
from tests.rig.asking import ask_send
from tests.rig.client import Client, path
from tests.rig.relating import ignore, react
from tests.rig.rooms import Json, RoomServer, ban, create, invite, join, send, set_state

Judged = dict[str, tuple[bool, list[Any]]]
"""Whom an event notified, whether as a highlight, by which actions."""


def judge_each(snapshot: Snapshot, noticed: Noticed, readers: Set[ShortUserId]) -> Judged:
    """The rules of every local user, one by one, as the spec has it."""
    pdu = noticed.pdu
    judged: Judged = {}
    for user in readers:
        user_id = short_ids.get_user_id(snapshot, user)
        prepared = prepare_event(
            {**pdu.json, "event_id": pdu.event_id, "room_id": noticed.room_id},
            room_id=noticed.room_id,
            member_count=noticed.member_count,
            sender_power_level=noticed.power_levels.of_user(pdu.sender),
            notification_levels=(noticed.power_levels.content or {}).get("notifications", {}),
        )
        outcome = get_compiled_ruleset(snapshot, user, user_id).evaluate(prepared, display_name=user_id[1:4])
        if outcome.notify and pdu.sender not in get_ignored_users(snapshot, user):
            judged[user_id] = (outcome.highlight, list(outcome.actions))
    return judged


@pytest.fixture
def expected(monkeypatch: pytest.MonkeyPatch) -> dict[EventId, Judged]:
    """What every event that is sent must do."""
    judged: dict[EventId, Judged] = {}
    stage = UnreadService.stage

    def judge_and_stage(
        service: UnreadService, snapshot: Snapshot, turn: Turn, noticed: Noticed, readers: Set[ShortUserId]
    ) -> None:
        invited: set[ShortUserId] = set()
        if noticed.pdu.type == "m.room.member" and noticed.pdu.content["membership"] == "invite":
            user = short_ids.get_user(snapshot, UserId(noticed.pdu.state_key or ""))
            invited = set() if user is None else {user}
        judged[noticed.pdu.event_id] = judge_each(snapshot, noticed, {*readers, *invited})
        stage(service, snapshot, turn, noticed, readers)

    monkeypatch.setattr(UnreadService, "stage", judge_and_stage)
    return judged


def judged_all(rooms: RoomServer, room_id: str) -> dict[EventId, Judged]:
    """What the rows of the room say."""
    with rooms.store.snapshot() as snapshot:
        room = short_ids.get_room(snapshot, RoomId(room_id))
        assert room is not None
        places = dict(timeline.scan_timeline(snapshot, room))
        return {
            EventId(timeline.require_row(snapshot, places[pos]).event_id): {
                short_ids.get_user_id(snapshot, user): (is_highlight, actions)
                for is_highlight, actions, users in row.groups
                for user in unpack_users(users)
            }
            for pos, row in scan_notified(snapshot, room)
        }


async def a_room(rooms: RoomServer) -> tuple[str, list[Client]]:
    """Alice, Bob and Erin have the default rules, Carol has one of her own, Dave ignores Alice."""
    people = [await rooms.register(name) for name in ("alice", "bob", "carol", "dave", "erin")]
    alice, _, carol, dave, _ = people
    room_id = await create(alice)
    for person in people[1:]:
        await join(person, room_id)
    rule = {"actions": ["notify", {"set_tweak": "sound", "value": "ring"}], "pattern": "tea"}
    assert (await carol.put(path("pushrules", "global", "content", "tea"), rule)).status == 200
    await ignore(dave, alice)
    return room_id, people


def mentioning(*users: Client, room: bool = False) -> Json:
    return {"m.mentions": {"user_ids": [user.user_id for user in users], "room": room}}


async def test_stage_judges_for_all_as_for_each(rooms: RoomServer, expected: dict[EventId, Judged]) -> None:
    room_id, (alice, bob, carol, dave, erin) = await a_room(rooms)
    for sender, body, content in (
        (alice, "hello", {}),
        (bob, "a cup of tea?", {}),
        (erin, "alice, bob, carol, dave", mentioning(bob, carol, dave)),
        (bob, "me", mentioning(bob)),
        (alice, "all", mentioning(room=True)),
        (bob, "all", mentioning(bob, erin, room=True)),
        (dave, "a notice about tea", {"msgtype": "m.notice"}),
        (carol, "odd", {"m.mentions": {"user_ids": ["@nobody:one.test", 5, None, "@x:two.test"]}}),
        (carol, "odder", {"m.mentions": {"user_ids": erin.user_id}}),
        (carol, "oddest", {"m.mentions": [erin.user_id]}),
    ):
        await send(sender, room_id, body, **content)
    judged = judged_all(rooms, room_id)
    assert judged == {event_id: expected[event_id] for event_id in judged}
    assert not any(judgement for event_id, judgement in expected.items() if event_id not in judged)
    assert len({frozenset(judgement) for judgement in judged.values()}) > 4


async def test_stage_judges_state_and_other_types_for_all_as_for_each(
    rooms: RoomServer, expected: dict[EventId, Judged]
) -> None:
    room_id, (alice, bob, *_) = await a_room(rooms)
    await react(alice, room_id, await send(bob, room_id, "hello"))
    for type_ in ("m.call.invite", "m.room.encrypted", "org.example"):
        await ask_send(bob, room_id, {"body": "tea"}, type_)
    await set_state(alice, room_id, "m.room.topic", {"topic": "tea"})
    await set_state(alice, room_id, "m.room.tombstone", {"body": "gone", "replacement_room": "!x:one.test"})
    frank = await rooms.register("frank")
    await invite(alice, room_id, frank)
    judged = judged_all(rooms, room_id)
    assert judged == {event_id: expected[event_id] for event_id in judged}
    assert not any(judgement for event_id, judgement in expected.items() if event_id not in judged)
    assert [frank.user_id] in [list(judgement) for judgement in judged.values()]


async def test_stage_tells_who_has_rules_of_ones_own(rooms: RoomServer) -> None:
    _, (_, _, carol, dave, _) = await a_room(rooms)

    def apart() -> set[str]:
        with rooms.store.snapshot() as snapshot:
            return {short_ids.get_user_id(snapshot, user) for user in get_users_apart(snapshot)}

    assert apart() == {carol.user_id, dave.user_id}
    await carol.delete(path("pushrules", "global", "content", "tea"))
    await dave.put(dave.user_path("account_data", "m.ignored_user_list"), {"ignored_users": {}})
    assert apart() == set()


async def test_stage_asks_nobody_where_nothing_can_notify(rooms: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    room_id, (alice, bob, *_) = await a_room(rooms)
    asked: list[str] = []
    evaluate = CompiledRuleset.evaluate

    def count(ruleset: CompiledRuleset, *arguments: Any, **options: Any) -> Any:
        asked.append(ruleset.user_id)
        return evaluate(ruleset, *arguments, **options)

    monkeypatch.setattr(CompiledRuleset, "evaluate", count)
    await send(bob, room_id, "hello")
    assert sorted(asked) == ["", "@carol:one.test", "@dave:one.test"]
    asked.clear()
    await ban(alice, room_id, bob)
    assert sorted(asked) == ["", "@carol:one.test", "@dave:one.test"]
