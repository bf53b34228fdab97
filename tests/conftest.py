"""Fixtures that every test may rely on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from conduit_py.log import tear_down_logging
from kvschema.catalog import CATALOG
from kvschema.engine import Engine
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.memory import MemoryEngine
from tests.error_log import ErrorLog, unexpected
from tests.replies import write_seen
from tests.rig.server import Server, load_test_config, open_server
from tests.spec.source import SPEC_IS_ABSENT, find_spec_dir

# The same examples in every run, and none of them fails for being slow on a busy machine.
# More of them: --hypothesis-profile=thorough
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def error_log(request: pytest.FixtureRequest) -> Iterator[ErrorLog]:
    """Fails the test when something logged an error that the test did not ask for with ``expect_errors``."""
    handler = ErrorLog()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        tear_down_logging()  # of a command that the test ran, which would clean the records of other tests
    complaint = unexpected(handler.errors, expected="expect_errors" in request.fixturenames)
    if complaint is not None:
        pytest.fail(complaint, pytrace=False)


@pytest.fixture
def expect_errors(error_log: ErrorLog) -> list[logging.LogRecord]:
    """The test asks for errors in the log: the list fills as they come, and must not stay empty."""
    return error_log.errors


@pytest.fixture(scope="session")
def spec_dir() -> Path:
    """The folder of the Matrix specification's data, which is not part of this repository."""
    folder = find_spec_dir()
    if folder is None:
        pytest.skip(SPEC_IS_ABSENT)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: one that is begun last keeps all cores but one waiting."""
    items.sort(key=lambda item: item.get_closest_marker("early") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in every run without the specification's data that nothing was compared with it."""
    if find_spec_dir() is None:
        terminalreporter.write_line(f"Note: {SPEC_IS_ABSENT}", yellow=True)


def pytest_sessionfinish() -> None:
    write_seen()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=("memory", "lmdb"),
        default="memory",
        help="what servers in tests store their data in",
    )


@pytest.fixture
def make_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """A new empty engine at each call, of the kind that ``--engine`` names."""
    engines: list[Engine] = []

    def make() -> Engine:
        if request.config.getoption("--engine") == "lmdb":
            names = [tree.name for tree in CATALOG]
            engines.append(LmdbEngine(tmp_path / f"db{len(engines)}", names, reserve_bytes=0))
        else:
            engines.append(MemoryEngine())
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
async def server(make_engine: Callable[[], Engine]) -> AsyncIterator[Server]:
    """A running server named one.test with nobody on it; registration is open.

    A test in which time passes asks for ``autojump_clock`` as well: the server goes by the same clock.
    """
    async with open_server(make_engine(), load_test_config()) as server:
        yield server
