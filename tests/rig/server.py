"""A whole server in the test's process: real services, real codecs, no sockets, no threads, trio's clock.

``open_server`` takes any engine. What a test starts from is stated in ``CONFIG``: registration is open, and password
hashes cost next to nothing.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import trio

from conduit_py.config import Config, PasswordHash, load_config
from conduit_py.data import users
from conduit_py.data.short_ids import ShortIds
from conduit_py.http.in_process import AppClient
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.service.users.store import Store
from conduit_py.storage.cache import ObjectCache
from conduit_py.storage.database import Database, stamp
from conduit_py.storage.locks import KeyedLocks
from conduit_py.storage.writer import open_writer
from kvschema.catalog.rooms import ShortUserId
from kvschema.catalog.users import Account
from kvschema.engine import Engine
from tests.rig.client import Client
from tests.rig.compose import Services, build_services, run_services
from tests.rig.stored import Dump, leaves_no_trace, read_all

SERVER_NAME = "one.test"
PASSWORD = "correct horse battery staple"

NOWHERE = "/proc/nowhere"
"""Where no folder can be made: a test that stores files says where, so that none finds what another left."""
CONFIG = {
    "CONDUIT_SERVER_NAME": SERVER_NAME,
    "CONDUIT_ALLOW_REGISTRATION": "true",
    "CONDUIT_DATABASE_PATH": NOWHERE,
}
CHEAP_HASH = PasswordHash(time=1, memory=64, parallelism=1)
"""Less than a configuration may ask for."""
START_MS = 1_700_000_000_000
"""What the clock says when a test begins. Trio's mocked clock begins at 0."""


class Server:
    """One running server. Made by ``open_server``."""

    def __init__(self, services: Services, woken: list[ShortUserId]) -> None:
        self.services = services
        self.store = services.store
        self.woken = woken
        """Users whose syncs were told that something is new, in order."""
        self._app = AppClient(services.app)

    def client(self) -> Client:
        """Somebody who is not logged in."""
        return Client(self._app)

    async def register(self, name: str, **more: Any) -> Client:
        """Make an account, with ``more`` in the request, and go on as its user."""
        client = self.client()
        auth = {"type": "m.login.dummy"}
        response = await client.post("/register", {"username": name, "password": PASSWORD, "auth": auth, **more})
        assert response.status == 200, response.body
        client.use_session(response.json)
        client.password = PASSWORD
        return client

    async def log_in(self, user: Client, **more: Any) -> Client:
        """Another session of the same user."""
        client = self.client()
        identifier = {"type": "m.id.user", "user": user.user_id}
        body = {"type": "m.login.password", "identifier": identifier, "password": user.password, **more}
        response = await client.post("/login", body)
        assert response.status == 200, response.body
        client.use_session(response.json)
        client.password = user.password
        return client

    async def hear_of_room(self, room_id: str, room_version: str = "12") -> None:
        """Let the server know a room by its id, without anything in it."""
        async with self.store.writer.turn() as turn:
            with self.store.snapshot() as snapshot:
                self.store.ids.intern_room(snapshot, turn, RoomId(room_id), room_version)

    async def change_account(self, user: Client, **changes: Any) -> None:
        """Set fields of the account's row, such as ``is_locked=True``."""
        async with self.store.writer.turn() as turn:
            with self.store.snapshot() as snapshot:
                found = users.get_local(snapshot, UserId(user.user_id))
                assert found is not None
                users.stage_account(turn, found[0], found[1]._replace(**changes))

    def get_account(self, user_id: str) -> Account | None:
        with self.store.snapshot() as snapshot:
            found = users.get_local(snapshot, UserId(user_id))
        return None if found is None else found[1]

    def leaves_no_trace(self, *, but: Collection[str] = ()) -> AbstractAsyncContextManager[None]:
        return leaves_no_trace(self, but)

    def dump(self) -> Dump:
        with self.store.snapshot() as snapshot:
            return read_all(snapshot)


def load_test_config(**overrides: str) -> Config:
    """``CONFIG`` with variables on top: ``ALLOW_REGISTRATION="false"``."""
    names_file = any("/" in value for value in overrides.values())
    return _load(**overrides) if names_file else _load_once(**overrides)


def _load(**overrides: str) -> Config:
    variables = CONFIG | {f"CONDUIT_{name}": value for name, value in overrides.items()}
    return replace(load_config(None, variables).config, password_hash=CHEAP_HASH)


_load_once = functools.lru_cache(_load)


@asynccontextmanager
async def open_server(
    engine: Engine, config: Config, *, last_pos: int | None = None, threaded: bool = False
) -> AsyncIterator[Server]:
    """Run a server until the block ends. Opening another one on the same engine later is a restart.

    ``last_pos`` is where positions go on from; None for the last one that is stored.
    """
    stamp(engine, config.server_name)
    database = Database(engine, ObjectCache(int(config.db_cache_capacity_mb * 1_000_000)))
    if last_pos is None:
        with database.snapshot() as snapshot:
            last_pos = max(snapshot.pos, 1)
    woken: list[ShortUserId] = []

    def wake(users: Iterable[ShortUserId]) -> None:
        woken.extend(users)

    async with open_writer(engine, database.cache, last_pos=last_pos, threaded=threaded) as writer:
        store = Store(database=database, writer=writer, locks=KeyedLocks(), ids=ShortIds(), now_ms=_now_ms)
        services = build_services(config, store, wake=wake)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_services, services)
            yield Server(services, woken)
            nursery.cancel_scope.cancel()


def _now_ms() -> int:
    return START_MS + int(trio.current_time() * 1000)
