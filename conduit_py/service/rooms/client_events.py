"""Events as one reader gets them: JSON bytes, put together from the stored fragments.

Only ``unsigned`` is made for the reader; the rest of an event is passed on as it is stored. Decoded are redactions,
whose ``redacts`` old and new clients look for in different places, and what a filter wants only parts of.

Spec: client-server-api/#room-event-format
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import orjson

from conduit_py.data import row_fields, short_ids, timeline, transactions
from conduit_py.data.row_fields import Facts
from conduit_py.matrix.canonical_json import encode_canonical_json, parse_json
from conduit_py.matrix.filters import EventFormat, project
from conduit_py.matrix.ids import RoomId
from conduit_py.matrix.property_path import Path
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.erased import Erasure
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Snapshot
from kvschema.catalog.rooms import ShortEventId
from kvschema.catalog.timeline import NO_ROOM_ID, EventRow

REDACTION = "m.room.redaction"
MEMBER = "m.room.member"


class GetRelations(Protocol):
    """What is bundled with events of what relates to them.

    Spec: client-server-api/#aggregations-of-child-events
    """

    def __call__(self, events: ClientEvents, event: ShortEventId, row: EventRow, room_id: RoomId | None, /) -> bytes:
        """``m.relations`` of an event as a JSON object, empty for none."""


class ClientEvents:
    """Renders events for one requester in one snapshot."""

    def __init__(
        self,
        snapshot: Snapshot,
        requester: Requester,
        visibility: Visibility,
        *,
        now_ms: int,
        event_format: EventFormat = "client",
        event_fields: tuple[Path, ...] | None = None,
        get_relations: GetRelations | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.requester = requester
        self.visibility = visibility
        self._now_ms = now_ms
        self._event_format = event_format
        self._event_fields = event_fields
        self._get_relations = get_relations
        self._erasure = Erasure(snapshot, requester, visibility)
        self._is_whole = event_format == "client" and event_fields is None
        """Are events as they are stored, but for ``unsigned``?"""
        self._passes_on = self._is_whole and not self._erasure.is_any
        self._last_room: tuple[RoomId | None, bytes] = (None, b"")

    def render(self, event: ShortEventId, row: EventRow, *, room_id: RoomId | None) -> bytes:
        """One event. ``room_id`` is None where the place in the reply tells the room, as in /sync.

        Whether the requester may see it is for the caller to ask.
        """
        if self._passes_on:
            facts = row_fields.get_facts(self.snapshot, event)
            if facts.is_plain:
                return self._pass_on(event, facts, room_id, self.visibility.membership_at(row))
        json = self.render_bundled(event, row, room_id=room_id, get_relations=self._get_relations)
        return self._project(json)

    def render_at(self, event: ShortEventId, facts: Facts, membership: str, *, room_id: RoomId | None) -> bytes:
        """``render`` where it is known what the requester's membership was right after the event."""
        if self._passes_on and facts.is_plain:
            return self._pass_on(event, facts, room_id, membership)
        return self.render(event, facts.row, room_id=room_id)

    def _pass_on(self, event: ShortEventId, facts: Facts, room_id: RoomId | None, membership: str) -> bytes:
        """What ``render_bundled`` makes of an event that is passed on as it is stored, which most are."""
        own = render_transaction_id(self.snapshot, self.requester, event) if self._is_own(facts.sender) else b""
        return b'{%s%s%s,"unsigned":{"age":%d,"membership":"%s"%s}}' % (
            facts.row.client,
            facts.id_json,
            b"" if room_id is None else self._room_json(room_id),
            self._now_ms - facts.origin_server_ts,
            membership.encode(),
            own,
        )

    def _room_json(self, room_id: RoomId) -> bytes:
        known, json = self._last_room
        if known != room_id:
            json = b',"room_id":' + orjson.dumps(room_id)
            self._last_room = (room_id, json)
        return json

    def render_state(self, events: Iterable[Facts], *, room_id: RoomId | None) -> list[bytes]:
        """Entries of a state that is told as a whole: without what it takes a look into history to say.

        Each state event has a state of its own, so the reader's membership and the right to see what was replaced would
        cost more than all the rest, and nobody asks for it in a list of state.
        """
        where = b"" if room_id is None else self._room_json(room_id)
        now_ms, is_whole = self._now_ms, self._is_whole
        return [
            b'{%s%s%s,"unsigned":{"age":%d%s}}'
            % (facts.row.client, facts.id_json, where, now_ms - facts.origin_server_ts, facts.replaces_json)
            if is_whole and not facts.row.redacted_by
            else self._render_odd_state(facts.row, room_id)
            for facts in events
        ]

    def _render_odd_state(self, row: EventRow, room_id: RoomId | None) -> bytes:
        parts = [b'"age":%d' % (self._now_ms - row_fields.get_origin_server_ts(row))]
        if row.replaces:
            replaced = timeline.require_row(self.snapshot, row.replaces)
            parts.append(b'"replaces_state":' + orjson.dumps(replaced.event_id))
        if row.redacted_by:
            parts.append(b'"redacted_because":' + self._redaction(row.redacted_by))
        return self._project(self._assemble(row, b"{" + b",".join(parts) + b"}", room_id))

    def _project(self, json: bytes) -> bytes:
        if self._event_fields is None:
            return json
        return encode_canonical_json(project(parse_json(json), self._event_fields), strict=False)

    def render_bundled(
        self,
        event: ShortEventId,
        row: EventRow,
        *,
        room_id: RoomId | None,
        get_relations: GetRelations | None = None,
    ) -> bytes:
        """One event with all its fields, as it is bundled with another; nothing is bundled with it unless asked for."""
        row = _with_redacts(self._erasure.apply(row))
        unsigned = self._unsigned(event, row)
        relations = b"" if get_relations is None else get_relations(self, event, row, room_id)
        if relations:
            unsigned = unsigned[:-1] + b',"m.relations":' + relations + b"}"
        return self._assemble(row, unsigned, room_id)

    def _assemble(self, row: EventRow, unsigned: bytes, room_id: RoomId | None) -> bytes:
        if self._event_format == "federation":
            return self._federation_json(row, unsigned)
        return timeline.client_json(row, unsigned, room_id=room_id)

    def _federation_json(self, row: EventRow, unsigned: bytes) -> bytes:
        """The event as other servers sent it, and its id, which clients cannot compute.

        Spec: client-server-api/#post_matrixclientv3useruseridfilter_request_filter
        """
        parts = [row.client, row.federation, b'"event_id":' + orjson.dumps(row.event_id)]
        if not row.flags & NO_ROOM_ID:
            room_id = short_ids.get_room_record(self.snapshot, row.room).room_id
            parts.append(b'"room_id":' + orjson.dumps(room_id))
        return b"{" + b",".join(parts) + b',"unsigned":' + unsigned + b"}"

    def _unsigned(self, event: ShortEventId, row: EventRow) -> bytes:
        """Spec: client-server-api/#definition-clientevent_unsigneddata"""
        parts = [
            b'"age":%d' % (self._now_ms - row_fields.get_origin_server_ts(row)),
            b'"membership":' + orjson.dumps(self.visibility.membership_at(row)),
        ]
        if row.replaces:
            self._add_replaced(parts, row.replaces)
        if row.redacted_by:
            parts.append(b'"redacted_because":' + self._redaction(row.redacted_by))
        own = b""
        if self._is_own(row_fields.get_sender(row)):
            own = render_transaction_id(self.snapshot, self.requester, event)
        return b"{" + b",".join(parts) + own + b"}"

    def _add_replaced(self, parts: list[bytes], replaced: ShortEventId) -> None:
        row = timeline.require_row(self.snapshot, replaced)
        # Where somebody was invited and no more, the invite is told in /sync and never in the timeline.
        if self.visibility.may_see(row) or self._is_own_membership(row):
            parts.append(b'"prev_content":' + row_fields.get_content_json(self._erasure.apply(row)))
        parts.append(b'"replaces_state":' + orjson.dumps(row.event_id))

    def _is_own_membership(self, row: EventRow) -> bool:
        if not row_fields.is_of_type(row, MEMBER):
            return False
        state_key: object = timeline.client_fields(row).get("state_key")
        return state_key == self.requester.user_id

    def _redaction(self, redaction: ShortEventId) -> bytes:
        row = _with_redacts(timeline.require_row(self.snapshot, redaction))
        age = b'{"age":%d}' % (self._now_ms - row_fields.get_origin_server_ts(row))
        return timeline.client_json(row, age, room_id=None)

    def _is_own(self, sender: str) -> bool:
        return sender == self.requester.user_id


def render_transaction_id(snapshot: Snapshot, requester: Requester, event: ShortEventId) -> bytes:
    """``,"transaction_id":"..."`` for the device that sent the event, empty for all others.

    Spec: client-server-api/#transaction-identifiers
    """
    sent = transactions.get_of_event(snapshot, event)
    if sent is None or (sent.user, sent.device_id) != (requester.user, requester.device_id or ""):
        return b""
    return b',"transaction_id":' + orjson.dumps(sent.txn_id)


def _with_redacts(row: EventRow) -> EventRow:
    """A redaction that says what it redacts in both places, the old and the new: clients look in either.

    Spec: rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
    """
    if not row_fields.is_of_type(row, REDACTION):
        return row
    fields = timeline.client_fields(row)
    content = fields["content"]
    redacts = fields.get("redacts", content.get("redacts"))
    if not isinstance(redacts, str):
        return row
    client, _ = timeline.split_pdu(fields | {"redacts": redacts, "content": content | {"redacts": redacts}})
    return row._replace(client=client)
