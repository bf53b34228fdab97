"""``POST /_matrix/client/v3/createRoom``

Spec: client-server-api/#post_matrixclientv3createroom
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import Body, get_field, get_strings
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.matrix.ids import parse_user_id
from conduit_py.matrix.room_versions import RoomVersion, get_room_version
from conduit_py.service.errors import BadJson, InvalidParam, MatrixError
from conduit_py.service.rooms.create import PRESETS, CreateService, NewRoom


def routes(auth: Authenticator, create: CreateService, *, default_room_version: str) -> Routes:
    """The operations of this module."""
    routes = Routes("create_room")

    @routes.post("/_matrix/client/v3/createRoom")
    async def create_room(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object(may_be_empty=True)
        if get_field(body, "invite_3pid", list):
            raise MatrixError(
                "this server has no identity server to invite by", errcode="M_THREEPID_DENIED", status=403
            )
        return {"room_id": await create.create_room(requester, _parse_room(body, default_room_version))}

    return routes


def _parse_room(body: Body, default_room_version: str) -> NewRoom:
    visibility = get_field(body, "visibility", str)
    if visibility is None:
        visibility = "private"
    if visibility not in ("public", "private"):
        raise InvalidParam("visibility must be public or private")
    preset = get_field(body, "preset", str)
    if preset is None:
        preset = "public_chat" if visibility == "public" else "private_chat"
    if preset not in PRESETS:
        raise InvalidParam(f"preset must be one of {', '.join(PRESETS)}")
    return NewRoom(
        version=_parse_version(get_field(body, "room_version", str), default_room_version),
        preset=preset,
        is_public=visibility == "public",
        alias_localpart=get_field(body, "room_alias_name", str) or None,
        name=get_field(body, "name", str),
        topic=get_field(body, "topic", str),
        invite=tuple(parse_user_id(user_id) for user_id in get_strings(body, "invite")),
        is_direct=get_field(body, "is_direct", bool) or False,
        creation_content=get_field(body, "creation_content", dict) or {},
        initial_state=tuple(_parse_state(get_field(body, "initial_state", list) or [])),
        power_level_content_override=get_field(body, "power_level_content_override", dict) or {},
    )


def _parse_version(room_version: str | None, default: str) -> RoomVersion:
    version = get_room_version(default if room_version is None else room_version)
    if version is None:
        raise MatrixError(
            f"this server does not know room version {room_version}", errcode="M_UNSUPPORTED_ROOM_VERSION", status=400
        )
    return version


def _parse_state(entries: list[Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for entry in entries:
        if not isinstance(entry, dict) or "type" not in entry or "content" not in entry:
            raise BadJson("each entry of initial_state must have a type and a content")
        event_type, content = get_field(entry, "type", str), get_field(entry, "content", dict)
        if event_type is None or content is None:
            raise BadJson("each entry of initial_state must have a type and a content")
        yield event_type, get_field(entry, "state_key", str) or "", content
