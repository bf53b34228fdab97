"""Obeying what is written in the Admin Room.

Every message that may be a command has a row, which landed with it. Commands are begun one after the other, in the
order in which they were sent, by administrators only: what counts is the flag of the sender when the turn comes. The
row is marked before a command is begun and goes with the answer, in one batch, so nothing is ever begun twice: what a
restart interrupts is answered with just that.

A command that takes long keeps the others waiting for ``PATIENCE_S``; then it goes on beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import click
import trio

from conduit_py.data import admin, timeline, users
from conduit_py.log import get_logger
from conduit_py.matrix.ids import EventId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.admin.commands import Answer, Call, Dispatcher, Line, parse_message
from conduit_py.service.admin.room import AdminRoom
from conduit_py.service.rooms.append import RoomAppend
from conduit_py.service.users.store import Store
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.admin import AdminCommand
from kvschema.catalog.rooms import ShortEventId
from kvschema.errors import StorageFull

_log = get_logger(__name__)

PATIENCE_S: Final = 20
LONG_MAX: Final = 4
"""Commands that go on beside others. Before one more is begun, one of them has to end."""
RETRY_S: Final = 60
"""Until a command is answered that a full disk kept from it."""

NOT_ADMIN: Final = "Only administrators of this server may do this."
INTERRUPTED: Final = (
    "The server was restarted while it did this. It may have been done, in part or not at all: look, and give the "
    "command again if it is needed."
)
LONG: Final = "This takes a while. The answer follows when it is done; other commands can be given meanwhile."
REDACTED: Final = "there was a secret in it"
EXPOSED: Final = (
    "Your message had a password or another secret in it, so I removed it. Others may have read it all the same: "
    "better change it, and give such commands on the command line."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    event: ShortEventId
    event_id: EventId
    sender: UserId
    thread: EventId | None
    line: Line


class Obeying:
    """One per server. ``run`` is owned by the nursery tree."""

    def __init__(self, store: Store, room: AdminRoom, dispatcher: Dispatcher) -> None:
        self._store = store
        self._queue = room.queue
        self._room = room
        self.dispatcher = dispatcher
        self._begun: set[ShortEventId] = set()
        """Commands that run now."""

    async def run(self) -> None:
        """Obeys for as long as the server runs: first what a restart has left."""
        slots = trio.CapacityLimiter(LONG_MAX)
        async with trio.open_nursery() as nursery:
            while True:
                has_more = self._queue.listen()
                try:
                    for event, row in self._scan_waiting():
                        await self._take(nursery, slots, event, row)
                except StorageFull:
                    await trio.sleep(RETRY_S)
                else:
                    await has_more.wait()

    def _scan_waiting(self) -> list[tuple[ShortEventId, AdminCommand]]:
        with self._store.snapshot() as snapshot:
            return [(event, row) for event, row in admin.scan_commands(snapshot) if event not in self._begun]

    async def _take(
        self, nursery: trio.Nursery, slots: trio.CapacityLimiter, event: ShortEventId, row: AdminCommand
    ) -> None:
        with self._store.snapshot() as snapshot:
            pdu = timeline.get_pdu(snapshot, event)
            sender = users.get_local(snapshot, pdu.sender)
        message = _Message(event=event, event_id=pdu.event_id, sender=pdu.sender, thread=_thread_of(pdu), line=Line(()))
        if row.is_started:
            await self._answer(message, Answer(text=INTERRUPTED, ok=False))
            return
        order = self._queue.find_order(pdu)
        try:
            line = Line(()) if order is None else parse_message(order.text)
        except click.UsageError as error:
            is_exposed = order is not None and self.dispatcher.exposes_secret(order.text.split(), has_body=True)
            await self._answer(message, Answer(text=error.format_message(), ok=False), is_exposed=is_exposed)
            return
        if order is None or not (order.is_addressed or self._is_one(line)):
            # It was redacted meanwhile, or only looked like a command.
            async with self._store.writer.turn() as turn:
                admin.stage_command_done(turn, event)
        elif sender is None or not sender[1].is_admin:
            await self._answer(message, Answer(text=NOT_ADMIN, ok=False))
        else:
            await self._begin(nursery, slots, replace(message, line=line))

    def _is_one(self, line: Line) -> bool:
        """Is what somebody wrote to nobody in particular a command? "help me" is none."""
        name, *rest = line.words or ("",)
        return name in self.dispatcher and (name != "help" or not rest or rest[0] in self.dispatcher)

    async def _begin(self, nursery: trio.Nursery, slots: trio.CapacityLimiter, message: _Message) -> None:
        is_exposed = self.dispatcher.exposes_secret(message.line.words, has_body=bool(message.line.body))
        await self._room.write(partial(self._stage_begun, message, is_exposed))
        self._begun.add(message.event)
        await slots.acquire_on_behalf_of(message)
        done = trio.Event()
        nursery.start_soon(self._obey, message, is_exposed, slots, done)
        with trio.move_on_after(PATIENCE_S):
            await done.wait()
        if not done.is_set():
            await self._room.write(lambda *staging: self._stage_said(message, Answer(text=LONG), staging[2]))

    def _stage_begun(
        self, message: _Message, is_exposed: bool, snapshot: Snapshot, turn: Turn, append: RoomAppend
    ) -> None:
        admin.stage_command(turn, message.event, AdminCommand(is_started=True))
        if is_exposed:
            self._room.stage_redacted(append, message.event_id, REDACTED)

    async def _obey(self, message: _Message, is_exposed: bool, slots: trio.CapacityLimiter, done: trio.Event) -> None:
        try:
            answer = await self.dispatcher.run(message.line.words, Call(caller=message.sender, body=message.line.body))
            if is_exposed:
                answer = replace(answer, text=f"{EXPOSED}\n{answer.text}")
            await self._answer_in_the_end(message, answer)
        finally:
            self._begun.discard(message.event)
            slots.release_on_behalf_of(message)
            done.set()

    async def _answer_in_the_end(self, message: _Message, answer: Answer) -> None:
        while True:
            try:
                await self._answer(message, answer)
            except StorageFull:
                await trio.sleep(RETRY_S)
            else:
                return

    async def _answer(self, message: _Message, answer: Answer, *, is_exposed: bool = False) -> None:
        def stage(snapshot: Snapshot, turn: Turn, append: RoomAppend) -> None:
            if is_exposed:
                self._room.stage_redacted(append, message.event_id, REDACTED)
            self._stage_said(message, answer, append)
            admin.stage_command_done(turn, message.event)

        await self._room.write(stage)

    def _stage_said(self, message: _Message, answer: Answer, append: RoomAppend) -> None:
        where = {"to": message.event_id, "thread": message.thread}
        self._room.stage_said(append, answer.text, is_table=answer.is_table, **where)
        if answer.attachment is not None:
            self._room.stage_shown(append, answer.attachment, **where)


def _thread_of(pdu: Pdu) -> EventId | None:
    """The first event of the thread that a message is in."""
    relation: Any = pdu.content.get("m.relates_to")
    if not isinstance(relation, dict) or relation.get("rel_type") != "m.thread":
        return None
    root = relation.get("event_id")
    return EventId(root) if isinstance(root, str) else None
