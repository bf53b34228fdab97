"""Where servers that send keep their queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvschema.catalog import CATALOG
from kvschema.engine import Engine
from kvschema.engine.lmdb import LmdbEngine
from tests.service.sending.world import Post


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def engine(make_engine: Callable[[], Engine]) -> Engine:
    return make_engine()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Opens the same files again at each call."""
    opened: list[LmdbEngine] = []

    def reopen() -> Engine:
        for engine in opened:
            engine.close()
        opened[:] = [LmdbEngine(tmp_path / "db", [tree.name for tree in CATALOG], reserve_bytes=0)]
        return opened[0]

    yield reopen
    for engine in opened:
        engine.close()
