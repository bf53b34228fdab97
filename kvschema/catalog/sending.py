"""What waits to be sent to other servers."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.federation import SERVER_NAME_BYTES_MAX, ByServer
from kvschema.catalog.rooms import ShortRoomId, StreamPos
from kvschema.codec import COUNT, U64, Key, Text, record
from kvschema.tree import Tree

EVENTS_QUEUED_MAX = 1000
"""Events that wait one by one for a server. Beyond it only the last one of each room is remembered."""
EDUS_QUEUED_MAX = 5000
"""EDUs that wait for a server, messages to devices among them. Beyond it the oldest are given up."""


class ServerPos(NamedTuple):
    server_name: str
    pos: StreamPos


class ServerRoom(NamedTuple):
    server_name: str
    room: ShortRoomId


class QueuedEdu(NamedTuple):
    json: bytes
    """Canonical JSON."""
    replaces: bytes = b""
    """An EDU of the same name that comes later takes the place of this one as long as it was not sent. Empty: none."""


class Sending(NamedTuple):
    """How sending to a server stands."""

    txn_id: str = ""
    """Of the transaction on its way, empty for none. It is sent again as it was until it is acknowledged."""
    event_until: int = 0
    """Queued events up to here are in it."""
    edu_until: int = 0
    failures: int = 0
    """In a row."""
    retry_ms: int = 0
    """Not before."""
    failing_since_ms: int = 0
    refusals: int = 0
    """How often the server said that the transaction itself is wrong."""


SERVERNAMEPOS_EVENT: Tree[ServerPos, int] = Tree(
    "servernameevent_data",
    Key(ServerPos, (Text(SERVER_NAME_BYTES_MAX), U64())),
    COUNT,
    since=1,
    doc="Events that wait to be sent to a server, in order; in flight or not.",
    bound="about EVENTS_QUEUED_MAX for each server; deleted when acknowledged",
)
SERVERNAMEROOM_EVENT: Tree[ServerRoom, int] = Tree(
    "servernameroom_lastevent",
    Key(ServerRoom, (Text(SERVER_NAME_BYTES_MAX), U64())),
    COUNT,
    since=1,
    doc="The last event of a room that a server is to be sent and that found no place in its queue.",
    bound="one row per server and room; they become queued events when the queue is empty",
)
SERVERNAMEPOS_EDU: Tree[ServerPos, QueuedEdu] = Tree(
    "servernameedu_data",
    Key(ServerPos, (Text(SERVER_NAME_BYTES_MAX), U64())),
    record(QueuedEdu),
    since=1,
    doc="EDUs that wait to be sent to a server, in order; in flight or not.",
    bound="about EDUS_QUEUED_MAX for each server; deleted when acknowledged",
)
SERVERNAME_SENDING: Tree[ByServer, Sending] = Tree(
    "servername_sending",
    Key(ByServer, (Text(SERVER_NAME_BYTES_MAX),)),
    record(Sending),
    since=1,
    doc="What is on its way to a server, and since when it fails. Conduit's servercurrentevent_data.",
    bound="one row per server that is being sent to or failed last",
)

TREES = (SERVERNAMEPOS_EVENT, SERVERNAMEROOM_EVENT, SERVERNAMEPOS_EDU, SERVERNAME_SENDING)
