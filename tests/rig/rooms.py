"""A server with the operations of rooms, and what users do in them."""

from __future__ import annotations

import secrets
from typing import Any

import trio

from conduit_py.api.accounts import account_routes
from conduit_py.api.auth import Authenticator
from conduit_py.api.client import (
    banning,
    create_room,
    directory,
    event_context,
    inviting,
    joining,
    kicking,
    leaving,
    list_joined_rooms,
    list_public_rooms,
    message_pagination,
    redaction,
    relations,
    room_send,
    room_state,
    rooms,
    threads_list,
)
from conduit_py.http.app import App
from conduit_py.http.in_process import AppClient
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import EventId, RoomId, ServerName
from conduit_py.service.errors import MatrixError
from conduit_py.service.hub import SyncHub
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.rooms.aliases import AliasService
from conduit_py.service.rooms.append import Append
from conduit_py.service.rooms.canonical_alias import CanonicalAliases
from conduit_py.service.rooms.create import CreateService
from conduit_py.service.rooms.directory import DirectoryService
from conduit_py.service.rooms.guests import GuestsElsewhere
from conduit_py.service.rooms.membership import MembershipService
from conduit_py.service.rooms.relations import RelationService
from conduit_py.service.rooms.remote_spaces import RemoteSpaces
from conduit_py.service.rooms.send import SendService
from conduit_py.service.rooms.state_reads import StateReads
from conduit_py.service.rooms.successors import Successors
from conduit_py.service.rooms.threads import ThreadService
from conduit_py.service.rooms.timeline import TimelineService
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.sending.outbox import Outbox
from conduit_py.service.server_keys import load_signing_key
from conduit_py.service.translate import translate
from tests.rig.alone import Alone
from tests.rig.bridge import no_queries
from tests.rig.client import Client, Response, path
from tests.rig.remote import Remotes
from tests.rig.server import SERVER_NAME, Server, load_test_config
from tests.rig.writing import make_tools

Json = dict[str, Any]
ROOM_VERSION = "11"


class RoomServer(Server):
    """Made by ``with_rooms``."""

    def __init__(
        self,
        server: Server,
        app: App,
        next_event_ids: list[str],
        writes: RoomWrites,
        membership: MembershipService,
        remotes: Remotes,
    ) -> None:
        super().__init__(server.services, server.woken)
        self._app = AppClient(app)
        self.hub, self.writes = writes.append.tools.hub, writes
        self.membership, self.remotes = membership, remotes
        self.is_planted = False
        """The test writes into the store what no operation would, so it need not agree with itself in the end."""
        self.next_event_ids = next_event_ids
        """Taken from the end, where events of room versions 1 and 2 get their ids; random ones when it is empty."""


async def with_rooms(server: Server, outbox: Outbox | None = None) -> RoomServer:
    """The same server, with the operations of rooms beside those of accounts."""
    store, name = server.store, ServerName(SERVER_NAME)
    next_event_ids: list[str] = []

    def new_event_id() -> EventId:
        return EventId(next_event_ids.pop() if next_event_ids else f"${secrets.token_urlsafe(18)}:{name}")

    remotes = Remotes()
    tools = make_tools(store, SyncHub(), name, outbox=outbox, fetcher=remotes)
    append = Append(
        tools=tools,
        signing_key=await load_signing_key(store.database, store.writer, random_bytes=lambda count: b"k" * count),
        new_event_id=new_event_id,
    )
    writes = RoomWrites(store.database, store.writer, store.locks, append)
    throttle = RateLimiter({}, trio.current_time)
    spaces = RemoteSpaces(remotes, server_name=name, now_ms=store.now_ms)
    guests = GuestsElsewhere(store.database, spaces)
    successors = Successors(store, wake=lambda users: None)
    membership = MembershipService(store, writes, Alone(), no_queries(store), successors, guests, throttle=throttle)
    app = App(
        _build_routes(server, writes, membership, throttle, remotes),
        request_bytes_max=load_test_config().max_request_size,
        refusals=(MatrixError,),
        translate=translate,
    )
    return RoomServer(server, app, next_event_ids, writes, membership, remotes)


def _build_routes(
    server: Server, writes: RoomWrites, membership: MembershipService, throttle: RateLimiter, remotes: Remotes
) -> list[Routes]:
    config, store, accounts = load_test_config(), server.store, server.services.accounts
    server_name = writes.append.server_name
    auth = Authenticator(accounts.tokens, accounts.identities, accounts.last_seen, config.trusted_proxies)
    aliases = AliasService(store.database, writes, remotes, no_queries(store), server_name=server_name)
    send = SendService(
        writes,
        membership,
        CanonicalAliases(store.database, aliases),
        now_ms=store.now_ms,
        allow_encryption=True,
        throttle=throttle,
    )
    timeline = TimelineService(store.database, remotes.history, now_ms=store.now_ms)
    state = StateReads(store.database, now_ms=store.now_ms)
    create = CreateService(
        writes,
        Alone(),
        no_queries(store),
        new_room_id=lambda: RoomId(f"!{secrets.token_urlsafe(13)}:{SERVER_NAME}"),
        allow_room_creation=True,
        allow_encryption=True,
        throttle=throttle,
    )
    return [
        *account_routes(config, auth, accounts, {}),
        banning.routes(auth, membership),
        create_room.routes(auth, create, default_room_version=ROOM_VERSION),
        directory.routes(auth, aliases),
        event_context.routes(auth, timeline),
        inviting.routes(auth, membership),
        joining.routes(auth, aliases, membership),
        kicking.routes(auth, membership),
        leaving.routes(auth, membership),
        list_joined_rooms.routes(auth, state),
        list_public_rooms.routes(auth, DirectoryService(store.database, writes, remotes, server_name=server_name)),
        message_pagination.routes(auth, timeline),
        redaction.routes(auth, send),
        relations.routes(auth, RelationService(store.database, now_ms=store.now_ms)),
        room_send.routes(auth, send),
        room_state.routes(auth, send),
        rooms.routes(auth, timeline, state),
        threads_list.routes(auth, ThreadService(store.database, now_ms=store.now_ms)),
    ]


def in_room(room_id: str, *parts: str) -> str:
    """``/rooms/{roomId}/...``"""
    return path("rooms", room_id, *parts)


async def create(creator: Client, *, visibility: str | None = None, **body: Any) -> str:
    """A room that anybody may join. ``visibility`` is that of its history."""
    state = body.pop("initial_state", [])
    if visibility is not None:
        content = {"history_visibility": visibility}
        state = [*state, {"type": "m.room.history_visibility", "content": content}]
    response = await creator.post("/createRoom", {"preset": "public_chat", "initial_state": state, **body})
    room_id: str = _done(response)["room_id"]
    return room_id


async def send(sender: Client, room_id: str, text: str, **content: Any) -> str:
    """Send a message, and return its event id."""
    message = {"msgtype": "m.text", "body": text, **content}
    event_id: str = _done(await sender.put(in_room(room_id, "send", "m.room.message", secrets.token_hex(8)), message))[
        "event_id"
    ]
    return event_id


async def set_state(sender: Client, room_id: str, type: str, content: Json, state_key: str = "") -> str:
    event_id: str = _done(await sender.put(in_room(room_id, "state", type, state_key), content))["event_id"]
    return event_id


async def join(user: Client, room_id: str) -> None:
    _done(await user.post(in_room(room_id, "join"), {}))


async def leave(user: Client, room_id: str) -> None:
    _done(await user.post(in_room(room_id, "leave"), {}))


async def forget(user: Client, room_id: str) -> None:
    _done(await user.post(in_room(room_id, "forget"), {}))


async def invite(sender: Client, room_id: str, user: Client) -> None:
    _done(await sender.post(in_room(room_id, "invite"), {"user_id": user.user_id}))


async def kick(sender: Client, room_id: str, user: Client) -> None:
    _done(await sender.post(in_room(room_id, "kick"), {"user_id": user.user_id}))


async def ban(sender: Client, room_id: str, user: Client) -> None:
    _done(await sender.post(in_room(room_id, "ban"), {"user_id": user.user_id}))


async def redact(sender: Client, room_id: str, event_id: str) -> str:
    redaction: str = _done(await sender.put(in_room(room_id, "redact", event_id, secrets.token_hex(8)), {}))["event_id"]
    return redaction


def bodies(events: list[Json]) -> list[str]:
    """The texts of the messages among events."""
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def _done(response: Response) -> Json:
    assert response.status == 200, response.body
    answer: Json = response.json
    return answer
