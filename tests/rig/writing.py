"""What it takes to write to rooms, without a whole server."""

from __future__ import annotations

from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.federation import Fetcher
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.queue import AppServiceQueue
from conduit_py.service.hub import SyncHub
from conduit_py.service.rooms.policy import PolicyServers
from conduit_py.service.rooms.resolution import Resolutions
from conduit_py.service.rooms.room_writer import WriterTools
from conduit_py.service.rooms.unread import UnreadService
from conduit_py.service.sending.outbox import Outbox
from conduit_py.service.users.push_rules import get_compiled_ruleset
from conduit_py.service.users.store import Store
from tests.rig.remote import Remotes
from tests.rig.sending import open_outbox


def make_tools(
    store: Store,
    hub: SyncHub,
    server_name: str,
    *,
    outbox: Outbox | None = None,
    fetcher: Fetcher | None = None,
    has_threads: bool = False,
) -> WriterTools:
    return WriterTools(
        server_name=ServerName(server_name),
        short_ids=store.ids,
        hub=hub,
        unread=UnreadService(get_compiled_ruleset),
        appservices=AppServiceQueue(AppServices(ServerName(server_name), ())),
        outbox=outbox or open_outbox(ServerName(server_name)),
        resolutions=Resolutions(store.database, has_threads=has_threads),
        policies=PolicyServers(store.database, Remotes() if fetcher is None else fetcher),
        now_ms=store.now_ms,
    )
