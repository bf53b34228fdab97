"""The operations that other servers call."""

from __future__ import annotations

from collections.abc import Callable

import conduit_py
from conduit_py.api.federation import (
    content_repository,
    invites_v1,
    invites_v2,
    joins_v1,
    joins_v2,
    keys_query,
    keys_server,
    knocks,
    leaving_v1,
    leaving_v2,
    third_party_invite,
    transactions,
    version,
    wellknown,
)
from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.config import Config
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import ServerName
from conduit_py.service.federation.build import Federation
from conduit_py.service.federation.handshakes.build import Handshakes
from conduit_py.service.federation.receive.receiver import Receiver
from conduit_py.service.media.build import MediaServices
from conduit_py.service.users.throttle import Throttle


def server_routes(
    auth: ServerAuthenticator,
    config: Config,
    federation: Federation,
    handshakes: Handshakes,
    receiver: Receiver,
    media: MediaServices,
    throttle: Throttle,
    *,
    now_ms: Callable[[], int],
) -> list[Routes]:
    """The routes of every module, in the order of the spec's OpenAPI files."""
    server_name = ServerName(config.server_name)
    return [
        content_repository.routes(auth, media.fetch, media.thumbnails, throttle, server_name=server_name),
        invites_v1.routes(auth, handshakes.invites_received),
        invites_v2.routes(auth, handshakes.invites_received),
        joins_v1.routes(auth, handshakes.templates),
        joins_v2.routes(auth, handshakes.submissions),
        keys_query.routes(auth, federation.notary, now_ms=now_ms),
        keys_server.routes(federation.own_keys),
        knocks.routes(auth, handshakes.templates, handshakes.submissions),
        leaving_v1.routes(auth, handshakes.templates),
        leaving_v2.routes(auth, handshakes.submissions),
        transactions.routes(auth, receiver),
        third_party_invite.routes(auth, handshakes.third_party),
        version.routes(auth, version=conduit_py.__version__),
        wellknown.routes(delegated=config.well_known.server if config.allow_federation else None),
    ]
