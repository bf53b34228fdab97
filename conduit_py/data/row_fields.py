"""Single fields of a stored event, found in its bytes without decoding them.

``EventRow.client`` holds its keys in the order of ``timeline.CLIENT_KEYS``. Behind the content there are only a number
and strings (and a ``redacts`` of any form in what is no redaction), so a key is found by searching from the end: within
a JSON string it would stand between escaped quotes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import orjson

from conduit_py.data import relations
from conduit_py.data.state_at import HIDDEN
from conduit_py.data.timeline import client_fields, require_row
from conduit_py.matrix.canonical_json import encode_canonical_json, load_json
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import STATE, EventRow

_CONTENT = b'"content":'
_REDACTS = b'"redacts":'
_TS = b'"origin_server_ts":'
_REDACTION = b'"type":"m.room.redaction"'
DUMMY = "org.matrix.dummy_event"
"""Type of what servers send to tie up the ends of a room."""
_DUMMY = f'"type":"{DUMMY}"'.encode()
_FACTS_BYTES = 650
"""What an event with its facts takes beside the strings."""


class Facts(NamedTuple):
    """An event, and what every reader of it is told alike: found once and kept in the cache."""

    row: EventRow
    sender: str
    origin_server_ts: int
    id_json: bytes
    """``,"event_id":"..."``"""
    is_plain: bool
    """Is it passed on as it is stored: neither a redaction nor with anything bundled, replaced or redacted?"""
    replaces_json: bytes
    """``,"replaces_state":"..."``, empty where nothing was replaced."""
    is_hidden: bool
    """Is it an event that no client is ever shown?"""


def get_facts(snapshot: Snapshot, event: ShortEventId) -> Facts:
    """Of an event that another row refers to."""
    cached: Facts | None = snapshot.cache.get(("facts", event), snapshot.pos)
    return _read_facts(snapshot, event) if cached is None else cached


def get_all_facts(snapshot: Snapshot, events: Sequence[ShortEventId]) -> list[Facts]:
    """The same of several, in their order."""
    cached: list[Facts | None] = snapshot.cache.get_all([("facts", event) for event in events], snapshot.pos)
    return [
        _read_facts(snapshot, event) if facts is None else facts for event, facts in zip(events, cached, strict=True)
    ]


def _read_facts(snapshot: Snapshot, event: ShortEventId) -> Facts:
    row = require_row(snapshot, event)
    facts = Facts(
        row,
        get_sender(row),
        get_origin_server_ts(row),
        b',"event_id":' + orjson.dumps(row.event_id),
        not (row.replaces or row.redacted_by or row.client.endswith(_REDACTION) or _has_bundled(snapshot, row)),
        b',"replaces_state":' + orjson.dumps(require_row(snapshot, row.replaces).event_id) if row.replaces else b"",
        is_hidden(row),
    )
    # The row is in the cache as well, as long as it is asked for by itself.
    strings = (facts.sender, facts.id_json, facts.replaces_json, row.client, row.federation)
    size = _FACTS_BYTES + sum(len(string) for string in strings)
    snapshot.cache.put(("facts", event), facts, size, snapshot.pos)
    return facts


def _has_bundled(snapshot: Snapshot, row: EventRow) -> bool:
    return not row.flags & STATE and relations.has_bundled(snapshot, row.room, row.event_id)


def is_hidden(row: EventRow) -> bool:
    """Is it an event that no client is ever shown?"""
    return bool(row.flags & HIDDEN) or row.client.endswith(_DUMMY)


def get_sender(row: EventRow) -> str:
    return _get_string(row, b'"sender":')


def get_type(row: EventRow) -> str:
    return _get_string(row, b'"type":')


def is_of_type(row: EventRow, type: str) -> bool:
    """For types that need no escapes in JSON, such as all of the spec's."""
    return row.client.endswith(b'"type":"%s"' % type.encode())


def get_origin_server_ts(row: EventRow) -> int:
    """When the sender's server says it was sent, in ms."""
    client = row.client
    if _REDACTS in client:
        return cast("int", client_fields(row)["origin_server_ts"])
    start = client.rindex(_TS) + len(_TS)
    return int(client[start : client.index(b",", start)])


def get_depth(row: EventRow) -> int:
    """How far from the first event of its room it says that it is."""
    return cast("int", load_json(b"{" + row.federation + b"}")["depth"])


def get_content_json(row: EventRow) -> bytes:
    client = row.client
    if _REDACTS in client:
        return encode_canonical_json(client_fields(row)["content"], strict=False)
    return client[len(_CONTENT) : client.rindex(_TS) - 1]


def has_url(row: EventRow) -> bool:
    """Whether the content has the key ``url``: what ``contains_url`` of a filter asks."""
    return b'"url":' in row.client and "url" in client_fields(row)["content"]


def _get_string(row: EventRow, key: bytes) -> str:
    client = row.client
    start = client.rindex(key) + len(key) + 1
    raw = client[start : client.index(b'"', start)]
    if b"\\" in raw:
        return cast("str", client_fields(row)[orjson.loads(key[:-1])])
    return raw.decode()
