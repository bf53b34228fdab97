"""Both engines, behind one name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kvschema.engine import Engine
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.memory import MemoryEngine
from tests.kvschema.sample import NAMES


@pytest.fixture(params=["memory", "lmdb"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty engine with the sample trees."""
    made: Engine = MemoryEngine() if request.param == "memory" else small_lmdb(tmp_path)
    with closing(made):
        yield made


@pytest.fixture
def lmdb_engine(tmp_path: Path) -> Iterator[LmdbEngine]:
    with closing(small_lmdb(tmp_path)) as made:
        yield made


def small_lmdb(path: Path) -> LmdbEngine:
    return LmdbEngine(path / "db", NAMES, map_bytes=1 << 20, reserve_bytes=1 << 20)
