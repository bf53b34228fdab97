"""What is searched for in the room directory, by clients and by other servers."""

from __future__ import annotations

from conduit_py.api.fields import Body, get_field
from conduit_py.service.errors import BadJson, InvalidParam
from conduit_py.service.rooms.directory_query import DirectoryQuery


def parse_directory_query(body: Body, *, server: str | None = None) -> DirectoryQuery:
    """The body of a search in the directory. Raises ``BadJson`` and ``InvalidParam``."""
    condition = get_field(body, "filter", dict) or {}
    network = get_field(body, "third_party_instance_id", str)
    has_all_networks = bool(get_field(body, "include_all_networks", bool))
    if network is not None and has_all_networks:
        raise InvalidParam("third_party_instance_id can only be used if include_all_networks is false")
    return DirectoryQuery(
        limit=get_field(body, "limit", int),
        since=get_field(body, "since", str) or None,
        search_term=get_field(condition, "generic_search_term", str),
        room_types=_parse_room_types(get_field(condition, "room_types", list)),
        server=server,
        network=network,
        has_all_networks=has_all_networks,
    )


def _parse_room_types(types: list[object] | None) -> tuple[str | None, ...] | None:
    if types is None:
        return None
    if not all(entry is None or isinstance(entry, str) for entry in types):
        raise BadJson("filter.room_types must be a list of strings and null")
    return tuple(entry for entry in types if entry is None or isinstance(entry, str))
