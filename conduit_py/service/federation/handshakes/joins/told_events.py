"""The events that a server tells of a room, put in an order in which each comes after those it was allowed by.

Of an event only its id, its auth events and its place in the answer are held until its turn comes.

Spec: server-server-api/#authorization-rules
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from conduit_py.matrix.hashes import content_hash_matches
from conduit_py.matrix.ids import EventId, KeyId, Malformed, RoomId, ServerName, parse_key_id
from conduit_py.matrix.json_parts import Parts, Span
from conduit_py.matrix.pdu import Pdu, parse_pdu
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import ed25519_signatures, required_signers

SIGNATURES_MAX: Final = 4
"""Signatures of one server on one event that are looked at."""

Wanted = dict[ServerName, dict[KeyId, int]]


Told = tuple[Span, tuple[EventId, ...]]
"""An event whose signatures were right: where it stands, and its auth events. A plain tuple, because there may be a
million, and the garbage collector does not look at those again and again."""


@dataclass(slots=True)
class ToldEvents:
    """Events that are being looked at. Made from the parts of an answer."""

    parts: Parts
    room_id: RoomId
    version: RoomVersion
    events: dict[EventId, Told] = field(default_factory=dict)
    state: list[EventId] = field(default_factory=list)
    """Of the room's state, in the order in which it was told."""
    _ids: dict[EventId, EventId] = field(default_factory=dict)
    """Each id once: a few events allow most others."""

    def scan_spans(self) -> Iterator[tuple[Span, bool]]:
        """Where an event stands, and whether it is told as state. One that stands there twice is given once."""
        seen: set[int] = set()
        for name in ("state", "auth_chain"):
            for span in self.parts.get_entries(name):
                # Servers repeat the state in the auth chain, byte for byte.
                digest = hash(self.parts.text[span[0] : span[1]])
                if digest not in seen:
                    seen.add(digest)
                    yield span, name == "state"

    def find_wanted_keys(self, spans: Sequence[Span], now_ms: int) -> Wanted:
        """Whose keys are needed to check the events, and until when each must be valid: not in times to come."""
        wanted: Wanted = {}
        for span in spans:
            try:
                json = self.parts.parse(span)
                _note_wanted(json, self.version, wanted, now_ms)
            except (Malformed, KeyError, TypeError, AttributeError):
                continue  # It is no event, which is found when it is checked.
        return wanted

    def add(self, span: Span, pdu: Pdu, *, is_state: bool) -> None:
        """An event whose signatures are right."""
        auth_events = tuple(self._ids.setdefault(event_id, event_id) for event_id in pdu.auth_events)
        self.events.setdefault(self._ids.setdefault(pdu.event_id, pdu.event_id), (span, auth_events))
        if is_state:
            self.state.append(pdu.event_id)

    def order(self) -> list[EventId]:
        """Every event after its auth events, as far as these were told; the first one of the room before all.

        Since room version 12 no event names the first one among its auth events: the room is named after it.
        """
        create = "$" + self.room_id[1:]
        ordered: list[EventId] = []
        is_done: dict[EventId, bool] = {}
        for root in self.events:
            stack = [root]
            while stack:
                event_id = stack[-1]
                if event_id in is_done:
                    stack.pop()
                    if not is_done[event_id]:
                        is_done[event_id] = True
                        ordered.append(event_id)
                    continue
                is_done[event_id] = False
                auth_events = self.events[event_id][1]
                stack += (it for it in auth_events if it in self.events and it not in is_done)
        ordered.sort(key=lambda event_id: event_id != create)
        return ordered

    def build(self, event_id: EventId) -> Pdu:
        """The event again, as it was when its signatures were checked."""
        json = self.parts.parse(self.events[event_id][0])
        pdu = parse_pdu(json, self.version, event_id=event_id)
        if content_hash_matches(pdu.json, self.version):
            return pdu
        return parse_pdu(redact(pdu.json, self.version), self.version, event_id=event_id)


def _note_wanted(json: Mapping[str, Any], version: RoomVersion, wanted: Wanted, now_ms: int) -> None:
    sent_ts = json["origin_server_ts"]
    if type(sent_ts) is not int:
        return
    until = min(sent_ts, now_ms) if version.enforce_key_validity else 0
    for server_name in required_signers(json, version):
        for name, _ in islice(ed25519_signatures(json, server_name), SIGNATURES_MAX):
            of_server = wanted.setdefault(server_name, {})
            key_id = parse_key_id(name)
            of_server[key_id] = max(of_server.get(key_id, 0), until)
