"""Events of rooms, as other servers hold them: as they came, with nothing checked but the shape of the answer around
them.

Whoever uses one parses it, and checks its format, its signatures and its hash. An answer of another shape than the
spec's counts as no answer. Entries of a list that are neither objects nor lists are left out.

Spec: server-server-api/#retrieving-events
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from conduit_py.matrix.ids import EventId, Malformed, RoomId, ServerName, parse_event_id
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.federation import Fetcher, build_path

EVENT_TIMEOUT_S: Final = 15.0
EVENTS_TIMEOUT_S: Final = 30.0
"""For a page of events that the other server has in store."""
STATE_TIMEOUT_S: Final = 120.0
"""The state of a large room at an old event can take the other server a minute to put together."""

EVENT_BYTES_MAX: Final = 256 * 1024
"""An event of at most 64 KiB, with ``unsigned`` and what stands around it."""
EVENTS_BYTES_MAX: Final = 16 * 1024 * 1024
"""For a page. A hundred events of the largest size are 6.4 MiB."""
STATE_IDS_BYTES_MAX: Final = 32 * 1024 * 1024
"""Half a million event ids."""
STATE_BYTES_MAX: Final = 128 * 1024 * 1024
"""A room with 100,000 members has about 80 MiB of state with its auth chain."""

PAGE_EVENTS_MAX: Final = 500
"""Events taken from one page, whatever was asked for."""

TURN: Final = 2000
"""Event ids that are looked at before others have their turn."""


@dataclass(frozen=True, slots=True)
class StateIds:
    """A room's state before an event, by event ids."""

    pdu_ids: list[EventId]
    auth_chain_ids: list[EventId]


@dataclass(frozen=True, slots=True)
class FullState:
    """A room's state before an event."""

    pdus: Sequence[bytes]
    auth_chain: Sequence[bytes]


async def fetch_event(fetcher: Fetcher, destination: ServerName, event_id: EventId) -> bytes:
    """One event; that it is the one that was asked for is not checked.

    Raises `Unreachable` or `Refused`, as all functions here do.

    Spec: server-server-api/#get_matrixfederationv1eventeventid
    """
    path = build_path("_matrix", "federation", "v1", "event", event_id)
    answer = await fetcher.fetch(
        "GET", destination, path, timeout_s=EVENT_TIMEOUT_S, bytes_max=EVENT_BYTES_MAX, texts_of=["pdus"]
    )
    pdus = _events(destination, answer, "pdus")
    if not pdus:
        raise Unreachable(f"{destination} answered with no event")
    return pdus[0]


async def fetch_state_ids(fetcher: Fetcher, destination: ServerName, room_id: RoomId, event_id: EventId) -> StateIds:
    """The state of a room before an event, and the auth chain of that state, as event ids.

    Spec: server-server-api/#get_matrixfederationv1state_idsroomid
    """
    answer = await fetcher.fetch(
        "GET",
        destination,
        build_path("_matrix", "federation", "v1", "state_ids", room_id, query={"event_id": event_id}),
        timeout_s=STATE_TIMEOUT_S,
        bytes_max=STATE_IDS_BYTES_MAX,
    )
    return StateIds(
        await _event_ids(destination, answer, "pdu_ids"), await _event_ids(destination, answer, "auth_chain_ids")
    )


async def fetch_state(fetcher: Fetcher, destination: ServerName, room_id: RoomId, event_id: EventId) -> FullState:
    """The same with the events. Only for where most of them are not held yet.

    Spec: server-server-api/#get_matrixfederationv1stateroomid
    """
    answer = await fetcher.fetch(
        "GET",
        destination,
        build_path("_matrix", "federation", "v1", "state", room_id, query={"event_id": event_id}),
        timeout_s=STATE_TIMEOUT_S,
        bytes_max=STATE_BYTES_MAX,
        texts_of=["pdus", "auth_chain"],
    )
    return FullState(_events(destination, answer, "pdus"), _events(destination, answer, "auth_chain"))


async def fetch_event_auth(
    fetcher: Fetcher, destination: ServerName, room_id: RoomId, event_id: EventId
) -> Sequence[bytes]:
    """The auth chain of an event.

    Spec: server-server-api/#get_matrixfederationv1event_authroomideventid
    """
    answer = await fetcher.fetch(
        "GET",
        destination,
        build_path("_matrix", "federation", "v1", "event_auth", room_id, event_id),
        timeout_s=STATE_TIMEOUT_S,
        bytes_max=EVENTS_BYTES_MAX,
        texts_of=["auth_chain"],
    )
    return _events(destination, answer, "auth_chain")


async def fetch_backfill(
    fetcher: Fetcher, destination: ServerName, room_id: RoomId, events: Sequence[EventId], *, limit: int
) -> Sequence[bytes]:
    """``events`` and those before them, ``limit`` in all, in whatever order.

    Spec: server-server-api/#get_matrixfederationv1backfillroomid
    """
    query = {"v": events, "limit": str(limit)}
    answer = await fetcher.fetch(
        "GET",
        destination,
        build_path("_matrix", "federation", "v1", "backfill", room_id, query=query),
        timeout_s=EVENTS_TIMEOUT_S,
        bytes_max=EVENTS_BYTES_MAX,
        texts_of=["pdus"],
    )
    return _events(destination, answer, "pdus")[:PAGE_EVENTS_MAX]


async def fetch_missing_events(
    fetcher: Fetcher,
    destination: ServerName,
    room_id: RoomId,
    *,
    earliest_events: Sequence[EventId],
    latest_events: Sequence[EventId],
    limit: int,
    min_depth: int = 0,
) -> Sequence[bytes]:
    """What lies between ``earliest_events``, which are held, and ``latest_events``; neither of them, oldest first.

    Spec: server-server-api/#post_matrixfederationv1get_missing_eventsroomid
    """
    answer = await fetcher.fetch(
        "POST",
        destination,
        build_path("_matrix", "federation", "v1", "get_missing_events", room_id),
        content={
            "earliest_events": list(earliest_events),
            "latest_events": list(latest_events),
            "limit": limit,
            "min_depth": min_depth,
        },
        timeout_s=EVENTS_TIMEOUT_S,
        bytes_max=EVENTS_BYTES_MAX,
        texts_of=["events"],
    )
    return _events(destination, answer, "events")[:PAGE_EVENTS_MAX]


def _list(destination: ServerName, answer: dict[str, Any], key: str) -> list[Any]:
    value = answer.get(key)
    if not isinstance(value, list):
        raise Unreachable(f"{destination} answered without a list of {key}")
    return value


def _events(destination: ServerName, answer: dict[str, Any], key: str) -> Sequence[bytes]:
    value = answer.get(key)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise Unreachable(f"{destination} answered without a list of {key}")
    return value


async def _event_ids(destination: ServerName, answer: dict[str, Any], key: str) -> list[EventId]:
    event_ids: list[EventId] = []
    try:
        for number, entry in enumerate(_list(destination, answer, key)):
            if number % TURN == 0:
                await trio.lowlevel.checkpoint()
            event_ids.append(parse_event_id(_text(entry)))
    except Malformed as error:
        raise Unreachable(f"{destination} answered with what is no event id: {error}") from None
    return event_ids


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Malformed("it is no string")
    return value
