"""Events of users who asked to be erased: whoever joins a room later gets them redacted.

Who was in the room at the event, or when its sender was erased, has seen it and goes on seeing it. Nothing is redacted
in the store.

Spec: client-server-api/#post_matrixclientv3accountdeactivate
"""

from __future__ import annotations

from conduit_py.data import deactivated, members, row_fields, short_ids, timeline
from conduit_py.matrix.canonical_json import parse_json
from conduit_py.matrix.ids import UserId
from conduit_py.matrix.redaction import redact
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.visibility import Visibility
from conduit_py.storage.database import Snapshot
from kvschema.catalog.members import JOIN
from kvschema.catalog.rooms import ShortRoomId
from kvschema.catalog.timeline import EventRow


class Erasure:
    """What one requester gets to see of the events of erased users, in one snapshot."""

    def __init__(self, snapshot: Snapshot, requester: Requester, visibility: Visibility) -> None:
        self._snapshot = snapshot
        self._requester = requester
        self._visibility = visibility
        self._erased = deactivated.get_erased(snapshot)

    @property
    def is_any(self) -> bool:
        """Is anybody erased?"""
        return bool(self._erased)

    def apply(self, row: EventRow) -> EventRow:
        """The event itself or, where its sender is erased for the requester, a redacted copy."""
        if not self._erased:
            return row
        erased_pos = self._erased.get(UserId(row_fields.get_sender(row)))
        if erased_pos is None or self._has_seen(row, erased_pos):
            return row
        return build_redacted(self._snapshot, row)

    def _has_seen(self, row: EventRow, erased_pos: int) -> bool:
        return self._was_joined_at(row.room, erased_pos) or self._visibility.membership_at(row) == "join"

    def _was_joined_at(self, room: ShortRoomId, pos: int) -> bool:
        standing = members.get_membership(self._snapshot, self._requester.user, room)
        return standing is not None and standing[0] == JOIN and standing[1].pos <= pos


def build_redacted(snapshot: Snapshot, row: EventRow) -> EventRow:
    """A copy of an event without what its room version's redactions take away."""
    version = ROOM_VERSIONS[short_ids.get_room_record(snapshot, row.room).room_version]
    fragments = b",".join(part for part in (row.client, row.federation) if part)
    client, federation = timeline.split_pdu(redact(parse_json(b"{" + fragments + b"}"), version))
    return row._replace(client=client, federation=federation)
