"""Composition root: builds every part once and owns every background task.

Shutdown runs inwards out. HTTP stops taking requests and finishes what it has; then the services stop; the writer
leaves last, so anything a service staged on its way out still lands.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import trio

from conduit_py import __version__
from conduit_py.api.app import Operations, build_app, build_metrics_app
from conduit_py.api.auth import Authenticator
from conduit_py.config import Config, RateLimit, RateLimits, SocketAddress
from conduit_py.config.reload import CurrentConfig
from conduit_py.http.app import App
from conduit_py.http.config import HttpConfig
from conduit_py.http.proxies import TrustedProxies
from conduit_py.http.server import serve_http
from conduit_py.http.tls import Tls
from conduit_py.log import get_logger
from conduit_py.matrix.edus import PRESENCE
from conduit_py.matrix.ids import ServerName, UserId
from conduit_py.measuring import watch_services, watch_store
from conduit_py.metrics import Metrics
from conduit_py.observe.loop import LoopWatch
from conduit_py.observe.requests import Tracer
from conduit_py.opening import open_store
from conduit_py.outbound.addresses import Dns
from conduit_py.outbound.http import HttpClient
from conduit_py.outbound.user_keys import UserKeysClient
from conduit_py.process import collect_daily, give_back_memory, raise_file_limit, settle_memory
from conduit_py.reloading import Apply, ReadConfig, Reloader, apply_logging, has_terminal
from conduit_py.service.admin.build import Admin, Commanded, build_admin
from conduit_py.service.admin.commands import Answer, Call
from conduit_py.service.admin.operating import Operated
from conduit_py.service.admin.queue import CommandQueue
from conduit_py.service.admin.room import AdminRoom
from conduit_py.service.admin.socket import AdminSocket
from conduit_py.service.admin.wire import SOCKET_NAME
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.build import AppServiceParts, build_appservices
from conduit_py.service.appservices.registrations import AppServiceRegistrations, add_kept
from conduit_py.service.backup.build import build_snapshots
from conduit_py.service.e2ee.build import E2ee, OtherServers, build_e2ee
from conduit_py.service.e2ee.device_lists import DeviceLists
from conduit_py.service.e2ee.removal import DeviceRemoval
from conduit_py.service.federation.build import Federation, build_federation
from conduit_py.service.federation.handshakes.build import build_handshakes
from conduit_py.service.federation.reading.build import build_reading
from conduit_py.service.federation.receive.build import build_receiving
from conduit_py.service.federation.receive.receiver import Receiver
from conduit_py.service.health import Health
from conduit_py.service.hub import SyncHub
from conduit_py.service.media.build import MediaServices, build_media
from conduit_py.service.presence import PresenceRules, PresenceService
from conduit_py.service.pruning import Pruning
from conduit_py.service.push.build import build_push
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.rooms.build import Around, Rooms, build_rooms, build_writes
from conduit_py.service.sending.build import SendingServices, build_sending
from conduit_py.service.server_keys import load_signing_key
from conduit_py.service.sync.build import SyncBuilder
from conduit_py.service.sync.service import SyncService
from conduit_py.service.users.build import Accounts, Surroundings, build_accounts
from conduit_py.service.users.sessions import DeviceObserver
from conduit_py.service.users.store import Store
from kvschema.catalog.rooms import ShortUserId

_log = get_logger(__name__)

PASSWORDS_AT_ONCE = 2
"""Password hashes computed at a time: each takes the configured memory, and a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What whoever started the server is told."""

    server_name: str
    addresses: tuple[str, ...]
    admin_token: str | None
    """Opens the registration of the first account; None once there is an administrator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The parts that the nursery tree runs."""

    app: App
    metrics: Metrics
    health: Health
    loop: LoopWatch
    hub: SyncHub
    federation: Federation
    e2ee: E2ee
    rooms: Rooms
    admin: Admin
    tasks: tuple[Callable[[], Awaitable[None]], ...]
    """Each runs until it is cancelled; one that ends otherwise ends the server."""
    applies: tuple[Apply, ...]
    """Each takes from a configuration that was read again what concerns it."""
    admin_token: str | None


async def build(
    config: Config,
    store: Store,
    *,
    hash_limiter: trio.CapacityLimiter | None,
    dns: Dns | None = None,
    http: HttpClient | None = None,
    tracer: Tracer | None = None,
) -> Server:
    """Build every service, in dependency order.

    Without ``hash_limiter`` passwords are hashed on the event loop, which tests with a mocked clock need. Other servers
    are reached through the system's names and sockets unless ``dns`` and ``http`` are given.
    """
    server_name, hub, proxies = ServerName(config.server_name), SyncHub(), TrustedProxies(config.trusted_proxies)
    metrics, commands, has_threads = watch_store(store, hub), CommandQueue(server_name), hash_limiter is not None
    throttle = RateLimiter(_limits(config.rate_limits), trio.current_time, metrics.rate_limited.add)
    signing_key = await load_signing_key(store.database, store.writer, random_bytes=secrets.token_bytes)
    federation = build_federation(
        config, store, signing_key=signing_key, throttle=throttle, has_threads=has_threads, dns=dns, http=http
    )
    sending = build_sending(config, store, federation.client, is_forbidden=federation.is_forbidden)
    push = build_push(store, hub, federation.http, count=metrics.pushes.add)
    others, removal = _build_announcing(config, store, hub, federation, sending)
    around = Around(
        appservices=_build_appservices(config, store, federation),
        signing_key=signing_key,
        fetcher=federation.client,
        lookups=federation.lookups,
        hub=hub,
        throttle=throttle,
        outbox=sending.outbox,
        random_id=secrets.token_urlsafe,
        random_hex=secrets.token_hex,
        has_threads=has_threads,
        stage_push=push.rings.stage,
        stage_joined=others.stage_joined,
        is_failing=sending.senders.is_failing,
        stage_sent=commands.stage_sent,
    )
    writes = build_writes(config, store, around)
    receiving = build_receiving(config, store, writes, federation)
    handshakes = build_handshakes(config, store, writes, federation, around.appservices, has_threads=has_threads)
    rooms = build_rooms(config, store, around, writes, handshakes.remote, receiving.backfill)
    admin_room = AdminRoom(store, writes, commands)
    presence, observers = _build_presence(config, store, around, rooms), (removal, push.pushers)
    accounts = _build_accounts(config, store, around, rooms, presence, admin_room, observers, hash_limiter)
    e2ee = build_e2ee(server_name, store, hub, removal, accounts, others)
    edus = {**e2ee.edus.handlers, **rooms.edu_handlers, PRESENCE: presence.receive}
    operations = Operations(
        config=config,
        auth=_build_auth(proxies, accounts, presence),
        proxies=proxies,
        accounts=accounts,
        presence=presence,
        e2ee=e2ee,
        push=push,
        appservices=around.appservices,
        rooms=rooms,
        syncs=_build_syncs(config, store, hub, rooms, e2ee, presence),
        media=_build_media(config, store, federation, throttle, has_threads=has_threads),
        throttle=throttle,
        federation=federation,
        handshakes=handshakes,
        receiver=Receiver(store, receiving.room_events, edus, handshakes.invites_received.note, handshakes.early.wait),
        reading=build_reading(store.database),
        sending=sending,
        now_ms=store.now_ms,
    )
    return await _put_together(operations, store, hub, metrics, admin_room, tracer)


async def _put_together(
    operations: Operations, store: Store, hub: SyncHub, metrics: Metrics, room: AdminRoom, tracer: Tracer | None
) -> Server:
    current = CurrentConfig(operations.config)
    admin = build_admin(
        store,
        room,
        Commanded(
            config=operations.config,
            current=current,
            accounts=operations.accounts,
            appservices=AppServiceRegistrations(
                store,
                operations.appservices.registry,
                operations.appservices.queue,
                operations.appservices.ephemeral,
                make_senders=operations.accounts.register.make_senders,
            ),
            media=operations.media,
            operated=Operated(
                rooms=operations.rooms,
                receiver=operations.receiver,
                senders=operations.sending.senders,
                federation=operations.federation,
            ),
        ),
    )
    watch_services(metrics, operations)
    loop = LoopWatch(metrics.loop_seconds.observe)
    health = Health(store.writer, lambda: loop.lag_s)
    return Server(
        app=build_app(operations, metrics, health, tracer),
        metrics=metrics,
        health=health,
        loop=loop,
        hub=hub,
        federation=operations.federation,
        e2ee=operations.e2ee,
        rooms=operations.rooms,
        applies=(*_applies(operations), current.replace),
        tasks=(
            hub.run,
            Pruning(store.database, store.writer, now_ms=store.now_ms).run,
            *_tasks(operations),
            *admin.tasks,
        ),
        admin=admin,
        admin_token=await _prepare(operations.accounts),
    )


def _applies(built: Operations) -> Iterator[Apply]:
    """Hand over what may change while the server runs: the keys that `Key.reload` marks."""
    yield lambda config: built.proxies.replace(config.trusted_proxies)
    yield lambda config: built.throttle.replace(_limits(config.rate_limits))
    yield lambda config: built.federation.is_forbidden.replace(config.forbidden_remote_server_names)
    yield lambda config: built.media.sweep.replace(config.media.retention)
    yield lambda config: built.accounts.turn.replace(config.turn)
    yield built.accounts.register.reconfigure


def _build_appservices(config: Config, store: Store, federation: Federation) -> AppServiceParts:
    registry = AppServices(ServerName(config.server_name), config.appservices)
    add_kept(store, registry)
    return build_appservices(store, registry, federation.http, clock=trio.current_time)


async def _prepare(accounts: Accounts) -> str | None:
    """What the accounts need before anybody is served; returns the first administrator's token."""
    await accounts.register.make_senders()
    return await accounts.register.prepare_first_admin()


def _tasks(built: Operations) -> Iterator[Callable[[], Awaitable[None]]]:
    """What the services behind the operations have to run beside them."""
    yield built.federation.http.run
    yield built.receiver.run
    yield built.sending.senders.run
    yield built.handshakes.errands.run
    yield built.push.sender.run
    yield built.rooms.typing.run
    yield built.rooms.removal.run
    yield built.presence.run
    yield built.accounts.deactivation.run
    yield built.accounts.last_seen.run
    yield built.accounts.tokens.run
    yield built.appservices.delivery.run
    yield from built.e2ee.tasks
    yield from built.media.tasks


def _build_announcing(
    config: Config, store: Store, hub: SyncHub, federation: Federation, sending: SendingServices
) -> tuple[OtherServers, DeviceRemoval]:
    outbox = sending.outbox if config.allow_federation else None
    others = OtherServers(source=UserKeysClient(federation.client), outbox=outbox)
    return others, DeviceRemoval(DeviceLists(store, hub, others.has_announcements))


def _build_accounts(
    config: Config,
    store: Store,
    around: Around,
    rooms: Rooms,
    presence: PresenceService,
    admin_room: AdminRoom,
    observers: tuple[DeviceObserver, ...],
    hash_limiter: trio.CapacityLimiter | None,
) -> Accounts:
    async def propagate_profile(user: ShortUserId, user_id: UserId) -> None:
        presence.note_profile(user)
        await rooms.membership.propagate_profile(user, user_id)

    return build_accounts(
        config,
        store,
        Surroundings(
            fetcher=around.lookups,
            wake=around.hub.publish,
            propagate_profile=propagate_profile,
            leave_room=rooms.membership.leave,
            throttle=around.throttle,
            appservices=around.appservices.registry,
            device_observers=observers,
            hash_limiter=hash_limiter,
            note_admin=admin_room.note_admin,
            note_report=admin_room.note_report,
        ),
    )


def _build_media(
    config: Config, store: Store, federation: Federation, throttle: RateLimiter, *, has_threads: bool
) -> MediaServices:
    return build_media(
        config, store, federation.media, throttle=throttle, random_id=secrets.token_urlsafe, has_threads=has_threads
    )


def _build_auth(proxies: TrustedProxies, accounts: Accounts, presence: PresenceService) -> Authenticator:
    return Authenticator(
        accounts.tokens,
        accounts.identities,
        accounts.last_seen,
        proxies,
        note_activity=presence.note_activity,
    )


def _build_presence(config: Config, store: Store, around: Around, rooms: Rooms) -> PresenceService:
    rules = PresenceRules(
        is_local=config.allow_local_presence,
        is_incoming=config.allow_incoming_presence,
        is_outgoing=config.allow_outgoing_presence,
        idle_ms=config.presence_idle_timeout * 1000,
        offline_ms=config.presence_offline_timeout * 1000,
    )
    ephemeral = around.appservices.ephemeral
    return PresenceService(store, around.hub, around.outbox, ephemeral, rules, next_change=rooms.typing.next_change)


def _build_syncs(
    config: Config, store: Store, hub: SyncHub, rooms: Rooms, e2ee: E2ee, presence: PresenceService
) -> SyncService:
    return SyncService(
        SyncBuilder(store.database, hub, rooms.typing, presence, now_ms=store.now_ms, clock=time.perf_counter),
        hub,
        e2ee.to_device,
        presence,
        timeout_default_ms=config.client_sync_timeout_default,
        timeout_max_ms=config.client_sync_timeout_max,
    )


def _limits(limits: RateLimits) -> dict[str, RateLimit]:
    if not limits.enabled:
        return {}
    return {
        field.name: limit for field in fields(limits) if isinstance(limit := getattr(limits, field.name), RateLimit)
    }


async def serve(
    config: Config,
    on_started: Callable[[Started], None],
    read_config: ReadConfig,
) -> None:
    """Run the server until it is told to stop (SIGTERM, SIGINT). ``read_config`` is asked again on SIGHUP.

    Raises ``SchemaMismatch`` or ``OSError`` with a sentence for the operator where it cannot start.
    """
    raise_file_limit()
    give_back_memory()
    if config.workers is not None:
        trio.to_thread.current_default_thread_limiter().total_tokens = config.workers
    async with open_store(config) as opened, trio.open_nursery() as services:
        limiter, tracer = trio.CapacityLimiter(PASSWORDS_AT_ONCE), _start_tracer(config, services)
        server = await build(config, opened.store, hash_limiter=limiter, tracer=tracer)
        await server.admin.prepare()
        server.metrics.copies_cut.read_from(lambda: opened.watch.cuts)
        settle_memory()
        services.start_soon(build_snapshots(config).run)
        for task in (*server.tasks, collect_daily):
            services.start_soon(task)
        await services.start(AdminSocket(server.admin.dispatcher, config.database_path / SOCKET_NAME).run)
        with server.loop.watching():
            await _serve_http(config, server, on_started, read_config)
        services.cancel_scope.cancel()


async def command_alone(config: Config, words: Sequence[str], call: Call) -> Answer:
    """Do a command of administrators where no server runs. Raises as ``serve`` does, also where one runs."""
    async with open_store(config) as opened:
        server = await build(config, opened.store, hash_limiter=trio.CapacityLimiter(PASSWORDS_AT_ONCE))
        await server.admin.prepare()
        async with trio.open_nursery() as services:
            # What the command begins, and may wait for the end of.
            for task in server.tasks:
                services.start_soon(task)
            answer = await server.admin.dispatcher.run(words, call)
            services.cancel_scope.cancel()
        return answer


def _start_tracer(config: Config, services: trio.Nursery) -> Tracer | None:
    if not config.allow_jaeger:
        return None
    from conduit_py.observe.otlp import OtlpTracer  # of an extra, and costs 30 MB and half a second

    tracer = OtlpTracer(config.server_name, __version__)
    services.start_soon(tracer.run)
    return tracer


async def _serve_http(
    config: Config, server: Server, on_started: Callable[[Started], None], read_config: ReadConfig
) -> None:
    stop = trio.Event()
    tls = None if config.tls is None else Tls(config.tls.certs, config.tls.key)
    reloader = Reloader(config, read_config, (*server.applies, apply_logging), tls)
    async with trio.open_nursery() as http:
        await http.start(_wait_for_signal, server.hub, stop, reloader)
        addresses = await http.start(_run_http, server.app, _http_config(config, tls), stop)
        if config.metrics_address is not None:
            metrics_app = build_metrics_app(server.metrics, server.health)
            await http.start(_run_http, metrics_app, _metrics_config(config.metrics_address), stop)
        on_started(Started(server_name=config.server_name, addresses=addresses, admin_token=server.admin_token))
        _log.info("listening", addresses=", ".join(addresses))


async def _run_http(
    app: App,
    http_config: HttpConfig,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[tuple[str, ...]] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve_http(app, http_config, stop=stop, task_status=task_status)


async def _wait_for_signal(
    hub: SyncHub,
    stop: trio.Event,
    reloader: Reloader,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    had_terminal = has_terminal()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            # A hang-up of the terminal that the server was started from is meant as it is of any program.
            if number == signal.SIGHUP and had_terminal == has_terminal():
                await reloader.reload()
                continue
            _log.info("stopping", signal=signal.Signals(number).name)
            hub.stop()
            stop.set()
            return


def _metrics_config(at: SocketAddress | Path) -> HttpConfig:
    return HttpConfig(unix_socket=at) if isinstance(at, Path) else HttpConfig(hosts=(str(at.host),), port=at.port)


def _http_config(config: Config, tls: Tls | None) -> HttpConfig:
    return HttpConfig(
        hosts=() if config.unix_socket_path is not None else (str(config.address),),
        port=config.port,
        unix_socket=config.unix_socket_path,
        unix_socket_mode=config.unix_socket_perms,
        tls=tls,
    )
