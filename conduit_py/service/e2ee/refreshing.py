"""Asks again for lists of other servers' users that are outdated: in the background, few servers at a time.

Which lists are outdated stands in the store, so a restart loses nothing. A server that does not answer is left alone
for a while, longer after each failure, and asked at once when it is heard of.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import trio

from conduit_py.data import remote_lists, short_ids
from conduit_py.data.server import get_last_gap
from conduit_py.log import get_logger
from conduit_py.matrix.ids import Malformed, ServerName, server_name_of
from conduit_py.matrix.user_keys import parse_user_devices
from conduit_py.outbound.errors import Refused, RemoteError
from conduit_py.service.e2ee.remote import KeySource
from conduit_py.service.e2ee.remote_lists import RemoteLists, list_lock
from conduit_py.service.federation.pauses import Pauses
from conduit_py.service.users.store import Store
from kvschema.catalog.rooms import ShortUserId
from kvschema.errors import StorageFull

_log = get_logger(__name__)

SERVERS_AT_ONCE: Final = 10
PAUSE_MS: Final = 60_000
PAUSE_MAX_MS: Final = 24 * 3600 * 1000
RETRY_S: Final = 30.0
"""How often it is looked whether a pause is over, while there is something to ask for."""
DOWNTIME_S: Final = 3600
"""After this server was away for longer, no list counts: other servers may have given up telling it of changes."""
MARKED_PER_BATCH: Final = 500


class Refreshing:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self, store: Store, lists: RemoteLists, source: KeySource) -> None:
        self._store = store
        self._lists = lists
        self._source = source
        self._pauses = Pauses(first_ms=PAUSE_MS, longest_ms=PAUSE_MAX_MS, now_ms=store.now_ms)
        self._busy: set[ServerName] = set()

    def note_heard(self, server_name: ServerName) -> None:
        """The server is there."""
        if not self._pauses.is_over(server_name):
            self._pauses.forget(server_name)
            self._lists.has_outdated.ring()

    async def run(self) -> None:
        """Ask for as long as the server runs."""
        try:
            await self._mark_after_downtime()
        except StorageFull:
            _log.warning("there is no room to note which device lists are outdated: they count until their next change")
        async with trio.open_nursery() as nursery:
            while True:
                waits = False
                for server_name in self._find_servers():
                    if len(self._busy) == SERVERS_AT_ONCE:
                        break
                    if server_name in self._busy:
                        continue
                    if not self._pauses.is_over(server_name):
                        waits = True
                        continue
                    self._busy.add(server_name)
                    nursery.start_soon(self._refresh, server_name)
                with trio.move_on_after(RETRY_S if waits else float("inf")):
                    await self._lists.has_outdated.wait()

    def _find_servers(self) -> list[ServerName]:
        found: list[ServerName] = []
        with self._store.snapshot() as snapshot:
            server_name = remote_lists.get_next_outdated_server(snapshot, None)
            while server_name is not None:
                found.append(server_name)
                server_name = remote_lists.get_next_outdated_server(snapshot, server_name)
        return found

    async def _refresh(self, server_name: ServerName) -> None:
        try:
            while True:
                with self._store.snapshot() as snapshot:
                    user = next(remote_lists.scan_outdated(snapshot, server_name), None)
                if user is None:
                    return
                await self._refresh_user(server_name, user)
        except (RemoteError, StorageFull) as error:
            _log.debug("a server does not tell its users' devices", server=server_name, error=str(error))
            self._pauses.note(server_name, has_failed=True)
        finally:
            self._busy.discard(server_name)
            self._lists.has_outdated.ring()

    async def _refresh_user(self, server_name: ServerName, user: ShortUserId) -> None:
        """Raises ``RemoteError`` when the server should be left alone. A refusal ends what is held of the user."""
        with self._store.snapshot() as snapshot:
            user_id = short_ids.get_user_id(snapshot, user)
        try:
            with self._lists.asking(server_name) as asking:
                said = await self._source.fetch_devices(server_name, user_id)
                stream_id, keys = parse_user_devices(said, user_id)
                is_kept = await self._lists.keep(server_name, {user_id: keys}, asking, stream_id=stream_id)
        except (Refused, Malformed) as error:
            if isinstance(error, Refused) and error.may_retry:
                raise
            is_kept = False
        if not is_kept:
            await self._lists.forget(server_name, user)

    async def _mark_after_downtime(self) -> None:
        """No list counts that is older than the last long time in which this server heard nothing."""
        with self._store.snapshot() as snapshot:
            back = get_last_gap(snapshot, longer_than=DOWNTIME_S * 1_000_000)
        if back:
            await mark_all_outdated(self._store, older_than=back)


async def mark_all_outdated(store: Store, *, older_than: int | None = None) -> None:
    """Have every list asked for again, or those that were last known to count before a position."""
    after: ShortUserId | None = None
    while True:
        by_server: dict[ServerName, list[ShortUserId]] = {}
        with store.snapshot() as snapshot:
            page = list(islice(remote_lists.scan_lists(snapshot, after=after), MARKED_PER_BATCH))
            for user, row in page:
                if older_than is None or row.pos < older_than:
                    by_server.setdefault(server_name_of(short_ids.get_user_id(snapshot, user)), []).append(user)
        for server_name, users in by_server.items():
            async with store.locks.hold(list_lock(server_name)), store.writer.turn(may_use_reserve=True) as turn:
                for user in users:
                    remote_lists.stage_outdated(turn, server_name, user)
        if len(page) < MARKED_PER_BATCH:
            return
        after = page[-1][0]
