"""Builds the push services."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from conduit_py.data import pushers
from conduit_py.outbound.http import HttpClient
from conduit_py.outbound.push_gateway import PushGatewayClient
from conduit_py.service.hub import SyncHub
from conduit_py.service.push.pushers import PusherService
from conduit_py.service.push.rings import PushRings
from conduit_py.service.push.sender import PushSender
from conduit_py.service.users.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """The services of one server, for whoever composes it."""

    pushers: PusherService
    rings: PushRings
    """For whoever writes what users are notified of."""
    sender: PushSender
    """Its ``run`` belongs into the nursery tree."""


def build_push(store: Store, hub: SyncHub, http: HttpClient, *, count: Callable[[str], None]) -> Push:
    """``count`` is told how each request to a gateway ended: ``taken``, ``rejected`` or ``failed``."""
    with store.snapshot() as snapshot:
        rings = PushRings(key.user for key in pushers.scan_keys(snapshot))
    gateway = PushGatewayClient(http)
    return Push(
        pushers=PusherService(store, rings),
        rings=rings,
        sender=PushSender(store, hub, gateway, rings, random=random.random, count=count),
    )
