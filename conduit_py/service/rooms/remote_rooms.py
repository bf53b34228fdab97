"""Rooms as other servers tell of them: of what they say, only what the spec knows and is of the right kind is believed.

Spec: server-server-api/#published-room-directory
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from conduit_py.matrix.ids import Malformed, RoomId, parse_room_id, parse_server_name
from conduit_py.outbound.errors import RemoteError
from conduit_py.outbound.federation import Fetcher
from conduit_py.outbound.federation_queries import fetch_public_rooms
from conduit_py.service.errors import InvalidParam
from conduit_py.service.remote_answers import build_refusal
from conduit_py.service.rooms.directory_query import DirectoryQuery

TOKEN_CHARS_MAX: Final = 2000
ALLOWED_ROOMS_MAX: Final = 100
CHILDREN_MAX: Final = 1000
"""Of one space, as far as another server's word is taken."""

_TEXTS: Final = (
    "avatar_url",
    "canonical_alias",
    "encryption",
    "join_rule",
    "name",
    "room_type",
    "room_version",
    "topic",
)
_TEXT_BYTES_MAX: Final = 16 * 1024


async def fetch_remote_rooms(fetcher: Fetcher, query: DirectoryQuery, *, limit: int) -> dict[str, Any]:
    """One page of another server's directory.

    Raises ``InvalidParam``, ``Forbidden``, ``NotFound``, and 502 where the server does not answer.

    Spec: client-server-api/#get_matrixclientv3publicrooms
    """
    try:
        server_name = parse_server_name(query.server or "")
    except Malformed as error:
        raise InvalidParam(str(error)) from None
    try:
        answer = await fetch_public_rooms(fetcher, server_name, _build_question(query, limit))
    except RemoteError as error:
        raise build_refusal(error, server_name) from None
    summaries = (parse_summary(entry) for entry in answer["chunk"][:limit])
    told: dict[str, Any] = {"chunk": [summary for summary in summaries if summary is not None]}
    for name in ("next_batch", "prev_batch"):
        token = answer.get(name)
        if isinstance(token, str) and len(token) <= TOKEN_CHARS_MAX:
            told[name] = token
    estimate = answer.get("total_room_count_estimate")
    if type(estimate) is int and estimate >= 0:
        told["total_room_count_estimate"] = estimate
    return told


def _build_question(query: DirectoryQuery, limit: int) -> dict[str, Any]:
    asked: dict[str, Any] = {"limit": limit}
    if query.since is not None:
        asked["since"] = query.since
    if query.network is not None:
        asked["third_party_instance_id"] = query.network
    condition: dict[str, Any] = {}
    if query.search_term:
        condition["generic_search_term"] = query.search_term
    if query.room_types is not None:
        condition["room_types"] = list(query.room_types)
    if condition:
        asked["filter"] = condition
    return asked


def parse_summary(raw: Any) -> dict[str, Any] | None:
    """A room of a directory or a space; None for what is none.

    Spec: client-server-api/#get_matrixclientv1room_summaryroomidoralias
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("room_id"), str):
        return None
    try:
        room_id = parse_room_id(raw["room_id"])
    except Malformed:
        return None
    joined = raw.get("num_joined_members")
    summary: dict[str, Any] = {
        "room_id": room_id,
        "num_joined_members": joined if type(joined) is int and joined >= 0 else 0,
        "world_readable": raw.get("world_readable") is True,
        "guest_can_join": raw.get("guest_can_join") is True,
    }
    for name in _TEXTS:
        value = raw.get(name)
        if isinstance(value, str) and len(value) <= _TEXT_BYTES_MAX:
            summary[name] = value
    if not summary.get("avatar_url", "mxc://").startswith("mxc://"):
        del summary["avatar_url"]
    if not summary.get("canonical_alias", "#").startswith("#"):
        del summary["canonical_alias"]
    allowed = parse_allowed_rooms(raw)
    if allowed:
        summary["allowed_room_ids"] = allowed
    return summary


def parse_allowed_rooms(raw: Mapping[str, Any]) -> list[RoomId]:
    """The rooms whose members may join a restricted room, as another server says."""
    allowed = raw.get("allowed_room_ids")
    entries = allowed[:ALLOWED_ROOMS_MAX] if isinstance(allowed, list) else ()
    return [RoomId(entry) for entry in entries if isinstance(entry, str) and entry.startswith("!")]
