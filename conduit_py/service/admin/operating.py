"""Builds the commands about rooms, other servers, media, and what servers exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from conduit_py.config import Config
from conduit_py.matrix.ids import ServerName
from conduit_py.service.admin.debug import DebugTools, build_debug_commands
from conduit_py.service.admin.federation import FederationTools, build_federation_commands
from conduit_py.service.admin.media import MediaTools, build_media_commands
from conduit_py.service.admin.rooms import RoomTools, build_room_commands
from conduit_py.service.federation.build import Federation
from conduit_py.service.federation.receive.receiver import Receiver
from conduit_py.service.media.build import MediaServices
from conduit_py.service.rooms.build import Rooms
from conduit_py.service.sending.senders import Senders
from conduit_py.service.users.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """What these commands do something with."""

    rooms: Rooms
    receiver: Receiver
    senders: Senders
    federation: Federation


def build_operating_commands(
    config: Config, store: Store, to: Operated, media: MediaServices
) -> Mapping[str, Sequence[click.Command]]:
    """By the title that the help lists them under."""
    server_name = ServerName(config.server_name)
    room_tools = RoomTools(
        store=store,
        server_name=server_name,
        removal=to.rooms.removal,
        closed=to.rooms.closed,
        membership=to.rooms.membership,
        aliases=to.rooms.aliases,
        receiver=to.receiver,
        remove_media=media.removal.remove_media,
    )
    media_tools = MediaTools(
        store=store,
        server_name=server_name,
        removal=media.removal,
        blocks=media.blocks,
        fetch=media.fetch,
        get_path=media.files.path_of,
    )
    debug_tools = DebugTools(
        store=store,
        server_name=server_name,
        signing_key=to.federation.own_keys.signing_key,
        keys=to.federation.keys,
        default_room_version=config.default_room_version,
    )
    return {
        "Rooms": build_room_commands(room_tools),
        "Media": build_media_commands(media_tools),
        "Federation": build_federation_commands(
            FederationTools(store=store, senders=to.senders, client=to.federation.client)
        ),
        "Debugging": build_debug_commands(debug_tools),
    }
