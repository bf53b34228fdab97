"""Sends what pushers have to be told: see the package.

A pusher has a task only while it has something to do, and one request at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from conduit_py.data import pushers
from conduit_py.log import get_logger
from conduit_py.outbound.errors import Refused, RemoteError
from conduit_py.outbound.push_gateway import host_of
from conduit_py.service.bell import Bell
from conduit_py.service.hub import SyncHub
from conduit_py.service.push.lanes import Lanes
from conduit_py.service.push.notification import Notification, build_counts, build_notification, get_told
from conduit_py.service.push.pending import Pending, count_unread, get_group, list_pending
from conduit_py.service.push.pushers import pusher_lock
from conduit_py.service.push.rings import PushRings, Rooms
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from kvschema.catalog.push import Pushed, Pusher, PusherKey
from kvschema.errors import PreconditionFailed, StorageFull

_log = get_logger(__name__)

PENDING_AGE_MAX_MS = 24 * 3600 * 1000
"""Of what happened longer ago nobody is alarmed any more."""
PAUSE_FIRST_S = 10
PAUSE_MAX_S = 3600
"""After failure upon failure: 10 s, 20 s, ... and then once an hour, each a little longer by chance."""
JITTER = 0.25
FAILURES_MAX = 32
"""In a row, in about a day. From then on a gateway is asked again only because of an event."""
FULL_PAUSE_S = 60
"""While the disk is full, since what was pushed cannot be noted."""


class Gateway(Protocol):
    """``outbound.push_gateway.PushGatewayClient``."""

    async def fetch_notify(self, url: str, notification: Notification) -> frozenset[str]: ...


@dataclass(slots=True)
class _Work:
    """What a pusher's task goes by."""

    rooms: Rooms
    """Where something may be pending."""
    bell: Bell
    with_counts: bool
    """Is the gateway to be told how much is unread where there is nothing else to tell it?"""
    is_rung: bool = True
    """Since it looked the last time."""


@dataclass(frozen=True, slots=True)
class _Push:
    """One request to be made."""

    pusher: Pusher
    before: Pushed
    after: Pushed
    """How far the pusher has got when the gateway took it."""
    notification: Notification


class PushSender:
    """One per server. ``run`` is owned by the nursery tree.

    :param random: between 0 and 1.
    :param count: is told how each request ended: ``taken``, ``rejected`` or ``failed``.
    """

    def __init__(
        self,
        store: Store,
        hub: SyncHub,
        gateway: Gateway,
        rings: PushRings,
        *,
        random: Callable[[], float],
        count: Callable[[str], None],
    ) -> None:
        self._store = store
        self._hub = hub
        self._gateway = gateway
        self._rings = rings
        self._random = random
        self._count = count
        self._lanes = Lanes()
        self._working: dict[PusherKey, _Work] = {}

    async def run(self) -> None:
        """Go on where the last run of the server ended, then with everything as it comes.

        To begin with only events are looked for: counting what is unread in every room of everybody would take long.
        """
        is_start = True
        async with trio.open_nursery() as nursery:
            while True:
                for user, rooms in (await self._rings.take()).items():
                    with self._store.snapshot() as snapshot:
                        keys = [key for key, _ in pushers.scan_pushers(snapshot, user)]
                    if not keys:
                        self._rings.forget(user)
                    for key in keys:
                        self._set_to_work(nursery, key, rooms, with_counts=not is_start)
                    await trio.lowlevel.checkpoint()
                is_start = False

    def _set_to_work(self, nursery: trio.Nursery, key: PusherKey, rooms: Rooms, *, with_counts: bool) -> None:
        work = self._working.get(key)
        if work is None:
            self._working[key] = work = _Work(None if rooms is None else set(rooms), Bell(), with_counts)
            nursery.start_soon(self._work, key, work)
            return
        work.with_counts |= with_counts
        work.rooms = None if rooms is None or work.rooms is None else work.rooms | rooms
        work.is_rung = True
        work.bell.ring()

    async def _work(self, key: PusherKey, work: _Work) -> None:
        """Until there is nothing to push."""
        try:
            while True:
                with self._store.snapshot() as snapshot:
                    pusher = pushers.get_pusher(snapshot, key)
                    if pusher is None:
                        return
                    pause_ms = pushers.get_pushed(snapshot, key).retry_ms - self._store.now_ms()
                if pause_ms > 0:
                    # A clock that was set back must not keep a pusher waiting for longer than it ever would.
                    with trio.move_on_after(min(pause_ms / 1000, PAUSE_MAX_S * (1 + JITTER))):
                        await work.bell.wait()
                    continue
                async with self._lanes.hold(host_of(pusher.data["url"])):
                    has_pushed = await self._push_next(key, work)
                if not (has_pushed or work.is_rung):
                    return
        finally:
            del self._working[key]

    async def _push_next(self, key: PusherKey, work: _Work) -> bool:
        """False if there is nothing."""
        work.is_rung = False
        with self._store.snapshot() as snapshot:
            push = self._find_push(snapshot, key, work)
        if push is None:
            return False
        try:
            rejected = await self._gateway.fetch_notify(push.pusher.data["url"], push.notification)
        except RemoteError as error:
            self._count("failed")
            await self._note(key, push, self._failed(push, error))
            return True
        is_rejected = push.pusher.pushkey in rejected
        self._count("rejected" if is_rejected else "taken")
        await self._note(key, push, None if is_rejected else push.after)
        return True

    def _find_push(self, snapshot: Snapshot, key: PusherKey, work: _Work) -> _Push | None:
        pusher = pushers.get_pusher(snapshot, key)
        if pusher is None:
            return None
        before = pushers.get_pushed(snapshot, key)
        waiting = list_pending(snapshot, key.user, after=before.pos, rooms=work.rooms)
        work.rooms = {pending.room for pending in waiting}
        may_tell_count = work.with_counts and before.failures < FAILURES_MAX
        if not (waiting or may_tell_count):
            return None
        unread = count_unread(snapshot, key.user, self._hub)
        for pending in waiting:
            notification = self._build(snapshot, key, pusher, pending, unread)
            if notification is not None:
                return _Push(pusher, before, Pushed(pending.pos, unread), notification)
        if unread == before.unread or not may_tell_count:
            return None
        return _Push(pusher, before, Pushed(before.pos, unread), build_counts(pusher, unread))

    def _build(
        self, snapshot: Snapshot, key: PusherKey, pusher: Pusher, pending: Pending, unread: int
    ) -> Notification | None:
        """None for what need not be pushed any more."""
        told, group = get_told(snapshot, key.user, pending), get_group(snapshot, key.user, pending)
        if told is None or group is None:
            return None
        if told.sent_ms is not None and told.sent_ms < self._store.now_ms() - PENDING_AGE_MAX_MS:
            return None
        return build_notification(snapshot, key.user, pusher, pending.room, told, group, unread)

    def _failed(self, push: _Push, error: RemoteError) -> Pushed:
        """Where a pusher is after a request that came to nothing: where it was, but later."""
        failures = push.before.failures + 1
        pause_s = min(PAUSE_FIRST_S * 2 ** min(failures - 1, 16), PAUSE_MAX_S)
        if isinstance(error, Refused) and error.retry_after_ms is not None:
            pause_s = min(max(pause_s, error.retry_after_ms / 1000), PAUSE_MAX_S)
        pause_s *= 1 + JITTER * self._random()
        _log.info("a push gateway did not take a notification", url=push.pusher.data["url"], why=error, pause_s=pause_s)
        retry_ms = self._store.now_ms() + int(pause_s * 1000)
        return push.before._replace(failures=failures, retry_ms=retry_ms)

    async def _note(self, key: PusherKey, push: _Push, pushed: Pushed | None) -> None:
        """Keep where a pusher is; None for one that is rejected, which goes."""
        try:
            async with self._store.locks.hold(pusher_lock(key)), self._store.writer.turn() as turn:
                pushers.stage_pushed(turn, key, push.pusher, push.before if pushed is None else pushed)
                if pushed is None:
                    pushers.stage_removed(turn, key)
        except PreconditionFailed:
            return  # It was changed or removed meanwhile, and is looked at again.
        except StorageFull:
            await trio.sleep(FULL_PAUSE_S)
        else:
            if pushed is None:
                _log.info("a push gateway rejected a pushkey", url=push.pusher.data["url"])
