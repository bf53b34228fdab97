"""What our users are to rooms that we do not take part in: invited, knocking, gone.

All that is kept is the user's standing, with what the user is shown of the room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conduit_py.data import members, short_ids
from conduit_py.data.members import KIND_OF, MemberChange, Standing
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import RoomId, UserId, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.stripped_state import STRIPPED_EVENTS_MAX, build_stripped_state
from conduit_py.service.appservices.queue import AppServiceQueue
from conduit_py.service.federation.checks import Checks
from conduit_py.service.hub import SyncHub
from conduit_py.service.rooms.closed import require_open
from conduit_py.service.rooms.residency import get_live_room
from conduit_py.service.rooms.unread import UnreadService
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.members import INVITE, KNOCK
from kvschema.catalog.rooms import ShortEventId, StreamPos

SHOWN_BYTES_MAX: Final = 128 * 1024
"""What is kept of a glimpse of a room, beside the user's own event: anybody may send one. Most have about 3 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a user's standing changes."""

    user_id: UserId
    membership: str
    sender: UserId
    event_id: str = ""
    stripped_state: list[Any] | None = None
    pdu: Pdu | None = None
    """What changes it, None where nobody has said so."""


class Outside:
    """One per server."""

    def __init__(self, store: Store, hub: SyncHub, unread: UnreadService, appservices: AppServiceQueue) -> None:
        self._store = store
        self._hub = hub
        self._unread = unread
        self._appservices = appservices

    def get(self, snapshot: Snapshot, room_id: RoomId, user_id: UserId) -> Standing | None:
        """The user's standing in a room that we do not take part in; None too in one that we do."""
        room, user = short_ids.get_room(snapshot, room_id), short_ids.get_user(snapshot, user_id)
        if room is None or user is None or get_live_room(snapshot, room_id) is not None:
            return None
        return members.get_membership(snapshot, user, room)

    async def put(
        self, room_id: RoomId, version_id: str, change: Change, *, instead_of: Standing | None = None
    ) -> bool:
        """Store a new standing. False, and nothing is stored, if we take part in the room now.

        The same if ``instead_of`` is given, and not the standing any more. Raises ``Forbidden`` for an invite or a
        knock where the room is closed.
        """
        store = self._store
        async with store.locks.hold(("room", room_id)), store.writer.turn() as turn:
            with store.snapshot() as snapshot:
                if KIND_OF[change.membership] in (INVITE, KNOCK):
                    require_open(snapshot, room_id)
                if get_live_room(snapshot, room_id) is not None:
                    return False
                if instead_of is not None and self.get(snapshot, room_id, change.user_id) != instead_of:
                    return False
                self._stage(snapshot, turn, room_id, version_id, change)
        return True

    def _stage(self, snapshot: Snapshot, turn: Turn, room_id: RoomId, version_id: str, change: Change) -> None:
        ids = self._store.ids
        room, user = (
            ids.intern_room(snapshot, turn, room_id, version_id),
            ids.intern_user(snapshot, turn, change.user_id),
        )
        old = members.get_membership(snapshot, user, room)
        staged = MemberChange(
            room=room,
            user=user,
            server_name=server_name_of(change.user_id),
            is_local=True,
            before=None,
            after=KIND_OF[change.membership],
            event=ShortEventId(0),
            pos=StreamPos(turn.take_pos()),
            sender=change.sender,
            stripped_state=change.stripped_state,
            event_id=change.event_id,
        )
        members.stage_own(turn, staged, old)
        if staged.after == INVITE:
            self._unread.stage_invited(snapshot, turn, room_id, change.user_id, staged)
        if change.pdu is not None:
            # What the user is shown ends with the event itself.
            self._appservices.stage_outside(snapshot, turn, change.pdu, (change.stripped_state or [])[:-1])
        self._hub.stage_room(turn, room, [user])


def is_waiting(standing: Standing | None) -> bool:
    """Is the user invited, or knocking?"""
    return standing is not None and standing[0] in (INVITE, KNOCK)


async def build_shown(
    checks: Checks, version: RoomVersion, room_id: RoomId, told: Any, member_event: Mapping[str, Any]
) -> tuple[list[Any], str | None]:
    """What a user is shown of what came with an invite or a knock, and what was wrong with it, None for nothing.

    Servers still send glimpses of rooms up to version 11 in the form that clients get, without signatures, so there
    it is shown as it is. Since version 12 every event is checked, and what does not hold is left out.

    Spec: server-server-api/#put_matrixfederationv2inviteroomideventid
    """
    events = told if isinstance(told, list) else []
    if not version.auth.room_id_is_create_event_id:
        return _cut(build_stripped_state(events[:STRIPPED_EVENTS_MAX], member_event)), None
    raws = [event for event in events[:STRIPPED_EVENTS_MAX] if isinstance(event, Mapping)]
    checked = await checks.check_many(raws, version)
    pdus = [it for it in checked if isinstance(it, Pdu) and it.room_id == room_id and it.state_key is not None]
    shown = build_stripped_state([pdu.json for pdu in pdus], member_event)
    return _cut(shown), _find_problem(events, checked, pdus)


def _cut(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As much as is kept for a user. The last event, which all this is about, is always there."""
    *others, own = shown
    left = SHOWN_BYTES_MAX
    kept = []
    for event in others:
        left -= len(encode_canonical_json(event, strict=False))
        if left < 0:
            break
        kept.append(event)
    return [*kept, own]


def _find_problem(events: Sequence[Any], checked: Iterable[Pdu | Exception], pdus: Sequence[Pdu]) -> str | None:
    failed = next((str(error) for error in checked if isinstance(error, Exception)), None)
    if failed is not None:
        return failed
    if len(pdus) != len(events):
        return "an entry is no event of the room's state, or there are too many"
    if not any((pdu.type, pdu.state_key) == ("m.room.create", "") for pdu in pdus):
        return "the m.room.create event is missing"
    return None
