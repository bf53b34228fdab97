"""Devices and keys of other servers' users: what is held, when it counts, and how it is kept up to date."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from conduit_py.data import remote_lists, short_ids
from conduit_py.matrix.ids import Malformed, ServerName, UserId
from conduit_py.service.e2ee import remote_lists as lists
from conduit_py.service.e2ee.refreshing import DOWNTIME_S
from conduit_py.service.pruning import Pruning
from conduit_py.storage.database import record_start
from kvschema.catalog import e2ee
from kvschema.catalog.rooms import StreamPos
from kvschema.engine import Engine
from tests.rig.client import Client, path
from tests.rig.crypto import CrossSigning, Json, Keys, query, sync, without_signatures
from tests.rig.network import Network, open_network
from tests.rig.remote_members import RemoteMembers, open_remote_members
from tests.rig.rooms import create, leave
from tests.rig.server import START_MS

ONE, TWO = ServerName("one.test"), ServerName("two.test")
BOB = "@bob:two.test"


@pytest.fixture
async def pair(make_engine: Callable[[], Engine], autojump_clock: MockClock) -> AsyncIterator[Network]:
    async with open_network(make_engine, ONE, TWO) as network:
        yield network


class Story:
    """Alice on one.test, and Bob on two.test, who is in a room with her."""

    def __init__(self, pair: Network, alice: Client, bob: Client, room_id: str) -> None:
        self.pair, self.alice, self.bob, self.room_id = pair, alice, bob, room_id
        self.keys = Keys(bob)
        self.since: str | None = None

    async def members(self) -> RemoteMembers:
        node = self.pair[ONE]
        return await open_remote_members(node.store, node.built.hub, ONE)

    async def devices(self) -> list[str]:
        """Bob's, as Alice is told."""
        answer = await query(self.alice, BOB)
        assert answer["failures"] == {}
        return sorted(answer["device_keys"].get(BOB, {}))

    def asked(self) -> list[str]:
        """What one.test asked two.test for since the last time, by the end of the path."""
        paths = [path for origin, _, _, path in self.pair.requests if origin == ONE and "/user/" in path]
        self.pair.requests.clear()
        return [path.split("/user/")[1].partition("/%40")[0] for path in paths]

    async def changed(self) -> tuple[list[str], list[str]]:
        """What Alice's /sync tells since the last time: changed and left."""
        reply = await sync(self.alice, self.since)
        self.since = reply["next_batch"]
        lists = reply["device_lists"]
        return [it for it in lists["changed"] if it == BOB], [it for it in lists["left"] if it == BOB]

    async def tell(self, device_id: str, stream_id: int, prev_id: list[int], **content: Any) -> None:
        """An update of Bob's list comes to one.test."""
        update = {"user_id": BOB, "device_id": device_id, "stream_id": stream_id, "prev_id": prev_id, **content}
        await self.pair[ONE].built.e2ee.edus.device_list_update(TWO, update)

    async def version(self) -> int:
        """Of the list that is held."""
        with self.pair[ONE].store.snapshot() as snapshot:
            ((_, row),) = e2ee.REMOTE_LISTS.scan(snapshot)
        return row.stream_id

    async def set_version(self, stream_id: int) -> None:
        """What two.test calls Bob's list."""
        store = self.pair[TWO].store
        async with store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                ((key, _),) = e2ee.USER_KEY_CHANGE.scan(snapshot)
                turn.batch.put(e2ee.LIST_STREAM, key, stream_id)


@pytest.fixture
async def story(pair: Network) -> Story:
    return await begin(pair)


async def begin(pair: Network) -> Story:
    alice = await pair[ONE].register("alice", device_id="PHONE")
    bob = await pair[TWO].register("bob", device_id="BOX")
    room_id = await create(alice)
    story = Story(pair, alice, bob, room_id)
    await story.keys.upload_all()
    await story.set_version(10)
    await (await story.members()).join(BOB, room_id)
    await story.changed()
    return story


def device(story: Story, device_id: str) -> Json:
    """Keys of another device of Bob's."""
    client = Client(story.bob._app)
    client.user_id, client.device_id = BOB, device_id
    return Keys(client).device_keys()


@pytest.fixture
async def held(story: Story, autojump_clock: MockClock) -> Story:
    """Alice asks, and the first update leads to a list whose version is known."""
    assert await story.devices() == ["BOX"]
    await story.tell("BOX", 11, [10], keys=story.keys.device_keys())
    await trio.sleep(1)
    assert await story.version() == 10
    await story.changed()
    assert await story.devices() == ["BOX"]
    story.asked()
    return story


async def test_list_is_asked_for_once_while_a_room_is_shared(story: Story, autojump_clock: MockClock) -> None:
    assert [await story.devices() for _ in range(3)] == [["BOX"]] * 3
    assert story.asked() == ["keys/query"]
    answer = await story.alice.post("/keys/query", {"device_keys": {BOB: ["GONE"]}})
    assert answer.json["device_keys"] == {BOB: {}}
    await story.pair[ONE].restart()
    assert await story.devices() == ["BOX"]
    assert story.asked() == []
    assert await story.changed() == ([], [])


async def test_list_of_somebody_in_no_room_is_asked_for_every_time(story: Story, autojump_clock: MockClock) -> None:
    await (await story.members()).leave(BOB, story.room_id)
    assert [await story.devices() for _ in range(2)] == [["BOX"]] * 2
    assert story.asked() == ["keys/query"] * 2


async def test_next_update_is_applied_and_told(held: Story, autojump_clock: MockClock) -> None:
    await held.tell("LAPTOP", 11, [10], keys=device(held, "LAPTOP"), device_display_name="Laptop")
    assert await held.changed() == ([BOB], [])
    answer = await query(held.alice, BOB)
    assert answer["device_keys"][BOB]["LAPTOP"] == {
        **device(held, "LAPTOP"),
        "unsigned": {"device_display_name": "Laptop"},
    }
    await held.tell("BOX", 12, [11], deleted=True)
    assert await held.changed() == ([BOB], [])
    assert await held.devices() == ["LAPTOP"]
    assert held.asked() == []


async def test_update_that_comes_twice_changes_nothing(held: Story, autojump_clock: MockClock) -> None:
    await held.tell("LAPTOP", 11, [10], keys=device(held, "LAPTOP"))
    await held.changed()
    async with held.pair[ONE].leaves_no_trace():
        await held.tell("LAPTOP", 11, [10], keys=device(held, "LAPTOP"))


@pytest.mark.parametrize("prev_id", [[], [11], [10, 11]])
async def test_gap_is_closed_by_asking_for_the_whole_list(
    held: Story, autojump_clock: MockClock, prev_id: list[int]
) -> None:
    await held.bob.post("/keys/device_signing/upload", CrossSigning(BOB).body())
    await held.set_version(12)
    await held.tell("LAPTOP", 12, prev_id, keys=device(held, "LAPTOP"))
    await trio.sleep(1)
    assert held.asked() == ["devices"]
    assert await held.changed() == ([BOB], [])
    assert (await held.devices(), await held.version()) == (["BOX"], 12)
    answer = await query(held.alice, BOB)
    assert answer["master_keys"][BOB] == CrossSigning(BOB).key("master")
    assert held.asked() == []


async def test_update_with_keys_of_another_device_is_asked_about(held: Story, autojump_clock: MockClock) -> None:
    await held.tell("LAPTOP", 11, [10], keys=device(held, "OTHER"))
    await trio.sleep(1)
    assert held.asked() == ["devices"]
    assert await held.devices() == ["BOX"]


async def test_update_about_a_list_that_is_not_held_is_told_to_clients(story: Story, autojump_clock: MockClock) -> None:
    await story.changed()
    await story.tell("LAPTOP", 11, [10], keys=device(story, "LAPTOP"))
    assert await story.changed() == ([BOB], [])
    assert await story.changed() == ([], [])


async def test_update_about_a_user_of_another_server_is_malformed(story: Story, autojump_clock: MockClock) -> None:
    edus = story.pair[ONE].built.e2ee.edus
    update = {"user_id": "@alice:one.test", "device_id": "X", "stream_id": 1, "prev_id": []}
    async with story.pair[ONE].leaves_no_trace():
        with pytest.raises(Malformed):
            await edus.device_list_update(TWO, update)
        with pytest.raises(Malformed):
            await edus.signing_key_update(TWO, {"user_id": "@alice:one.test"})


async def test_new_cross_signing_keys_are_asked_for(held: Story, autojump_clock: MockClock) -> None:
    await held.bob.post("/keys/device_signing/upload", CrossSigning(BOB).body())
    update = {"user_id": BOB, "master_key": CrossSigning(BOB).key("master")}
    await held.pair[ONE].built.e2ee.edus.signing_key_update(TWO, update)
    await trio.sleep(1)
    assert await held.changed() == ([BOB], [])
    answer = await query(held.alice, BOB)
    assert answer["self_signing_keys"][BOB] == CrossSigning(BOB).key("self_signing")
    assert "user_signing_keys" not in answer or answer["user_signing_keys"] == {}


async def test_signature_about_a_key_of_another_server_is_seen_by_its_signer(
    story: Story, autojump_clock: MockClock
) -> None:
    await story.bob.post("/keys/device_signing/upload", CrossSigning(BOB).body())
    assert await story.devices() == ["BOX"]
    mine, theirs = CrossSigning(story.alice.user_id), CrossSigning(BOB)
    await story.alice.post("/keys/device_signing/upload", mine.body())
    signed = mine.sign("user_signing", without_signatures(theirs.key("master")))
    response = await story.alice.post("/keys/signatures/upload", {BOB: {theirs.public("master"): signed}})
    assert response.json == {"failures": {}}
    carol = await story.pair[ONE].register("carol")
    seen = [(await query(who, BOB))["master_keys"][BOB].get("signatures") for who in (story.alice, carol)]
    assert seen == [signed["signatures"], None]


async def test_outdated_list_is_better_than_none_while_the_server_is_away(
    held: Story, autojump_clock: MockClock
) -> None:
    held.pair.cut(ONE, TWO)
    await held.tell("LAPTOP", 15, [14], keys=device(held, "LAPTOP"))
    await trio.sleep(1)
    answer = await query(held.alice, BOB)
    assert (list(answer["failures"]), list(answer["device_keys"][BOB])) == ([TWO], ["BOX"])
    await held.set_version(15)
    held.pair.heal()
    await trio.sleep(120)
    assert held.asked() == ["devices"]
    assert await held.version() == 15
    assert await held.devices() == ["BOX"]


async def test_outdated_list_survives_a_restart(held: Story, autojump_clock: MockClock) -> None:
    held.pair.cut(ONE, TWO)
    await held.tell("LAPTOP", 15, [14], keys=device(held, "LAPTOP"))
    await held.pair[ONE].stop()
    held.pair.heal()
    await held.set_version(15)
    await held.pair[ONE].start()
    await trio.sleep(1)
    assert (held.asked(), await held.version()) == (["devices"], 15)


async def test_server_that_is_heard_of_is_asked_at_once(held: Story, autojump_clock: MockClock) -> None:
    held.pair.cut(ONE, TWO)
    await held.tell("LAPTOP", 15, [14], keys=device(held, "LAPTOP"))
    await trio.sleep(7200)
    held.pair.heal()
    held.asked()
    await held.tell("LAPTOP", 16, [15], keys=device(held, "LAPTOP"))
    await trio.sleep(1)
    assert held.asked() == ["devices"]


async def test_no_list_counts_after_a_long_time_away(held: Story, autojump_clock: MockClock) -> None:
    await held.pair[ONE].stop()
    engine = held.pair[ONE].engine
    record_start(engine, (START_MS + int((trio.current_time() + 2 * DOWNTIME_S) * 1000)) * 1000)
    await trio.sleep(2 * DOWNTIME_S)
    await held.pair[ONE].start()
    await trio.sleep(1)
    assert held.asked() == ["devices"]
    await held.pair[ONE].restart()
    await trio.sleep(1)
    assert held.asked() == []


async def test_list_does_not_count_after_the_user_was_away(held: Story, autojump_clock: MockClock) -> None:
    members = await held.members()
    await members.leave(BOB, held.room_id)
    assert await held.changed() == ([], [BOB])
    await members.join(BOB, held.room_id)
    assert await held.changed() == ([BOB], [])
    assert await held.devices() == ["BOX"]
    assert held.asked() == ["keys/query"]


async def test_list_does_not_count_after_we_were_away(pair: Network) -> None:
    alice, bob = await pair[ONE].register("alice"), await pair[TWO].register("bob", device_id="BOX")
    await Keys(bob).upload_all()
    story = Story(pair, alice, bob, await create(bob))
    for _ in range(2):
        assert (await alice.post(path("join", story.room_id), {}, via=TWO)).status == 200
        assert [await story.devices() for _ in range(2)] == [["BOX"]] * 2
        assert story.asked() == ["keys/query"]
        await leave(alice, story.room_id)


async def test_list_counts_on_after_a_new_display_name(held: Story, autojump_clock: MockClock) -> None:
    await (await held.members()).set(BOB, held.room_id, "join", displayname="Bobby")
    await held.alice.put(f"/profile/{held.alice.user_id}/displayname", {"displayname": "Alice"})
    assert await held.devices() == ["BOX"]
    assert held.asked() == []


def test_of_very_many_changes_each_may_have_overtaken_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "OVERTAKEN_MAX", 3)
    asking = lists._Asking(0)
    for number in range(10):
        assert not (number < 3 and asking.is_overtaken(UserId(BOB)))
        asking.note_change(UserId(f"@user{number}:two.test"))
    assert asking.is_overtaken(UserId(BOB))
    assert len(asking.overtaken) == 3


async def test_answer_that_was_overtaken_by_a_change_is_asked_for_again(
    make_engine: Callable[[], Engine], autojump_clock: MockClock
) -> None:
    """The change comes while two.test is asked, so nobody knows whether the answer is from before it."""
    async with open_network(make_engine, ONE, TWO, chance=random.Random(1)) as slow:
        story = await begin(slow)
        async with trio.open_nursery() as asking:
            asking.start_soon(story.devices)
            await trio.sleep(0.001)
            await story.tell("LAPTOP", 11, [10], keys=device(story, "LAPTOP"))
        await trio.sleep(60)
        assert story.asked() == ["keys/query", "devices"]
        assert await story.version() == 10


async def test_refused_list_is_held_no_longer(story: Story, autojump_clock: MockClock) -> None:
    members = await story.members()
    await members.join("@nobody:two.test", story.room_id)
    await story.devices()
    store = story.pair[ONE].store
    async with store.writer.turn() as turn:
        with store.snapshot() as snapshot:
            nobody = short_ids.get_user(snapshot, UserId("@nobody:two.test"))
            assert nobody is not None
            remote_lists.stage_list(turn, TWO, nobody, remote_lists.RemoteList(4, StreamPos(snapshot.pos)))
    await story.changed()
    update = {"user_id": "@nobody:two.test", "device_id": "X", "stream_id": 6, "prev_id": [5]}
    await story.pair[ONE].built.e2ee.edus.device_list_update(TWO, update)
    await trio.sleep(1)
    assert story.asked() == ["keys/query", "devices"]
    with store.snapshot() as snapshot:
        assert remote_lists.get_list(snapshot, nobody) is None
        assert len(list(e2ee.REMOTE_LISTS.scan(snapshot))) == 1


async def test_lists_of_who_shares_no_room_are_swept_away(story: Story, autojump_clock: MockClock) -> None:
    await story.bob.post("/keys/device_signing/upload", CrossSigning(BOB).body())
    await story.devices()
    store = story.pair[ONE].store
    pruning = Pruning(store.database, store.writer, now_ms=store.now_ms)
    await pruning.sweep_all()
    with store.snapshot() as snapshot:
        assert len(list(e2ee.REMOTE_LISTS.scan(snapshot))) == 1
    await leave(story.alice, story.room_id)
    await pruning.sweep_all()
    with store.snapshot() as snapshot:
        rows = [*e2ee.REMOTE_LISTS.scan(snapshot), *e2ee.DEVICE_KEYS.scan(snapshot)]
        assert [*rows, *e2ee.CROSS_SIGNING_KEYS.scan(snapshot)] == []
