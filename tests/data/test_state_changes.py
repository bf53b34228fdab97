"""What changed between two states, over chains of any length."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.data.state import EMPTY, StateChain
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, stamp
from conduit_py.storage.writer import open_writer
from kvschema.catalog.rooms import ShortEventId, ShortStateKey, StateId
from kvschema.engine.memory import MemoryEngine

changes = st.dictionaries(st.integers(1, 12), st.integers(0, 30), min_size=1, max_size=3)
chains = st.lists(st.tuples(st.integers(0, 40), changes), min_size=1, max_size=40)
"""Each state: which of the earlier ones it is made of, and what changes."""


async def _build(database: Database, steps: list[tuple[int, dict[int, int]]]) -> list[StateId]:
    states = [EMPTY]
    async with (
        open_writer(database.engine, database.cache, last_pos=1, threaded=False) as writer,
        writer.turn() as turn,
    ):
        with database.snapshot() as snapshot:
            chain = StateChain(snapshot)
            for number, (before, changed) in enumerate(steps, start=1):
                entries = {ShortStateKey(key): ShortEventId(event) for key, event in changed.items()}
                chain.stage(turn, StateId(number), states[before % len(states)], entries)
                states.append(StateId(number))
    return states


@given(chains, st.integers(0, 40), st.integers(0, 40))
def test_changes_between_states_make_the_one_into_the_other(
    steps: list[tuple[int, dict[int, int]]], first: int, second: int
) -> None:
    engine = MemoryEngine()
    stamp(engine, "one.test")
    database = Database(engine, ObjectCache(1_000_000))
    states = trio.run(_build, database, steps)
    before, after = states[first % len(states)], states[second % len(states)]

    with database.snapshot() as snapshot:
        chain = StateChain(snapshot)
        changed = chain.changes_between(before, after)
        old, new = chain.entries(before), chain.entries(after)

    applied = {key: event for key, event in (old | changed).items() if event}
    assert applied == new
    assert all(old.get(key, 0) != event for key, event in changed.items())


@given(chains, st.lists(st.integers(0, 13), min_size=1, max_size=4))
def test_several_entries_are_found_as_each_alone(steps: list[tuple[int, dict[int, int]]], keys: list[int]) -> None:
    """In any order of states, with what was met on the way remembered."""
    engine = MemoryEngine()
    stamp(engine, "one.test")
    database = Database(engine, ObjectCache(1_000_000))
    states = trio.run(_build, database, steps)
    wanted = [ShortStateKey(key) if key else None for key in keys]

    with database.snapshot() as snapshot:
        chain = StateChain(snapshot)
        known: dict[StateId, tuple[ShortEventId, ...]] = {}
        for state_id in (*reversed(states), *states):
            alone = tuple(0 if key is None else chain.get(state_id, key) or 0 for key in wanted)
            assert chain.get_several(state_id, wanted, known) == alone
