"""A migration that is killed goes on at the next start, and an older program keeps its hands off the result."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from conduit_py.storage.database import DIRECTORY
from kvschema.batch import WriteBatch
from kvschema.catalog import CATALOG
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import OPENIDTOKEN_EXPIRESATUSERID, OpenIdToken, UserTokenHash
from kvschema.engine.lmdb import LmdbEngine
from kvschema.migrate import apply_one
from tests.commands.invoking import invoke
from tests.crash.next_version import KILL_AT, MET
from tests.rig.process import ServerProcess
from tests.rig.wire import WireClient, register

ROWS = 5_000
FAR_MS = 1 << 50


def open_engine(data: Path) -> LmdbEngine:
    return LmdbEngine(data / DIRECTORY, [*(tree.name for tree in CATALOG), MET.name], reserve_bytes=0)


def fill(data: Path) -> None:
    batch = WriteBatch()
    for number in range(ROWS):
        key = UserTokenHash(ShortUserId(1 << 40), number.to_bytes(32, "big"))
        batch.put(OPENIDTOKEN_EXPIRESATUSERID, key, OpenIdToken(FAR_MS))
    with closing(open_engine(data)) as engine:
        apply_one(engine, batch)


def read_met(data: Path) -> list[int]:
    with closing(open_engine(data)) as engine, engine.snapshot() as reader:
        return [count for _, count in MET.scan(reader)]


@pytest.mark.slow
def test_migration_that_is_killed_goes_on(tmp_path: Path) -> None:
    chance = Random(9)
    with ServerProcess(tmp_path / "server") as process:
        process.start()
        alice = register(process.address, "alice")
        process.stop()
        fill(process.data)

        process.program = (sys.executable, "-m", "tests.crash.next_version")
        for sign in ("", "+", "", "+", ""):
            process.environment[KILL_AT] = f"{sign}{chance.randrange(1, 1800)}"
            process.start(wait=False)
            process.wait_killed()
        met = read_met(process.data)
        assert set(met) == {1}
        assert 0 < len(met) < ROWS
        assert "bringing the database to schema 2" in process.read_log()

        del process.environment[KILL_AT]
        process.start()
        with WireClient(process.address, alice["access_token"]) as client:
            assert client.get("account", "whoami")["user_id"] == alice["user_id"]
        process.stop()
        assert "the database has schema 2 now" in process.read_log()
        assert read_met(process.data) == [1] * ROWS

        process.program = (sys.executable, "-m", "conduit_py")
        before = (process.data / DIRECTORY / "data.mdb").read_bytes()
        process.start(wait=False)
        refusal = process.wait_refused()
        assert refusal.startswith("the database has schema 2 and this program knows schemas up to 1: it was written by")
        assert "Start that version again, or put back the copy of the directory from before the upgrade" in refusal
        done = invoke("verify", process.data)
        assert done.exit_code == 1
        assert "use the version that wrote it" in done.stdout
        # Opening the file takes a transaction, and changes no row.
        assert len(before) == (process.data / DIRECTORY / "data.mdb").stat().st_size
        assert read_met(process.data) == [1] * ROWS
