"""``GET /_matrix/client/v3/directory/room/{roomAlias}``"""

from __future__ import annotations

from conduit_py.outbound.errors import Refused
from tests.rig.client import path
from tests.rig.remote import Question
from tests.rig.rooms import Json, RoomServer, create


async def test_get_room_id_by_alias_answers_anybody(rooms: RoomServer) -> None:
    alice = await rooms.register("alice")
    room_id = await create(alice, room_alias_name="lounge")
    response = await rooms.client().get(path("directory", "room", "#lounge:one.test"))
    assert response.json == {"room_id": room_id, "servers": ["one.test"]}


async def test_get_room_id_by_alias_not_found(rooms: RoomServer) -> None:
    for alias in ("#nothing:one.test", "#lounge:two.test", f"#{'x' * 240}:one.test"):
        assert (await rooms.client().get(path("directory", "room", alias))).outcome == (404, "M_NOT_FOUND")


async def test_get_room_id_by_alias_invalid_param(rooms: RoomServer) -> None:
    for alias in ("lounge", "#lounge", f"#{'x' * 255}:one.test"):
        assert (await rooms.client().get(path("directory", "room", alias))).outcome == (400, "M_INVALID_PARAM")


async def test_get_room_id_by_alias_asks_the_server_that_the_alias_is_of(rooms: RoomServer) -> None:
    answer: Json = {"room_id": "!r:two.test", "servers": ["two.test", "three.test"]}
    rooms.remotes.servers["two.test"] = lambda question: answer
    rooms.remotes.servers["four.test"] = lambda question: {**answer, "servers": []}
    response = await rooms.client().get(path("directory", "room", "#lounge:two.test"))
    assert response.json == answer
    # Nobody else is named, so the server itself is the best guess.
    response = await rooms.client().get(path("directory", "room", "#lounge:four.test"))
    assert response.json == {"room_id": "!r:two.test", "servers": ["four.test"]}
    assert [(it.destination, it.query) for it in rooms.remotes.asked] == [
        ("two.test", {"room_alias": ["#lounge:two.test"]}),
        ("four.test", {"room_alias": ["#lounge:four.test"]}),
    ]


async def test_get_room_id_by_alias_of_a_server_that_does_not_know_it(rooms: RoomServer) -> None:
    def refuse(question: Question) -> Json:
        raise Refused(404, "M_NOT_FOUND", "no such alias")

    rooms.remotes.servers.update({"two.test": refuse, "three.test": lambda question: {"room_id": 1}})
    ask = rooms.client().get
    assert (await ask(path("directory", "room", "#lounge:two.test"))).outcome == (404, "M_NOT_FOUND")
    for silent in ("three.test", "four.test"):
        assert (await ask(path("directory", "room", f"#lounge:{silent}"))).outcome == (502, "M_UNKNOWN")
