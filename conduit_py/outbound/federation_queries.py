"""What other servers tell of their rooms and users beside events: names, directories, profiles, spaces.

An answer of another shape than the spec's counts as no answer. What stands inside is for the caller to distrust.

Spec: server-server-api/#querying-for-information
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.matrix.ids import (
    EventId,
    Malformed,
    RoomAlias,
    RoomId,
    ServerName,
    UserId,
    parse_event_id,
    parse_room_id,
    parse_server_name,
)
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.federation import Fetcher, build_path

QUERY_TIMEOUT_S: Final = 10.0
"""A user waits for the answer."""
LIST_TIMEOUT_S: Final = 20.0
"""For a directory or a space, which takes more work. A user waits for it all the same."""

QUERY_BYTES_MAX: Final = 256 * 1024
"""A profile is at most 64 KiB; a list of 500 servers about 20 KiB."""
LIST_BYTES_MAX: Final = 4 * 1024 * 1024
"""Five hundred rooms with long topics."""

SERVERS_MAX: Final = 500
"""Servers taken from one answer."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where an alias leads."""

    room_id: RoomId
    servers: list[ServerName]


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A space and its children, as one server sees them."""

    room: dict[str, Any]
    children: list[dict[str, Any]]
    inaccessible_children: list[str]


@dataclass(frozen=True, slots=True)
class NearestEvent:
    """The event of a room that is nearest to a time."""

    event_id: EventId
    origin_server_ts: int


async def fetch_directory(fetcher: Fetcher, destination: ServerName, alias: RoomAlias) -> Resolved:
    """The room that one of the destination's aliases names.

    Raises `Unreachable` or `Refused`, as all functions here do.

    Spec: server-server-api/#get_matrixfederationv1querydirectory
    """
    path = build_path("_matrix", "federation", "v1", "query", "directory", query={"room_alias": alias})
    answer = await fetcher.fetch("GET", destination, path, timeout_s=QUERY_TIMEOUT_S, bytes_max=QUERY_BYTES_MAX)
    room_id, servers = answer.get("room_id"), answer.get("servers")
    if not isinstance(room_id, str) or not isinstance(servers, list):
        raise Unreachable(f"{destination} answered without a room and its servers")
    try:
        return Resolved(parse_room_id(room_id), _server_names(servers))
    except Malformed as error:
        raise Unreachable(f"{destination} answered with what is no room id: {error}") from None


async def fetch_profile(
    fetcher: Fetcher, destination: ServerName, user_id: UserId, *, field: str | None = None
) -> dict[str, Any]:
    """The profile of one of the destination's users, or one field of it.

    Spec: server-server-api/#get_matrixfederationv1queryprofile
    """
    query = {"user_id": user_id} if field is None else {"user_id": user_id, "field": field}
    path = build_path("_matrix", "federation", "v1", "query", "profile", query=query)
    return await fetcher.fetch("GET", destination, path, timeout_s=QUERY_TIMEOUT_S, bytes_max=QUERY_BYTES_MAX)


async def fetch_public_rooms(fetcher: Fetcher, destination: ServerName, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the destination's directory. ``asked`` is the body of the request.

    Spec: server-server-api/#post_matrixfederationv1publicrooms
    """
    answer = await fetcher.fetch(
        "POST",
        destination,
        build_path("_matrix", "federation", "v1", "publicRooms"),
        content=asked,
        timeout_s=LIST_TIMEOUT_S,
        bytes_max=LIST_BYTES_MAX,
    )
    if not isinstance(answer.get("chunk"), list):
        raise Unreachable(f"{destination} answered without a list of rooms")
    return answer


async def fetch_hierarchy(
    fetcher: Fetcher, destination: ServerName, room_id: RoomId, *, suggested_only: bool
) -> Hierarchy:
    """A room and, if it is a space, the rooms in it that this server could see.

    Spec: server-server-api/#get_matrixfederationv1hierarchyroomid
    """
    query = {"suggested_only": "true" if suggested_only else "false"}
    path = build_path("_matrix", "federation", "v1", "hierarchy", room_id, query=query)
    answer = await fetcher.fetch("GET", destination, path, timeout_s=LIST_TIMEOUT_S, bytes_max=LIST_BYTES_MAX)
    room, children = answer.get("room"), answer.get("children", [])
    inaccessible = answer.get("inaccessible_children", [])
    if not isinstance(room, dict) or room.get("room_id") != room_id:
        raise Unreachable(f"{destination} answered without the room")
    if not isinstance(children, list) or not isinstance(inaccessible, list):
        raise Unreachable(f"{destination} answered without a list of children")
    return Hierarchy(
        room,
        [child for child in children if isinstance(child, dict)],
        [child for child in inaccessible if isinstance(child, str)],
    )


async def fetch_timestamp_to_event(
    fetcher: Fetcher, destination: ServerName, room_id: RoomId, *, ts: int, dir: str
) -> NearestEvent:
    """The event nearest to a time, at or after it (``f``) or at or before it (``b``).

    Spec: server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
    """
    query = {"ts": str(ts), "dir": dir}
    path = build_path("_matrix", "federation", "v1", "timestamp_to_event", room_id, query=query)
    answer = await fetcher.fetch("GET", destination, path, timeout_s=QUERY_TIMEOUT_S, bytes_max=QUERY_BYTES_MAX)
    event_id, found_ts = answer.get("event_id"), answer.get("origin_server_ts")
    if not isinstance(event_id, str) or type(found_ts) is not int:
        raise Unreachable(f"{destination} answered without an event and its time")
    try:
        return NearestEvent(parse_event_id(event_id), found_ts)
    except Malformed as error:
        raise Unreachable(f"{destination} answered with what is no event id: {error}") from None


def _server_names(values: list[Any]) -> list[ServerName]:
    """Those that are server names, each once."""
    names: dict[ServerName, None] = {}
    for value in values:
        if len(names) == SERVERS_MAX:
            break
        if isinstance(value, str):
            try:
                names[parse_server_name(value)] = None
            except Malformed:
                continue
    return list(names)
