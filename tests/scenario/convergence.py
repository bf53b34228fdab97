"""Five servers, one room, a network that falls apart and heals, servers that restart: in the end all agree.

A seed decides everything: who does what and when, which links are cut, who restarts, how long requests take, what every
random id is, which of two tasks goes first. Nothing else does: there are no threads, no files and no sockets, and time
is the mocked clock's. So a seed that fails fails again, also on another machine and in another checkout, in a process
whose hashes are not random either:

    PYTHONHASHSEED=0 python -m tests.scenario.convergence SEED...

Each seed is printed with a digest of all that happened, to compare runs by.

What is asked for at the end: all servers whose users are members hold the same room state, and these users see what
each of them says last.
"""

from __future__ import annotations

import gc
import logging
import random
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import trio
from trio.testing import MockClock

from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.outbound.errors import Unreachable
from kvschema.catalog.users import USERID_ACCOUNT
from kvschema.engine.memory import MemoryEngine
from tests.rig.client import Client, Response, path
from tests.rig.network import Network, open_network

NAMES = tuple(f"{name}.test" for name in ("one", "two", "three", "four", "five"))
STEPS = 30
STEP_S_MAX = 90.0
HEALED_S = 2 * 3600.0
"""Longer than the longest pause that a server makes before it tries again, after troubles as short as these."""
SETTLE_S = 60.0
"""What is on its way arrives, with a question or two about what it refers to."""
ADMIN, MODERATOR = 100, 50


State = dict[tuple[str, str], tuple[str, str | None]]
"""Event id, and membership where there is one, by type and state key."""


@dataclass
class Person:
    """One user of each server."""

    client: Client
    said: list[str] = field(default_factory=list)
    """Events that were acknowledged."""

    @property
    def user_id(self) -> str:
        return self.client.user_id


class Story:
    """One seed."""

    def __init__(self, chance: random.Random, network: Network) -> None:
        self.chance = chance
        self.network = network
        self.people: list[Person] = []
        self.room_id = ""
        self.last_words: set[str] = set()
        self._count = 0

    async def run(self) -> None:
        await self.meet()
        for _ in range(STEPS):
            self.move_links()
            if self.chance.random() < 0.08:
                await self.network[self.chance.choice(NAMES)].restart()
            async with trio.open_nursery() as nursery:
                for person in self.chance.sample(self.people, self.chance.randint(1, 3)):
                    nursery.start_soon(self.act, person)
            await trio.sleep(self.chance.uniform(0, STEP_S_MAX))
        self.network.heal()
        await trio.sleep(HEALED_S)
        # Two rounds: what one server says last is what joins the ends of history on the others.
        for _ in range(2):
            self.last_words.clear()
            for person in self.people:
                before = len(person.said)
                await self.say(person)
                self.last_words.update(person.said[before:])
                await trio.sleep(SETTLE_S)

    async def meet(self) -> None:
        version = self.chance.choice(list(ROOM_VERSIONS))
        for name in NAMES:
            self.people.append(Person(await self.network[name].register("user")))
        creator, *others = self.people
        created = await creator.client.post("/createRoom", {"preset": "public_chat", "room_version": version})
        assert created.status == 200, created.body
        self.room_id = created.json["room_id"]
        for person in others:
            joined = await self.join(person)
            assert joined is not None, (version, person.user_id)
            assert joined.status == 200, (version, person.user_id, joined.body)
        levels = (await creator.client.get(self.at("state", "m.room.power_levels", ""))).json
        users = {person.user_id: self.chance.choice((0, MODERATOR, MODERATOR, ADMIN)) for person in others}
        await self.put_state(creator, "m.room.power_levels", {**levels, "users": {**levels.get("users", {}), **users}})
        await trio.sleep(SETTLE_S)

    def at(self, *parts: str) -> str:
        return path("rooms", self.room_id, *parts)

    def move_links(self) -> None:
        match self.chance.random():
            case roll if roll < 0.25:
                self.network.heal()
            case roll if roll < 0.5:
                self.network.cut(*self.chance.sample(NAMES, 2))
            case roll if roll < 0.6:
                self.network.isolate(self.chance.choice(NAMES))

    async def act(self, person: Person) -> None:
        """Something that may be refused, or fail because the server goes down."""
        other = self.chance.choice(self.people)
        often: list[Callable[[], Any]] = [
            lambda: self.say(person),
            lambda: self.put_state(person, "m.room.topic", {"topic": self.word()}),
            lambda: self.put_state(person, "test.entry", {"is": self.word()}, self.chance.choice("abc")),
            lambda: self.member(person, "invite", other),
            lambda: self.join(person),
            lambda: self.change_level(person, other),
        ]
        rarely: list[Callable[[], Any]] = [
            lambda: self.put_state(
                person, "m.room.join_rules", {"join_rule": self.chance.choice(("public", "public", "invite"))}
            ),
            lambda: self.member(person, "kick", other),
            lambda: self.member(person, "ban", other),
            lambda: self.member(person, "unban", other),
            lambda: self.ask(person, "POST", self.at("leave"), {}),
            lambda: self.redact(person),
        ]
        actions = rarely if self.chance.random() < 0.25 else often
        await self.chance.choice(actions)()

    def word(self) -> str:
        self._count += 1
        return f"word {self._count}"

    async def ask(self, person: Person, method: str, target: str, json: Any = None) -> Response | None:
        """None: the server went down. Refusals are fine; failures of the server are not."""
        try:
            response = await person.client.request(method, target, json)
        except Unreachable:
            return None
        assert response.status < 500 or response.status in (502, 504), (target, response.status, response.body)
        return response

    async def say(self, person: Person) -> None:
        content = {"msgtype": "m.text", "body": self.word()}
        response = await self.ask(person, "PUT", self.at("send", "m.room.message", secrets.token_hex(8)), content)
        if response is not None and response.status == 200:
            person.said.append(response.json["event_id"])

    async def redact(self, person: Person) -> None:
        said = [event_id for somebody in self.people for event_id in somebody.said]
        if said:
            await self.ask(person, "PUT", self.at("redact", self.chance.choice(said), secrets.token_hex(8)), {})

    async def put_state(self, person: Person, type: str, content: Any, state_key: str = "") -> None:
        await self.ask(person, "PUT", self.at("state", type, state_key), content)

    async def change_level(self, person: Person, other: Person) -> None:
        current = await self.ask(person, "GET", self.at("state", "m.room.power_levels", ""))
        if current is not None and current.status == 200:
            users = {**current.json.get("users", {}), other.user_id: self.chance.choice((0, MODERATOR, ADMIN))}
            await self.put_state(person, "m.room.power_levels", {**current.json, "users": users})

    async def member(self, person: Person, operation: str, other: Person) -> None:
        await self.ask(person, "POST", self.at(operation), {"user_id": other.user_id})

    async def join(self, person: Person) -> Response | None:
        via = "&".join(f"via={name}" for name in self.chance.sample(NAMES, len(NAMES)))
        return await self.ask(person, "POST", f"{path('join', self.room_id)}?{via}", {})

    async def check(self) -> None:
        """Members agree on the state, and hear one another."""
        states = {person.user_id: await self.read_state(person) for person in self.people}
        members = find_members({user_id: state for user_id, state in states.items() if state is not None})
        last_words = {
            person.said[-1] for person in self.people if person.user_id in members and self.last_words & {*person.said}
        }
        for person in self.people:
            if person.user_id in members:
                page = await person.client.get(self.at("messages"), dir="b", limit="50")
                assert not last_words - {event["event_id"] for event in page.json["chunk"]}, person.user_id
        first, *others = members.values() or [{}]
        for other in others:
            differing = {key: (first.get(key), other.get(key)) for key in first.keys() | other.keys()}
            assert {key: pair for key, pair in differing.items() if pair[0] != pair[1]} == {}, self.room_id

    async def read_state(self, person: Person) -> State | None:
        """The state as the server of somebody who is joined has it; None for others."""
        joined = await person.client.get("/joined_rooms")
        if self.room_id not in joined.json["joined_rooms"]:
            return None
        response = await person.client.get(self.at("state"))
        assert response.status == 200, response.body
        return {
            (event["type"], event["state_key"]): (event["event_id"], event["content"].get("membership"))
            for event in response.json
        }


def find_members(states: dict[str, State]) -> dict[str, State]:
    """Those whom not most of the others take for gone, and who take not most of the others for gone.

    Who is in by a join that the others did not let pass, such as one made while they changed who may come in, is told
    nothing by anybody, not even that: no protocol between servers has a message for it. Nor does anybody hear from who
    let none of the others' joins pass.
    """
    members = {}
    for user_id, state in states.items():
        others = {name: other for name, other in states.items() if name != user_id}
        denials = sum(takes_for_gone(other, user_id) for other in others.values())
        denied = sum(takes_for_gone(state, name) for name in others)
        if max(denials, denied) * 2 <= len(others):
            members[user_id] = state
    return members


def takes_for_gone(state: State, user_id: str) -> bool:
    return state.get(("m.room.member", user_id), ("", None))[1] != "join"


def digest(network: Network) -> str:
    """Of every request between servers, and of what each stores in the end but the hashes of passwords.

    Their salts are random: the library that hashes takes them from the system.
    """
    stored = {node.name: {**node.dump(), USERID_ACCOUNT.name: []} for node in network}
    return sha256(repr((network.requests, stored)).encode()).hexdigest()


def play(seed: int) -> str:
    """The digest. Raises ``AssertionError`` where the servers do not agree."""
    chance = random.Random(seed)
    random.seed(seed)
    secrets.token_bytes = lambda nbytes=None: chance.randbytes(nbytes or 32)
    secrets.choice = chance.choice
    # Tasks that can run at the same time run in an order that the seed decides.
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio._core._run._r = random.Random(seed)

    async def main() -> str:
        async with open_network(MemoryEngine, *NAMES, chance=chance) as network:
            story = Story(chance, network)
            await story.run()
            await story.check()
            return digest(network)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    # A seed makes some megabytes of garbage, and looking for it all the time takes a seventh of the whole.
    gc.disable()
    for argument in sys.argv[1:]:
        sys.stdout.write(f"seed {argument}")
        sys.stdout.flush()
        sys.stdout.write(f" {play(int(argument))}\n")
        gc.collect()
