"""``/_matrix/client/v3/room_keys``"""

from __future__ import annotations

from typing import Any

import pytest

from conduit_py.service.e2ee.key_backup import PAGE
from conduit_py.service.pruning import Pruning
from kvschema.catalog import e2ee
from tests.rig.client import Client, path
from tests.rig.crypto import Json
from tests.rig.whole import WholeServer

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
ROOM, OTHER_ROOM = "!one:one.test", "!two:one.test"


@pytest.fixture
async def alice(whole: WholeServer) -> Client:
    return await whole.register("alice")


def backup(public_key: str = "abc", **more: Any) -> Json:
    return {"algorithm": ALGORITHM, "auth_data": {"public_key": public_key}, **more}


def key(index: int = 0, forwarded: int = 0, *, verified: bool = False, data: str = "x") -> Json:
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": data},
    }


async def new_version(user: Client) -> str:
    version: str = (await user.post("/room_keys/version", backup())).json["version"]
    return version


def keys_path(*parts: str) -> str:
    return path("room_keys", "keys", *parts)


async def put(user: Client, version: str, room_id: str, session_id: str, value: Json) -> Json:
    response = await user.put(keys_path(room_id, session_id), value, version=version)
    assert response.status == 200, response.body
    state: Json = response.json
    return state


async def test_post_room_keys_version_makes_the_current_one(alice: Client) -> None:
    assert (await alice.get("/room_keys/version")).outcome == (404, "M_NOT_FOUND")
    first = await new_version(alice)
    second = (await alice.post("/room_keys/version", backup("second"))).json["version"]
    current = (await alice.get("/room_keys/version")).json
    assert current == backup("second") | {"version": second, "count": 0, "etag": current["etag"]}
    assert (await alice.get(f"/room_keys/version/{first}")).json["auth_data"] == {"public_key": "abc"}


async def test_versions_are_of_their_user(whole: WholeServer, alice: Client) -> None:
    bob, version = await whole.register("bob"), await new_version(alice)
    assert (await bob.get(f"/room_keys/version/{version}")).outcome == (404, "M_NOT_FOUND")
    assert (await bob.put(keys_path(), {"rooms": {}}, version=version)).outcome == (404, "M_NOT_FOUND")


async def test_put_room_keys_version_changes_the_auth_data(alice: Client) -> None:
    version = await new_version(alice)
    url = f"/room_keys/version/{version}"
    assert (await alice.put(url, backup("new", version=version))).json == {}
    assert (await alice.get(url)).json["auth_data"] == {"public_key": "new"}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (backup(version="other"), (400, "M_INVALID_PARAM")),
        (backup() | {"algorithm": "other"}, (400, "M_INVALID_PARAM")),
        ({"algorithm": ALGORITHM}, (400, "M_MISSING_PARAM")),
        ({"auth_data": {}}, (400, "M_MISSING_PARAM")),
        (backup() | {"auth_data": []}, (400, "M_BAD_JSON")),
        (backup("x" * 65536), (413, "M_TOO_LARGE")),
    ],
)
async def test_put_room_keys_version_refuses_what_it_cannot_change(
    whole: WholeServer, alice: Client, body: Json, outcome: tuple[int, str]
) -> None:
    version = await new_version(alice)
    async with whole.leaves_no_trace():
        assert (await alice.put(f"/room_keys/version/{version}", body)).outcome == outcome


@pytest.mark.parametrize("version", ["1", "x", "9" * 30])
async def test_a_version_that_never_was_is_not_found(whole: WholeServer, alice: Client, version: str) -> None:
    await new_version(alice)
    url = f"/room_keys/version/{version}"
    async with whole.leaves_no_trace():
        for response in (await alice.get(url), await alice.put(url, backup()), await alice.delete(url)):
            assert response.outcome == (404, "M_NOT_FOUND")
        for parts in ((), (ROOM,), (ROOM, "session")):
            for method in ("GET", "DELETE"):
                response = await alice.request(method, keys_path(*parts) + f"?version={version}")
                assert response.outcome == (404, "M_NOT_FOUND")


async def test_delete_room_keys_version_deletes_its_keys(whole: WholeServer, alice: Client) -> None:
    first, second = await new_version(alice), await new_version(alice)
    sessions = {f"session{number}": key() for number in range(2 * PAGE + 3)}
    await alice.put(keys_path(ROOM), {"sessions": sessions}, version=second)
    for _ in range(2):
        assert (await alice.delete(f"/room_keys/version/{second}")).json == {}
    assert whole.dump()[e2ee.BACKUP_KEYS.name] == []
    assert (await alice.get(f"/room_keys/version/{second}")).outcome == (404, "M_NOT_FOUND")
    assert (await alice.get("/room_keys/version")).json["version"] == first
    assert await new_version(alice) not in (first, second)


async def test_deletion_that_was_cut_off_is_finished_by_the_sweep(whole: WholeServer, alice: Client) -> None:
    version = await new_version(alice)
    await put(alice, version, ROOM, "session", key())
    async with whole.store.writer.turn() as turn:
        with whole.store.snapshot() as snapshot:
            ((where, row),) = e2ee.BACKUPS.scan(snapshot)
        turn.batch.put(e2ee.BACKUPS, where, row._replace(is_deleted=True, key_count=0))
        turn.batch.put(e2ee.DELETED_BACKUPS, where, None)
    await Pruning(whole.store.database, whole.store.writer, now_ms=whole.store.now_ms).sweep_all()
    dump = whole.dump()
    assert (dump[e2ee.BACKUP_KEYS.name], dump[e2ee.DELETED_BACKUPS.name]) == ([], [])


async def test_put_and_get_keys_in_every_form(alice: Client) -> None:
    version = await new_version(alice)
    await put(alice, version, ROOM, "a", key(1))
    await alice.put(keys_path(ROOM), {"sessions": {"b": key(2), "c/d": key(3)}}, version=version)
    body = {"rooms": {OTHER_ROOM: {"sessions": {"e": key(4)}}}}
    state = (await alice.put(keys_path(), body, version=version)).json
    assert state["count"] == 4
    info = (await alice.get("/room_keys/version")).json
    assert {name: info[name] for name in ("count", "etag")} == state
    in_room = {"a": key(1), "b": key(2), "c/d": key(3)}
    rooms = {ROOM: {"sessions": in_room}, OTHER_ROOM: {"sessions": {"e": key(4)}}}
    assert (await alice.get(keys_path(), version=version)).json == {"rooms": rooms}
    assert (await alice.get(keys_path(ROOM), version=version)).json == {"sessions": in_room}
    assert (await alice.get(keys_path(ROOM, "c/d"), version=version)).json == key(3)


async def test_get_keys_of_an_empty_backup(alice: Client) -> None:
    version = await new_version(alice)
    assert (await alice.get(keys_path(), version=version)).json == {"rooms": {}}
    assert (await alice.get(keys_path(ROOM), version=version)).json == {"sessions": {}}
    assert (await alice.get(keys_path(ROOM, "a"), version=version)).outcome == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("rooms", [1, 3, PAGE + 1])
async def test_large_backups_come_whole(alice: Client, rooms: int) -> None:
    version = await new_version(alice)
    count = 2 * PAGE + 7
    body: Json = {"rooms": {}}
    for number in range(count):
        sessions = body["rooms"].setdefault(f"!room{number % rooms:04}:one.test", {"sessions": {}})["sessions"]
        sessions[f"session{number:05}"] = key(number)
    assert (await alice.put(keys_path(), body, version=version)).json["count"] == count
    assert (await alice.get(keys_path(), version=version)).json == body
    room_id, section = next(iter(body["rooms"].items()))
    assert (await alice.get(keys_path(room_id), version=version)).json == section


BETTER = [
    (key(5, 5), key(9, 9, verified=True)),
    (key(5, 5), key(4, 9)),
    (key(5, 5), key(5, 4)),
    (key(5, 5, verified=True), key(4, 9, verified=True)),
]


@pytest.mark.parametrize(("worse", "better"), BETTER)
async def test_the_better_key_is_kept(alice: Client, worse: Json, better: Json) -> None:
    version = await new_version(alice)
    first = await put(alice, version, ROOM, "a", worse)
    second = await put(alice, version, ROOM, "a", better)
    assert (await alice.get(keys_path(ROOM, "a"), version=version)).json == better
    assert (first["count"], second["count"]) == (1, 1)
    assert first["etag"] != second["etag"]
    assert await put(alice, version, ROOM, "a", worse) == second
    assert (await alice.get(keys_path(ROOM, "a"), version=version)).json == better


async def test_an_equal_key_changes_nothing(whole: WholeServer, alice: Client) -> None:
    version = await new_version(alice)
    state = await put(alice, version, ROOM, "a", key(data="first"))
    async with whole.leaves_no_trace():
        assert await put(alice, version, ROOM, "a", key(data="second")) == state


async def test_delete_keys_in_every_form(alice: Client) -> None:
    version = await new_version(alice)
    state: Json = {}
    for room_id, session_id in ((ROOM, "a"), (ROOM, "b"), (ROOM, "c"), (OTHER_ROOM, "d"), ("!3:one.test", "e")):
        state = await put(alice, version, room_id, session_id, key())
    for parts, left in (((ROOM, "a"), 4), ((ROOM,), 2), ((), 0)):
        before, state = state, (await alice.delete(keys_path(*parts) + f"?version={version}")).json
        assert state["count"] == left
        assert state["etag"] != before["etag"]
    assert (await alice.delete(keys_path(ROOM, "a") + f"?version={version}")).json == state


async def test_put_keys_wrong_room_keys_version(whole: WholeServer, alice: Client) -> None:
    old, current = await new_version(alice), await new_version(alice)
    async with whole.leaves_no_trace():
        for wrong in (old, "1", "x"):
            for parts, body in (
                ((), {"rooms": {}}),
                ((ROOM,), {"sessions": {"a": key()}}),
                ((ROOM, "a"), key()),
            ):
                response = await alice.put(keys_path(*parts), body, version=wrong)
                assert response.outcome == (403, "M_WRONG_ROOM_KEYS_VERSION")
                assert response.json["current_version"] == current


async def test_put_keys_not_found_without_a_backup(whole: WholeServer, alice: Client) -> None:
    async with whole.leaves_no_trace():
        response = await alice.put(keys_path(ROOM), {"sessions": {}}, version="1")
        assert response.outcome == (404, "M_NOT_FOUND")


async def test_keys_missing_param_without_a_version(alice: Client) -> None:
    for method in ("GET", "PUT", "DELETE"):
        for parts in ((), (ROOM,), (ROOM, "a")):
            response = await alice.request(method, keys_path(*parts), {})
            assert response.outcome == (400, "M_MISSING_PARAM")


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"sessions": []}, (400, "M_BAD_JSON")),
        ({"sessions": {"a": 1}}, (400, "M_BAD_JSON")),
        ({"sessions": {"a": {}}}, (400, "M_BAD_JSON")),
        ({"sessions": {"a": key(-1)}}, (400, "M_BAD_JSON")),
        ({"sessions": {"a": key(2**60)}}, (400, "M_BAD_JSON")),
        ({"sessions": {"a": key() | {"is_verified": 1}}}, (400, "M_BAD_JSON")),
        ({"sessions": {"a": key() | {"session_data": "x"}}}, (400, "M_BAD_JSON")),
        ({"sessions": {"a": key(data="x" * 65536)}}, (413, "M_TOO_LARGE")),
        ({"sessions": {"": key()}}, (400, "M_INVALID_PARAM")),
        ({"sessions": {"x" * 201: key()}}, (400, "M_INVALID_PARAM")),
        ({"sessions": {"good": key(), "bad": {}}}, (400, "M_BAD_JSON")),
    ],
)
async def test_put_keys_refuses_what_is_no_key(
    whole: WholeServer, alice: Client, body: Json, outcome: tuple[int, str]
) -> None:
    version = await new_version(alice)
    async with whole.leaves_no_trace():
        assert (await alice.put(keys_path(ROOM), body, version=version)).outcome == outcome


async def test_put_keys_refuses_what_is_no_room(whole: WholeServer, alice: Client) -> None:
    version = await new_version(alice)
    async with whole.leaves_no_trace():
        body = {"rooms": {"room": {"sessions": {"a": key()}}}}
        assert (await alice.put(keys_path(), body, version=version)).outcome == (400, "M_INVALID_PARAM")


async def test_backups_are_bounded(whole: WholeServer, alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conduit_py.service.e2ee.key_backup.BACKUPS_PER_USER_MAX", 2)
    monkeypatch.setattr("conduit_py.service.e2ee.key_backup.BACKUP_KEYS_MAX", 1)
    version = await new_version(alice)
    await put(alice, version, ROOM, "a", key())
    async with whole.leaves_no_trace():
        assert (await alice.put(keys_path(ROOM, "b"), key(), version=version)).outcome == (413, "M_TOO_LARGE")
    await new_version(alice)
    async with whole.leaves_no_trace():
        assert (await alice.post("/room_keys/version", backup())).outcome == (403, "M_FORBIDDEN")
    await alice.delete(f"/room_keys/version/{version}")
    await new_version(alice)


async def test_room_keys_missing_token(whole: WholeServer) -> None:
    nobody = whole.client()
    assert (await nobody.get("/room_keys/version")).outcome == (401, "M_MISSING_TOKEN")
    assert (await nobody.get(keys_path(), version="1")).outcome == (401, "M_MISSING_TOKEN")
