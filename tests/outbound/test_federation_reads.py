"""What servers are asked for events, names and spaces, and which answers count as none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import pytest
import trio

from conduit_py.matrix.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.federation_events import (
    PAGE_EVENTS_MAX,
    FullState,
    StateIds,
    fetch_backfill,
    fetch_event,
    fetch_event_auth,
    fetch_missing_events,
    fetch_state,
    fetch_state_ids,
)
from conduit_py.outbound.federation_queries import (
    SERVERS_MAX,
    Hierarchy,
    NearestEvent,
    Resolved,
    fetch_directory,
    fetch_hierarchy,
    fetch_profile,
    fetch_public_rooms,
    fetch_timestamp_to_event,
)
from tests.rig.remote import with_texts

TWO, ROOM, EVENT = ServerName("two.test"), RoomId("!r:two.test"), EventId("$e")
V1 = "/_matrix/federation/v1"


class Remote:
    """Answers every request with the same, and remembers what it was asked."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, Mapping[str, Any] | None]] = []

    async def fetch(
        self,
        method: str,
        destination: ServerName,
        path: str,
        *,
        content: Mapping[str, Any] | None = None,
        timeout_s: float = 0,
        bytes_max: int = 0,
        is_signed: bool = True,
        texts_of: Collection[str] = (),
    ) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        assert destination == TWO
        assert 0 < timeout_s <= 120
        assert bytes_max > 0
        assert is_signed
        self.asked.append((method, path, content))
        return with_texts(self.answer, texts_of)


Fetch = Callable[[Remote], Awaitable[Any]]

FETCHES: dict[str, tuple[Fetch, tuple[str, str, Any], dict[str, Any], Any]] = {
    "event": (
        lambda remote: fetch_event(remote, TWO, EventId("$a/b")),
        ("GET", f"{V1}/event/%24a%2Fb", None),
        {"origin": TWO, "origin_server_ts": 1, "pdus": [{"a": 1}]},
        b'{"a": 1}',
    ),
    "state_ids": (
        lambda remote: fetch_state_ids(remote, TWO, ROOM, EVENT),
        ("GET", f"{V1}/state_ids/%21r%3Atwo.test?event_id=%24e", None),
        {"pdu_ids": ["$s"], "auth_chain_ids": ["$c"]},
        StateIds([EventId("$s")], [EventId("$c")]),
    ),
    "state": (
        lambda remote: fetch_state(remote, TWO, ROOM, EVENT),
        ("GET", f"{V1}/state/%21r%3Atwo.test?event_id=%24e", None),
        {"pdus": [{"a": 1}, 2], "auth_chain": []},
        FullState([b'{"a": 1}'], []),
    ),
    "event_auth": (
        lambda remote: fetch_event_auth(remote, TWO, ROOM, EVENT),
        ("GET", f"{V1}/event_auth/%21r%3Atwo.test/%24e", None),
        {"auth_chain": [{"a": 1}, None]},
        [b'{"a": 1}'],
    ),
    "backfill": (
        lambda remote: fetch_backfill(remote, TWO, ROOM, [EVENT, EventId("$f")], limit=20),
        ("GET", f"{V1}/backfill/%21r%3Atwo.test?v=%24e&v=%24f&limit=20", None),
        {"pdus": [{"a": 1}] * (PAGE_EVENTS_MAX + 1)},
        [b'{"a": 1}'] * PAGE_EVENTS_MAX,
    ),
    "missing_events": (
        lambda remote: fetch_missing_events(
            remote, TWO, ROOM, earliest_events=[EVENT], latest_events=[EventId("$f")], limit=9, min_depth=3
        ),
        (
            "POST",
            f"{V1}/get_missing_events/%21r%3Atwo.test",
            {"earliest_events": ["$e"], "latest_events": ["$f"], "limit": 9, "min_depth": 3},
        ),
        {"events": [{"a": 1}]},
        [b'{"a": 1}'],
    ),
    "directory": (
        lambda remote: fetch_directory(remote, TWO, RoomAlias("#a:two.test")),
        ("GET", f"{V1}/query/directory?room_alias=%23a%3Atwo.test", None),
        {"room_id": ROOM, "servers": ["two.test", 1, "no name", "two.test", *(f"s{n}.test" for n in range(600))]},
        Resolved(ROOM, [TWO, *(ServerName(f"s{n}.test") for n in range(SERVERS_MAX - 1))]),
    ),
    "profile": (
        lambda remote: fetch_profile(remote, TWO, UserId("@b:two.test")),
        ("GET", f"{V1}/query/profile?user_id=%40b%3Atwo.test", None),
        {"displayname": "Bob"},
        {"displayname": "Bob"},
    ),
    "profile_field": (
        lambda remote: fetch_profile(remote, TWO, UserId("@b:two.test"), field="m.tz"),
        ("GET", f"{V1}/query/profile?user_id=%40b%3Atwo.test&field=m.tz", None),
        {},
        {},
    ),
    "public_rooms": (
        lambda remote: fetch_public_rooms(remote, TWO, {"limit": 3}),
        ("POST", f"{V1}/publicRooms", {"limit": 3}),
        {"chunk": []},
        {"chunk": []},
    ),
    "hierarchy": (
        lambda remote: fetch_hierarchy(remote, TWO, ROOM, suggested_only=True),
        ("GET", f"{V1}/hierarchy/%21r%3Atwo.test?suggested_only=true", None),
        {"room": {"room_id": ROOM}, "children": [{"room_id": "!c:two.test"}, 1], "inaccessible_children": ["!d", 2]},
        Hierarchy({"room_id": ROOM}, [{"room_id": "!c:two.test"}], ["!d"]),
    ),
    "timestamp_to_event": (
        lambda remote: fetch_timestamp_to_event(remote, TWO, ROOM, ts=5, dir="b"),
        ("GET", f"{V1}/timestamp_to_event/%21r%3Atwo.test?ts=5&dir=b", None),
        {"event_id": "$e", "origin_server_ts": 4},
        NearestEvent(EVENT, 4),
    ),
}


@pytest.mark.parametrize("name", FETCHES)
async def test_server_is_asked_and_its_answer_is_read(name: str) -> None:
    fetch, asked, answer, expected = FETCHES[name]
    remote = Remote(answer)
    assert await fetch(remote) == expected
    assert remote.asked == [asked]


MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("event", {"pdus": []}),
    ("event", {"pdus": {"0": {}}}),
    ("event", {"pdus": ["$e"]}),
    ("event", {}),
    ("state_ids", {"pdu_ids": ["$s"]}),
    ("state_ids", {"pdu_ids": ["s"], "auth_chain_ids": []}),
    ("state_ids", {"pdu_ids": [], "auth_chain_ids": [1]}),
    ("state", {"pdus": []}),
    ("state", {"pdus": None, "auth_chain": []}),
    ("event_auth", {}),
    ("backfill", {"pdus": "x"}),
    ("missing_events", {"events": 1}),
    ("directory", {"servers": []}),
    ("directory", {"room_id": "r", "servers": []}),
    ("directory", {"room_id": ROOM}),
    ("public_rooms", {"chunk": {}}),
    ("hierarchy", {"room": []}),
    ("hierarchy", {"room": {"room_id": "!other:two.test"}}),
    ("hierarchy", {"room": {"room_id": ROOM}, "children": 1}),
    ("hierarchy", {"room": {"room_id": ROOM}, "inaccessible_children": 1}),
    ("timestamp_to_event", {"event_id": "$e", "origin_server_ts": "4"}),
    ("timestamp_to_event", {"event_id": "$e", "origin_server_ts": True}),
    ("timestamp_to_event", {"event_id": "e", "origin_server_ts": 4}),
]


@pytest.mark.parametrize(("name", "answer"), MALFORMED)
async def test_answer_of_another_shape_is_none(name: str, answer: dict[str, Any]) -> None:
    with pytest.raises(Unreachable, match=r"two\.test answered"):
        await FETCHES[name][0](Remote(answer))
