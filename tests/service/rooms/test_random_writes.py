"""Whatever users ask for in a room, in whatever order: it is done or refused, and the store agrees with itself."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from tests.rig.asking import VERSIONS, ask_member, ask_redact, ask_send, ask_state
from tests.rig.client import Client, Response, path
from tests.rig.relating import relation
from tests.rig.rooms import Json, RoomServer, create, in_room

STEPS = 120
MEMBERSHIPS = ("join", "leave", "invite", "ban", "knock", "other", None)
CONTENTS: tuple[Json, ...] = (
    {},
    {"body": "hi", "msgtype": "m.text"},
    {"guest_access": "can_join"},
    {"join_rule": "public"},
    {"join_rule": "invite"},
    {"join_rule": "knock"},
    {"history_visibility": "joined"},
    {"alias": "#lounge:one.test", "alt_aliases": []},
    {"users": {}, "users_default": 50},
    {"users": {"@alice:one.test": 100, "@bob:one.test": 100}},
    {"body": "hi", "msgtype": "m.text", "m.mentions": {"room": True}, "m.relates_to": "nothing"},
)
TYPES = (
    "m.room.message",
    "m.room.name",
    "m.room.guest_access",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.canonical_alias",
    "m.room.power_levels",
    "m.room.redaction",
    "m.room.create",
    "m.reaction",
)


class Crowd:
    """Users who ask one room for anything."""

    def __init__(self, users: list[Client], room_id: str, chance: random.Random) -> None:
        self.users, self.room_id, self.chance = users, room_id, chance
        self.sent = ["$nothing"]
        self.steps: list[Callable[[], Awaitable[Response]]] = [
            self.send,
            self.send,
            self.relate,
            self.set_state,
            self.set_member,
            self.ask_member,
            self.go,
            self.go,
            self.redact,
            self.redact_by_send,
        ]

    @property
    def somebody(self) -> Client:
        return self.chance.choice(self.users)

    async def send(self) -> Response:
        return await ask_send(self.somebody, self.room_id, self.content(), self.chance.choice(TYPES))

    async def relate(self) -> Response:
        rel_type = self.chance.choice(["m.annotation", "m.replace", "m.thread", "m.reference", "org.example"])
        content = relation(rel_type, self.event(), key=self.chance.choice("ab"))
        return await ask_send(self.somebody, self.room_id, content)

    async def set_state(self) -> Response:
        state_key = self.chance.choice(["", "", "x", self.somebody.user_id])
        return await ask_state(self.somebody, self.room_id, self.chance.choice(TYPES), self.content(), state_key)

    async def set_member(self) -> Response:
        content: Json = {"membership": self.chance.choice(MEMBERSHIPS)}
        user_id = self.chance.choice([self.somebody.user_id, self.somebody.user_id, "@eve:two.test", "eve"])
        return await ask_state(self.somebody, self.room_id, "m.room.member", content, user_id)

    async def ask_member(self) -> Response:
        operation = self.chance.choice(["invite", "invite", "kick", "ban", "unban", "unban"])
        return await ask_member(self.somebody, self.room_id, operation, self.somebody.user_id)

    async def go(self) -> Response:
        way = self.chance.choice(["join", "join", "leave", "forget"])
        return await self.somebody.post(in_room(self.room_id, way), {})

    async def redact(self) -> Response:
        return await ask_redact(self.somebody, self.room_id, self.event())

    async def redact_by_send(self) -> Response:
        return await ask_send(self.somebody, self.room_id, {"redacts": self.event()}, "m.room.redaction")

    def content(self) -> Json:
        return self.chance.choice(CONTENTS)

    def event(self) -> str:
        return self.chance.choice(self.sent)

    async def step(self) -> int:
        response = await self.chance.choice(self.steps)()
        if response.status == 200 and "event_id" in response.json:
            self.sent.append(response.json["event_id"])
        return response.status


@pytest.mark.parametrize("version", VERSIONS)
async def test_random_writes_are_done_or_refused(rooms: RoomServer, version: str) -> None:
    chance = random.Random(f"writes {version}")
    users = [await rooms.register(name) for name in ("alice", "bob", "carol", "dave")]
    await rooms.change_account(users[3], is_guest=True)
    room_id = await create(users[0], room_version=version, room_alias_name="lounge")
    crowd = Crowd(users, room_id, chance)
    statuses: dict[int, int] = {}
    for number in range(STEPS):
        before = rooms.dump()
        status = await crowd.step()
        statuses[status] = statuses.get(status, 0) + 1
        assert status in (200, 400, 403, 404)
        if status != 200:
            assert rooms.dump() == before
        if number % 20 == 0:
            name = {"displayname": f"name {number}"}
            assert (await users[1].put(path("profile", users[1].user_id, "displayname"), name)).status == 200
    assert statuses[200] > STEPS / 10, statuses
