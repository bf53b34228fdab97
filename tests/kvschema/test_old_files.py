"""Files that earlier versions wrote are opened, migrated and served by this one.

``old/schema_<N>.mdb.xz`` holds something in every tree that schema N has. Until a version is released its file is
written anew when the schema changes, by running this module with ``UPDATE_GOLDEN=1``; after that it is never touched.
"""

from __future__ import annotations

import lzma
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import find
from hypothesis import strategies as st

from conduit_py.data.consistency import UNCHECKED
from conduit_py.storage.database import Database, open_database
from kvschema.batch import WriteBatch
from kvschema.catalog import CATALOG, SCHEMA_VERSION, rooms
from kvschema.engine.lmdb import LmdbEngine
from kvschema.engine.lmdb_file import open_file
from kvschema.migrate import apply_one
from tests.commands.invoking import invoke
from tests.data.full_store import fill, make_rows, read_rows
from tests.kvschema.strategies import keys, values
from tests.rig.client import Client
from tests.rig.server import PASSWORD, SERVER_NAME, load_test_config, open_server
from tests.rig.whole import open_whole

OLD = Path(__file__).parent / "old"
CURRENT = OLD / f"schema_{SCHEMA_VERSION}.mdb.xz"
NAMES = sorted(path.name for path in OLD.glob("*.xz"))
EMPTY = {"leavinguserids", "removedroomids", "roompos_waitingpdu", "userpos_farewell"}
"""Work under way, with which a server would go on."""
RESERVE_BYTES = 1 << 20


def write_old_file(path: Path, folder: Path) -> None:
    """What this version writes, compacted and packed."""
    with closing(LmdbEngine(folder / "db", [tree.name for tree in CATALOG], reserve_bytes=0)) as engine:
        fill(engine, make_rows())
        apply_one(engine, _make_up_rows(engine))
    copy, data = folder / "copy.mdb", folder / "db" / "data.mdb"
    with open_file(data, trees_max=1, is_shared=False) as reader, copy.open("wb") as file:
        reader.copy_to(file.fileno())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(lzma.compress(copy.read_bytes(), preset=9))


def _make_up_rows(engine: LmdbEngine) -> WriteBatch:
    """The simplest row for each tree whose rows stand alone and that nobody has filled. Users are real ones."""
    batch = WriteBatch()
    with engine.snapshot() as reader:
        (someone,) = next(rooms.SHORTUSERID_USERID.scan_keys(reader, reverse=True))
        for tree in CATALOG:
            if tree.name in UNCHECKED and tree.name not in EMPTY and not reader.count(tree.name):
                key, value = find(st.tuples(keys(tree.key), values(tree)), lambda row: True)
                batch.put(tree, key._replace(user=someone) if hasattr(key, "user") else key, value)
    return batch


@pytest.fixture(scope="module", autouse=True)
def current_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        write_old_file(CURRENT, tmp_path_factory.mktemp("old"))


@pytest.fixture(params=NAMES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data directory with an old file that nobody has opened yet."""
    data = tmp_path / "data" / "db" / "data.mdb"
    data.parent.mkdir(parents=True)
    data.write_bytes(lzma.decompress((OLD / request.param).read_bytes()))
    return tmp_path / "data"


@contextmanager
def opened(directory: Path) -> Iterator[Database]:
    """As the server opens it, and migrates it."""
    database = open_database(directory, SERVER_NAME, cache_bytes=1_000_000, reserve_bytes=RESERVE_BYTES)
    with closing(database.engine):
        yield database


def test_every_schema_has_a_file() -> None:
    assert [f"schema_{version}.mdb.xz" for version in range(1, SCHEMA_VERSION + 1)] == NAMES


def test_current_file_has_something_in_every_tree(tmp_path: Path) -> None:
    """Of this schema: if a tree was added since, the file is to be written anew, unless it was released."""
    path = tmp_path / "data.mdb"
    path.write_bytes(lzma.decompress(CURRENT.read_bytes()))
    names = [tree.name for tree in CATALOG]
    with open_file(path, trees_max=len(names) + 1, is_shared=False) as reader:
        reader.open_trees(names)
        empty = {name for name in names if not reader.count(name)}
    assert empty == EMPTY, "a tree was added or filled: run this module with UPDATE_GOLDEN=1 and commit the file"


def test_old_file_is_whole_when_it_was_opened(old: Path) -> None:
    with opened(old) as database:
        assert sum(map(len, read_rows(database.engine).values())) > 1000
    done = invoke("verify", old)
    # Its media files are not kept here.
    assert {line.partition(":")[0] for line in done.stdout.splitlines()[:-1]} <= {"media"}
    assert done.stdout.splitlines()[-1] == f"the database in {old} is whole, and media files are missing or damaged"


async def test_old_file_is_served(old: Path) -> None:
    """Who was there logs in and sees the room as it was left."""
    with opened(old) as database:
        async with open_server(database.engine, load_test_config()) as server, open_whole(server) as whole:
            for number in range(3):
                alice = await log_in(whole.client(), f"alice{number}")
                reply = (await alice.get("/sync")).json
                (room,) = reply["rooms"]["join"].values()
                assert room["timeline"]["events"][-1]["content"]["body"] == "bye"


async def log_in(client: Client, name: str) -> Client:
    identifier = {"type": "m.id.user", "user": name}
    response = await client.post("/login", {"type": "m.login.password", "identifier": identifier, "password": PASSWORD})
    assert response.status == 200, response.body
    client.use_session(response.json)
    return client
