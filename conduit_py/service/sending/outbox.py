"""Putting events and EDUs into the queues of other servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from conduit_py.data import sending
from conduit_py.log import get_logger
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import ServerName, server_name_of
from conduit_py.matrix.pdu import Pdu
from conduit_py.service.sending.backlog import Backlog, Backlogs, PassingEdu
from conduit_py.storage.database import Snapshot
from conduit_py.storage.writer import Turn
from kvschema.catalog.rooms import ShortEventId, ShortRoomId
from kvschema.catalog.sending import EDUS_QUEUED_MAX, QueuedEdu

_log = get_logger(__name__)

PRESENT_MS: Final = 3_600_000
EDUS_GIVEN_UP: Final = EDUS_QUEUED_MAX // 10
"""How many make room at once where too many wait."""


class Outbox:
    """One per server.

    :param is_forbidden: servers that are not talked to.
    :param is_allowed: whether this server talks with others at all; nothing is queued unless it does.
    """

    def __init__(
        self,
        backlogs: Backlogs,
        *,
        server_name: ServerName,
        is_forbidden: Callable[[ServerName], bool],
        is_allowed: bool,
        now_ms: Callable[[], int],
    ) -> None:
        self._backlogs = backlogs
        self._server_name = server_name
        self._is_forbidden = is_forbidden
        self._is_allowed = is_allowed
        self._now_ms = now_ms

    def stage_pdu(
        self,
        snapshot: Snapshot,
        turn: Turn,
        room: ShortRoomId,
        event: ShortEventId,
        pdu: Pdu,
        destinations: Iterable[ServerName],
    ) -> None:
        """Queue an event that was staged in this turn. Its sender's server is not among those that get it."""
        names = self._choose(destinations) - {server_name_of(pdu.sender)}
        if not names:
            return
        pos = turn.take_pos()
        behind = sorted(name for name in names if self._is_full(name))
        queued = sorted(names.difference(behind))
        sending.stage_event_for_all(turn, queued, pos, event)
        for name in behind:
            sending.stage_last_event(turn, name, room, event)
        turn.on_landed(lambda: self._note_events(queued, behind))

    def _is_full(self, server_name: ServerName) -> bool:
        backlog = self._backlogs.get(server_name)
        return backlog is not None and backlog.is_full

    def _note_events(self, queued: list[ServerName], behind: list[ServerName]) -> None:
        for name in queued:
            backlog = self._backlogs.open(name)
            backlog.events += 1
            self._backlogs.wake(backlog)
        for name in behind:
            backlog = self._backlogs.open(name)
            backlog.is_behind = True
            self._backlogs.wake(backlog)

    def stage_edu(
        self,
        snapshot: Snapshot,
        turn: Turn,
        destinations: Iterable[ServerName],
        edu: Mapping[str, Any],
        *,
        replaces: bytes | None = None,
    ) -> None:
        """Queue an EDU.

        ``replaces`` is a name: a queued EDU of the same name that is not on its way yet is dropped. Without one, an EDU
        waits until it is acknowledged, or until more than ``EDUS_QUEUED_MAX`` wait for the same server.
        """
        names = self._choose(destinations)
        if not names:
            return
        pos = turn.take_pos()
        row = QueuedEdu(encode_canonical_json(edu, strict=False), replaces or b"")
        for name in sorted(names):
            backlog = self._backlogs.get(name)
            if backlog is not None:
                self._stage_room(snapshot, turn, backlog, row.replaces)
            sending.stage_edu(turn, name, pos, row)
        turn.on_landed(lambda: self._note_edus(names, pos, row.replaces))

    def _stage_room(self, snapshot: Snapshot, turn: Turn, backlog: Backlog, replaces: bytes) -> None:
        """Drop what the new EDU replaces, and the oldest where there are too many. What is on its way stays."""
        name, in_flight = backlog.server_name, backlog.state.edu_until
        old = backlog.replaceable.get(replaces, 0)
        if old > in_flight:
            sending.stage_edus_removed(turn, name, [old])
        elif backlog.edus >= EDUS_QUEUED_MAX:
            oldest = [pos for pos, _ in islice(sending.scan_edus(snapshot, name, after=in_flight), EDUS_GIVEN_UP)]
            sending.stage_edus_removed(turn, name, oldest)
            turn.on_landed(lambda: _note_given_up(backlog, len(oldest)))

    def _note_edus(self, names: set[ServerName], pos: int, replaces: bytes) -> None:
        for name in names:
            backlog = self._backlogs.open(name)
            if not replaces or backlog.replaceable.get(replaces, 0) <= backlog.state.edu_until:
                backlog.edus += 1
            if replaces:
                backlog.replaceable[replaces] = pos
            self._backlogs.wake(backlog)

    def pass_on(
        self, destinations: Iterable[ServerName], edu: Mapping[str, Any], *, replaces: bytes, lasts_ms: int
    ) -> None:
        """Send an EDU that is not worth writing down: it waits in memory for so long at most, and is tried once.

        Servers that are not to be tried now are passed over.
        """
        names, now_ms = self._choose(destinations), self._now_ms()
        if not names:
            return
        passing = PassingEdu(encode_canonical_json(edu, strict=False), now_ms + lasts_ms)
        for name in names:
            backlog = self._backlogs.open(name)
            if backlog.state.retry_ms <= now_ms:
                backlog.pass_on(replaces, passing)
                self._backlogs.wake(backlog)

    def is_failing(self, server_name: ServerName) -> bool:
        """Did the server not take what it was last sent?"""
        backlog = self._backlogs.get(server_name)
        return backlog is not None and backlog.state.failures > 0

    def choose_present(self, destinations: Iterable[ServerName]) -> list[ServerName]:
        """Those that have not failed for ``PRESENT_MS``: for what is old by the time that the others are back."""
        oldest_ms = self._now_ms() - PRESENT_MS
        return [
            name
            for name in self._choose(destinations)
            if (backlog := self._backlogs.get(name)) is None or not 0 < backlog.state.failing_since_ms < oldest_ms
        ]

    def _choose(self, destinations: Iterable[ServerName]) -> set[ServerName]:
        if not self._is_allowed:
            return set()
        return {name for name in destinations if name != self._server_name and not self._is_forbidden(name)}


def _note_given_up(backlog: Backlog, count: int) -> None:
    backlog.edus -= count
    _log.warning("too much waits for a server: the oldest is given up", destination=backlog.server_name, edus=count)
