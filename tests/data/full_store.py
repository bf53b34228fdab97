"""A store with something in (nearly) every tree, written by the server itself."""

from __future__ import annotations

from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

import trio
import trio.testing

from conduit_py.data import (
    admin,
    announcements,
    appservices,
    device_keys,
    filters,
    gaps,
    receipts,
    received_messages,
    remote_lists,
    sending,
    short_ids,
    state,
    state_at,
    timeline,
)
from conduit_py.data.short_ids import ShortIds
from conduit_py.http.in_process import AppClient
from conduit_py.matrix.ids import DeviceId, EventId, RoomId, ServerName, UserId
from conduit_py.server import build
from conduit_py.service.users.store import Store
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, record_start, stamp
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import open_writer
from kvschema.batch import PUT, Write, WriteBatch
from kvschema.catalog import CATALOG
from kvschema.catalog.admin import AdminCommand
from kvschema.catalog.appservices import AppServiceSending
from kvschema.catalog.receipts import Receipt
from kvschema.catalog.rooms import StreamPos
from kvschema.catalog.sending import QueuedEdu, Sending
from kvschema.engine import Engine
from kvschema.engine.memory import MemoryEngine
from kvschema.migrate import apply_one
from tests.rig.client import Client, path
from tests.rig.crypto import DEHYDRATED, CrossSigning, Keys, claim, dehydrate, without_signatures
from tests.rig.images import plain
from tests.rig.media import create as create_media
from tests.rig.media import thumbnail, upload
from tests.rig.push import pusher
from tests.rig.remote_members import RemoteMembers, open_remote_members
from tests.rig.server import PASSWORD, SERVER_NAME, START_MS, load_test_config

Rows = Mapping[str, list[tuple[bytes, bytes]]]


def make_rows() -> Rows:
    """Every row of every tree of a store that several people have used."""
    return trio.run(_make_rows, clock=trio.testing.MockClock(autojump_threshold=0))


def fill(engine: Engine, rows: Rows) -> None:
    """Write the rows into an empty store."""
    batch = WriteBatch()
    for tree, pairs in rows.items():
        batch.writes.extend(Write(PUT, tree, key, value) for key, value in pairs)
    apply_one(engine, batch)


def read_rows(engine: Engine) -> Rows:
    with engine.snapshot() as reader:
        return {tree.name: list(reader.scan(tree.name, b"", b"", b"", False)) for tree in CATALOG}


async def _make_rows() -> Rows:
    engine = MemoryEngine()
    stamp(engine, SERVER_NAME)
    with TemporaryDirectory() as media_path:
        for minute in range(3):
            await _run(engine, minute, media_path)
    return read_rows(engine)


async def _run(engine: Engine, start: int, media_path: str) -> None:
    """One start of the server, so that there are gaps between starts as well."""
    database = Database(engine, ObjectCache(1_000_000))
    config = load_test_config(RATE_LIMITS__ENABLED="false", MEDIA__PATH=media_path)
    last_pos = record_start(engine, (START_MS + start * 60_000) * 1000)
    async with open_writer(engine, database.cache, last_pos=last_pos, threaded=False) as writer:
        store = Store(
            database=database, writer=writer, locks=KeyedLocks(), ids=ShortIds(), now_ms=lambda: START_MS + start
        )
        server = await build(config, store, hash_limiter=None)
        members = await open_remote_members(store, server.hub, SERVER_NAME)
        story = _Story(AppClient(server.app), store, start, members)
        await story.run()


class _Story:
    def __init__(self, app: AppClient, store: Store, start: int, members: RemoteMembers) -> None:
        self._app = app
        self._members = members
        self._store = store
        self._start = start
        self._sent = 0

    async def run(self) -> None:
        names = ("alice", "bob", "carol", "dave", "erin")
        alice, bob, carol, dave, erin = [await self._register(f"{name}{self._start}") for name in names]
        invited = [user.user_id for user in (bob, carol, dave, erin)]
        version = ("12", "11", "6")[self._start]
        room_id = await self._create(alice, version, invited)
        await self._join(room_id, bob, dave, erin)
        await self._hear_of_others(room_id, carol)
        await self._talk(room_id, alice, bob)
        await self._ok(erin.post(path("rooms", room_id, "leave"), {}))
        await self._ok(erin.post(path("rooms", room_id, "forget"), {}))
        await self._ok(alice.post(path("rooms", room_id, "ban"), {"user_id": dave.user_id}))
        await self._ok(bob.post(path("rooms", room_id, "leave"), {}))
        await self._ok(alice.post(path("rooms", room_id, "invite"), {"user_id": bob.user_id}))
        await self._join(room_id, bob)
        last = await self._send(room_id, alice, "m.room.message", {"msgtype": "m.text", "body": "bye"})
        await self._settings(room_id, alice)
        await self._read(room_id, alice, last)
        await self._encrypt(alice, bob)
        await self._upload(alice)
        await self._queue(room_id, last)

    async def _ok(self, request: Any) -> Any:
        response = await request
        assert response.status == 200, response.body
        return response.json

    async def _register(self, name: str) -> Client:
        client = Client(self._app)
        auth = {"type": "m.login.dummy"}
        body = {"username": name, "password": PASSWORD, "auth": auth, "refresh_token": True}
        client.use_session(await self._ok(client.post("/register", body)))
        return client

    async def _create(self, owner: Client, version: str, invited: list[str]) -> str:
        body = {
            "room_version": version,
            "name": "Garden",
            "visibility": "public",
            "room_alias_name": f"garden{self._start}",
            "invite": invited,
        }
        room_id: str = (await self._ok(owner.post("/createRoom", body)))["room_id"]
        return room_id

    async def _join(self, room_id: str, *users: Client) -> None:
        for user in users:
            await self._ok(user.post(path("join", room_id), {}))

    async def _send(self, room_id: str, user: Client, type: str, content: Any) -> str:
        self._sent += 1
        reply = await self._ok(user.put(path("rooms", room_id, "send", type, f"txn{self._sent}"), content))
        event_id: str = reply["event_id"]
        return event_id

    async def _talk(self, room_id: str, alice: Client, bob: Client) -> None:
        event_id = ""
        for number in range(5):
            hello = {"msgtype": "m.text", "body": f"hello {number} {alice.user_id}"}
            event_id = await self._send(room_id, bob, "m.room.message", hello)
            topic = path("rooms", room_id, "state", "m.room.topic") + "/"
            await self._ok(alice.put(topic, {"topic": f"topic {number}"}))
            thread = {"rel_type": "m.thread", "event_id": event_id}
            reply = {"msgtype": "m.text", "body": "in a thread", "m.relates_to": thread}
            await self._send(room_id, bob, "m.room.message", reply)
        await self._relate(room_id, alice, event_id)
        await self._ok(alice.put(path("rooms", room_id, "redact", event_id, "redact"), {"reason": "loud"}))
        await self._ok(bob.put(bob.user_path().replace("/user/", "/profile/") + "/displayname", {"displayname": "Bob"}))

    async def _relate(self, room_id: str, user: Client, event_id: str) -> None:
        """Every kind of relation, with one of them redacted."""
        message = {"msgtype": "m.text", "body": "related"}
        for rel_type in ("m.annotation", "m.reference", "m.thread", "org.example.other"):
            relation = {"rel_type": rel_type, "event_id": event_id, "key": "yes"}
            await self._send(room_id, user, "m.room.message", message | {"m.relates_to": relation})
        edit = message | {"m.new_content": message, "m.relates_to": {"rel_type": "m.replace", "event_id": event_id}}
        await self._send(room_id, user, "m.room.message", edit)
        edit_id = await self._send(room_id, user, "m.room.message", edit)
        await self._ok(user.put(path("rooms", room_id, "redact", edit_id, "unrelate"), {}))

    async def _settings(self, room_id: str, user: Client) -> None:
        for value in (1, 2):
            await self._ok(user.put(user.user_path("account_data", "org.example.a"), {"value": value}))
            in_room = user.user_path("rooms", room_id, "account_data", "org.example.b")
            await self._ok(user.put(in_room, {"value": value}))
        ignored: dict[str, Any] = {"ignored_users": {"@loud:two.test": {}}}
        await self._ok(user.put(user.user_path("account_data", "m.ignored_user_list"), ignored))
        rule = {"actions": ["notify"], "pattern": "garden"}
        await self._ok(user.put(path("pushrules", "global", "content", "garden"), rule))
        for device in ("phone", "tablet"):
            await self._ok(user.post("/pushers/set", pusher(f"{device} {self._start}")))
        await self._ok(user.post(user.user_path("filter"), {"room": {"timeline": {"limit": 3}}}))
        body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user.user_id}}
        other = Client(self._app)
        other.use_session(await self._ok(other.post("/login", {**body, "password": PASSWORD})))
        await self._ok(other.post("/logout"))

    async def _encrypt(self, alice: Client, bob: Client) -> None:
        """Keys of every kind, messages that wait, backups."""
        for user in (alice, bob):
            await Keys(user).upload_all(count=3)
            await self._ok(user.post("/keys/device_signing/upload", CrossSigning(user.user_id).body()))
        await claim(bob, alice.user_id, alice.device_id)
        mine, theirs = CrossSigning(alice.user_id), CrossSigning(bob.user_id)
        signed = mine.sign("user_signing", without_signatures(theirs.key("master")))
        body = {bob.user_id: {theirs.public("master"): signed}}
        await self._ok(alice.post("/keys/signatures/upload", body))
        messages = {alice.user_id: {"*": {"hello": "there"}}}
        await self._ok(bob.put(path("sendToDevice", "org.example", "txn"), {"messages": messages}))
        await self._ok(bob.put(DEHYDRATED, dehydrate(bob, "ASLEEP")))
        backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "abc"}}
        version = (await self._ok(alice.post("/room_keys/version", backup)))["version"]
        key = {"first_message_index": 1, "forwarded_count": 0, "is_verified": True, "session_data": {}}
        in_room = path("room_keys", "keys", "!room:one.test", "session")
        await self._ok(alice.put(in_room, key, version=version))

    async def _hear_of_others(self, room_id: str, user: Client) -> None:
        """Users of another server: one whose devices are held, and one whose list is outdated."""
        names = UserId("@frank:two.test"), UserId("@grace:two.test")
        two = ServerName("two.test")
        for name in names:
            await self._members.join(name, room_id)
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                for name in names:
                    who = self._store.ids.intern_user(snapshot, turn, name)
                    keys = {"user_id": name, "device_id": "TABLET"}
                    remote_lists.stage_list(turn, two, who, remote_lists.RemoteList(self._start, StreamPos(1)))
                    device_keys.stage_keys(turn, who, DeviceId("TABLET"), keys)
                remote_lists.stage_outdated(turn, two, self._store.ids.intern_user(snapshot, turn, names[1]))
                local = self._store.ids.intern_user(snapshot, turn, UserId(user.user_id))
                announcements.stage_announcement(turn, local, user.device_id)
                announcements.stage_stream_id(turn, local, turn.take_pos())
                received_messages.stage_received(turn, names[0], f"message {self._start}", now_ms=START_MS)

    async def _upload(self, user: Client) -> None:
        """An image that is uploaded twice, its thumbnail, and an id that waits."""
        uris = [await upload(user, plain(100, 100), "image/png") for _ in range(2)]
        assert (await thumbnail(user, uris[0], width=32, height=32)).status == 200
        await create_media(user)

    async def _queue(self, room_id: str, event_id: str) -> None:
        """An event and an EDU that wait for a server, and a transaction on its way."""
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                room = short_ids.get_room(snapshot, RoomId(room_id))
                event = timeline.get_event(snapshot, EventId(event_id))
                assert room is not None
                assert event is not None
                pos, name = turn.take_pos(), ServerName("two.test")
                sending.stage_event(turn, name, pos, event)
                sending.stage_last_event(turn, name, room, event)
                sending.stage_edu(turn, name, pos, QueuedEdu(b'{"content":{},"edu_type":"m.presence"}'))
                sending.stage_sending(turn, name, Sending("1", event_until=pos, edu_until=pos))
                appservices.stage_event(turn, "irc", pos, event)
                appservices.stage_event(turn, "irc", turn.take_pos(), b'{"event_id":"$invite"}')
                appservices.stage_listed(turn, "irc|net", room, is_listed=True)
                appservices.stage_sending(turn, "irc", AppServiceSending("1", until=pos))
                if self._start == 0:
                    admin.stage_admin_room(turn, RoomId(room_id))
                    admin.stage_command(turn, event, AdminCommand())

    async def _read(self, room_id: str, user: Client, event_id: str) -> None:
        async with self._store.writer.turn() as turn:
            with self._store.snapshot() as snapshot:
                room, short = short_ids.get_room(snapshot, RoomId(room_id)), self._store.ids
                assert room is not None
                who = short.intern_user(snapshot, turn, UserId(user.user_id))
                for receipt_type in (receipts.READ, receipts.READ_PRIVATE):
                    receipt = Receipt(user.user_id, receipt_type, "", event_id, START_MS, snapshot.pos)
                    receipts.stage_receipt(snapshot, turn, room, who, receipt)
                filters.stage_filter(turn, who, "{}")
                first = next(pos for pos, _ in timeline.scan_timeline(snapshot, room))
                gaps.stage_gap(turn, room, first, gaps.build_gap(gaps.FIRST_PLACE, gaps.LAST_PLACE, ["$lost"]))
                last = timeline.get_last_pos(snapshot, room)
                state_at.stage_state_at(turn, room, last, state.get_current_state_id(snapshot, room))
