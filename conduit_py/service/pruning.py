"""Sweeps away what has had its time: bounded work, in the background, hourly.

A sweep goes through one kind of rows in small batches, each a turn of its own with a pause behind it, so that requests
hardly notice. Batches free more than they take and may use the space that is kept for deletes, so a full disk is swept
too. Nothing is remembered between runs: a sweep that was cut off by a restart begins again and finds what is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import trio

from conduit_py.data import (
    key_backup,
    members,
    notified,
    openid_tokens,
    received,
    received_messages,
    remote_lists,
    short_ids,
    tokens,
    transactions,
)
from conduit_py.log import get_logger
from conduit_py.matrix.ids import server_name_of
from conduit_py.service.e2ee.sharing import shares_with_us
from conduit_py.service.users import uia
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Turn, Writer
from kvschema.errors import StorageFull

_log = get_logger(__name__)

PERIOD_S = 3600
PAUSE_S = 0.1
"""Between two batches: a sweep takes no more than a fraction of the disk's time."""
REMOVED_MAX = 200
"""Rows that one batch removes."""
SCANNED_MAX = 2000
"""Rows that are looked at for one batch, about 10 ms."""
LISTS_SCANNED_MAX = 200
"""Lists of devices that are looked at for one batch: each costs a look into the user's rooms."""
NOTIFIED_PER_ROOM_MAX = 2000
"""Events of a room of which is known whom they notified. Clients show more unread ones than that as "99+"."""
TOKEN_KEPT_MS = 180 * 24 * 3600 * 1000
"""How long an access token is known after it has expired. As long as it is, its client is told that it only has to log
in again and may keep its keys; whoever stays away for half a year begins anew."""

Place = tuple[Any, ...]
"""Where a sweep stands: a key of its own making, ``()`` at the beginning."""
Sweep = Callable[[Snapshot, Turn, Place, int], Place | None]
"""Stages one batch of removals from a place on, as of a time in ms, and returns the next place; None at the end."""


class Pruning:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self, database: Database, writer: Writer, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._writer = writer
        self._now_ms = now_ms

    async def run(self) -> None:
        """Sweep at start, then once an hour."""
        while True:
            self._database.engine.free_dead_readers()
            await self.sweep_all()
            await trio.sleep(PERIOD_S)

    async def sweep_all(self) -> None:
        """Run every sweep to its end. A sweep that the full disk stops is left for the next time."""
        for sweep in SWEEPS:
            with contextlib.suppress(StorageFull):
                await self._run_sweep(sweep)

    async def _run_sweep(self, sweep: Sweep) -> None:
        place: Place | None = ()
        removed = 0
        while place is not None:
            async with self._writer.turn(may_use_reserve=True) as turn:
                with self._database.snapshot() as snapshot:
                    place = sweep(snapshot, turn, place, self._now_ms())
                removed += len(turn.batch.writes)
            await trio.sleep(PAUSE_S if place is not None else 0)
        if removed:
            _log.info("swept away what has had its time", sweep=sweep.__name__, writes=removed)


def sweep_transactions(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """Answers to requests that are too old to be retried."""
    expired = transactions.scan_expired(snapshot, before_ms=now_ms - transactions.KEPT_MS)
    batch = list(islice(expired, REMOVED_MAX))
    for age in batch:
        transactions.stage_expired(snapshot, turn, age)
    return () if len(batch) == REMOVED_MAX else None


def sweep_tokens(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """Access tokens that expired long ago."""
    rows = list(islice(tokens.scan_tokens(snapshot, after=place[0] if place else None), SCANNED_MAX))
    limit_ms = now_ms - TOKEN_KEPT_MS
    expired = [row for row in rows if 0 < row[1].expires_ms <= limit_ms][:REMOVED_MAX]
    for token_hash, token in expired:
        tokens.stage_removed(turn, token_hash, token)
    if len(expired) == REMOVED_MAX:
        return (expired[-1][0],)
    return (rows[-1][0],) if len(rows) == SCANNED_MAX else None


def sweep_login_tokens(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """Login tokens that nobody used in time."""
    rows = list(islice(tokens.scan_login_tokens(snapshot, after=place[0] if place else None), SCANNED_MAX))
    expired = [token_hash for token_hash, token in rows if token.expires_ms <= now_ms][:REMOVED_MAX]
    for token_hash in expired:
        tokens.stage_login_token_removed(turn, token_hash)
    if len(expired) == REMOVED_MAX:
        return (expired[-1],)
    return (rows[-1][0],) if len(rows) == SCANNED_MAX else None


def sweep_openid_tokens(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """OpenID tokens whose time is over."""
    rows = list(islice(openid_tokens.scan_tokens(snapshot, after=place[0] if place else None), SCANNED_MAX))
    expired = [key for key, token in rows if token.expires_ms <= now_ms][:REMOVED_MAX]
    for key in expired:
        openid_tokens.stage_removed(turn, key)
    if len(expired) == REMOVED_MAX:
        return (expired[-1],)
    return (rows[-1][0],) if len(rows) == SCANNED_MAX else None


def sweep_uia_sessions(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """Interactive authentications that were given up."""
    return () if uia.stage_expired(snapshot, turn, now_ms) == uia.SWEEP_MAX else None


def sweep_notified(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """What notified whom in a room long ago: all but the newest ``NOTIFIED_PER_ROOM_MAX`` events.

    The oldest go first, for a newer one can say that somebody has read the older ones.
    """
    scanned = 0
    while scanned < SCANNED_MAX:
        room = notified.get_next_room(snapshot, place[0] if place else None)
        if room is None:
            return None
        kept = list(islice(notified.scan_places(snapshot, room), NOTIFIED_PER_ROOM_MAX + 1))
        if len(kept) > NOTIFIED_PER_ROOM_MAX:
            rows = list(islice(notified.scan_notified(snapshot, room, until=kept[-1]), REMOVED_MAX))
            for pos, row in rows:
                notified.stage_removed(turn, room, pos, row)
            if len(rows) == REMOVED_MAX:
                return place
        scanned += len(kept)
        place = (room,)
    return place


def sweep_deleted_backups(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """Keys of backups whose deletion was cut off."""
    found = key_backup.get_next_deleted(snapshot)
    if found is None:
        return None
    key_backup.stage_keys_removed(snapshot, turn, found.user, found.version, limit=REMOVED_MAX)
    return ()


def sweep_received_messages(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """Ids of messages from other servers that nobody will repeat any more."""
    batch = list(islice(received_messages.scan_expired(snapshot, now_ms=now_ms), REMOVED_MAX))
    for age in batch:
        received_messages.stage_expired(turn, age)
    return () if len(batch) == REMOVED_MAX else None


def sweep_remote_lists(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """Devices and keys of other servers' users who share no room with us any more."""
    rows = list(islice(remote_lists.scan_lists(snapshot, after=place[0] if place else None), LISTS_SCANNED_MAX))
    for user, _ in rows:
        if not shares_with_us(snapshot, user):
            server_name = server_name_of(short_ids.get_user_id(snapshot, user))
            remote_lists.stage_forgotten(snapshot, turn, server_name, user)
    return (rows[-1][0],) if len(rows) == LISTS_SCANNED_MAX else None


def sweep_server_transactions(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """Answers to other servers' transactions that will not be sent again."""
    rows = list(islice(received.scan_answers(snapshot, place[0] if place else None), SCANNED_MAX))
    limit_ms = now_ms - received.KEPT_MS
    expired = [key for key, row in rows if row.done_ms <= limit_ms][:REMOVED_MAX]
    for key in expired:
        received.stage_removed(turn, key)
    return _next_place([key for key, _ in rows], expired)


def sweep_farewells(snapshot: Snapshot, turn: Turn, place: Place, now_ms: int) -> Place | None:
    """What is told of rooms that were removed long ago."""
    rows = list(islice(members.scan_all_farewells(snapshot, place[0] if place else None), SCANNED_MAX))
    limit_ms = now_ms - members.FAREWELLS_KEPT_MS
    expired = [key for key, row in rows if row.removed_ms <= limit_ms][:REMOVED_MAX]
    for key in expired:
        members.stage_farewell_removed(turn, key)
    return _next_place([key for key, _ in rows], expired)


def _next_place(scanned: Sequence[Any], removed: Sequence[Any]) -> Place | None:
    """Where to go on after a batch of keys; None at the end."""
    if len(removed) == REMOVED_MAX:
        return (removed[-1],)
    return (scanned[-1],) if len(scanned) == SCANNED_MAX else None


SWEEPS: tuple[Sweep, ...] = (
    sweep_server_transactions,
    sweep_transactions,
    sweep_tokens,
    sweep_login_tokens,
    sweep_openid_tokens,
    sweep_uia_sessions,
    sweep_notified,
    sweep_deleted_backups,
    sweep_received_messages,
    sweep_remote_lists,
    sweep_farewells,
)
