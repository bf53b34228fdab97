"""The way every write to a room goes: lock, turn, snapshot, decide, stage, commit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from conduit_py.data import members, rooms, short_ids, timeline
from conduit_py.data.state import stage_whole
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.policy_server import POLICY, PolicyServer
from conduit_py.service.errors import Forbidden, MatrixError
from conduit_py.service.requester import Requester
from conduit_py.service.rooms.append import Append, RoomAppend, ScriptDiffers
from conduit_py.service.rooms.groundwork import Groundwork
from conduit_py.service.rooms.guests import GUEST_ACCESS, stage_guests_gone
from conduit_py.service.rooms.policy import get_policy_server
from conduit_py.service.rooms.prepared import Prepared, TooLarge, Work
from conduit_py.service.rooms.receive import Arrival, MissingEvents, Receipt, RoomReceive, Standing
from conduit_py.service.rooms.resolution import READS_MAX
from conduit_py.service.rooms.room_writer import RoomWriter
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import Turn, Writer
from kvschema.catalog.rooms import StateId

RECEIVED_PER_TURN = 40
"""Events of other servers that are stored together: the event loop is at it for about 10 ms."""

REHEARSALS_MAX = 3
"""Times that a policy server is asked while the room goes on, before the room has to wait for it."""

TIED_FROM = 10
"""So many ends a room may have before an event of ours ties them up. Every end makes every event cost more."""

T = TypeVar("T")
StageAccepted = Callable[[Snapshot, Turn, Receipt], None]
"""Stages what goes with an event of another server that was accepted."""
Stage = Callable[[Snapshot, Turn, RoomAppend], T]
"""Reads, decides and stages, without awaiting. What it raises leaves no trace."""


class _Rehearsed(Exception):
    """Ends a turn that is not to be stored."""


@dataclass(frozen=True, slots=True)
class _Script:
    """What was rehearsed."""

    policy_server: PolicyServer | None
    pdus: list[Pdu] | None
    """Signed by it."""


_UNGUARDED = _Script(None, None)
"""For a room without a policy server."""


class RoomWrites:
    """Runs writes to rooms, one at a time for each room. One per server."""

    def __init__(self, database: Database, writer: Writer, locks: KeyedLocks, append: Append) -> None:
        self._database = database
        self._writer = writer
        self._locks = locks
        self.append = append

    async def write(self, room_id: RoomId, stage: Stage[T]) -> T:
        """Return what ``stage`` returned, once all it staged is on disk.

        Raises ``Forbidden`` for a room we do not hold: nobody here is in it, and nobody is told whether it exists.
        """
        with contextlib.suppress(ScriptDiffers):
            return await self._write(room_id, stage, _UNGUARDED)
        return await self._write_guarded(room_id, stage)

    async def rehearse(self, room_id: RoomId, stage: Stage[T]) -> T:
        """Return what ``stage`` returned, and store nothing. Raises as ``write`` does."""
        result, _ = await self._rehearse(room_id, stage)
        return result

    async def _write_guarded(self, room_id: RoomId, stage: Stage[T]) -> T:
        """Write to a room with a policy server.

        While that is asked, only other events of ours wait, which are to follow these. If something comes from
        elsewhere meanwhile, what was signed would not be sent any more: in the end nothing may come meanwhile.
        """
        async with self._locks.hold(("guarded", room_id)):
            for _ in range(REHEARSALS_MAX):
                script = await self._sign_ahead(room_id, stage)
                with contextlib.suppress(ScriptDiffers):
                    return await self._write(room_id, stage, script)
            async with self._locks.hold(("room", room_id)):
                script = await self._sign_ahead(room_id, stage)
                with contextlib.suppress(ScriptDiffers):
                    return await self._write_locked(room_id, stage, script)
        raise MatrixError("what was to be sent went on changing", errcode="M_UNKNOWN", status=503)

    async def _write(self, room_id: RoomId, stage: Stage[T], script: _Script) -> T:
        async with self._locks.hold(("room", room_id)):
            return await self._write_locked(room_id, stage, script)

    async def _write_locked(self, room_id: RoomId, stage: Stage[T], script: _Script) -> T:
        """Raises ``ScriptDiffers`` where the room has another policy server than signed the script."""
        async with self._writer.turn() as turn:
            with self._database.snapshot() as snapshot:
                room = _require_room(snapshot, room_id)
                if get_policy_server(snapshot, room.short) != script.policy_server:
                    raise ScriptDiffers
                append = self.append.begin(snapshot, turn, room, script=script.pdus)
                result = stage(snapshot, turn, append)
                append.finish()
        return result

    async def _sign_ahead(self, room_id: RoomId, stage: Stage[T]) -> _Script:
        """The events that ``stage`` will make as the room is now, signed by its policy server."""
        with self._database.snapshot() as snapshot:
            room = _require_room(snapshot, room_id)
            policy_server = get_policy_server(snapshot, room.short)
        if policy_server is None:
            return _UNGUARDED
        _, created = await self._rehearse(room_id, stage)
        signed = await self.append.tools.policies.fetch_signed(policy_server, room.version, created)
        return _Script(policy_server, signed)

    async def _rehearse(self, room_id: RoomId, stage: Stage[T]) -> tuple[T, list[Pdu]]:
        with contextlib.suppress(_Rehearsed):
            async with self._writer.turn() as turn:
                with self._database.snapshot() as snapshot:
                    append = self.append.begin(snapshot, turn, _require_room(snapshot, room_id))
                    result = stage(snapshot, turn, append)
                    raise _Rehearsed
        return result, append.created

    async def receive(self, room_id: RoomId, arrivals: Sequence[Arrival]) -> list[Receipt | MissingEvents]:
        """Judge and store events of other servers, in the order in which they are given.

        What each came to is told in the same order. Raises ``Forbidden`` for a room we do not hold.
        """
        arrivals = await self._ask_policies(room_id, arrivals)
        results: list[Receipt | MissingEvents] = []
        while len(results) < len(arrivals):
            async with self._locks.hold(("room", room_id)):
                await self._receive_some(room_id, arrivals[len(results) :], results, _stage_nothing)
        return results

    async def accept(self, room_id: RoomId, pdu: Pdu, also: StageAccepted) -> Receipt:
        """Take an event of another server that must be accepted, and stage with it whatever ``also`` does.

        Raises ``Forbidden`` where it is not allowed, and ``MissingEvents``. Then nothing that it causes was staged.
        """
        results: list[Receipt | MissingEvents] = []
        arrivals = await self._ask_policies(room_id, [Arrival(pdu=pdu, must_be_accepted=True)])
        async with self._locks.hold(("room", room_id)):
            await self._receive_some(room_id, arrivals, results, also)
        [result] = results
        if isinstance(result, MissingEvents):
            raise result
        if result.standing is not Standing.ACCEPTED:
            raise Forbidden(result.reason or f"{pdu.event_id} was refused before")
        return result

    async def store_outliers(self, room_id: RoomId, pdus: Sequence[Pdu]) -> list[Receipt | MissingEvents]:
        """Store events that others are judged by, each after its auth events."""
        results: list[Receipt | MissingEvents] = []
        for start in range(0, len(pdus), RECEIVED_PER_TURN):
            async with self._locks.hold(("room", room_id)), self._writer.turn() as turn:
                with self._database.snapshot() as snapshot:
                    receive = self._begin_receive(snapshot, turn, room_id)
                    for pdu in pdus[start : start + RECEIVED_PER_TURN]:
                        try:
                            results.append(receive.receive_outlier(pdu))
                        except MissingEvents as error:
                            results.append(error)
        return results

    async def store_state(self, encoded: bytes) -> StateId:
        """Name a state of a room that is laid out as a whole, for an event that is yet to be received."""
        async with self._writer.turn() as turn:
            return stage_whole(turn, encoded)

    async def move_gap(self, room_id: RoomId, pos: int) -> None:
        """Events were put into the gap before the one at ``pos``: it lies before the oldest of them now."""
        async with self._locks.hold(("room", room_id)), self._writer.turn() as turn:
            with self._database.snapshot() as snapshot:
                self._begin_receive(snapshot, turn, room_id).move_gap(pos)

    async def _ask_policies(self, room_id: RoomId, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """The same, new events with the signature of the room's policy server if that could be had.

        Spec: server-server-api/#validating-policy-server-signatures
        """
        with self._database.snapshot() as snapshot:
            held = {it.pdu.event_id for it in arrivals if timeline.get_event(snapshot, it.pdu.event_id) is not None}
        new = [it.pdu for it in arrivals if it.place is None and it.pdu.event_id not in held]
        signed = {pdu.event_id: pdu for pdu in await self.append.tools.policies.ask_about(room_id, new)}
        return [replace(arrival, pdu=signed.get(arrival.pdu.event_id, arrival.pdu)) for arrival in arrivals]

    async def _receive_some(
        self,
        room_id: RoomId,
        todo: Sequence[Arrival],
        results: list[Receipt | MissingEvents],
        also: StageAccepted,
    ) -> None:
        """Receive the next few, at least one. The room's lock is held."""
        before = len(results)
        with contextlib.closing(Groundwork(self._database, self._writer, self.append.tools)) as groundwork:
            while len(results) == before:
                work = await self._stage_some(room_id, todo, results, also, groundwork.prepared)
                if work is not None:
                    await groundwork.do(work)

    async def _stage_some(
        self,
        room_id: RoomId,
        todo: Sequence[Arrival],
        results: list[Receipt | MissingEvents],
        also: StageAccepted,
        prepared: Prepared,
    ) -> Work | None:
        """The next few, up to the first for which something has to be worked out ahead; what that is, if any."""
        done: list[Receipt | MissingEvents] = []
        work = None
        async with self._writer.turn() as turn:
            with self._database.snapshot() as snapshot:
                receive = self._begin_receive(snapshot, turn, room_id, prepared)
                for arrival in todo[:RECEIVED_PER_TURN]:
                    try:
                        receipt = receive.receive(arrival)
                    except MissingEvents as error:
                        done.append(error)
                        continue
                    except TooLarge as error:
                        # What was staged before it lands first: only what has is read meanwhile.
                        work = None if done else error.work
                        break
                    if receipt.standing is Standing.ACCEPTED and receipt.is_new:
                        also(snapshot, turn, receipt)
                    done.append(receipt)
                    self._tie_ends(receive.writer)
                    if receipt.is_new:
                        self._show_guests_out(receive.writer, arrival.pdu)
                    if receive.writer.resolver.reads > READS_MAX:
                        break
                receive.finish()
        results += done
        return work

    def _tie_ends(self, writer: RoomWriter) -> None:
        # Where a policy server is asked about everything, it would have to be asked about this too.
        if len(writer.extremities) > TIED_FROM and writer.current.get(*POLICY) is None:
            self.append.go_on(writer).tie_ends()

    def _show_guests_out(self, writer: RoomWriter, pdu: Pdu) -> None:
        """Our guests go when an event of another server makes a room one that is not for guests.

        As with ``_tie_ends``, not where a policy server would have to be asked.
        """
        if (pdu.type, pdu.state_key) != (GUEST_ACCESS, "") or writer.current.get(*POLICY) is not None:
            return
        guest_access = writer.current.get(GUEST_ACCESS, "")
        append = self.append.go_on(writer)
        stage_guests_gone(writer.snapshot, append, {} if guest_access is None else guest_access.content)

    def _begin_receive(
        self, snapshot: Snapshot, turn: Turn, room_id: RoomId, prepared: Prepared | None = None
    ) -> RoomReceive:
        return RoomReceive(RoomWriter(self.append.tools, snapshot, turn, _require_room(snapshot, room_id), prepared))

    async def create(self, creator: UserId, stage: Callable[[Snapshot, Turn], RoomAppend]) -> RoomId:
        """Write a room that ``stage`` begins. One at a time for each creator, so that the next sees that it is there.

        Nobody else can know the room's id yet.
        """
        async with self._locks.hold(("create", creator)), self._writer.turn() as turn:
            with self._database.snapshot() as snapshot:
                append = stage(snapshot, turn)
                append.finish()
        return append.room.room_id


def _stage_nothing(snapshot: Snapshot, turn: Turn, receipt: Receipt) -> None:
    pass


def _require_room(snapshot: Snapshot, room_id: RoomId) -> rooms.Room:
    room = rooms.get_room(snapshot, room_id)
    if room is None:
        raise Forbidden(f"nobody on this server is in {room_id}")
    return room


def require_joined(snapshot: Snapshot, requester: Requester, room_id: RoomId) -> rooms.Room:
    """The room, which the requester must be joined to. The answer does not tell whether there is such a room."""
    short = short_ids.get_room(snapshot, room_id)
    if short is not None and members.is_joined(snapshot, requester.user, short):
        room = rooms.get_room(snapshot, room_id)
        if room is not None:
            return room
    raise Forbidden(f"{requester.user_id} is not joined to {room_id}")
