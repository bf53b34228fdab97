"""Both engines do to any sequence of batches what a dictionary does."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kvschema.batch import ADD, DELETE, PUT, REQUIRE, Write, WriteBatch
from kvschema.engine import Engine
from kvschema.engine.memory import MemoryEngine
from tests.kvschema.conftest import small_lmdb
from tests.kvschema.sample import NAMES

Model = dict[tuple[str, bytes], bytes]

raw_keys = st.binary(min_size=1, max_size=2) | st.just(b"k" * 512)
raw_values = st.binary(max_size=3) | st.just(b"v" * 5000)
trees = st.sampled_from(NAMES[-2:])
counted = st.sampled_from([bytes([0] * 7 + [n]) for n in (1, 2)])
differences = st.integers(-2, 2).map(lambda n: n.to_bytes(8, "big", signed=True))
alone: st.SearchStrategy[tuple[bytes, ...]] = st.just(())
writes = st.one_of(
    st.builds(Write, st.just(PUT), trees, raw_keys, raw_values, append=st.booleans(), keys=alone),
    st.builds(Write, st.just(PUT), trees, st.just(b""), raw_values, keys=st.lists(raw_keys, min_size=1, max_size=3)),
    st.builds(Write, st.just(DELETE), trees, raw_keys, st.just(b""), keys=alone),
    st.builds(Write, st.just(ADD), st.just("counts"), counted, differences, keys=alone),
    st.builds(Write, st.just(REQUIRE), trees, raw_keys, raw_values, absent=st.booleans(), keys=alone),
)
batches = st.lists(st.lists(writes, max_size=5), min_size=1, max_size=3)


def after(model: Model, steps: list[Write]) -> Model | None:
    """The model with one batch applied, None where the batch is refused."""
    changed = dict(model)
    for op, tree, key, value, _, absent, keys in steps:
        current = changed.get((tree, key))
        if op == REQUIRE:
            if (current is not None) if absent else (current != value):
                return None
            continue
        if op != DELETE and max(map(len, (key, *keys))) > 511:
            return None
        if op == ADD:
            total = int.from_bytes(current or b"", "big") + int.from_bytes(value, "big", signed=True)
            if total < 0:
                return None
            value = total.to_bytes(8, "big") if total else b""
        if op == DELETE or (op == ADD and not value):
            changed.pop((tree, key), None)
        else:
            changed.update(((tree, other), value) for other in keys or (key,))
    return changed


class EngineMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.lmdb = small_lmdb(self.path)
        self.engines: list[Engine] = [MemoryEngine(), self.lmdb]
        self.model: Model = {}

    @rule(staged=batches)
    def apply(self, staged: list[list[Write]]) -> None:
        wanted = []
        for steps in staged:
            changed = after(self.model, steps)
            wanted.append(changed is not None)
            self.model = self.model if changed is None else changed
        for engine in self.engines:
            group = [WriteBatch() for _ in staged]
            for batch, steps in zip(group, staged, strict=True):
                batch.writes.extend(steps)
            assert [outcome is None for outcome in engine.apply(group)] == wanted

    @rule()
    def reopen(self) -> None:
        self.lmdb.close()
        self.lmdb = small_lmdb(self.path)
        self.engines[1] = self.lmdb

    @rule(tree=trees, prefix=st.binary(max_size=1), start=st.binary(max_size=2), reverse=st.booleans())
    def scan(self, tree: str, prefix: bytes, start: bytes, reverse: bool) -> None:
        held = sorted(key for name, key in self.model if name == tree and key.startswith(prefix))
        wanted = [key for key in held if not start or (key < start if reverse else key > start)]
        for engine in self.engines:
            with engine.snapshot() as reader:
                found = [key for key, _ in reader.scan(tree, prefix, start, b"", reverse)]
            assert found == (wanted[::-1] if reverse else wanted)

    @invariant()
    def rows_agree(self) -> None:
        for engine in self.engines:
            with engine.snapshot() as reader:
                for tree in NAMES:
                    wanted = sorted((key, value) for (name, key), value in self.model.items() if name == tree)
                    assert list(reader.scan(tree, b"", b"", b"", False)) == wanted
                    assert reader.count(tree) == len(wanted)

    def teardown(self) -> None:
        self.lmdb.close()
        shutil.rmtree(self.path)


TestEngines = EngineMachine.TestCase
TestEngines.settings = settings(max_examples=80, stateful_step_count=20)
