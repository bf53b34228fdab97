"""Builds what has to do with application services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conduit_py.outbound.appservice import AppServiceClient
from conduit_py.outbound.http import HttpClient
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.delivery import Delivery
from conduit_py.service.appservices.ephemeral import AppServiceEphemeral
from conduit_py.service.appservices.ping import PingService
from conduit_py.service.appservices.queries import AppServiceQueries
from conduit_py.service.appservices.queue import AppServiceQueue
from conduit_py.service.appservices.third_party import ThirdPartyService
from conduit_py.service.users.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class AppServiceParts:
    """For whoever composes the server. Services take the few they need, never this."""

    registry: AppServices
    delivery: Delivery
    ephemeral: AppServiceEphemeral
    pings: PingService
    queries: AppServiceQueries
    queue: AppServiceQueue
    third_party: ThirdPartyService


def build_appservices(
    store: Store, registry: AppServices, http: HttpClient, *, clock: Callable[[], float]
) -> AppServiceParts:
    """``delivery.run`` belongs into the nursery tree."""
    client, queue = AppServiceClient(http), AppServiceQueue(registry)
    ephemeral = AppServiceEphemeral(registry, queue)
    return AppServiceParts(
        registry=registry,
        delivery=Delivery(store, registry, queue, ephemeral, client),
        ephemeral=ephemeral,
        pings=PingService(client, clock=clock),
        queries=AppServiceQueries(store, registry, client),
        queue=queue,
        third_party=ThirdPartyService(registry, client),
    )
