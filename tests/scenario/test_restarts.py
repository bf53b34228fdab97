"""What takes several requests goes on where it was when the server is restarted between any two of them.

Each flow is a story that yields where the server ends. It is told twice: with a server that is closed in order, and
with one that is killed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio.testing

from tests.rig.asking import ask_member, ask_redact, ask_send, get_content, membership_of
from tests.rig.auth import by_password
from tests.rig.client import Client, Response, path
from tests.rig.crypto import CrossSigning, Keys, claim, query, sync
from tests.rig.media import ask_upload_to, download
from tests.rig.media import create as create_media
from tests.rig.restarts import End, Restarts
from tests.rig.rooms import Json, bodies, create, in_room, invite, join, send, set_state
from tests.rig.server import PASSWORD

Flow = Callable[[Restarts], AsyncIterator[None]]
FLOWS: dict[str, tuple[Flow, dict[str, str]]] = {}
TOKEN = "open sesame"


def flow(**overrides: str) -> Callable[[Flow], Flow]:
    """One of the flows, with what the configuration must say for it."""

    def add(told: Flow) -> Flow:
        FLOWS[told.__name__] = (told, overrides)
        return told

    return add


@pytest.mark.parametrize("end", ["closed", "killed"])
@pytest.mark.parametrize("name", FLOWS)
async def test_flow_goes_on_after_restarts(name: str, end: End, tmp_path: Path) -> None:
    told, overrides = FLOWS[name]
    restarts = Restarts(tmp_path, **overrides)
    steps = told(restarts)
    lives, is_over = 0, False
    while not is_over:
        async with restarts.live(end):
            is_over = await anext(steps, "over") == "over"
        lives += 1
    assert lives >= 2, "the server was never restarted"


def done(response: Response) -> Any:
    assert response.status == 200, response.body
    return response.json


@flow()
async def authentication(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice")
    phone = await restarts.log_in(alice, device_id="PHONE")
    asked = await alice.delete("/devices/PHONE", {})
    assert asked.status == 401
    yield
    wrong = by_password(alice, "wrong") | {"session": asked.json["session"]}
    again = await alice.delete("/devices/PHONE", {"auth": wrong})
    assert (again.status, again.json["session"]) == (401, asked.json["session"])
    yield
    auth = by_password(alice) | {"session": asked.json["session"]}
    done(await alice.delete("/devices/PHONE", {"auth": auth}))
    yield
    assert (await phone.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")
    # The session was used, so it opens nothing more.
    assert (await alice.delete("/devices/PHONE", {"auth": {"session": asked.json["session"]}})).status in (200, 401)


@flow(REGISTRATION_TOKEN=TOKEN)
async def registration(restarts: Restarts) -> AsyncIterator[None]:
    somebody = restarts.client()
    body = {"username": "alice", "password": PASSWORD}
    asked = await somebody.post("/register", body)
    assert asked.status == 401
    session = asked.json["session"]
    stages = asked.json["flows"][0]["stages"]
    assert "m.login.registration_token" in stages
    made: Response | None = None
    for number, stage in enumerate(stages):
        yield
        token = {"token": TOKEN} if stage == "m.login.registration_token" else {}
        made = await somebody.post("/register", {**body, "auth": {"type": stage, "session": session, **token}})
        assert made.status == (200 if number == len(stages) - 1 else 401), made.body
        if made.status == 401:
            assert made.json["completed"] == stages[: number + 1]
    assert made is not None
    somebody.use_session(made.json)
    yield
    assert done(await somebody.get("/account/whoami"))["user_id"] == "@alice:one.test"


@flow()
async def pages_of_messages(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice")
    room_id = await create(alice)
    said = [str(number) for number in range(25)]
    for text in said:
        await send(alice, room_id, text)
    for direction, expected in (("b", said[::-1]), ("f", said)):
        found: list[Json] = []
        start: dict[str, str] = {}
        while True:
            page = done(await alice.get(in_room(room_id, "messages"), dir=direction, limit="7", **start))
            found += page["chunk"]
            if "end" not in page:
                break
            start = {"from": page["end"]}
            yield
            await set_state(alice, room_id, "org.example.meanwhile", {"direction": direction, "read": len(found)})
        assert bodies(found) == expected
        assert len({event["event_id"] for event in found}) == len(found)


@flow()
async def syncs_with_gaps(restarts: Restarts) -> AsyncIterator[None]:
    alice, bob = await restarts.register("alice"), await restarts.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    since = (await sync(bob))["next_batch"]
    yield
    said = [str(number) for number in range(30)]
    for text in said:
        await send(alice, room_id, text)
    await set_state(alice, room_id, "m.room.topic", {"topic": "changed in the gap"})
    for text in ("x", "y", "z"):
        await send(alice, room_id, text)
    yield
    limited = {"filter": '{"room":{"timeline":{"limit":3}}}'}
    reply = await sync(bob, since, **limited)
    section = reply["rooms"]["join"][room_id]
    assert section["timeline"]["limited"] is True
    assert bodies(section["timeline"]["events"]) == ["x", "y", "z"]
    assert [event["content"] for event in section["state"]["events"]] == [{"topic": "changed in the gap"}]
    yield
    gap = {"from": section["timeline"]["prev_batch"], "to": since}
    page = done(await bob.get(in_room(room_id, "messages"), dir="b", limit="100", **gap))
    assert bodies(page["chunk"]) == said[::-1]
    await send(alice, room_id, "last")
    yield
    reply = await sync(bob, reply["next_batch"], **limited)
    assert bodies(reply["rooms"]["join"][room_id]["timeline"]["events"]) == ["last"]
    yield
    assert "join" not in reply["rooms"] or not (await sync(bob, reply["next_batch"]))["rooms"]["join"]


@flow()
async def room_upgrade(restarts: Restarts) -> AsyncIterator[None]:
    alice, bob = await restarts.register("alice"), await restarts.register("bob")
    old = await create(alice, name="Tea", room_version="10")
    await join(bob, old)
    since = (await sync(bob))["next_batch"]
    yield
    new = done(await alice.post(in_room(old, "upgrade"), {"new_version": "12"}))["replacement_room"]
    yield
    # The reply was lost: asking again makes no third room.
    assert done(await alice.post(in_room(old, "upgrade"), {"new_version": "12"}))["replacement_room"] == new
    assert (await get_content(alice, old, "m.room.tombstone"))["replacement_room"] == new
    assert (await get_content(alice, new, "m.room.create"))["predecessor"]["room_id"] == old
    events = (await sync(bob, since))["rooms"]["join"][old]["timeline"]["events"]
    assert "m.room.tombstone" in [event["type"] for event in events]
    yield
    await join(bob, new)
    assert (await get_content(bob, new, "m.room.name"))["name"] == "Tea"
    assert len(done(await alice.get("/joined_rooms"))["joined_rooms"]) == 2


@flow()
async def key_backup(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice")
    algorithm = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "abc"}}
    version = done(await alice.post("/room_keys/version", algorithm))["version"]
    etags = []
    for number in range(3):
        yield
        key = {
            "first_message_index": number,
            "forwarded_count": 0,
            "is_verified": False,
            "session_data": {"ciphertext": f"{number}"},
        }
        put = await alice.put(path("room_keys", "keys", "!one:one.test", f"session{number}"), key, version=version)
        etags.append(done(put)["etag"])
        assert put.json["count"] == number + 1
    yield
    assert len(set(etags)) == 3
    current = done(await alice.get("/room_keys/version"))
    assert (current["version"], current["count"], current["etag"]) == (version, 3, etags[-1])
    rooms = done(await alice.get("/room_keys/keys", version=version))["rooms"]
    sessions = rooms["!one:one.test"]["sessions"]
    assert {name: key["session_data"]["ciphertext"] for name, key in sessions.items()} == {
        f"session{number}": f"{number}" for number in range(3)
    }


@flow()
async def filters(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice")
    room_id = await create(alice)
    definition = {"room": {"timeline": {"types": ["m.room.message"], "limit": 2}}}
    filter_id = done(await alice.post(alice.user_path("filter"), definition))["filter_id"]
    yield
    assert done(await alice.get(alice.user_path("filter", filter_id))) == definition
    for text in ("one", "two", "three"):
        await send(alice, room_id, text)
    reply = await sync(alice, filter=filter_id)
    assert bodies(reply["rooms"]["join"][room_id]["timeline"]["events"]) == ["two", "three"]
    yield
    other = done(await alice.post(alice.user_path("filter"), {"presence": {"types": []}}))["filter_id"]
    assert other != filter_id


@flow()
async def transaction_ids(restarts: Restarts) -> AsyncIterator[None]:
    alice, bob = await restarts.register("alice"), await restarts.register("bob", device_id="BOX")
    room_id = await create(alice)
    await join(bob, room_id)
    message = {"msgtype": "m.text", "body": "once"}
    sent = done(await ask_send(alice, room_id, message, txn_id="t1"))["event_id"]
    to_device = {"messages": {bob.user_id: {"BOX": {"number": 1}}}}
    done(await alice.put("/sendToDevice/org.example.type/t1", to_device))
    yield
    assert done(await ask_send(alice, room_id, message, txn_id="t1"))["event_id"] == sent
    done(await alice.put("/sendToDevice/org.example.type/t1", to_device))
    redaction = done(await ask_redact(alice, room_id, sent, txn_id="t2"))["event_id"]
    yield
    assert done(await ask_redact(alice, room_id, sent, txn_id="t2"))["event_id"] == redaction
    reply = await sync(bob)
    assert [event["content"] for event in reply["to_device"]["events"]] == [{"number": 1}]
    events = done(await alice.get(in_room(room_id, "messages"), dir="b", limit="100"))["chunk"]
    of_alice = [event for event in events if event["type"] in ("m.room.message", "m.room.redaction")]
    assert [event["event_id"] for event in of_alice] == [redaction, sent]
    assert [event["unsigned"]["transaction_id"] for event in of_alice] == ["t2", "t1"]
    yield
    # What was told is gone once it was acknowledged, and not before.
    again = await sync(bob)
    assert len(again["to_device"]["events"]) == 1
    yield
    assert not (await sync(bob, again["next_batch"])).get("to_device", {}).get("events")


@flow()
async def login_tokens(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice")
    asked = await alice.post("/_matrix/client/v1/login/get_token", {})
    yield
    auth = by_password(alice) | {"session": asked.json["session"]}
    token = done(await alice.post("/_matrix/client/v1/login/get_token", {"auth": auth}))["login_token"]
    yield
    phone = restarts.client()
    phone.use_session(done(await phone.post("/login", {"type": "m.login.token", "token": token})))
    yield
    assert (await phone.post("/login", {"type": "m.login.token", "token": token})).outcome == (403, "M_FORBIDDEN")
    assert done(await phone.get("/account/whoami"))["user_id"] == alice.user_id


@flow(ACCESS_TOKEN_TTL='"1h"')
async def refresh_tokens(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice", refresh_token=True)
    for _ in range(3):
        yield
        old = alice.access_token
        fresh = done(await alice.post("/refresh", {"refresh_token": alice.refresh_token}))
        yield
        alice.access_token, alice.refresh_token = fresh["access_token"], fresh["refresh_token"]
        # The old tokens go when the new ones are first used: by a task of its own, which the end may forestall.
        for _ in range(2):
            assert done(await alice.get("/account/whoami"))["device_id"] == alice.device_id
            yield
        assert done(await alice.get("/account/whoami"))["device_id"] == alice.device_id
        await trio.testing.wait_all_tasks_blocked()
        former = restarts.client()
        former.access_token = old
        assert (await former.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")


@flow()
async def uploads_that_come_later(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice")
    uri, other = await create_media(alice), await create_media(alice)
    yield
    done(await ask_upload_to(alice, uri, b"content", "image/png"))
    yield
    found = await download(alice, uri)
    assert (found.status, found.body, found.headers["content-type"]) == (200, b"content", "image/png")
    assert (await ask_upload_to(alice, uri, b"other")).outcome == (409, "M_CANNOT_OVERWRITE_MEDIA")
    assert (await download(alice, other, query="?timeout_ms=0")).outcome == (504, "M_NOT_YET_UPLOADED")


@flow()
async def search_pages(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice")
    room_id = await create(alice)
    said = [await send(alice, room_id, f"kettle {number}") for number in range(12)]
    criteria = {"search_term": "kettle", "order_by": "recent", "filter": {"limit": 5}}
    body = {"search_categories": {"room_events": criteria}}
    found: list[str] = []
    start: dict[str, str] = {}
    while True:
        page = done(await alice.post("/search", body, **start))["search_categories"]["room_events"]
        found += [result["result"]["event_id"] for result in page["results"]]
        if "next_batch" not in page:
            break
        start = {"next_batch": page["next_batch"]}
        yield
        await send(alice, room_id, "another kettle")
    assert found == said[::-1]


@flow()
async def relation_and_thread_pages(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice")
    room_id = await create(alice)
    roots, replies = [], []
    for number in range(5):
        roots.append(await send(alice, room_id, f"root {number}"))
        relation = {"rel_type": "m.thread", "event_id": roots[-1]}
        await send(alice, room_id, "reply", **{"m.relates_to": relation})
    for number in range(5):
        relation = {"rel_type": "m.thread", "event_id": roots[0]}
        replies.append(await send(alice, room_id, f"reply {number}", **{"m.relates_to": relation}))
    for url, expected in (
        (path("rooms", room_id, "threads"), [roots[0], *roots[:0:-1]]),
        (path("rooms", room_id, "relations", roots[0], "m.thread"), replies[::-1]),
    ):
        found: list[str] = []
        start: dict[str, str] = {}
        while True:
            page = done(await alice.get("/_matrix/client/v1" + url, limit="2", **start))
            found += [event["event_id"] for event in page["chunk"]]
            if "next_batch" not in page:
                break
            start = {"from": page["next_batch"]}
            yield
        assert found[: len(expected)] == expected


@flow()
async def space_and_directory_pages(restarts: Restarts) -> AsyncIterator[None]:
    alice = await restarts.register("alice")
    space = await create(alice, creation_content={"type": "m.space"})
    rooms = []
    for number in range(7):
        rooms.append(await create(alice, name=f"room {number}", preset="public_chat"))
        done(await alice.put(f"/directory/list/room/{rooms[-1]}", {"visibility": "public"}))
        await set_state(alice, space, "m.space.child", {"via": ["one.test"], "order": str(number)}, rooms[-1])
    for url, field, expected in (
        (f"/_matrix/client/v1/rooms/{space}/hierarchy", "rooms", [space, *rooms]),
        ("/publicRooms", "chunk", rooms),
    ):
        found: list[str] = []
        start: dict[str, str] = {}
        while True:
            page = done(await alice.get(url, limit="3", **start))
            found += [room["room_id"] for room in page[field]]
            if "next_batch" not in page:
                break
            start = {"from" if field == "rooms" else "since": page["next_batch"]}
            yield
        assert sorted(found) == sorted(expected)


@flow()
async def invites_and_knocks(restarts: Restarts) -> AsyncIterator[None]:
    alice, bob = await restarts.register("alice"), await restarts.register("bob")
    knock_rule = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    room_id = await create(alice, initial_state=[knock_rule])
    since = (await sync(bob))["next_batch"]
    done(await bob.post(f"/knock/{room_id}", {"reason": "tea"}))
    yield
    reply = await sync(bob, since)
    assert room_id in reply["rooms"]["knock"]
    await invite(alice, room_id, bob)
    yield
    reply = await sync(bob, reply["next_batch"])
    assert room_id in reply["rooms"]["invite"]
    yield
    await join(bob, room_id)
    yield
    reply = await sync(bob, reply["next_batch"])
    assert room_id in reply["rooms"]["join"]
    done(await ask_member(alice, room_id, "kick", bob.user_id))
    yield
    assert room_id in (await sync(bob, reply["next_batch"]))["rooms"]["leave"]
    assert await membership_of(alice, room_id, bob.user_id) == "leave"


@flow()
async def encryption(restarts: Restarts) -> AsyncIterator[None]:
    alice, bob = await restarts.register("alice", device_id="PHONE"), await restarts.register("bob", device_id="BOX")
    room_id = await create(alice)
    await join(bob, room_id)
    since = (await sync(bob))["next_batch"]
    keys = Keys(alice)
    await keys.upload_all(3)
    yield
    reply = await sync(bob, since)
    assert reply["device_lists"]["changed"] == [alice.user_id]
    assert (await query(bob, alice.user_id))["device_keys"][alice.user_id]["PHONE"]["keys"] == keys.device_keys()[
        "keys"
    ]
    claimed = [await claim(bob, alice.user_id, "PHONE")]
    yield
    claimed += [await claim(bob, alice.user_id, "PHONE"), await claim(bob, alice.user_id, "PHONE")]
    assert len({str(key) for key in claimed}) == 3, "a key was handed out twice"
    asked = await alice.post("/keys/device_signing/upload", CrossSigning(alice.user_id).body())
    if asked.status == 401:
        yield
        auth = by_password(alice) | {"session": asked.json["session"]}
        asked = await alice.post("/keys/device_signing/upload", {**CrossSigning(alice.user_id).body(), "auth": auth})
    done(asked)
    yield
    assert alice.user_id in (await query(bob, alice.user_id))["master_keys"]
    changes = done(await bob.get("/keys/changes", **{"from": since, "to": (await sync(bob))["next_batch"]}))
    assert changes["changed"] == [alice.user_id]


@flow()
async def what_is_kept_for_a_user(restarts: Restarts) -> AsyncIterator[None]:
    alice, bob = await restarts.register("alice"), await restarts.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    said = await send(alice, room_id, "hello")
    since = (await sync(bob))["next_batch"]
    rule = {"pattern": "hello", "actions": ["notify"]}
    writes: list[tuple[Client, str, str, Json]] = [
        (bob, "PUT", bob.user_path("account_data", "org.example.type"), {"number": 1}),
        (bob, "PUT", bob.user_path("rooms", room_id, "tags", "u.work"), {"order": 0.5}),
        (bob, "PUT", "/pushrules/global/content/hello", rule),
        (bob, "POST", in_room(room_id, "receipt", "m.read", said), {}),
        (bob, "PUT", f"/profile/{bob.user_id}/displayname", {"displayname": "Bob"}),
    ]
    for user, method, url, body in writes:
        done(await user.request(method, url, body))
        yield
    reply = await sync(bob, since)
    types = {event["type"]: event["content"] for event in reply["account_data"]["events"]}
    assert types["org.example.type"] == {"number": 1}
    assert any(it["rule_id"] == "hello" for it in types["m.push_rules"]["global"]["content"])
    section = reply["rooms"]["join"][room_id]
    assert section["account_data"]["events"][0]["content"] == {"tags": {"u.work": {"order": 0.5}}}
    assert section["unread_notifications"]["notification_count"] == 0
    assert said in section["ephemeral"]["events"][0]["content"]
    names = [event["content"].get("displayname") for event in section["timeline"]["events"]]
    assert names == ["Bob"]
