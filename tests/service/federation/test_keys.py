"""The key ring: who is asked, how often, and what is believed."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from conduit_py.config import IgnoredKeys
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import KeyId, ServerName
from conduit_py.matrix.signing import KEY_VALID_MS_MAX, VerifyKey, sign_json
from conduit_py.service.federation.keys import FETCHES_AT_ONCE, NOTARY_BATCH_MAX, KeyRing
from kvschema.catalog.federation import KEYS_PER_SERVER_MAX
from tests.rig.server import SERVER_NAME, START_MS, Server
from tests.service.federation.servers import DAY_MS, OWN_KEY, Remote, Source, make_ring

TWO = ServerName("two.test")


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def two(source: Source) -> Remote:
    remote = Remote(TWO)
    source.published[TWO] = remote.publish()
    return remote


async def fetch(ring: KeyRing, *key_ids: str, server: str = TWO, until: int = START_MS) -> dict[KeyId, VerifyKey]:
    return await ring.fetch_keys(ServerName(server), list(map(KeyId, key_ids)), minimum_valid_until_ts=until)


async def test_key_is_fetched_once_and_kept_across_a_restart(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    for _ in range(2):
        ring = make_ring(server, source)
        found = await fetch(ring, "ed25519:1")
        assert found == {two.key.key_id: VerifyKey(two.key.key_id, two.key.public_key, START_MS + DAY_MS)}
    assert source.asked == [TWO]


async def test_own_key_is_known_without_asking(server: Server, source: Source, autojump_clock: MockClock) -> None:
    ring = make_ring(server, source, trusted=("two.test",))
    found = await fetch(ring, OWN_KEY.key_id, "ed25519:other", server=SERVER_NAME)
    assert [key.public_key for key in found.values()] == [OWN_KEY.public_key]
    assert (source.asked, source.asked_notaries) == ([], [])


async def test_key_counts_for_seven_days_at_most(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    source.published[TWO] = two.publish(valid_until_ts=START_MS + 100 * DAY_MS)
    found = await fetch(make_ring(server, source), "ed25519:1")
    assert found[two.key.key_id].valid_until_ts == START_MS + KEY_VALID_MS_MAX


async def test_key_whose_time_is_over_is_fetched_again(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    ring = make_ring(server, source)
    await fetch(ring, "ed25519:1")
    await trio.sleep(2 * DAY_MS / 1000)
    source.published[TWO] = two.publish(valid_until_ts=START_MS + 3 * DAY_MS)
    found = await fetch(ring, "ed25519:1", until=START_MS + 2 * DAY_MS)
    assert found[two.key.key_id].valid_until_ts == START_MS + 3 * DAY_MS
    assert len(source.asked) == 2


async def test_known_key_is_given_though_its_server_is_gone(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    """What it signed in its time is still to be verified; whether it counts is for the caller to ask the key."""
    ring = make_ring(server, source)
    await fetch(ring, "ed25519:1")
    source.published.clear()
    await trio.sleep(2 * DAY_MS / 1000)
    found = await fetch(ring, "ed25519:1", until=START_MS + 2 * DAY_MS)
    assert not found[two.key.key_id].may_sign_request(START_MS + 2 * DAY_MS)


async def test_old_key_is_enough_for_any_time(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    old = encode_base64(Remote("x", 9).key.public_key)
    two.old = {"ed25519:9": {"key": old, "expired_ts": 5}}
    source.published[TWO] = two.publish()
    ring = make_ring(server, source)
    for _ in range(2):
        found = await fetch(ring, "ed25519:9", until=START_MS + 1000 * DAY_MS)
        assert found[KeyId("ed25519:9")].expired_ts == 5
    assert source.asked == [TWO]


async def test_key_that_is_published_no_more_is_kept(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    ring = make_ring(server, source)
    await fetch(ring, "ed25519:1")
    await trio.sleep(61)
    source.published[TWO] = Remote(TWO, 2).publish()
    found = await fetch(ring, "ed25519:1", "ed25519:2")
    assert sorted(found) == ["ed25519:1", "ed25519:2"]


async def test_keys_of_one_server_are_bounded(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    key = {"key": encode_base64(bytes(32)), "expired_ts": 5}
    two.old = {f"ed25519:old{number}": key for number in range(KEYS_PER_SERVER_MAX + 10)}
    source.published[TWO] = two.publish()
    ring = make_ring(server, source)
    assert await fetch(ring, "ed25519:1")
    assert len(server.dump()["server_signingkeys"]) == KEYS_PER_SERVER_MAX


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"server_name": TWO},
        Remote("three.test").publish(),
        {**Remote(TWO).publish(), "valid_until_ts": 1},
        sign_json(
            {"server_name": TWO, "valid_until_ts": START_MS + DAY_MS, "verify_keys": {}},
            entity=TWO,
            signing_key=OWN_KEY,
        ),
        Remote(TWO).publish(padding="x" * 70_000),
    ],
    ids=["empty", "bare", "of another server", "changed", "by an unpublished key", "too long"],
)
async def test_answer_that_cannot_be_right_leaves_no_trace(
    server: Server, source: Source, wrong: Any, autojump_clock: MockClock
) -> None:
    source.published[TWO] = wrong
    async with server.leaves_no_trace():
        assert await fetch(make_ring(server, source), "ed25519:1") == {}


async def test_ignored_keys_are_never_given(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    by_key = IgnoredKeys(frozenset({encode_base64(two.key.public_key)}), {})
    by_id = IgnoredKeys(frozenset(), {TWO: frozenset({"ed25519:1"})})
    for ignored in (by_key, by_id):
        assert await fetch(make_ring(server, source, ignored=ignored), "ed25519:1") == {}
    assert await fetch(make_ring(server, source), "ed25519:1")


# --- how often ---


async def test_many_who_need_the_same_key_ask_once(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    ring = make_ring(server, source)
    found = []

    async def want() -> None:
        found.append(await fetch(ring, "ed25519:1"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(want)
    assert [list(keys) for keys in found] == [["ed25519:1"]] * 20
    assert source.asked == [TWO]


async def test_who_waits_asks_when_who_asked_gives_up(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    source.wait = partial(trio.sleep, 5)
    ring = make_ring(server, source)
    found = []

    async def want() -> None:
        found.append(await fetch(ring, "ed25519:1"))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            nursery.start_soon(trio.sleep, 0)
            async with trio.open_nursery() as impatient:
                impatient.start_soon(want)
                await wait_all_tasks_blocked()
                nursery.start_soon(want)
    assert [list(keys) for keys in found] == [["ed25519:1"]]
    assert len(source.asked) == 2


async def test_server_that_was_asked_is_left_alone_for_a_while(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    """Requests signed with keys that somebody made up must not make us ask their alleged server each time."""
    ring = make_ring(server, source, trusted=("notary.test",))
    for number in range(10):
        assert await fetch(ring, f"ed25519:made_up{number}") == {}
    assert len(source.asked) == 1
    assert len(source.asked_notaries) == 1
    await trio.sleep(60)
    await fetch(ring, "ed25519:made_up")
    assert len(source.asked) == 2


async def test_dead_server_is_asked_less_and_less_often(
    server: Server, source: Source, autojump_clock: MockClock
) -> None:
    ring = make_ring(server, source)
    asked_at = []
    for _ in range(5 * 60):
        before = len(source.asked)
        await fetch(ring, "ed25519:1")
        if len(source.asked) > before:
            asked_at.append(round(trio.current_time() / 60))
        await trio.sleep(60)
    gaps = [later - earlier for earlier, later in pairwise(asked_at)]
    assert gaps[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(gaps[7:]) <= {60}


async def test_servers_are_asked_a_few_at_a_time(server: Server, source: Source, autojump_clock: MockClock) -> None:
    source.wait = partial(trio.sleep, 1)
    names = [ServerName(f"s{number}.test") for number in range(3 * FETCHES_AT_ONCE)]
    source.published = {name: Remote(name).publish() for name in names}
    found = await make_ring(server, source).fetch_many({name: {KeyId("ed25519:1"): START_MS} for name in names})
    assert all(found.values())
    assert source.most_running == FETCHES_AT_ONCE


async def test_server_that_is_known_does_not_wait_for_those_that_are_not(
    server: Server, source: Source, autojump_clock: MockClock
) -> None:
    ring, name = make_ring(server, source), ServerName("known.test")
    source.published[name] = Remote("known.test").publish(valid_until_ts=START_MS + 1)
    await ring.fetch_keys(name, [KeyId("ed25519:1")], minimum_valid_until_ts=START_MS)
    source.published[name] = Remote("known.test").publish()
    source.wait = partial(trio.sleep, 10)
    await trio.sleep(3600)
    began = trio.current_time()
    wanted = {ServerName(f"s{number}.test"): {KeyId("ed25519:1"): START_MS} for number in range(2 * FETCHES_AT_ONCE)}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ring.fetch_many, wanted)
        await trio.testing.wait_all_tasks_blocked()
        until = START_MS + 3_700_000
        assert await ring.fetch_keys(name, [KeyId("ed25519:1")], minimum_valid_until_ts=until)
        assert trio.current_time() == began + 10


# --- notaries ---


async def test_notary_vouches_for_a_server_that_is_gone(
    server: Server, source: Source, autojump_clock: MockClock
) -> None:
    notary, gone = Remote("notary.test", 7), Remote(TWO)
    source.published["notary.test"] = notary.publish()
    source.notarized["notary.test"] = {TWO: notary.vouch(gone.publish())}
    ring = make_ring(server, source, trusted=("dead.test", "notary.test"))
    found = await fetch(ring, "ed25519:1")
    assert [key.public_key for key in found.values()] == [gone.key.public_key]
    assert source.asked == [TWO, "notary.test"]
    assert source.asked_notaries == [("dead.test", [TWO]), ("notary.test", [TWO])]
    await fetch(ring, "ed25519:1")
    assert len(source.asked_notaries) == 2


async def test_notary_is_asked_in_batches(server: Server, source: Source, autojump_clock: MockClock) -> None:
    notary = Remote("notary.test", 7)
    names = [ServerName(f"s{number}.test") for number in range(NOTARY_BATCH_MAX + 1)]
    source.published["notary.test"] = notary.publish()
    source.notarized["notary.test"] = {name: notary.vouch(Remote(name).publish()) for name in names}
    ring = make_ring(server, source, trusted=("notary.test",))
    found = await ring.fetch_many({name: {KeyId("ed25519:1"): START_MS} for name in names})
    assert all(found.values())
    assert [len(asked) for _, asked in source.asked_notaries] == [NOTARY_BATCH_MAX, 1]


async def test_notary_is_asked_first_where_many_servers_are_meant(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    notary = Remote("notary.test", 7)
    source.published["notary.test"] = notary.publish()
    source.notarized["notary.test"] = {"gone.test": notary.vouch(Remote("gone.test").publish())}
    ring = make_ring(server, source, trusted=("notary.test",))
    wanted = {ServerName(name): {KeyId("ed25519:1"): START_MS} for name in ("gone.test", TWO, "lost.test")}
    found = await ring.fetch_many(wanted, notaries_first=True)
    assert {name: len(keys) for name, keys in found.items()} == {"gone.test": 1, TWO: 1, "lost.test": 0}
    assert source.asked_notaries == [("notary.test", ["gone.test", "lost.test", TWO])]
    assert sorted(source.asked) == ["lost.test", "notary.test", TWO]


@pytest.mark.parametrize("case", ["not by the notary", "not by itself", "by a wrong key", "of nobody asked for"])
async def test_notary_that_cannot_be_right_is_not_believed(
    server: Server, source: Source, case: str, autojump_clock: MockClock
) -> None:
    notary, gone = Remote("notary.test", 7), Remote(TWO)
    entry = {
        "not by the notary": gone.publish(),
        "not by itself": notary.vouch({**gone.publish(), "valid_until_ts": START_MS + 2 * DAY_MS}),
        "by a wrong key": Remote("notary.test", 8).vouch(gone.publish()),
        "of nobody asked for": notary.vouch(Remote("three.test").publish()),
    }[case]
    source.published["notary.test"] = notary.publish()
    source.notarized["notary.test"] = {TWO: entry}
    assert await fetch(make_ring(server, source, trusted=("notary.test",)), "ed25519:1") == {}
    with server.store.snapshot() as snapshot:
        assert snapshot.count("server_keyresponse") <= 1  # the notary's own


async def test_notary_is_not_asked_about_itself_nor_we_ourselves(
    server: Server, source: Source, autojump_clock: MockClock
) -> None:
    ring = make_ring(server, source, trusted=(SERVER_NAME, "notary.test"))
    assert await fetch(ring, "ed25519:1", server="notary.test") == {}
    assert source.asked == ["notary.test"]
    assert source.asked_notaries == []


async def test_notary_does_not_shorten_what_the_server_said(
    server: Server, source: Source, two: Remote, autojump_clock: MockClock
) -> None:
    notary = Remote("notary.test", 7)
    ring = make_ring(server, source, trusted=("notary.test",))
    await fetch(ring, "ed25519:1")
    source.published = {"notary.test": notary.publish()}
    source.notarized["notary.test"] = {TWO: notary.vouch(two.publish(valid_until_ts=START_MS + 5))}
    await trio.sleep(61)
    found = await fetch(ring, "ed25519:1", "ed25519:2")
    assert found[two.key.key_id].valid_until_ts == START_MS + DAY_MS
    assert len(source.asked_notaries) == 1
