"""The operations of the rooms side."""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.client import (
    appservice_room_directory,
    banning,
    create_room,
    directory,
    event_context,
    inviting,
    joining,
    kicking,
    knocking,
    leaving,
    list_joined_rooms,
    list_public_rooms,
    message_pagination,
    notifications,
    old_sync,
    read_markers,
    receipts,
    redaction,
    relations,
    room_event_by_timestamp,
    room_initial_sync,
    room_send,
    room_state,
    room_summary,
    room_upgrades,
    rooms,
    search,
    space_hierarchy,
    threads_list,
    typing,
)
from conduit_py.config import Config
from conduit_py.http.routes import Routes
from conduit_py.service.rooms.build import Rooms


def room_routes(config: Config, auth: Authenticator, to: Rooms) -> list[Routes]:
    """The routes of every module, in the order of the spec's OpenAPI files."""
    return [
        banning.routes(auth, to.membership),
        create_room.routes(auth, to.create, default_room_version=config.default_room_version),
        appservice_room_directory.routes(auth, to.networks),
        directory.routes(auth, to.aliases),
        event_context.routes(auth, to.timeline),
        inviting.routes(auth, to.membership),
        joining.routes(auth, to.aliases, to.membership),
        kicking.routes(auth, to.membership),
        knocking.routes(auth, to.aliases, to.knocks),
        leaving.routes(auth, to.membership),
        list_joined_rooms.routes(auth, to.state),
        list_public_rooms.routes(auth, to.directory),
        message_pagination.routes(auth, to.timeline),
        notifications.routes(auth, to.notifications),
        old_sync.routes(auth, to.event_stream, to.snapshots),
        read_markers.routes(auth, to.receipts),
        receipts.routes(auth, to.receipts),
        redaction.routes(auth, to.send),
        relations.routes(auth, to.relations),
        room_event_by_timestamp.routes(auth, to.timestamps),
        room_initial_sync.routes(auth, to.snapshots),
        room_send.routes(auth, to.send),
        room_state.routes(auth, to.send),
        room_summary.routes(auth, to.aliases, to.previews),
        room_upgrades.routes(auth, to.upgrades),
        rooms.routes(auth, to.timeline, to.state),
        search.routes(auth, to.search),
        space_hierarchy.routes(auth, to.spaces),
        threads_list.routes(auth, to.threads),
        typing.routes(auth, to.typing),
    ]
