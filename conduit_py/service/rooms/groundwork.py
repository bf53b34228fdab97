"""What takes too long for one step of the event loop, worked out before an event is staged.

A turn reads, decides and stages without a break for others. Where states differ in thousands of entries, it would be at
it for a second: it stages nothing then and tells what it lacks (``TooLarge``). That is put together here, a slice at a
time, and the event is looked at again. Nothing in the room changes meanwhile, because its lock is held, so what was
found is still true; and what is found twice is the same, so that the event gets on by one step each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, TypeVar, assert_never

import trio

from conduit_py.data.short_ids import get_state_key
from conduit_py.data.state import (
    ENTRIES_AT_ONCE,
    LOOSE_MAX,
    Entries,
    LooseState,
    StateChain,
    encode_whole,
    in_snapshots,
    stage_whole,
)
from conduit_py.data.timeline import get_pdu
from conduit_py.matrix.ids import EventId
from conduit_py.matrix.json_slices import Slices
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.state_res import StateKey
from conduit_py.service.rooms.current_state import LargeMove
from conduit_py.service.rooms.prepared import NEW, Conflict, Prepared, Resolved, Spread, Way, Work
from conduit_py.service.rooms.resolution import Resolver, build_conflict, choose_nearest
from conduit_py.service.rooms.room_writer import WriterTools
from conduit_py.service.rooms.staged_events import KnownStateKeys, StagedEvents
from conduit_py.slices import portions, run_slices
from conduit_py.storage.database import Database, Snapshot
from conduit_py.storage.writer import Writer
from kvschema.catalog.rooms import ShortEventId, ShortStateKey

COMPARED_AT_ONCE: Final = 500
"""Entries looked up in two states between two steps of the event loop: about 10 ms."""
NAMED_AT_ONCE: Final = 200
"""Entries of all states whose events are looked at."""
MOVED_AT_ONCE: Final = 100
"""Entries of the current state whose rows are put together."""

Keys = list[ShortStateKey]
T = TypeVar("T")


class Groundwork:
    """Lives as long as the room's lock is held, and must be closed: few are at work at a time, in all rooms."""

    def __init__(self, database: Database, writer: Writer, tools: WriterTools) -> None:
        self._database = database
        self._writer = writer
        self._tools = tools
        self.prepared = Prepared()
        self._is_at_work = False

    def close(self) -> None:
        if self._is_at_work:
            self._tools.resolutions.large.release_on_behalf_of(self)

    async def do(self, work: Work) -> None:
        """Work it out, for the next turn to find."""
        if not (self._is_at_work or isinstance(work, Conflict)):
            await self._tools.resolutions.large.acquire_on_behalf_of(self)
            self._is_at_work = True
        match work:
            case Conflict():
                await self._tools.resolutions.resolve(work)
            case Spread():
                self.prepared.resolved[work.name] = await self._resolve(work)
            case Way():
                self.prepared.moves[work.name] = await self._move(work)
            case _:
                assert_never(work)

    async def _resolve(self, spread: Spread) -> LooseState:
        differing = await run_slices(self._find_differing(spread.states))
        if not differing:
            return spread.states[0]
        conflicted = await run_slices(self._name(spread, differing))
        conflict = build_conflict(spread.room_version, spread.states, conflicted, spread.new)
        resolved = self._tools.resolutions.get(conflict)
        if resolved is None:
            resolved = await self._tools.resolutions.resolve(conflict)
        nearest = await run_slices(self._find_nearest(spread, differing, resolved))
        return nearest if len(nearest.changes) <= LOOSE_MAX else await self._name_state(nearest)

    async def _name_state(self, state: LooseState) -> LooseState:
        """Under a name of its own it is as good as small. Only the new event is left loose, which has no short id."""
        new = {key: event for key, event in state.changes.items() if event == NEW}
        encoded = await run_slices(in_snapshots(self._database, partial(_lay_out, state)))
        async with self._writer.turn() as turn:
            name = stage_whole(turn, encoded)
        return LooseState(name, new)

    def _find_differing(self, states: Sequence[LooseState]) -> Slices[Keys]:
        candidates = {key for state in states for key in state.changes}
        yield
        for other in states[1:]:
            find = partial(StateChain.find_changes_between, before=states[0].base, after=other.base)
            candidates.update((yield from in_snapshots(self._database, find)))
        differing: Keys = []
        for keys in _steps(sorted(candidates), COMPARED_AT_ONCE):
            with self._database.snapshot() as snapshot:
                chain = StateChain(snapshot)
                differing += [key for key in keys if len({chain.get_loose(state, key) for state in states}) > 1]
            yield
        return differing

    def _name(self, spread: Spread, differing: Keys) -> Slices[list[dict[StateKey, EventId]]]:
        conflicted: list[dict[StateKey, EventId]] = [{} for _ in spread.states]
        for state, entries in zip(spread.states, conflicted, strict=True):
            for keys in _steps(differing, NAMED_AT_ONCE):
                with self._database.snapshot() as snapshot:
                    entries.update(self._resolver(snapshot, spread).name_entries(state, keys, _new(spread)))
                yield
        return conflicted

    def _find_nearest(self, spread: Spread, differing: Keys, resolved: Resolved) -> Slices[LooseState]:
        changes = [dict(state.changes) for state in spread.states]
        for keys in _steps(differing, NAMED_AT_ONCE):
            with self._database.snapshot() as snapshot:
                resolver = self._resolver(snapshot, spread)
                resolver.change_entries(spread.states, changes, keys, resolved, _new(spread))
            yield
        return choose_nearest(spread.states, changes)

    def _resolver(self, snapshot: Snapshot, spread: Spread) -> Resolver:
        events, keys, chain = StagedEvents(snapshot), KnownStateKeys(snapshot), StateChain(snapshot)
        return Resolver(self._tools.resolutions, spread.room_version, events, keys, chain, self.prepared)

    async def _move(self, way: Way) -> LargeMove:
        states = LooseState(way.before), way.after
        differing = await run_slices(self._find_differing(states))
        move = LargeMove(self._tools.short_ids, self._tools.server_name, way.room, way.key)
        for keys in _steps([key for key in differing if key != way.key], MOVED_AT_ONCE):
            await trio.lowlevel.checkpoint()
            # Users who are seen for the first time get their short ids: those may land before they are used.
            async with self._writer.turn() as turn:
                with self._database.snapshot() as snapshot:
                    chain = StateChain(snapshot)
                    get_after = partial(_get_pdu, chain, snapshot, way.after)
                    for key in keys:
                        before, after = (chain.get_loose(state, key) for state in states)
                        move.add(snapshot, turn, key, before, after, get_after)
        return move


def _get_pdu(chain: StateChain, snapshot: Snapshot, state: LooseState, type: str, state_key: str) -> Pdu | None:
    key = get_state_key(snapshot, type, state_key)
    event = None if key is None else chain.get_loose(state, key)
    return None if event is None else get_pdu(snapshot, event)


def _lay_out(state: LooseState, chain: StateChain) -> Slices[bytes]:
    entries: Entries = yield from chain.find_entries(state.base)
    for items in portions(state.changes.items(), ENTRIES_AT_ONCE):
        entries.update(it for it in items if it[1] != NEW)
        yield
    return (yield from encode_whole(entries))


def _new(spread: Spread) -> tuple[ShortEventId, Pdu] | None:
    return None if spread.new is None else (NEW, spread.new)


def _steps(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
