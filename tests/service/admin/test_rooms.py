"""The commands about rooms, as they change what users and other servers see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from conduit_py.service.admin import room_facts, things
from conduit_py.service.rooms.removal import GRACE_S
from kvschema.engine import Engine
from tests.rig.admin import Console
from tests.rig.client import Client, path
from tests.rig.media import download, upload
from tests.rig.network import Network, open_network
from tests.rig.rooms import create, in_room, join, send, set_state


@pytest.fixture
async def network(make_engine: Callable[[], Engine], tmp_path: Path) -> AsyncIterator[Network]:
    media = str(tmp_path / "{name}")
    async with open_network(make_engine, "one.test", "two.test", MEDIA__PATH=media) as network:
        yield network


@pytest.fixture
def cli(network: Network) -> Console:
    """The command line of one.test."""
    return Console(network["one.test"].built.admin.dispatcher)


@pytest.fixture
async def alice(network: Network) -> Client:
    return await network["one.test"].register("alice")


async def is_in(user: Client, room_id: str) -> bool:
    return room_id in (await user.get("/joined_rooms")).json["joined_rooms"]


async def join_from_afar(user: Client, room_id: str, via: str = "one.test") -> None:
    response = await user.post(f"/join/{room_id}", {}, via=via)
    assert response.status == 200, response.body


async def test_list_rooms_tells_what_there_is(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    carol = await network["one.test"].register("carol")
    bob = await network["two.test"].register("bob")
    large, small = await create(alice, name="The \n large one", room_version="11"), await create(alice)
    await join(carol, large)
    await join_from_afar(bob, large)
    await cli.ask(f"disable-room {small}")
    lines = (await cli.ask("list-rooms")).splitlines()
    assert lines[0] == "2 rooms:"
    assert lines[1].split() == ["ROOM", "MEMBERS", "HERE", "VERSION", "EVENTS", "NAME"]
    assert lines[2].split(maxsplit=5)[:4] == [large, "3", "2", "11"]
    assert lines[2].endswith("The large one")
    assert lines[3].startswith(small)
    assert lines[3].endswith("(disabled)")
    assert small in await cli.ask("list-rooms --disabled")
    assert large not in await cli.ask("list-rooms --disabled")


async def test_list_rooms_comes_in_pages(
    cli: Console, alice: Client, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(things, "ROWS_PER_PAGE", 2)
    monkeypatch.setattr(room_facts, "EVENTS_COUNTED_MAX", 3)
    rooms = {await create(alice) for _ in range(5)}
    pages = [await cli.ask(f"list-rooms {page}") for page in (1, 2, 3)]
    shown = [{room_id for room_id in rooms if room_id in page} for page in pages]
    assert [len(some) for some in shown] == [2, 2, 1]
    assert set.union(*shown) == rooms
    assert all("3+" in page for page in pages)
    assert pages[0].splitlines()[-1] == "list-rooms 2 shows more."
    assert "There are 3 pages" in await cli.fail("list-rooms 4")
    await cli.fail("list-rooms 0")


async def test_room_info_by_id_or_alias(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    bob = await network["two.test"].register("bob")
    room_id = await create(alice, name="Garden", room_alias_name="garden", room_version="11")
    await join_from_afar(bob, room_id)
    event_id = await send(alice, room_id, "hello")
    text = await cli.ask("room-info '#garden:one.test'")
    assert text == await cli.ask(f"room-info {room_id}")
    for part in (room_id, "Garden", "#garden:one.test", alice.user_id, "2 joined", "two.test (1)", event_id):
        assert part in text
    assert alice.user_id in await cli.ask(f"list-members {room_id}")
    assert (await cli.ask(f"list-members {room_id}")).splitlines() == ["2 members:", alice.user_id, bob.user_id]


@pytest.mark.parametrize(
    "command",
    [
        "room-info !nothing:one.test",
        "room-info '#nothing:one.test'",
        "room-info nonsense",
        "list-members !nothing:one.test",
        "delete-room !nothing:one.test",
        "delete-room",
        "force-join-user nobody !nothing:one.test",
        "force-join-user alice !nothing:one.test",
        "force-leave-user alice !nothing:one.test",
        "remove-alias '#nothing:one.test'",
        "remove-alias nonsense",
        "disable-room nonsense",
    ],
)
async def test_what_is_not_there_changes_nothing(
    network: Network, cli: Console, alice: Client, command: str, autojump_clock: MockClock
) -> None:
    async with network["one.test"].leaves_no_trace():
        await cli.fail(command)


async def test_delete_room(network: Network, cli: Console, alice: Client, autojump_clock: MockClock) -> None:
    room_id = await create(alice)
    assert "is being removed." in await cli.ask(f"delete-room {room_id}")
    assert "is being removed already." in await cli.ask(f"delete-room {room_id}")
    assert room_id in await cli.ask("list-removals")
    await trio.sleep(5)
    assert not await is_in(alice, room_id)
    assert "is being removed since" in await cli.ask(f"room-info {room_id}")
    await trio.sleep(GRACE_S + 5)
    assert await cli.ask("list-removals") == "No room is being removed."
    assert "does not know" in await cli.fail(f"room-info {room_id}")


async def test_delete_room_waits_and_disables(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    bob = await network["two.test"].register("bob")
    room_id = await create(bob, room_version="11")
    await join_from_afar(alice, room_id, "two.test")
    assert await cli.ask(f"delete-room --wait --disable {room_id}") == f"{room_id} is gone."
    assert room_id in await cli.ask("list-disabled-rooms")
    refused = await alice.post(f"/join/{room_id}", {}, via="two.test")
    assert refused.outcome == (403, "M_FORBIDDEN")
    assert "and has disabled it" in await cli.fail(f"room-info {room_id}")


async def test_delete_room_with_its_media(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    room_id, other = await create(alice), await create(alice)
    uris = [await upload(alice, f"{number}".encode()) for number in range(6)]
    await send(alice, room_id, "image", msgtype="m.image", url=uris[0], info={"thumbnail_url": uris[1]})
    await send(alice, room_id, "hidden", msgtype="m.file", file={"url": uris[2]}, url="mxc://nonsense", info=[])
    await set_state(alice, room_id, "m.room.avatar", {"url": uris[3]})
    await alice.put(path("profile", alice.user_id, "avatar_url"), {"avatar_url": uris[4]})
    await send(alice, other, "elsewhere", msgtype="m.image", url=uris[5])
    await cli.ask(f"delete-room --purge-media {room_id}")
    assert cli.reported == [(number, 4) for number in (1, 2, 3, 4)]
    assert [(await download(alice, uri)).status for uri in uris] == [404, 404, 404, 404, 200, 200]
    await trio.sleep(GRACE_S + 10)


async def test_delete_room_leaves_media_alone(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    room_id, uri = await create(alice), await upload(alice, b"kept")
    await send(alice, room_id, "image", msgtype="m.image", url=uri)
    await cli.ask(f"delete-room --wait {room_id}")
    assert (await download(alice, uri)).status == 200


async def test_disable_and_enable_room(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    room_id = await create(alice)
    assert await cli.ask(f"disable-room {room_id}") == f"{room_id} is disabled now."
    assert await cli.ask(f"disable-room {room_id}") == f"{room_id} was disabled already."
    body = {"msgtype": "m.text", "body": "no"}
    assert (await alice.put(in_room(room_id, "send", "m.room.message", "1"), body)).status == 403
    assert "Marks:" in await cli.ask(f"room-info {room_id}")
    assert await cli.ask(f"enable-room {room_id}") == f"{room_id} is enabled now."
    assert await cli.ask(f"enable-room {room_id}") == f"{room_id} was not disabled."
    assert await cli.ask("list-disabled-rooms") == "No room is disabled."
    await send(alice, room_id, "yes")


async def test_force_join_user_to_an_open_room(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    carol = await network["one.test"].register("carol")
    room_id = await create(alice, room_alias_name="open")
    assert await cli.ask("force-join-user carol '#open:one.test'") == f"{carol.user_id} is in {room_id}."
    assert await is_in(carol, room_id)


async def test_force_join_user_to_a_closed_room(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    carol = await network["one.test"].register("carol")
    room_id = await create(alice, preset="private_chat")
    text = await cli.ask(f"force-join-user {carol.user_id} {room_id}")
    assert text == f"{carol.user_id} is in {room_id}, invited by {alice.user_id}."
    assert await is_in(carol, room_id)


async def test_force_join_user_to_a_room_elsewhere(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    bob = await network["two.test"].register("bob")
    room_id = await create(bob, room_version="11")
    await cli.ask(f"force-join-user alice {room_id} --via two.test")
    assert await is_in(alice, room_id)
    closed = await create(bob, preset="private_chat", room_version="11")
    await cli.fail(f"force-join-user alice {closed} --via two.test")
    assert not await is_in(alice, closed)


async def test_force_leave_user(network: Network, cli: Console, alice: Client, autojump_clock: MockClock) -> None:
    room_id = await create(alice)
    assert await cli.ask(f"force-leave-user alice {room_id}") == f"{alice.user_id} is not in {room_id} any more."
    assert not await is_in(alice, room_id)


async def test_remove_alias(network: Network, cli: Console, alice: Client, autojump_clock: MockClock) -> None:
    room_id = await create(alice, room_alias_name="garden")
    assert await cli.ask("remove-alias '#garden:one.test'") == "#garden:one.test is free now."
    assert (await alice.get(path("directory", "room", "#garden:one.test"))).status == 404
    assert (await alice.get(in_room(room_id, "aliases"))).json == {"aliases": []}


async def test_incoming_federation_names_what_is_being_taken_in(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    bob = await network["two.test"].register("bob")
    room_id = await create(alice, room_version="11")
    await join_from_afar(bob, room_id)
    await trio.sleep(10)
    assert await cli.ask("incoming-federation") == "Nothing is being taken in."
    async with network["one.test"].store.locks.hold(("room", room_id)):
        await send(bob, room_id, "waits for the room")
        await trio.sleep(5)
        assert (await cli.ask("incoming-federation")).splitlines()[-1].split() == [room_id, "two.test"]
    await trio.sleep(60)
    assert await cli.ask("incoming-federation") == "Nothing is being taken in."


async def test_admin_room_is_left_alone(
    network: Network, cli: Console, alice: Client, autojump_clock: MockClock
) -> None:
    one = network["one.test"]
    await one.built.admin.prepare()
    room_id = one.built.admin.room.get_room_id()
    await trio.testing.wait_all_tasks_blocked()
    async with one.leaves_no_trace():
        for command in ("delete-room", "disable-room", "force-join-user alice", "force-leave-user alice"):
            assert "Admin Room" in await cli.fail(f"{command} {room_id}")
