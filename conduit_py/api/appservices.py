"""The operations that have to do with application services."""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.client import appservice_ping, third_party_lookup
from conduit_py.http.routes import Routes
from conduit_py.service.appservices.build import AppServiceParts


def appservice_routes(auth: Authenticator, appservices: AppServiceParts) -> list[Routes]:
    """The routes of every module."""
    return [
        appservice_ping.routes(auth, appservices.pings),
        third_party_lookup.routes(auth, appservices.third_party),
    ]
