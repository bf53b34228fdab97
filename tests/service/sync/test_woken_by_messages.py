"""A long-poll that messages woke is told the same, byte for byte, as one that looks at everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from conduit_py.matrix.filters import parse_sync_filter
from conduit_py.matrix.ids import EventId, RoomId
from conduit_py.matrix.sync_token import parse_sync_token
from conduit_py.service.errors import MatrixError
from conduit_py.service.news import Messages, RoomNews
from conduit_py.service.requester import Requester
from conduit_py.service.sync import messages
from conduit_py.service.sync.build import Reply, SyncBuilder
from conduit_py.service.sync.since import SyncRequest
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortRoomId
from tests.rig.sending import make_presence
from tests.service.sync.world import SERVER_NAME, World, open_world

MESSAGES = ("message", "message", "message", "elsewhere")
LATE = "a wake-up for what was told before"
OTHERS = (
    "mine",
    "topic",
    "carol comes and goes",
    "bob comes and goes",
    "receipt",
    "private receipt",
    "my receipt",
    "my private receipt",
    "reaction",
    "redaction",
    "reply in thread",
    "typing",
    "ignore alice",
    "ignore nobody",
    "room data",
    "tell bob's phone",
)
FILTERS: tuple[Mapping[str, Any], ...] = (
    {},
    {"room": {"state": {"lazy_load_members": True}}},
    {"room": {"timeline": {"limit": 2, "unread_thread_notifications": True}}},
    {"room": {"timeline": {"limit": 20}}},
    {"room": {"state": {"lazy_load_members": True, "include_redundant_members": True}}},
    {"event_format": "federation"},
    {"event_fields": ["content"]},
)


class Poll:
    """Bob's, without the waiting."""

    def __init__(self, world: World, bob: Requester, filter_: Mapping[str, Any], state_after: str | None) -> None:
        self._world, self._bob = world, bob
        self._filter, self._state_after = parse_sync_filter(filter_), state_after
        presence = make_presence(world.store, world.hub, SERVER_NAME, world.typing)
        self._builder = SyncBuilder(
            world.store.database, world.hub, world.typing, presence, now_ms=world.store.now_ms, clock=lambda: 0.0
        )
        self._since: str | None = None
        self._heard: RoomNews | None = None

    async def _build(self) -> Reply:
        since = None if self._since is None else parse_sync_token(self._since)
        request = SyncRequest(since=since, filter=self._filter, state_after=self._state_after)
        return await self._builder.build(self._bob, request)

    async def catch_up(self) -> None:
        """Until there is nothing to tell."""
        reply = await self._build()
        while not reply.is_empty:
            self._since = str(reply.token)
            reply = await self._build()

    async def while_waiting(self, story: Story, actions: list[str]) -> bool:
        """Let things happen to a request that waits. True if it could be told by messages alone."""
        with self._world.hub.subscribe(self._bob.user) as waiter:
            waiter.rearm()
            quiet = (await self._build()).quiet
            for action in actions:
                if action == LATE:
                    self._world.hub.publish([self._bob.user], self._heard)
                else:
                    await story.act(action)
            self._heard = news = waiter.rearm()
        told = None if quiet is None or news is None else self._builder.build_messages(quiet, news)
        whole = await self._build()
        if told is not None:
            assert told == whole.render()
            assert not whole.is_empty
        self._since = str(whole.token)
        return told is not None


class Story:
    def __init__(self, world: World, people: list[Requester], rooms: list[RoomId]) -> None:
        self._world = world
        self._alice, self._bob, self._carol = people
        self._room_id, self._elsewhere = rooms
        self._last: list[EventId] = []
        self._step = 0

    async def act(self, action: str) -> None:
        """Refusals are part of the story."""
        self._step += 1
        try:
            await (self._talk(action) or self._do_other(action))
        except MatrixError:
            return

    def _talk(self, action: str) -> Any:
        match action:
            case "message":
                return self._send(self._alice)
            case "elsewhere":
                return self._world.send(self._carol, self._elsewhere, f"@bob {self._step}")
            case "mine":
                return self._send(self._bob)
            case "reaction":
                return self._relate("m.annotation", "m.reaction", key=f"key {self._step}")
            case "reply in thread":
                return self._relate("m.thread", "m.room.message")
        return None

    async def _send(self, sender: Requester) -> None:
        self._last.append(await self._world.send(sender, self._room_id, f"message {self._step}"))

    async def _relate(self, rel_type: str, event_type: str, **more: str) -> None:
        relates = {"rel_type": rel_type, "event_id": self._last[-1], **more}
        await self._world.messages.send_message(
            self._alice,
            self._room_id,
            event_type=event_type,
            txn_id=f"{self._step}",
            content={"msgtype": "m.text", "body": "so", "m.relates_to": relates},
        )

    async def _do_other(self, action: str) -> None:
        world, alice, bob, room_id = self._world, self._alice, self._bob, self._room_id
        match action.split():
            case ["topic"]:
                await world.set_state(alice, room_id, "m.room.topic", {"topic": f"topic {self._step}"})
            case [name, "comes", "and", "goes"]:
                who = bob if name == "bob" else self._carol
                await world.membership.leave(who, room_id)
                await world.membership.join(who, room_id)
            case ["receipt"]:
                await world.receipts.post_receipt(alice, room_id, "m.read", self._last[-1])
            case ["private", "receipt"]:
                await world.receipts.post_receipt(alice, room_id, "m.read.private", self._last[-1])
            case ["my", "receipt"]:
                await world.receipts.post_receipt(bob, room_id, "m.read", self._last[-1])
            case ["my", "private", "receipt"]:
                await world.receipts.post_receipt(bob, room_id, "m.read.private", self._last[-1])
            case ["redaction"]:
                await world.messages.redact_event(
                    alice, room_id, event_id=self._last.pop(), txn_id=f"{self._step}", content={}
                )
            case ["typing"]:
                world.typing.set_typing(alice, room_id, alice.user_id, is_typing=self._step % 2 == 0, timeout_ms=9000)
            case ["ignore", name]:
                await world.ignore(bob, *([alice.user_id] if name == "alice" else []))
            case ["room", "data"]:
                await world.account_data.set_content(bob, bob.user_id, room_id, "org.example", {"a": self._step})
            case ["tell", *_]:
                messages = {str(bob.user_id): {"*": {"a": self._step}}}
                await world.to_device.send(alice, "org.example", f"{self._step}", messages)
            case _:
                raise AssertionError(action)


async def _tell(rounds: list[list[str]], filter_: Mapping[str, Any], state_after: str | None) -> list[bool]:
    async with open_world() as world:
        people = [await world.user(name) for name in ("alice", "bob", "carol")]
        # With a name, nobody is a hero.
        rooms = [await world.room(people[0], name="Here"), await world.room(people[2], name="Elsewhere")]
        for room_id in rooms:
            for user in people:
                await world.membership.join(user, room_id)
        story = Story(world, people, rooms)
        await story.act("message")
        poll = Poll(world, people[1], filter_, state_after)
        await poll.catch_up()
        return [await poll.while_waiting(story, actions) for actions in rounds]


actions = st.one_of(st.sampled_from(MESSAGES), st.sampled_from((*MESSAGES, *OTHERS, LATE)))
rounds = st.lists(st.lists(actions, min_size=1, max_size=4), min_size=1, max_size=8)


@given(rounds, st.sampled_from(FILTERS), st.sampled_from([None, "state_after"]))
@example([["message"] * 11], {}, None)
@example([["message"], [LATE], ["elsewhere"], [LATE, "message"]], {}, None)
@example([["message"] * 11], {"room": {"timeline": {"limit": 20}}}, None)
def test_what_messages_woke_for_is_what_a_whole_look_finds(
    rounds: list[list[str]], filter_: Mapping[str, Any], state_after: str | None
) -> None:
    trio.run(_tell, rounds, filter_, state_after, clock=MockClock())


def test_messages_are_told_without_a_whole_look() -> None:
    rounds = [["message"], ["message", "elsewhere", "message"], ["mine"], ["message", "topic"], ["elsewhere"]]

    assert trio.run(_tell, rounds, {}, None, clock=MockClock()) == [True, True, True, False, True]


def test_a_message_that_was_sent_here_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    read_messages = messages._read_messages

    def look(snapshot: Snapshot, room: ShortRoomId, after: int, until: int) -> Messages | None:
        read.append(until - after)
        return read_messages(snapshot, room, after, until)

    monkeypatch.setattr(messages, "_read_messages", look)
    rounds = [["message"], ["mine"], ["reply in thread"], ["elsewhere"], ["message", "message"]]

    assert trio.run(_tell, rounds, {}, None, clock=MockClock()) == [True] * 5
    assert len(read) == 1


def test_late_wake_up_tells_nothing_again() -> None:
    rounds = [["message"], [LATE], ["message"], [LATE, "message"], ["elsewhere"], [LATE, "message"]]

    assert trio.run(_tell, rounds, {}, None, clock=MockClock()) == [True, False, True, False, True, False]


def test_members_that_a_device_does_not_know_are_not_passed_over() -> None:
    """Alice wrote before; Carol is new to a client that loads members lazily, the first time that she writes."""
    lazy = {"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": True}}}
    rounds = [["message"], ["elsewhere"], ["elsewhere"]]

    assert trio.run(_tell, rounds, lazy, None, clock=MockClock()) == [True, False, True]
