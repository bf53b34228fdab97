"""What is believed of other servers' spaces, and how long and how much of it is kept."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.outbound.errors import Refused
from conduit_py.service.rooms import remote_spaces
from conduit_py.service.rooms.remote_spaces import KEPT_FAILED_MS, KEPT_MS, RemoteSpaces
from tests.rig.remote import Question, Remotes

SPACE, TWO = RoomId("!space:two.test"), "two.test"


class Clock:
    now_ms = 0


def child(room_id: Any = "!child:two.test", **changes: Any) -> dict[str, Any]:
    return {
        "type": "m.space.child",
        "state_key": room_id,
        "sender": "@bob:two.test",
        "content": {"via": [TWO]},
        "origin_server_ts": 1,
        **changes,
    }


def answer_with(*, children_state: Any = (), children: Any = (), hidden: Any = (), **room: Any) -> dict[str, Any]:
    return {
        "room": {"room_id": SPACE, "room_type": "m.space", "children_state": list(children_state), **room},
        "children": list(children),
        "inaccessible_children": list(hidden),
    }


def open_spaces(remotes: Remotes, clock: Clock | None = None) -> RemoteSpaces:
    clock = clock or Clock()
    return RemoteSpaces(remotes, server_name=ServerName("one.test"), now_ms=lambda: clock.now_ms)


async def fetch(answer: dict[str, Any]) -> Any:
    return await open_spaces(Remotes({TWO: lambda question: answer})).fetch(SPACE, [TWO], suggested_only=False)


async def test_children_are_told_in_order_with_what_the_server_knows_of_them() -> None:
    answer = await fetch(
        answer_with(
            children_state=[
                child("!b:two.test", content={"via": [TWO], "order": "b"}),
                child("!z:two.test"),
                child("!a:two.test", content={"via": [TWO], "order": "a"}),
            ],
            children=[{"room_id": "!a:two.test", "name": "a"}, {"room_id": "!b:two.test", "room_type": "m.space"}],
            hidden=["!z:two.test"],
        )
    )
    space = answer[SPACE]
    assert [it.room_id for it in space.children] == ["!a:two.test", "!b:two.test", "!z:two.test"]
    assert answer["!a:two.test"].summary["name"] == "a"
    assert answer["!a:two.test"].children == ()
    assert answer["!b:two.test"].children is None
    assert answer["!z:two.test"] is None


@pytest.mark.parametrize(
    "event",
    [
        1,
        child(type="m.room.name"),
        child(1),
        child("no room"),
        child(sender="bob"),
        child(content=[]),
        child(content={}),
        child(content={"via": []}),
        child(content={"via": TWO}),
        child(origin_server_ts="1"),
        child(origin_server_ts=None),
    ],
)
async def test_child_that_is_none_is_left_out(event: Any) -> None:
    answer = await fetch(answer_with(children_state=[event, child("!good:two.test")]))
    assert [it.room_id for it in answer[SPACE].children] == ["!good:two.test"]


async def test_room_that_is_no_space_has_no_children() -> None:
    answer = await fetch(answer_with(children_state=[child()], room_type="org.example.other"))
    assert answer[SPACE].children == ()


async def test_few_servers_are_asked_in_turn_until_one_answers() -> None:
    def refuse(question: Question) -> dict[str, Any]:
        raise Refused(404, "M_NOT_FOUND", "no")

    remotes = Remotes({"a.test": refuse, TWO: lambda question: answer_with()})
    via = ["one.test", 1, "no name", "a.test", "a.test", TWO, "c.test"]
    answer = await open_spaces(remotes).fetch(SPACE, via, suggested_only=True)
    assert answer[SPACE] is not None
    assert [question.destination for question in remotes.asked] == ["a.test", TWO]
    assert remotes.asked[0].query == {"suggested_only": ["true"]}

    silent = Remotes({"other.test": refuse})
    await open_spaces(silent).fetch(SPACE, [f"s{number}.test" for number in range(50)], suggested_only=True)
    assert len(silent.asked) == 3


async def test_answers_are_kept_for_minutes_and_silence_for_one() -> None:
    remotes, clock = Remotes({TWO: lambda question: answer_with()}), Clock()
    spaces = open_spaces(remotes, clock)
    for now_ms, count in ((0, 1), (KEPT_MS - 1, 1), (KEPT_MS, 2)):
        clock.now_ms = now_ms
        await spaces.fetch(SPACE, [TWO], suggested_only=False)
        assert len(remotes.asked) == count
    await spaces.fetch(SPACE, [TWO], suggested_only=True)
    assert len(remotes.asked) == 3

    remotes.asked.clear()
    other = RoomId("!other:three.test")
    for now_ms, count in ((KEPT_MS, 1), (KEPT_MS + KEPT_FAILED_MS - 1, 1), (KEPT_MS + KEPT_FAILED_MS, 2)):
        clock.now_ms = now_ms
        assert await spaces.fetch(other, ["three.test"], suggested_only=False) == {other: None}
        assert len(remotes.asked) == count


async def test_no_more_rooms_are_kept_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_spaces, "KEPT_ROOMS_MAX", 5)

    def answer(question: Question) -> dict[str, Any]:
        room_id = question.segments[-1]
        return answer_with(room_id=room_id, children=[{"room_id": "!x:two.test"}])

    remotes = Remotes({TWO: answer})
    spaces = open_spaces(remotes)
    for name in "abab":
        await spaces.fetch(RoomId(f"!{name}:two.test"), [TWO], suggested_only=False)
    assert len(remotes.asked) == 2
    for name in "cab":
        await spaces.fetch(RoomId(f"!{name}:two.test"), [TWO], suggested_only=False)
    assert len(remotes.asked) == 5
