"""Long-polling. Spec: client-server-api/#syncing"""

from __future__ import annotations

import trio

from conduit_py.observe.requests import NEWS, timed
from conduit_py.service.e2ee.to_device import ToDeviceService
from conduit_py.service.hub import SyncHub
from conduit_py.service.presence import PresenceService
from conduit_py.service.requester import Requester
from conduit_py.service.sync.build import SyncBuilder
from conduit_py.service.sync.messages import Quiet
from conduit_py.service.sync.since import SyncRequest


class SyncService:
    """One per server."""

    def __init__(
        self,
        builder: SyncBuilder,
        hub: SyncHub,
        to_device: ToDeviceService,
        presence: PresenceService,
        *,
        timeout_default_ms: int,
        timeout_max_ms: int,
    ) -> None:
        self._builder = builder
        self._hub = hub
        self._to_device = to_device
        self._presence = presence
        self._timeout_default_ms = timeout_default_ms
        self._timeout_max_ms = timeout_max_ms

    async def sync(self, requester: Requester, request: SyncRequest) -> bytes:
        """The body of the reply. Waits while there is nothing to tell, as long as the request wants and we allow.

        A wait ends early when the server stops: the reply is then empty and its token as good as any. Raises
        ``UnknownToken`` if the device was logged out meanwhile, and ``M_USER_LOCKED``.
        """
        wanted_ms = self._timeout_default_ms if request.timeout_ms is None else request.timeout_ms
        deadline = trio.current_time() + min(wanted_ms, self._timeout_max_ms) / 1000
        self._presence.note_sync(requester, request.set_presence)
        may_wait = request.since is not None and not request.full_state
        if request.since is not None:
            await self._to_device.acknowledge(requester, request.since)
        quiet: Quiet | None = None
        has_waited = False
        with self._hub.subscribe(requester.user) as waiter:
            while True:
                news = waiter.rearm()
                if quiet is not None and news is not None:
                    body = self._builder.build_messages(quiet, news)
                    if body is not None:
                        return body
                if has_waited:
                    # That a device goes is no message, so it is noticed here at once.
                    self._builder.require_session(requester)
                reply = await self._builder.build(requester, request)
                is_over = trio.current_time() >= deadline or self._hub.is_stopping
                if not reply.is_empty or not may_wait or is_over:
                    return reply.render()
                nothing, quiet = reply.render(), reply.quiet
                # What waits is a token and a place in the hub: thousands of idle polls wait at the same time.
                del reply
                with trio.move_on_at(deadline), timed(NEWS):
                    await waiter.wait()
                    has_waited = True
                    continue
                return nothing
