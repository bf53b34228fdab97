"""What waits to be sent to application services."""

from __future__ import annotations

from typing import NamedTuple

from kvschema.catalog.rooms import ShortRoomId, StreamPos
from kvschema.codec import COUNT, NOTHING, RAW, TEXT, U64, Key, Text, record
from kvschema.tree import Tree

APPSERVICE_ID_BYTES_MAX = 255
REGISTRATIONS_MAX = 100
"""Application services that are registered by command, beside those of the configuration."""
EVENTS_QUEUED_MAX = 100_000
"""Events that wait for an application service. Beyond it the oldest are given up."""


class AppServicePos(NamedTuple):
    appservice_id: str
    pos: StreamPos


class ByAppService(NamedTuple):
    appservice_id: str


class AppServiceSending(NamedTuple):
    """How sending to an application service stands."""

    txn_id: str
    """Of the transaction on its way. It is sent again as it was until it is acknowledged."""
    until: int
    """Queued events up to here are in it. 0 for one of ephemeral data alone."""
    failures: int = 0
    """In a row."""
    retry_ms: int = 0
    """Not before."""


APPSERVICEIDPOS_EVENT: Tree[AppServicePos, int] = Tree(
    "appserviceidpos_event",
    Key(AppServicePos, (Text(APPSERVICE_ID_BYTES_MAX), U64())),
    COUNT,
    since=1,
    doc="Events that wait to be sent to an application service, in order; in flight or not.",
    bound="about EVENTS_QUEUED_MAX for each application service; deleted when acknowledged",
)
APPSERVICEIDPOS_OUTSIDE: Tree[AppServicePos, bytes] = Tree(
    "appserviceidpos_outside",
    Key(AppServicePos, (Text(APPSERVICE_ID_BYTES_MAX), U64())),
    RAW,
    since=1,
    doc="Events among those that wait which are of rooms not held here, such as invites from elsewhere, as JSON.",
    bound="counted with appserviceidpos_event; deleted when acknowledged",
)
APPSERVICEID_SENDING: Tree[ByAppService, AppServiceSending] = Tree(
    "appserviceid_sending",
    Key(ByAppService, (Text(APPSERVICE_ID_BYTES_MAX),)),
    record(AppServiceSending),
    since=1,
    doc="What is on its way to an application service, and how often it failed.",
    bound="one row per application service",
)


APPSERVICEID_REGISTRATION: Tree[ByAppService, str] = Tree(
    "id_appserviceregistrations",
    Key(ByAppService, (Text(APPSERVICE_ID_BYTES_MAX),)),
    TEXT,
    since=1,
    doc="Registrations that administrators gave by command, in YAML, as they were given.",
    bound="REGISTRATIONS_MAX rows, made and removed by administrators",
)


class InstanceRoom(NamedTuple):
    instance_id: str
    """Of a network, as it is told to clients."""
    room: ShortRoomId


INSTANCE_ID_BYTES_MAX = 400
ROOMS_PER_INSTANCE_MAX = 10_000

INSTANCEIDROOMID: Tree[InstanceRoom, None] = Tree(
    "instanceidroomid",
    Key(InstanceRoom, (Text(INSTANCE_ID_BYTES_MAX), U64())),
    NOTHING,
    since=1,
    doc="Rooms listed in the directory of a network that an application service bridges to.",
    bound="ROOMS_PER_INSTANCE_MAX for each instance",
)

TREES = (
    APPSERVICEIDPOS_EVENT,
    APPSERVICEIDPOS_OUTSIDE,
    APPSERVICEID_SENDING,
    APPSERVICEID_REGISTRATION,
    INSTANCEIDROOMID,
)
