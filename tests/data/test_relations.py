"""Relations that are staged and taken back in one turn, whatever the order."""

from __future__ import annotations

from dataclasses import replace

import trio
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.data import relations
from conduit_py.data.relations import Child, RelationWrites, build_child
from conduit_py.matrix.ids import EventId
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database
from conduit_py.storage.writer import open_writer
from kvschema.catalog.relations import TREES
from kvschema.catalog.rooms import ShortEventId, ShortRoomId, ShortUserId
from kvschema.engine.memory import MemoryEngine

ROOM = ShortRoomId(1)
ROOTS = (EventId("$a"), EventId("$b"))

Steps = list[list[tuple[str, int]]]
"""Turns, each with children that come or go, by place."""


def make_child(pos: int) -> Child:
    """One of a few kinds, by its place."""
    rel_type = ("m.thread", "m.thread", "m.replace", "m.annotation", "m.reference", "org.example.other")[pos % 6]
    return Child(
        room=ROOM,
        event=ShortEventId(1000 + pos),
        pos=pos,
        sender=ShortUserId(1 + pos % 3),
        type="m.room.message",
        ts_ms=37 * pos % 11 - 5,
        rel_type=rel_type,
        parent=ROOTS[pos % 2],
        key="+1",
    )


Rows = dict[str, list[tuple[bytes, bytes]]]


async def _rows_after(turns: Steps) -> Rows:
    engine = MemoryEngine()
    database = Database(engine, ObjectCache(0))
    present: set[int] = set()
    async with open_writer(engine, database.cache, last_pos=1, threaded=False) as writer:
        for steps in turns:
            async with writer.turn() as turn:
                with database.snapshot() as snapshot:
                    writes = RelationWrites(snapshot, turn)
                    for verb, pos in steps:
                        if verb == "come" and pos not in present:
                            writes.stage(make_child(pos))
                            present.add(pos)
                        elif verb == "go" and pos in present:
                            writes.unstage(make_child(pos))
                            present.discard(pos)
    with engine.snapshot() as reader:
        return {tree.name: list(reader.scan(tree.name, b"", b"", b"", False)) for tree in TREES}


def rows_after(turns: Steps) -> Rows:
    return trio.run(_rows_after, turns)


def left_over(turns: Steps) -> list[int]:
    present: set[int] = set()
    for verb, pos in (step for steps in turns for step in steps):
        present.add(pos) if verb == "come" else present.discard(pos)
    return sorted(present)


places = st.integers(-6, 12)
turns_of_steps = st.lists(
    st.lists(st.tuples(st.sampled_from(["come", "come", "go"]), places), max_size=8), min_size=1, max_size=6
)


@given(turns_of_steps)
def test_what_is_stored_follows_from_what_is_there_alone(turns: Steps) -> None:
    """Not from the order in which it came, nor from what else came and went, nor from how turns were cut."""
    assert rows_after(turns) == rows_after([[("come", pos)] for pos in left_over(turns)])


def test_nothing_is_left_of_what_went() -> None:
    everything = range(-6, 12)
    rows = rows_after([[("come", pos) for pos in everything], [("go", pos) for pos in everything]])
    assert all(not stored for stored in rows.values())


def test_a_thread_stands_where_its_latest_event_does_also_when_older_ones_come_later() -> None:
    thread = [pos for pos in range(-6, 12) if make_child(pos).rel_type == "m.thread" and pos % 2 == 0]
    rows = rows_after([[("come", thread[-1])], [("come", thread[0])]])
    assert len(rows["threadactivity_root"]) == 1
    assert rows["threadactivity_root"] == rows_after([[("come", thread[-1])]])["threadactivity_root"]


def test_times_beyond_what_a_key_holds_are_cut() -> None:
    far = replace(make_child(2), ts_ms=1 << 70)
    like = far.like_key()
    assert like is not None
    assert like.ts_ms == (1 << 63) - 1
    assert replace(far, ts_ms=-(1 << 70)).like_key() == like._replace(ts_ms=-like.ts_ms)


@given(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))
def test_annotations_are_alike_only_if_type_and_key_are(type_: str, key: str, other_type: str, other_key: str) -> None:
    one = replace(make_child(3), type=type_, key=key).like_key()
    another = replace(make_child(3), type=other_type, key=other_key).like_key()
    assert (one == another) == ((type_, key) == (other_type, other_key))


def test_only_relations_to_possible_events_are_kept() -> None:
    def build(event_id: str) -> Child | None:
        return build_child(
            room=ROOM,
            event=ShortEventId(1),
            pos=1,
            sender=ShortUserId(1),
            type="m.reaction",
            ts_ms=0,
            content={"m.relates_to": {"rel_type": "m.reference", "event_id": event_id}},
        )

    assert build("$" + "x" * 254) is not None
    assert build("$" + "x" * 255) is None
    assert build("$" + "\u00e9" * 128) is None
    assert build("$nul\0") is None
    assert build("no event id") is None
    assert {relations.KIND_OF.get(child.rel_type) for child in (build("$a"),) if child} == {4}
