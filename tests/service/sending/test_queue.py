"""What is sent to whom, in which order, in how large pieces."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from conduit_py.data import short_ids, timeline
from conduit_py.matrix.ids import RoomId, ServerName
from conduit_py.service.sending.destination import LONGEST_RETRY_MS
from kvschema.engine import Engine
from tests.rig.rooms import create, in_room, send
from tests.service.rooms.test_large_moves import LOOP_MS_MAX, measure
from tests.service.sending.world import BOB, CAROL, THREE, TWO, Post, open_world, say, texts

SERVERS = 5_000


async def test_every_server_in_the_room_is_sent_what_is_said(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await say(alice, room_id, 1)
        await world.join(BOB, room_id)
        await world.join(CAROL, room_id)
        await say(alice, room_id, 2, start=1)
        await world.settle()
        assert post.sent_to(TWO) == post.sent_to(THREE) == texts(2, 1)
        (first, *_) = post.arrived
        assert first.json["origin"] == "one.test"
        assert first.json["pdus"][0]["room_id"] == room_id
        assert "unsigned" not in first.json["pdus"][0]
        assert world.has_nothing(TWO)


@pytest.mark.slow
async def test_event_loop_goes_on_while_thousands_of_servers_are_told(engine: Engine, post: Post) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await send(alice, room_id, "to all")
        names = {ServerName(f"server{number}.test") for number in range(SERVERS)}

        async def tell() -> None:
            async with world.store.writer.turn() as turn:
                with world.store.snapshot() as snapshot:
                    room = short_ids.get_room(snapshot, RoomId(room_id))
                    assert room is not None
                    *_, (_, event) = timeline.scan_timeline(snapshot, room)
                    pdu = timeline.get_pdu(snapshot, event)
                    world.outbox.stage_pdu(snapshot, turn, room, event, pdu, {*names, ServerName("evil.test")})
            assert len(world.backlogs) == SERVERS
            while len(post.arrived) < SERVERS:
                await trio.lowlevel.checkpoint()

        assert await measure(tell) < LOOP_MS_MAX
        assert {arrived.destination for arrived in post.arrived} == names
        assert all(arrived.event_ids == ["to all"] for arrived in post.arrived)
        await world.settle()
        assert all(map(world.has_nothing, names))


async def test_a_server_is_told_how_its_last_member_went(engine: Engine, post: Post, autojump_clock: MockClock) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        await alice.post(in_room(room_id, "kick"), {"user_id": BOB})
        await send(alice, room_id, "they are gone")
        await world.settle()
        assert post.sent_to(TWO) == ["m.room.member"]
        assert post.arrived[0].json["pdus"][0]["content"]["membership"] == "leave"


async def test_a_server_is_told_that_an_invite_is_withdrawn(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.invite(alice, BOB, room_id)
        await alice.post(in_room(room_id, "kick"), {"user_id": BOB})
        await send(alice, room_id, "among ourselves")
        await world.settle()
        pdus = [pdu for arrived in post.arrived for pdu in arrived.json["pdus"]]
        assert [pdu["content"].get("membership") for pdu in pdus] == ["invite", "leave"]
        assert {arrived.destination for arrived in post.arrived} == {TWO}


async def test_what_others_said_is_not_passed_on(engine: Engine, post: Post, autojump_clock: MockClock) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        await world.join(CAROL, room_id)
        await world.settle()
        assert post.attempts == []


async def test_forbidden_servers_are_sent_nothing(engine: Engine, post: Post, autojump_clock: MockClock) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join("@mallory:evil.test", room_id)
        await say(alice, room_id, 1)
        await world.queue_edu({}, "evil.test", "one.test")
        await world.settle()
        assert post.attempts == []
        assert world.has_nothing("evil.test")


async def test_transactions_are_in_order_and_hold_no_more_than_they_may(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        await say(alice, room_id, 1)
        await world.settle()
        await say(alice, room_id, 119, start=1)
        for number in range(210):
            await world.queue_edu({"number": number}, TWO)
        assert post.arrived == []
        post.heal()
        await trio.sleep(LONGEST_RETRY_MS / 1000)
        assert post.sent_to(TWO) == texts(120)
        counts = [(len(arrived.event_ids), len(arrived.edus)) for arrived in post.arrived]
        # What was there when it was first tried goes alone.
        assert counts == [(1, 0), (50, 100), (50, 100), (19, 10)]
        numbers = [edu["content"]["number"] for arrived in post.arrived for edu in arrived.edus]
        assert numbers == list(range(210))
        assert len({arrived.txn_id for arrived in post.arrived}) == 4
        assert world.has_nothing(TWO)


async def test_large_events_share_transactions_only_as_far_as_they_fit(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        alice = await world.rooms.register("alice")
        room_id = await create(alice)
        await world.join(BOB, room_id)
        post.cut(TWO)
        for number in range(40):
            await send(alice, room_id, str(number), filling="x" * 50_000)
            await world.settle()
        post.heal()
        await trio.sleep(LONGEST_RETRY_MS / 1000)
        assert post.sent_to(TWO) == texts(40)
        assert [len(arrived.event_ids) for arrived in post.arrived] == [1, 19, 19, 1]


async def test_edus_of_one_name_replace_each_other_until_they_are_on_their_way(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:
        post.cut(TWO)
        for number in range(4):
            await world.queue_edu({"number": number}, TWO, replaces=b"name")
            await world.settle()
            await world.queue_edu({"other": number}, TWO, replaces=b"other")
            await world.queue_edu({"kept": number}, TWO)
        post.heal()
        await trio.sleep(60)
        contents = [edu["content"] for arrived in post.arrived for edu in arrived.edus]
        kept = [{"kept": number} for number in range(4)]
        assert contents == [{"number": 0}, *kept[:3], {"number": 3}, {"other": 3}, kept[3]]
        assert world.has_nothing(TWO)


async def test_edus_beyond_the_bound_are_given_up_oldest_first(
    engine: Engine, post: Post, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conduit_py.service.sending.outbox.EDUS_QUEUED_MAX", 20)
    monkeypatch.setattr("conduit_py.service.sending.outbox.EDUS_GIVEN_UP", 5)
    async with open_world(engine, post) as world:
        post.cut(TWO)
        for number in range(23):
            await world.queue_edu({"number": number}, TWO)
            await world.settle()
        assert world.waiting(TWO) == (0, 18)
        post.heal()
        await trio.sleep(60)
        numbers = [edu["content"]["number"] for arrived in post.arrived for edu in arrived.edus]
        assert numbers == [0, *range(6, 23)]
        assert world.has_nothing(TWO)


async def test_passing_edus_are_tried_once_and_never_written_down(
    engine: Engine, post: Post, autojump_clock: MockClock
) -> None:
    async with open_world(engine, post) as world:

        def pass_on(number: int) -> None:
            edu = {"edu_type": "m.typing", "content": {"number": number}}
            world.outbox.pass_on([TWO], edu, replaces=b"typing", lasts_ms=30_000)

        async with world.rooms.leaves_no_trace():
            pass_on(1)
            pass_on(2)
            await world.settle()
            post.cut(TWO)
            pass_on(3)
            await world.settle()
            pass_on(4)
            await world.settle()
            post.heal()
            await trio.sleep(20)
            pass_on(5)
            await world.settle()
        contents = [edu["content"]["number"] for arrived in post.arrived for edu in arrived.edus]
        assert contents == [2, 5]
