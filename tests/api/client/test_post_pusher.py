"""``POST /_matrix/client/v3/pushers/set``"""

from __future__ import annotations

from typing import Any

import pytest

from kvschema.catalog import push
from tests.rig.auth import by_password
from tests.rig.push import URL, ask_set, get_pushkeys, pusher, set_pusher
from tests.rig.whole import WholeServer


async def test_post_pusher_changes_the_one_with_the_same_key(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    await set_pusher(alice, lang="en")
    await set_pusher(alice, lang="de")
    await set_pusher(alice, app_id="other.app")
    told = (await alice.get("/pushers")).json["pushers"]
    assert sorted((it["app_id"], it["lang"]) for it in told) == [("other.app", "en"), ("test.app", "de")]


async def test_post_pusher_takes_a_pushkey_from_other_users(whole: WholeServer) -> None:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    await set_pusher(alice)
    await set_pusher(alice, "alices")
    await set_pusher(alice, app_id="other.app")
    await set_pusher(bob, append=True)
    assert (len(await get_pushkeys(alice)), len(await get_pushkeys(bob))) == (3, 1)
    await set_pusher(carol)
    assert (await get_pushkeys(alice), await get_pushkeys(bob)) == (["alices", "key"], [])
    assert await get_pushkeys(carol) == ["key"]


async def test_post_pusher_deletes_for_kind_null(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    await set_pusher(alice)
    await set_pusher(bob, append=True)
    body = {"kind": None, "app_id": "test.app", "pushkey": "key"}
    assert (await ask_set(alice, body)).status == 200
    assert (await get_pushkeys(alice), await get_pushkeys(bob)) == ([], ["key"])
    async with whole.leaves_no_trace():
        assert (await ask_set(alice, body)).status == 200


async def test_post_pusher_lasts_as_long_as_its_session(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    phone, tablet = await whole.log_in(alice), await whole.log_in(alice)
    await set_pusher(alice, "desk")
    await set_pusher(phone, "phone")
    await set_pusher(tablet, "tablet")
    await phone.post("/logout")
    assert await get_pushkeys(alice) == ["desk", "tablet"]
    body = {"new_password": "another long password", "auth": by_password(alice)}
    assert (await alice.post("/account/password", body)).status == 200
    assert await get_pushkeys(alice) == ["desk"]
    await alice.post("/logout/all")
    with whole.store.snapshot() as snapshot:
        assert [snapshot.count(tree.name) for tree in push.TREES] == [0, 0, 0]


@pytest.mark.parametrize(
    "name", ["kind", "app_id", "pushkey", "app_display_name", "device_display_name", "lang", "data"]
)
async def test_post_pusher_missing_param(whole: WholeServer, name: str) -> None:
    alice = await whole.register("alice")
    body = pusher()
    del body[name]
    async with whole.leaves_no_trace():
        response = await ask_set(alice, body)
    assert response.outcome == (400, "M_MISSING_PARAM")
    assert name in response.json["error"]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "email"},
        {"kind": ""},
        {"app_id": "x" * 65},
        {"app_id": ""},
        {"pushkey": "ü" * 257},
        {"pushkey": ""},
        {"lang": "x" * 256},
        {"data": {"url": "http://push.test/_matrix/push/v1/notify"}},
        {"data": {"url": "https://push.test/"}},
        {"data": {"url": "https://push.test/_matrix/push/v1/notify/"}},
        {"data": {"url": "https://user@push.test/_matrix/push/v1/notify"}},
        {"data": {"url": "https:///_matrix/push/v1/notify"}},
        {"data": {"url": "push"}},
        {"data": {"url": URL, "format": "all"}},
        {"data": {"url": URL, "more": "x" * 9000}},
    ],
    ids=str,
)
async def test_post_pusher_invalid_param(whole: WholeServer, changes: dict[str, Any]) -> None:
    alice = await whole.register("alice")
    async with whole.leaves_no_trace():
        response = await ask_set(alice, pusher() | changes)
    assert response.outcome == (400, "M_INVALID_PARAM")


async def test_post_pusher_invalid_param_for_too_many(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    for number in range(push.PUSHERS_PER_USER_MAX):
        await set_pusher(alice, f"key {number}")
    async with whole.leaves_no_trace():
        assert (await ask_set(alice, pusher("one more"))).outcome == (400, "M_INVALID_PARAM")
    await set_pusher(alice, "key 7", lang="de")


@pytest.mark.parametrize(
    "changes",
    [{"kind": 5}, {"app_id": 5}, {"lang": {}}, {"append": "yes"}, {"data": "url"}, {"data": {"url": 5}}],
    ids=str,
)
async def test_post_pusher_bad_json(whole: WholeServer, changes: dict[str, Any]) -> None:
    alice = await whole.register("alice")
    async with whole.leaves_no_trace():
        assert (await ask_set(alice, pusher() | changes)).outcome == (400, "M_BAD_JSON")


async def test_post_pusher_missing_token(whole: WholeServer) -> None:
    assert (await ask_set(whole.client(), pusher())).outcome == (401, "M_MISSING_TOKEN")
