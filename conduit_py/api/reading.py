"""The operations by which other servers read: events and states, names, directories, profiles and spaces."""

from __future__ import annotations

from collections.abc import Callable

from conduit_py.api.federation import backfill, event_auth, events, openid, public_rooms, query, space_hierarchy
from conduit_py.api.federation.auth import ServerAuthenticator
from conduit_py.config import Config
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import ServerName
from conduit_py.service.federation.reading.build import Reading
from conduit_py.service.rooms.build import Rooms
from conduit_py.service.users.build import Accounts


def reading_routes(
    auth: ServerAuthenticator,
    config: Config,
    reading: Reading,
    rooms: Rooms,
    accounts: Accounts,
    *,
    now_ms: Callable[[], int],
) -> list[Routes]:
    """The routes of every module, in the order of the spec's OpenAPI files."""
    server_name = ServerName(config.server_name)
    return [
        backfill.routes(auth, reading.events, server_name=server_name, now_ms=now_ms),
        event_auth.routes(auth, reading.states),
        events.routes(auth, reading.events, reading.states, server_name=server_name, now_ms=now_ms),
        openid.routes(auth, accounts.openid),
        public_rooms.routes(auth, rooms.directory),
        query.routes(auth, rooms.aliases, accounts.profile),
        space_hierarchy.routes(auth, rooms.spaces),
    ]
