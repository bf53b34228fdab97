"""Sending messages, state and redactions.

Spec: client-server-api/#sending-events-to-a-room
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from conduit_py.data import timeline, transactions
from conduit_py.matrix.ids import EventId, RoomId, parse_event_id, parse_user_id, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.errors import BadJson, Forbidden, NotFound
from conduit_py.service.ratelimit import RateLimiter
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.aliases import CANONICAL_ALIAS
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.rooms.canonical_alias import CanonicalAliases, check_aliases
from conduit_py.service.rooms.guests import GUEST_ACCESS, stage_guests_gone
from conduit_py.service.rooms.member_events import MEMBER
from conduit_py.service.rooms.membership import MembershipService
from conduit_py.service.rooms.relations import check_relation
from conduit_py.service.rooms.write import RoomWrites, Stage
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortEventId

T = TypeVar("T")


class SendService:
    """One per server."""

    def __init__(
        self,
        writes: RoomWrites,
        membership: MembershipService,
        canonical_aliases: CanonicalAliases,
        *,
        now_ms: Callable[[], int],
        allow_encryption: bool,
        throttle: RateLimiter,
    ) -> None:
        self._writes = writes
        self._membership = membership
        self._canonical_aliases = canonical_aliases
        self._throttle = throttle
        self._now_ms = now_ms
        self._allow_encryption = allow_encryption

    async def send_message(
        self, requester: Requester, room_id: RoomId, *, event_type: str, txn_id: str, content: Mapping[str, Any]
    ) -> EventId:
        """Send an event that is not state. A device that repeats a transaction id gets the first event's id again."""
        endpoint = f"send {event_type}"
        if event_type == "m.room.redaction":
            redacts = content.get("redacts")
            if not isinstance(redacts, str):
                raise BadJson("a redaction needs the id of an event in content.redacts")
            return await self.redact_event(
                requester, room_id, parse_event_id(redacts), txn_id=txn_id, content=content, endpoint=endpoint
            )
        if event_type == "m.room.message":
            _check_message(content)
        requester.require_not_suspended()

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> tuple[EventId, ShortEventId]:
            check_relation(snapshot, requester, append.room.short, event_type=event_type, content=content)
            pdu = append.create_event(
                sender=requester.user_id,
                type=event_type,
                content=content,
                origin_server_ts=requester.asserted_ts_ms,
            )
            return pdu.event_id, append.append(pdu)

        return await self._send_once(requester, room_id, endpoint, txn_id, stage)

    async def redact_event(
        self,
        requester: Requester,
        room_id: RoomId,
        event_id: EventId,
        *,
        txn_id: str,
        content: Mapping[str, Any],
        endpoint: str | None = None,
    ) -> EventId:
        """Strip an event of its content: one's own, or anybody's with the power to redact.

        Administrators of this server may redact what its users sent. ``endpoint`` is the operation and its path, as
        far as they are not the room and the transaction; None for the operation of this name.
        """

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> tuple[EventId, ShortEventId]:
            target = timeline.find_row(snapshot, event_id)
            if target is None or target[1].room != append.room.short:
                raise NotFound(f"there is no event {event_id} in the room")
            _require_may_redact(append, requester, timeline.get_pdu(snapshot, target[0]))
            guest_access = append.get_state(GUEST_ACCESS, "")
            if guest_access is not None and guest_access.event_id == event_id:
                stage_guests_gone(snapshot, append, {})
            kept = {key: value for key, value in content.items() if key != "redacts"}
            pdu = append.create_event(sender=requester.user_id, type="m.room.redaction", content=kept, redacts=event_id)
            return pdu.event_id, append.append(pdu)

        return await self._send_once(requester, room_id, endpoint or f"redact {event_id}", txn_id, stage)

    async def set_state(
        self, requester: Requester, room_id: RoomId, *, event_type: str, state_key: str, content: Mapping[str, Any]
    ) -> EventId:
        """Set one entry of room state. State that is already so is not sent again."""
        self._throttle(("message", requester.limited_as))
        if event_type == "m.room.encryption" and not self._allow_encryption:
            raise Forbidden("this server does not allow encryption to be turned on")

        if event_type == MEMBER:
            return await self._membership.set_member(requester, room_id, parse_user_id(state_key), content)
        requester.require_not_suspended()
        is_canonical_alias = (event_type, state_key) == (CANONICAL_ALIAS, "")
        remote = await self._canonical_aliases.fetch_remote(requester, room_id, content) if is_canonical_alias else {}

        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> EventId:
            if is_canonical_alias:
                check_aliases(snapshot, append, content, remote)
            same = append.find_same(sender=requester.user_id, type=event_type, state_key=state_key, content=content)
            if same is not None:
                return same
            check_relation(snapshot, requester, append.room.short, event_type=event_type, content=content)
            if (event_type, state_key) == (GUEST_ACCESS, ""):
                stage_guests_gone(snapshot, append, content)
            pdu = append.create_event(
                sender=requester.user_id,
                type=event_type,
                content=content,
                state_key=state_key,
                origin_server_ts=requester.asserted_ts_ms,
            )
            append.append(pdu)
            return pdu.event_id

        return await self._writes.write(room_id, _joined_first(requester, stage))

    async def _send_once(
        self,
        requester: Requester,
        room_id: RoomId,
        endpoint: str,
        txn_id: str,
        stage: Stage[tuple[EventId, ShortEventId]],
    ) -> EventId:
        self._throttle(("message", requester.limited_as))
        scope = f"{room_id} {endpoint}"
        joined_first = _joined_first(requester, stage)

        def stage_once(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> EventId:
            answer = transactions.get_answer(snapshot, requester.user, requester.device_id or "", scope, txn_id)
            if answer is not None:
                return EventId(answer.event_id)
            event_id, event = joined_first(snapshot, turn, append)
            transactions.stage_answer(
                turn,
                requester.user,
                requester.device_id or "",
                scope,
                txn_id,
                now_ms=self._now_ms(),
                event_id=event_id,
                event=event,
            )
            return event_id

        return await self._writes.write(room_id, stage_once)


def _check_message(content: Mapping[str, Any]) -> None:
    """Raises ``BadJson``. Spec: client-server-api/#instant-messaging"""
    for name in ("msgtype", "body"):
        if not isinstance(content.get(name), str):
            raise BadJson(f"a message needs {name}, which is text")


def _joined_first(requester: Requester, stage: Stage[T]) -> Stage[T]:
    def stage_if_joined(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> T:
        # The rules would refuse too, with a sentence about power levels that confuses.
        if append.get_membership(requester.user_id) != "join":
            raise Forbidden(f"{requester.user_id} is not joined to {append.room.room_id}")
        return stage(snapshot, turn, append)

    return stage_if_joined


def _require_may_redact(append: RoomAppend, requester: Requester, target: Pdu) -> None:
    if target.sender == requester.user_id:
        return
    requester.require_not_suspended()
    if requester.is_admin and server_name_of(target.sender) == append.server_name:
        return
    levels = append.power_levels()
    if levels.of_user(requester.user_id) < levels.to_redact():
        raise Forbidden(f"redacting the events of others needs power level {levels.to_redact()}")
