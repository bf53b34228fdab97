"""How this server gets its users into rooms of other servers, and out of them: the asking side of each handshake.

Answers are raw, with nothing checked but their shape. An answer of another shape than the spec's counts as no answer.

Spec: server-server-api/#joining-rooms, server-server-api/#inviting-to-a-room
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.matrix.ids import EventId, RoomId, ServerName, UserId
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.outbound.federation import Fetcher, build_path

TEMPLATE_TIMEOUT_S: Final = 20.0
SUBMIT_TIMEOUT_S: Final = 60.0
"""The other server stores the event before it answers."""
JOIN_TIMEOUT_S: Final = 300.0
"""Until the answer to a join begins. The state of a large room can take the other server minutes to put together."""
INVITE_TIMEOUT_S: Final = 30.0

TEMPLATE_BYTES_MAX: Final = 256 * 1024
ROOM_STATE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A glimpse of a room: eight events, and what servers add to them."""
JOIN_BYTES_MAX: Final = 512 * 1024 * 1024
"""The largest rooms have some 100,000 members, and 100 MiB of state with its auth chain."""

_FEDERATION: Final = ("_matrix", "federation")
_OLDEST_VERSIONS: Final = ("1", "2")
"""Of rooms that there were before one could tell another server of the version when inviting to them."""
_NO_VERSION: Final = "1"
"""Spec: server-server-api/#get_matrixfederationv1make_joinroomiduserid_response-200_room_version"""


@dataclass(frozen=True, slots=True)
class Template:
    """What another server proposes as an event."""

    room_version: str
    event: Mapping[str, Any]


async def fetch_template(
    fetcher: Fetcher, destination: ServerName, membership: str, room_id: RoomId, user_id: UserId
) -> Template:
    """What ``make_join``, ``make_knock`` or ``make_leave`` answers; ``membership`` is what comes after ``make_``.

    Raises `Unreachable` or `Refused`, as all functions here do.

    Spec: server-server-api/#get_matrixfederationv1make_joinroomiduserid
    """
    query = {} if membership == "leave" else {"ver": list(ROOM_VERSIONS)}
    path = build_path(*_FEDERATION, "v1", f"make_{membership}", room_id, user_id, query=query)
    answer = await fetcher.fetch("GET", destination, path, timeout_s=TEMPLATE_TIMEOUT_S, bytes_max=TEMPLATE_BYTES_MAX)
    event, room_version = answer.get("event"), answer.get("room_version", _NO_VERSION)
    if not isinstance(event, dict) or not isinstance(room_version, str):
        raise Unreachable(f"{destination} answered with no template")
    return Template(room_version, event)


def build_join_path(room_id: RoomId, event_id: EventId) -> str:
    """Where a join is handed in; its answer is too large to be fetched in one piece.

    Spec: server-server-api/#put_matrixfederationv2send_joinroomideventid
    """
    return build_path(*_FEDERATION, "v2", "send_join", room_id, event_id)


async def fetch_left(
    fetcher: Fetcher, destination: ServerName, room_id: RoomId, event_id: EventId, event: Mapping[str, Any]
) -> None:
    """Hand in a leave.

    Spec: server-server-api/#put_matrixfederationv2send_leaveroomideventid
    """
    path = build_path(*_FEDERATION, "v2", "send_leave", room_id, event_id)
    await fetcher.fetch(
        "PUT", destination, path, content=event, timeout_s=SUBMIT_TIMEOUT_S, bytes_max=TEMPLATE_BYTES_MAX
    )


async def fetch_knocked(
    fetcher: Fetcher, destination: ServerName, room_id: RoomId, event_id: EventId, event: Mapping[str, Any]
) -> list[Any]:
    """Hand in a knock; the answer tells of the room.

    Spec: server-server-api/#put_matrixfederationv1send_knockroomideventid
    """
    path = build_path(*_FEDERATION, "v1", "send_knock", room_id, event_id)
    answer = await fetcher.fetch(
        "PUT", destination, path, content=event, timeout_s=SUBMIT_TIMEOUT_S, bytes_max=ROOM_STATE_BYTES_MAX
    )
    shown = answer.get("knock_room_state")
    return shown if isinstance(shown, list) else []


async def fetch_invited(
    fetcher: Fetcher,
    destination: ServerName,
    room_id: RoomId,
    event_id: EventId,
    event: Mapping[str, Any],
    *,
    room_version: str,
    room_state: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Have an invite signed by the server of who is invited.

    Where the first operation is refused as such, a server may be too old for it, if the room is as well.

    Spec: server-server-api/#put_matrixfederationv2inviteroomideventid,
    server-server-api/#put_matrixfederationv1inviteroomideventid
    """
    shown = list(room_state)

    async def ask(version: str, content: Mapping[str, Any]) -> dict[str, Any]:
        path = build_path(*_FEDERATION, version, "invite", room_id, event_id)
        return await fetcher.fetch(
            "PUT", destination, path, content=content, timeout_s=INVITE_TIMEOUT_S, bytes_max=ROOM_STATE_BYTES_MAX
        )

    try:
        answer = await ask("v2", {"room_version": room_version, "event": event, "invite_room_state": shown})
    except Refused as error:
        if error.status not in (400, 404) or room_version not in _OLDEST_VERSIONS:
            raise
        answer = await ask("v1", {**event, "unsigned": {"invite_room_state": shown}})
    signed = answer.get("event")
    if not isinstance(signed, dict):
        raise Unreachable(f"{destination} answered with no invite")
    return signed


async def fetch_exchanged_invite(
    fetcher: Fetcher, destination: ServerName, room_id: RoomId, event: Mapping[str, Any]
) -> None:
    """Ask for the invite that a third-party invite has become, now that it is known whom it is for.

    Spec: server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
    """
    path = build_path(*_FEDERATION, "v1", "exchange_third_party_invite", room_id)
    await fetcher.fetch(
        "PUT", destination, path, content=event, timeout_s=SUBMIT_TIMEOUT_S, bytes_max=TEMPLATE_BYTES_MAX
    )
