"""Alice and Bob talk with a client library that is not ours, while the server dies under them three times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nio

from tests.rig.process import PATIENCE_S, ServerProcess, check_files

MESSAGES = 200
KILL_AFTER = (50, 100, 150)
PASSWORD = "correct horse battery staple"
FILTER = {"room": {"timeline": {"limit": 500}}}


class Person:
    """One user with a client that syncs all the time, and what that showed."""

    def __init__(self, client: nio.AsyncClient) -> None:
        self.client = client
        self.events: list[nio.Event] = []
        """Of every timeline, in the order shown."""
        self.ephemeral: list[nio.EphemeralEvent] = []
        self.invites: list[str] = []
        self.left: list[str] = []
        self._heard = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    @property
    def user_id(self) -> str:
        user_id: str = self.client.user_id
        return user_id

    async def register(self, name: str) -> None:
        self.require(await self.client.register(name, PASSWORD), nio.RegisterResponse)

    def require(self, response: Any, kind: type) -> Any:
        assert isinstance(response, kind), response
        return response

    def follow(self) -> None:
        """Begin to sync."""
        self._following = asyncio.create_task(self._follow())
        self._following.add_done_callback(lambda _: self._heard.set())

    def go(self) -> None:
        """End what ``follow`` began, which must have gone well."""
        assert self._following is not None
        if self._following.done():
            self._following.result()
        self._following.cancel()

    async def _follow(self) -> None:
        while True:
            reply = self.require(await self.client.sync(timeout=30_000, sync_filter=FILTER), nio.SyncResponse)
            for room_id, room in reply.rooms.join.items():
                if room.timeline.limited and room_id in self.left:
                    # Whoever comes back is told from the beginning.
                    self.events.clear()
                assert not room.timeline.limited or not self.events
                self.events += room.timeline.events
                self.ephemeral += room.ephemeral
            self.invites += reply.rooms.invite
            for room_id, room in reply.rooms.leave.items():
                self.events += room.timeline.events
                self.left.append(room_id)
            self._heard.set()

    async def wait_for(self, is_so: Callable[[], Any]) -> None:
        """Until what was shown makes it so."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                await self._heard.wait()
                self._heard.clear()
                assert self._following is not None
                if self._following.done():
                    self._following.result()

    async def wait_for_bodies(self, count: int) -> None:
        await self.wait_for(lambda: len(self.bodies()) >= count)

    async def wait_for_event(self, event_id: str) -> None:
        """Until the event was shown, which must be once."""
        await self.wait_for(lambda: self.shown(event_id))
        assert len(self.shown(event_id)) == 1

    async def send(self, room_id: str, content: dict[str, Any], type: str = "m.room.message") -> str:
        sent = self.require(await self.client.room_send(room_id, type, content), nio.RoomSendResponse)
        event_id: str = sent.event_id
        return event_id

    def shown(self, event_id: str) -> list[nio.Event]:
        return [event for event in self.events if event.event_id == event_id]

    def bodies(self) -> list[str]:
        """What was said, in order, edits left out."""
        texts = (event for event in self.events if isinstance(event, nio.RoomMessageText))
        return [text.body for text in texts if "m.relates_to" not in text.source["content"]]


class Story:
    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        config = nio.AsyncClientConfig(backoff_factor=0.02, max_timeout_retry_wait_time=0.2, request_timeout=60)
        self.alice, self.bob = (Person(nio.AsyncClient(server.url, config=config)) for _ in range(2))
        self.sent = 0

    async def run(self) -> None:
        people = (self.alice, self.bob)
        try:
            for person, name in zip(people, ("alice", "bob"), strict=True):
                await person.register(name)
                person.follow()
            room_id = await self.meet()
            await self.talk(room_id)
            await self.change_their_minds(room_id)
            await self.show_that_they_are_there(room_id)
            await self.part_and_meet_again(room_id)
            for person in people:
                person.go()
        finally:
            for person in people:
                await person.client.close()

    async def meet(self) -> str:
        """Alice makes a room and Bob follows her invitation."""
        alice, bob = self.alice, self.bob
        created = alice.require(await alice.client.room_create(name="Tea"), nio.RoomCreateResponse)
        room_id: str = created.room_id
        alice.require(await alice.client.room_invite(room_id, bob.user_id), nio.RoomInviteResponse)
        await bob.wait_for(lambda: room_id in bob.invites)
        bob.require(await bob.client.join(room_id), nio.JoinResponse)
        await alice.wait_for(lambda: room_id in alice.client.rooms and bob.user_id in alice.client.rooms[room_id].users)
        return room_id

    async def talk(self, room_id: str) -> None:
        """Both talk at the same time, and the server is killed and comes back meanwhile."""

        async def say(person: Person) -> None:
            for number in range(MESSAGES // 2):
                await person.send(room_id, {"msgtype": "m.text", "body": f"{person.user_id} {number}"})
                self.sent += 1
                if self.sent in KILL_AFTER:
                    await asyncio.to_thread(self.crash)

        await asyncio.gather(say(self.alice), say(self.bob))
        for person in (self.alice, self.bob):
            await person.wait_for_bodies(MESSAGES)
        said = self.alice.bodies()
        assert self.bob.bodies() == said
        for person in (self.alice, self.bob):
            theirs = [body for body in said if body.startswith(person.user_id)]
            assert theirs == [f"{person.user_id} {number}" for number in range(MESSAGES // 2)]

    def crash(self) -> None:
        self.server.kill()
        assert check_files(self.server.data) == []
        self.server.start()

    async def change_their_minds(self, room_id: str) -> None:
        """An edit, a reaction and a redaction."""
        alice, bob = self.alice, self.bob
        tea = await alice.send(room_id, {"msgtype": "m.text", "body": "Tea at four"})
        new = {"msgtype": "m.text", "body": "Tea at five"}
        replaces = {"rel_type": "m.replace", "event_id": tea}
        fallback = {"msgtype": "m.text", "body": "* Tea at five"}
        edit = await alice.send(room_id, {**fallback, "m.new_content": new, "m.relates_to": replaces})
        annotates = {"rel_type": "m.annotation", "event_id": tea, "key": "👍"}
        reaction = await bob.send(room_id, {"m.relates_to": annotates}, "m.reaction")
        rash = await bob.send(room_id, {"msgtype": "m.text", "body": "I hate tea"})
        redacted = bob.require(await bob.client.room_redact(room_id, rash, "rash"), nio.RoomRedactResponse)
        for person in (alice, bob):
            await person.wait_for_event(redacted.event_id)
            (edited,), (reacted,) = person.shown(edit), person.shown(reaction)
            assert edited.source["content"]["m.new_content"] == new
            assert (reacted.reacts_to, reacted.key) == (tea, "👍")
            (redaction,) = person.shown(redacted.event_id)
            assert (redaction.redacts, redaction.reason) == (rash, "rash")
        gone = alice.require(await alice.client.room_get_event(room_id, rash), nio.RoomGetEventResponse)
        assert isinstance(gone.event, nio.RedactedEvent)

    async def show_that_they_are_there(self, room_id: str) -> None:
        """Typing and a receipt."""
        alice, bob = self.alice, self.bob
        alice.require(await alice.client.room_typing(room_id, True, timeout=20_000), nio.RoomTypingResponse)
        await bob.wait_for(lambda: any(alice.user_id in users for users in typing(bob)))
        alice.require(await alice.client.room_typing(room_id, False), nio.RoomTypingResponse)
        await bob.wait_for(lambda: not list(typing(bob))[-1])
        last = bob.events[-1].event_id
        bob.require(await bob.client.room_read_markers(room_id, last, last), nio.RoomReadMarkersResponse)
        await alice.wait_for(lambda: (bob.user_id, last) in set(receipts(alice)))

    async def part_and_meet_again(self, room_id: str) -> None:
        """Bob leaves, misses what is said, and comes back."""
        alice, bob = self.alice, self.bob
        bob.require(await bob.client.room_leave(room_id), nio.RoomLeaveResponse)
        await bob.wait_for(lambda: room_id in bob.left)
        missed = await alice.send(room_id, {"msgtype": "m.text", "body": "Bob?"})
        assert not bob.shown(missed)
        bob.invites.clear()
        alice.require(await alice.client.room_invite(room_id, bob.user_id), nio.RoomInviteResponse)
        await bob.wait_for(lambda: room_id in bob.invites)
        bob.require(await bob.client.join(room_id), nio.JoinResponse)
        again = await alice.send(room_id, {"msgtype": "m.text", "body": "There you are"})
        for person in (alice, bob):
            await person.wait_for_event(again)


def typing(person: Person) -> Iterator[list[str]]:
    return (event.users for event in person.ephemeral if isinstance(event, nio.TypingNoticeEvent))


def receipts(person: Person) -> Iterator[tuple[str, str]]:
    for event in person.ephemeral:
        if isinstance(event, nio.ReceiptEvent):
            yield from ((receipt.user_id, receipt.event_id) for receipt in event.receipts)


@contextmanager
def running(directory: Path) -> Iterator[ServerProcess]:
    with ServerProcess(directory) as server:
        server.start()
        yield server
        server.stop()
    assert check_files(server.data) == []


def test_two_people_talk_while_the_server_dies_under_them(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        asyncio.run(Story(server).run())
