"""``GET /_matrix/client/v3/keys/changes``, and ``device_lists`` of /sync, which tells the same"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from conduit_py.service.e2ee import device_lists, sharing
from conduit_py.service.sync import build
from tests.rig.asking import ask_member
from tests.rig.client import Client
from tests.rig.crypto import CrossSigning, Json, Keys, sync
from tests.rig.crypto import query as query_keys
from tests.rig.rooms import ban, create, join, kick, leave, send
from tests.rig.whole import WholeServer


@pytest.fixture(autouse=True, params=[1, device_lists.USERS_AT_ONCE])
def users_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A room is gone through in slices, or at once."""
    count: int = request.param
    monkeypatch.setattr(device_lists, "USERS_AT_ONCE", count)
    monkeypatch.setattr(sharing, "KEYS_AT_ONCE", count)
    return count


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice", device_id="PHONE")


@pytest.fixture
async def bob(whole: WholeServer) -> Client:
    return await whole.register("bob", device_id="BOX")


@pytest.fixture
async def carol(whole: WholeServer) -> Client:
    return await whole.register("carol", device_id="CAR")


class Watcher:
    """Somebody who goes on from token to token, and asks in both ways."""

    def __init__(self, client: Client, since: str) -> None:
        self.client, self.since = client, since

    async def changes(self) -> tuple[list[str], list[str]]:
        """Changed and left, by local part."""
        reply = await sync(self.client, self.since)
        query = {"from": self.since, "to": reply["next_batch"]}
        response = await self.client.get("/keys/changes", **query)
        assert response.json == reply["device_lists"]
        self.since = reply["next_batch"]
        return short(response.json["changed"]), short(response.json["left"])


def short(user_ids: list[str]) -> list[str]:
    return [user_id[1:].partition(":")[0] for user_id in user_ids]


async def watch(client: Client) -> Watcher:
    return Watcher(client, (await sync(client))["next_batch"])


async def test_new_keys_are_told_to_who_shares_a_room(alice: Client, bob: Client, carol: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    watchers = [await watch(user) for user in (alice, bob, carol)]
    keys = Keys(alice)
    await keys.upload_all()
    assert [await watcher.changes() for watcher in watchers] == [(["alice"], []), (["alice"], []), ([], [])]
    await keys.upload(one_time_keys=keys.one_time_keys(77), device_keys=keys.device_keys())
    assert [await watcher.changes() for watcher in watchers] == [([], []), ([], []), ([], [])]


async def test_a_device_that_goes_or_gets_a_name_is_told(whole: WholeServer, alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    laptop = await whole.log_in(alice, device_id="LAPTOP")
    watcher = await watch(bob)
    await laptop.put("/devices/LAPTOP", {"display_name": "nobody sees it, it has no keys"})
    assert await watcher.changes() == ([], [])
    await Keys(laptop).upload_all()
    assert await watcher.changes() == (["alice"], [])
    await laptop.put("/devices/LAPTOP", {"display_name": "Laptop"})
    assert await watcher.changes() == (["alice"], [])
    await laptop.post("/logout")
    assert await watcher.changes() == (["alice"], [])
    assert (await query_keys(bob, alice.user_id))["device_keys"] == {alice.user_id: {}}


async def test_all_devices_that_go_at_once_are_told(whole: WholeServer, alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    for device_id in ("A", "B", "C"):
        await Keys(await whole.log_in(alice, device_id=device_id)).upload_all()
    watcher = await watch(bob)
    await alice.post("/logout/all")
    assert await watcher.changes() == (["alice"], [])
    assert await watcher.changes() == ([], [])


async def test_who_joins_is_told_of_everybody_and_everybody_of_who_joins(
    alice: Client, bob: Client, carol: Client
) -> None:
    room_id = await create(alice)
    await join(carol, room_id)
    watchers = [await watch(user) for user in (alice, bob)]
    await join(bob, room_id)
    assert [await watcher.changes() for watcher in watchers] == [(["bob"], []), (["alice", "carol"], [])]
    await send(alice, room_id, "news that change nothing")
    assert [await watcher.changes() for watcher in watchers] == [([], []), ([], [])]


async def test_who_comes_to_another_room_between_two_slices_is_told_all_the_same(
    whole: WholeServer, alice: Client, bob: Client, carol: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dave is met in the room that alice came to, and not in the one that he came to while that was gone through."""
    old, new = await create(alice), await create(bob)
    await join(carol, new)
    dave = await whole.register("dave")
    await join(dave, new)
    watcher = await watch(alice)
    await join(alice, new)
    todo = [dave]

    async def come() -> None:
        if todo:
            await join(todo.pop(), old)

    monkeypatch.setattr(build, "trio", SimpleNamespace(lowlevel=SimpleNamespace(checkpoint=come)))
    changed, left = (await sync(alice, watcher.since))["device_lists"].values()
    assert (short(changed), left) == (["bob", "carol", "dave"], [])


async def test_who_joins_a_second_room_is_known_already(alice: Client, bob: Client) -> None:
    first, second = await create(alice), await create(alice)
    await join(bob, first)
    watchers = [await watch(user) for user in (alice, bob)]
    await join(bob, second)
    assert [await watcher.changes() for watcher in watchers] == [([], []), ([], [])]
    await leave(bob, first)
    assert [await watcher.changes() for watcher in watchers] == [([], []), ([], [])]
    await leave(bob, second)
    assert [await watcher.changes() for watcher in watchers] == [([], ["bob"]), ([], ["alice"])]


@pytest.mark.parametrize("how", [kick, ban])
async def test_who_is_put_out_is_told_as_left(alice: Client, bob: Client, carol: Client, how: object) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    await join(carol, room_id)
    watchers = [await watch(user) for user in (alice, bob, carol)]
    await (kick if how is kick else ban)(alice, room_id, bob)
    assert [await watcher.changes() for watcher in watchers] == [
        ([], ["bob"]),
        ([], ["alice", "carol"]),
        ([], ["bob"]),
    ]


async def test_a_ban_from_a_room_one_was_not_in_changes_nothing(alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    watchers = [await watch(user) for user in (alice, bob)]
    await ban(alice, room_id, bob)
    assert [await watcher.changes() for watcher in watchers] == [([], []), ([], [])]
    await ask_member(alice, room_id, "unban", bob.user_id)
    assert [await watcher.changes() for watcher in watchers] == [([], []), ([], [])]


async def test_who_was_away_between_two_syncs_is_the_same_as_before(alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    watchers = [await watch(user) for user in (alice, bob)]
    await leave(bob, room_id)
    await join(bob, room_id)
    assert [await watcher.changes() for watcher in watchers] == [([], []), ([], [])]


async def test_who_was_away_and_has_new_keys_is_told(alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    watcher = await watch(alice)
    await leave(bob, room_id)
    await Keys(bob).upload_all()
    await join(bob, room_id)
    assert await watcher.changes() == (["bob"], [])


async def test_keys_that_changed_while_apart_are_told_on_meeting_again(alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    watcher = await watch(alice)
    await leave(bob, room_id)
    assert await watcher.changes() == ([], ["bob"])
    await Keys(bob).upload_all()
    assert await watcher.changes() == ([], [])
    await join(bob, room_id)
    assert await watcher.changes() == (["bob"], [])


async def test_who_came_and_went_between_two_syncs_is_not_told(alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    watchers = [await watch(user) for user in (alice, bob)]
    await join(bob, room_id)
    await leave(bob, room_id)
    assert [await watcher.changes() for watcher in watchers] == [([], []), ([], [])]


async def test_a_new_display_name_changes_no_list(alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    watcher = await watch(alice)
    await bob.put(f"/profile/{bob.user_id}/displayname", {"displayname": "Bobby"})
    assert await watcher.changes() == ([], [])


async def test_cross_signing_keys_are_told(alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    watchers = [await watch(user) for user in (alice, bob)]
    await alice.post("/keys/device_signing/upload", CrossSigning(alice.user_id).body())
    assert [await watcher.changes() for watcher in watchers] == [(["alice"], []), (["alice"], [])]


async def test_new_keys_wake_who_shares_a_room(
    alice: Client, bob: Client, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    since = (await sync(bob))["next_batch"]
    replies: list[Json] = []

    async def wait() -> None:
        replies.append(await sync(bob, since, timeout="30000"))

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    began = trio.current_time()
    await Keys(alice).upload_all()
    await wait_all_tasks_blocked()
    assert trio.current_time() - began < 1
    assert replies[0]["device_lists"] == {"changed": [alice.user_id], "left": []}


async def test_a_token_from_a_lost_future_makes_every_list_outdated(alice: Client, bob: Client) -> None:
    room_id = await create(alice)
    await join(bob, room_id)
    reply = await sync(alice)
    everybody = {"changed": [alice.user_id, bob.user_id], "left": []}
    lost = "s9000000000000000000_boot_0"
    assert (await sync(alice, lost))["device_lists"] == everybody
    response = await alice.get("/keys/changes", **{"from": lost, "to": reply["next_batch"]})
    assert response.json == everybody


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ({"to": "s1_x_0"}, (400, "M_MISSING_PARAM")),
        ({"from": "s1_x_0"}, (400, "M_MISSING_PARAM")),
        ({"from": "yesterday", "to": "s1_x_0"}, (400, "M_INVALID_PARAM")),
        ({"from": "s1_x_0", "to": "now"}, (400, "M_INVALID_PARAM")),
    ],
)
async def test_get_keys_changes_refuses_what_it_cannot_read(
    alice: Client, query: dict[str, str], outcome: tuple[int, str]
) -> None:
    assert (await alice.get("/keys/changes", **query)).outcome == outcome


async def test_get_keys_changes_missing_token(whole: WholeServer) -> None:
    query = {"from": "s1_x_0", "to": "s1_x_0"}
    assert (await whole.client().get("/keys/changes", **query)).outcome == (401, "M_MISSING_TOKEN")
