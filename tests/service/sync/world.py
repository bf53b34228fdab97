"""Rooms, users and /sync over a store in memory, without HTTP; and a client that believes what it is told."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import trio

from conduit_py.data import devices, users
from conduit_py.data.short_ids import ShortIds
from conduit_py.matrix.filters import NO_FILTER, SyncFilter, parse_sync_filter
from conduit_py.matrix.ids import DeviceId, EventId, RoomId, ServerName, UserId
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.sync_token import SyncToken, parse_sync_token
from conduit_py.service.e2ee.in_flight import InFlight
from conduit_py.service.e2ee.to_device import ToDeviceService
from conduit_py.service.hub import SyncHub
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.aliases import AliasService
from conduit_py.service.rooms.append import Append
from conduit_py.service.rooms.canonical_alias import CanonicalAliases
from conduit_py.service.rooms.create import CreateService, NewRoom
from conduit_py.service.rooms.guests import GuestsElsewhere
from conduit_py.service.rooms.membership import MembershipService
from conduit_py.service.rooms.receipts import ReceiptService
from conduit_py.service.rooms.remote_spaces import RemoteSpaces
from conduit_py.service.rooms.send import SendService
from conduit_py.service.rooms.successors import Successors
from conduit_py.service.rooms.typing import TypingLimits, TypingService
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.server_keys import load_signing_key
from conduit_py.service.sync.build import SyncBuilder
from conduit_py.service.sync.service import SyncService
from conduit_py.service.sync.since import SyncRequest
from conduit_py.service.users.account_data import AccountDataService
from conduit_py.service.users.store import Store
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, stamp
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import open_writer
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account, Device
from kvschema.engine import Engine
from kvschema.engine.memory import MemoryEngine
from tests.rig.alone import Alone
from tests.rig.bridge import no_ephemeral, no_queries
from tests.rig.remote import Remotes
from tests.rig.sending import make_presence, open_outbox
from tests.rig.writing import make_tools

SERVER_NAME = ServerName("one.test")
START_MS = 1_700_000_000_000
CACHE_BYTES = 16_000_000
Json = dict[str, Any]


class World:
    """Made by ``open_world``."""

    def __init__(self, store: Store, hub: SyncHub, append: Append) -> None:
        self.store, self.hub = store, hub
        throttle = RateLimiter({}, trio.current_time)
        writes = self.writes = RoomWrites(store.database, store.writer, store.locks, append)
        self.create = CreateService(
            writes,
            Alone(),
            no_queries(store),
            new_room_id=lambda: RoomId(f"!{secrets.token_urlsafe(13)}:{SERVER_NAME}"),
            allow_room_creation=True,
            allow_encryption=True,
            throttle=throttle,
        )
        spaces = RemoteSpaces(Remotes(), server_name=SERVER_NAME, now_ms=store.now_ms)
        guests = GuestsElsewhere(store.database, spaces)
        successors = Successors(store, wake=hub.publish)
        self.membership = MembershipService(
            store, writes, Alone(), no_queries(store), successors, guests, throttle=throttle
        )
        aliases = AliasService(store.database, writes, Remotes(), no_queries(store), server_name=SERVER_NAME)
        self.messages = SendService(
            writes,
            self.membership,
            CanonicalAliases(store.database, aliases),
            now_ms=store.now_ms,
            allow_encryption=True,
            throttle=throttle,
        )
        self.receipts = ReceiptService(store, hub, open_outbox(SERVER_NAME), no_ephemeral())
        limits = TypingLimits(min_s=15, max_s=45, remote_s=30)
        self.typing = TypingService(store.database, hub, open_outbox(SERVER_NAME), no_ephemeral(), limits, boot="boot1")
        self.account_data = AccountDataService(store, wake=hub.publish)
        self.slice_clock: Callable[[], float] = lambda: 0.0
        self.syncs = self.build_syncs(self.typing)

    def build_syncs(self, typing: TypingService) -> SyncService:
        presence = make_presence(self.store, self.hub, SERVER_NAME, typing)
        builder = SyncBuilder(
            self.store.database, self.hub, typing, presence, now_ms=self.store.now_ms, clock=lambda: self.slice_clock()
        )
        self.to_device = ToDeviceService(SERVER_NAME, self.store, self.hub, InFlight(), None)
        return SyncService(builder, self.hub, self.to_device, presence, timeout_default_ms=0, timeout_max_ms=90_000)

    async def user(self, name: str, device_id: str = "PHONE") -> Requester:
        """A local user, made when first named."""
        user_id = UserId(f"@{name}:{SERVER_NAME}")
        async with self.store.writer.turn() as turn:
            with self.store.snapshot() as snapshot:
                user: ShortUserId = self.store.ids.intern_user(snapshot, turn, user_id)
                users.stage_account(turn, user, Account("", created_ms=START_MS))
                devices.stage_device(turn, user, DeviceId(device_id), Device(START_MS))
        return Requester(user_id=user_id, user=user, device_id=DeviceId(device_id))

    async def room(
        self, creator: Requester, *, version: str = "11", preset: str = "public_chat", **more: Any
    ) -> RoomId:
        """A room that anybody may join."""
        new = NewRoom(version=ROOM_VERSIONS[version], preset=preset, is_public=False, **more)
        return await self.create.create_room(creator, new)

    async def send(self, sender: Requester, room_id: RoomId, body: str, **content: Any) -> EventId:
        message = {"msgtype": "m.text", "body": body, **content}
        return await self.messages.send_message(
            sender, room_id, event_type="m.room.message", txn_id=f"txn {body}", content=message
        )

    async def set_state(
        self, sender: Requester, room_id: RoomId, event_type: str, content: Mapping[str, Any], state_key: str = ""
    ) -> EventId:
        return await self.messages.set_state(
            sender, room_id, event_type=event_type, state_key=state_key, content=content
        )

    async def ignore(self, requester: Requester, *user_ids: str) -> None:
        content: Json = {"ignored_users": {user_id: {} for user_id in user_ids}}
        await self.account_data.set_content(requester, requester.user_id, None, "m.ignored_user_list", content)

    async def sync(self, requester: Requester, since: str | SyncToken | None = None, **options: Any) -> Json:
        """One reply, parsed. ``filter`` may be given as JSON."""
        token = parse_sync_token(since) if isinstance(since, str) else since
        wanted = options.pop("filter", NO_FILTER)
        filter_ = wanted if isinstance(wanted, SyncFilter) else parse_sync_filter(wanted)
        body = await self.syncs.sync(requester, SyncRequest(since=token, filter=filter_, **options))
        reply: Json = orjson.loads(body)
        return reply


@asynccontextmanager
async def open_world(
    engine: Engine | None = None, *, last_pos: int = 1000, threaded: bool = False
) -> AsyncIterator[World]:
    """A server without HTTP until the block ends. Positions go on from ``last_pos`` or the last one stored."""
    engine = MemoryEngine() if engine is None else engine
    stamp(engine, SERVER_NAME)
    database = Database(engine, ObjectCache(CACHE_BYTES))
    with database.snapshot() as snapshot:
        last_pos = max(snapshot.pos, last_pos)
    async with open_writer(engine, database.cache, last_pos=last_pos, threaded=threaded) as writer:
        hub = SyncHub()
        store = Store(database=database, writer=writer, locks=KeyedLocks(), ids=ShortIds(), now_ms=_now_ms)
        tools = make_tools(store, hub, SERVER_NAME, has_threads=threaded)
        append = Append(
            tools=tools,
            signing_key=await load_signing_key(database, writer, random_bytes=lambda count: b"k" * count),
            new_event_id=lambda: EventId(f"${secrets.token_urlsafe(18)}:{SERVER_NAME}"),
        )
        world = World(store, hub, append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.run)
            nursery.start_soon(world.typing.run)
            yield world
            nursery.cancel_scope.cancel()


def _now_ms() -> int:
    return START_MS + int(trio.current_time() * 1000)


@dataclass(slots=True)
class KnownRoom:
    """A room as a client knows it."""

    state: dict[tuple[str, str], str] = field(default_factory=dict)
    """Event id of each entry."""
    timeline: list[str] = field(default_factory=list)
    """Event ids without gaps, up to the newest."""
    summary: Json = field(default_factory=dict)
    unread: Json = field(default_factory=dict)


class Follower:
    """A client that goes on from token to token and keeps what it is told, as the spec says that clients do."""

    def __init__(self, world: World, requester: Requester, **options: Any) -> None:
        self._world, self._requester, self._options = world, requester, options
        self.since: str | None = None
        self.joined: dict[str, KnownRoom] = {}
        self.invited: set[str] = set()
        self.left: set[str] = set()

    async def sync(self) -> Json:
        reply = await self._world.sync(self._requester, self.since, **self._options)
        if self.since is not None:
            assert parse_sync_token(reply["next_batch"]).pos >= parse_sync_token(self.since).pos
        self.since = reply["next_batch"]
        for room_id, section in reply["rooms"]["leave"].items():
            self.joined.pop(room_id, None)
            self.invited.discard(room_id)
            self.left.add(room_id)
            assert section["timeline"]["events"] is not None
        for room_id in reply["rooms"]["invite"]:
            self.joined.pop(room_id, None)
            self.invited.add(room_id)
            self.left.discard(room_id)
        for room_id, section in reply["rooms"]["join"].items():
            self.invited.discard(room_id)
            self.left.discard(room_id)
            self._apply(self.joined.setdefault(room_id, KnownRoom()), section)
        return reply

    def _apply(self, room: KnownRoom, section: Json) -> None:
        events = section["timeline"]["events"]
        if "state_after" in section:
            told = section["state_after"]["events"]
        else:
            told = section["state"]["events"] + [event for event in events if "state_key" in event]
        for event in told:
            room.state[event["type"], event["state_key"]] = event["event_id"]
        if section["timeline"]["limited"]:
            room.timeline = []
        room.timeline += [event["event_id"] for event in events if event["event_id"] not in room.timeline]
        room.summary.update(section.get("summary", {}))
        room.unread = section["unread_notifications"]
