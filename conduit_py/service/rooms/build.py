"""Builds the room services in dependency order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conduit_py.config import Config
from conduit_py.matrix.edus import RECEIPT, TYPING
from conduit_py.matrix.ids import EventId, RoomId, ServerName
from conduit_py.matrix.signing import SigningKey
from conduit_py.outbound.federation import Fetcher
from conduit_py.service.appservices.build import AppServiceParts
from conduit_py.service.hub import SyncHub
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.rooms.aliases import AliasService
from conduit_py.service.rooms.append import Append
from conduit_py.service.rooms.canonical_alias import CanonicalAliases
from conduit_py.service.rooms.closed import ClosedRooms
from conduit_py.service.rooms.create import CreateService
from conduit_py.service.rooms.directory import DirectoryService
from conduit_py.service.rooms.elsewhere import Elsewhere
from conduit_py.service.rooms.event_stream import EventStream
from conduit_py.service.rooms.guests import GuestsElsewhere
from conduit_py.service.rooms.history import History
from conduit_py.service.rooms.knocking import KnockService
from conduit_py.service.rooms.membership import MembershipService
from conduit_py.service.rooms.network_directory import NetworkDirectory
from conduit_py.service.rooms.notifications import NotificationService
from conduit_py.service.rooms.policy import PolicyServers
from conduit_py.service.rooms.previews import PreviewService
from conduit_py.service.rooms.receipts import ReceiptService
from conduit_py.service.rooms.receipts_received import ReceiptsReceived
from conduit_py.service.rooms.relations import RelationService
from conduit_py.service.rooms.remote_spaces import RemoteSpaces
from conduit_py.service.rooms.removal import RoomRemoval
from conduit_py.service.rooms.resolution import Resolutions
from conduit_py.service.rooms.room_snapshots import RoomSnapshots
from conduit_py.service.rooms.room_writer import StageJoined, StageSent, WriterTools, announce_nothing, note_nothing
from conduit_py.service.rooms.search_pages import SearchService
from conduit_py.service.rooms.send import SendService
from conduit_py.service.rooms.spaces import SpaceService
from conduit_py.service.rooms.state_reads import StateReads
from conduit_py.service.rooms.successors import Successors
from conduit_py.service.rooms.threads import ThreadService
from conduit_py.service.rooms.timeline import TimelineService
from conduit_py.service.rooms.timestamps import TimestampService
from conduit_py.service.rooms.typing import TypingLimits, TypingService
from conduit_py.service.rooms.unread import StageRing, UnreadService, ring_nobody
from conduit_py.service.rooms.upgrade import UpgradeService
from conduit_py.service.rooms.write import RoomWrites
from conduit_py.service.sending.outbox import Outbox
from conduit_py.service.users.push_rules import get_compiled_ruleset
from conduit_py.service.users.store import Store

ID_BYTES = 18
"""Random bytes in an id that we make up."""
BOOT_BYTES = 4
"""Names one run of the server in the typing part of sync tokens."""


EduHandler = Callable[[ServerName, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The room services of one server, for whoever composes it. Services take the few they need, never this."""

    aliases: AliasService
    closed: ClosedRooms
    create: CreateService
    directory: DirectoryService
    event_stream: EventStream
    knocks: KnockService
    membership: MembershipService
    networks: NetworkDirectory
    notifications: NotificationService
    previews: PreviewService
    receipts: ReceiptService
    receipts_received: ReceiptsReceived
    relations: RelationService
    removal: RoomRemoval
    search: SearchService
    send: SendService
    snapshots: RoomSnapshots
    spaces: SpaceService
    state: StateReads
    threads: ThreadService
    timeline: TimelineService
    timestamps: TimestampService
    typing: TypingService
    upgrades: UpgradeService

    @property
    def edu_handlers(self) -> dict[str, EduHandler]:
        """What of other servers' ephemeral data units is about rooms."""
        return {TYPING: self.typing.receive, RECEIPT: self.receipts_received.receive}


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the room services are given by the rest of the server."""

    appservices: AppServiceParts
    signing_key: SigningKey
    fetcher: Fetcher
    lookups: Fetcher
    """The same for what users look up."""
    hub: SyncHub
    throttle: RateLimiter
    outbox: Outbox
    random_id: Callable[[int], str]
    """URL-safe text made of so many random bytes."""
    random_hex: Callable[[int], str]
    has_threads: bool
    stage_push: StageRing = ring_nobody
    stage_joined: StageJoined = announce_nothing
    is_failing: Callable[[ServerName], bool] = lambda server_name: False
    """Could another server not be reached when it was tried last?"""
    stage_sent: StageSent = note_nothing


def build_writes(config: Config, store: Store, around: Around) -> RoomWrites:
    """What everything that changes a room goes through, also what comes from other servers."""
    server_name = ServerName(config.server_name)
    tools = WriterTools(
        server_name=server_name,
        short_ids=store.ids,
        hub=around.hub,
        unread=UnreadService(get_compiled_ruleset, around.stage_push),
        outbox=around.outbox,
        appservices=around.appservices.queue,
        resolutions=Resolutions(store.database, has_threads=around.has_threads),
        policies=PolicyServers(store.database, around.fetcher),
        now_ms=store.now_ms,
        stage_joined=around.stage_joined,
        stage_sent=around.stage_sent,
    )
    append = Append(
        tools=tools,
        signing_key=around.signing_key,
        new_event_id=lambda: EventId(f"${around.random_id(ID_BYTES)}:{server_name}"),
    )
    return RoomWrites(store.database, store.writer, store.locks, append)


def build_rooms(
    config: Config, store: Store, around: Around, writes: RoomWrites, remote: Elsewhere, history: History
) -> Rooms:
    """Every room service. ``typing.run`` and ``removal.run`` belong into the nursery tree."""
    server_name, hub, throttle = ServerName(config.server_name), around.hub, around.throttle

    def new_room_id() -> RoomId:
        return RoomId(f"!{around.random_id(ID_BYTES)}:{server_name}")

    remote_spaces = RemoteSpaces(around.lookups, server_name=server_name, now_ms=store.now_ms)
    aliases = AliasService(store.database, writes, around.lookups, around.appservices.queries, server_name=server_name)
    successors = Successors(store, wake=hub.publish)
    guests = GuestsElsewhere(store.database, remote_spaces)
    membership = MembershipService(
        store, writes, remote, around.appservices.queries, successors, guests, throttle=throttle
    )
    typing = _build_typing(config, store, around)
    return Rooms(
        aliases=aliases,
        closed=ClosedRooms(store),
        create=CreateService(
            writes,
            remote,
            around.appservices.queries,
            new_room_id=new_room_id,
            allow_room_creation=config.allow_room_creation,
            allow_encryption=config.allow_encryption,
            throttle=throttle,
        ),
        directory=DirectoryService(store.database, writes, around.lookups, server_name=server_name),
        event_stream=EventStream(
            store.database, hub, now_ms=store.now_ms, timeout_max_ms=config.client_sync_timeout_max
        ),
        knocks=KnockService(store.database, writes, remote, throttle=throttle),
        membership=membership,
        networks=NetworkDirectory(store.database, writes),
        notifications=NotificationService(store.database, now_ms=store.now_ms),
        previews=PreviewService(store.database, remote_spaces),
        receipts=ReceiptService(store, hub, around.outbox, around.appservices.ephemeral, stage_ring=around.stage_push),
        receipts_received=ReceiptsReceived(store, hub, around.appservices.ephemeral),
        relations=RelationService(store.database, now_ms=store.now_ms),
        removal=RoomRemoval(
            store,
            hub,
            leave_room=membership.leave,
            forget_room=typing.forget_room,
            is_failing=around.is_failing,
            note_unqueued=around.appservices.queue.note_sent,
        ),
        search=SearchService(store.database, now_ms=store.now_ms),
        send=_build_send(config, store, writes, membership, aliases, throttle),
        snapshots=RoomSnapshots(store.database, now_ms=store.now_ms),
        spaces=SpaceService(store.database, remote_spaces, server_name=server_name),
        state=StateReads(store.database, now_ms=store.now_ms),
        threads=ThreadService(store.database, now_ms=store.now_ms),
        timeline=TimelineService(store.database, history, now_ms=store.now_ms),
        timestamps=TimestampService(store.database, history, around.lookups, server_name=server_name),
        typing=typing,
        upgrades=UpgradeService(
            store.database,
            writes,
            new_room_id=new_room_id,
            allow_room_creation=config.allow_room_creation,
            throttle=throttle,
        ),
    )


def _build_send(
    config: Config,
    store: Store,
    writes: RoomWrites,
    membership: MembershipService,
    aliases: AliasService,
    throttle: RateLimiter,
) -> SendService:
    return SendService(
        writes,
        membership,
        CanonicalAliases(store.database, aliases),
        now_ms=store.now_ms,
        allow_encryption=config.allow_encryption,
        throttle=throttle,
    )


def _build_typing(config: Config, store: Store, around: Around) -> TypingService:
    return TypingService(
        store.database,
        around.hub,
        around.outbox,
        around.appservices.ephemeral,
        TypingLimits(
            min_s=config.typing_client_timeout_min,
            max_s=config.typing_client_timeout_max,
            remote_s=config.typing_federation_timeout,
        ),
        boot=around.random_hex(BOOT_BYTES),
    )
