"""What is changed in the configuration while the server runs has its effect, or none at all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from conduit_py.config import Config, ConfigError, LoadedConfig, RateLimit, Secret, Turn
from conduit_py.config import Tls as TlsFiles
from conduit_py.http.in_process import AppClient
from conduit_py.http.tls import Tls
from conduit_py.matrix.ids import ServerName
from conduit_py.reloading import Reloader
from conduit_py.server import Server as Built
from conduit_py.server import build
from tests.rig.admin import Console
from tests.rig.client import Client, Response
from tests.rig.server import PASSWORD, Server, load_test_config

CONFIG = load_test_config(ALLOW_REGISTRATION="false")


class Reloading:
    """A server whose configuration a test changes."""

    def __init__(self, built: Built, tls: Tls | None = None) -> None:
        self.built = built
        self.wanted: Callable[[], Config] = lambda: CONFIG
        self._reloader = Reloader(CONFIG, self._read, built.applies, tls)

    def _read(self) -> LoadedConfig:
        return LoadedConfig(self.wanted(), None, ["something is odd"], [])

    async def reload(self, **changes: Any) -> None:
        self.wanted = lambda: replace(CONFIG, **changes)
        await self._reloader.reload()

    async def fail(self, error: Exception) -> None:
        def refuse() -> Config:
            raise error

        self.wanted = refuse
        await self._reloader.reload()


@pytest.fixture
async def reloading(server: Server) -> Reloading:
    return Reloading(await build(CONFIG, server.store, hash_limiter=None))


def client(reloading: Reloading, address: str = "127.0.0.1") -> Client:
    return Client(AppClient(reloading.built.app, address=address))


async def register(reloading: Reloading, name: str, **auth: str) -> Response:
    body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy", **auth}}
    return await client(reloading).post("/register", body)


async def test_registration_is_opened_and_closed(reloading: Reloading) -> None:
    await reloading.reload(allow_registration=True)
    assert (await register(reloading, "alice")).status == 200
    await reloading.reload(allow_registration=False)
    assert (await register(reloading, "bob")).status == 403
    await reloading.reload(allow_registration=True)
    assert (await register(reloading, "bob")).status == 200


async def test_admin_room_shows_what_is_in_force(reloading: Reloading) -> None:
    await reloading.reload(allow_registration=True, server_name="two.test")
    lines = (await Console(reloading.built.admin.dispatcher).ask("show-config")).splitlines()
    assert {"allow_registration = true", 'server_name = "one.test"'} <= set(lines)


async def test_key_that_needs_a_restart_is_named_and_changes_nothing(
    reloading: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    await reloading.reload(server_name="two.test", allow_registration=True, registration_token=Secret("sesame"))
    told: dict[str, object] = caplog.records[-1].fields  # type: ignore[attr-defined]
    assert told == {"changed": "allow_registration, registration_token", "needs_restart": "server_name"}
    assert "something is odd" in caplog.messages
    assert "sesame" not in caplog.text
    alice = await register(reloading, "alice", type="m.login.registration_token", token="sesame")
    assert (alice.status, alice.json["user_id"]) == (200, "@alice:one.test")


@pytest.mark.parametrize("error", [ConfigError("conduit.toml, line 3: no"), FileNotFoundError(2, "No such file")])
async def test_broken_file_changes_nothing(
    reloading: Reloading, error: Exception, expect_errors: list[logging.LogRecord]
) -> None:
    await reloading.reload(allow_registration=True)
    await reloading.fail(error)
    assert str(error) in str(expect_errors[0].fields)  # type: ignore[attr-defined]
    assert (await register(reloading, "alice")).status == 200


async def test_limits_are_replaced(reloading: Reloading, autojump_clock: trio.testing.MockClock) -> None:
    limits = replace(CONFIG.rate_limits, login=RateLimit(per_second=0.001, burst=1))
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}, "password": PASSWORD}
    await reloading.reload(allow_registration=True, rate_limits=limits)
    await register(reloading, "alice")
    assert [(await client(reloading).post("/login", body)).status for _ in range(2)] == [200, 429]
    await reloading.reload(rate_limits=replace(limits, enabled=False))
    assert (await client(reloading).post("/login", body)).status == 200


async def test_forbidden_servers_are_replaced(reloading: Reloading) -> None:
    federation = reloading.built.federation
    await reloading.reload(forbidden_remote_server_names=("*.bad.test",))
    assert federation.is_forbidden(ServerName("very.bad.test"))
    await reloading.reload(forbidden_remote_server_names=())
    assert not federation.is_forbidden(ServerName("very.bad.test"))


async def test_proxies_are_replaced(reloading: Reloading) -> None:
    app = AppClient(reloading.built.app, address="192.0.2.1")

    async def is_believed() -> bool:
        reply = await app.request("GET", "/health", {"X-Request-Id": "mine"})
        return reply.headers["x-request-id"] == "mine"

    assert not await is_believed()
    await reloading.reload(trusted_proxies=(ip_network("192.0.2.0/24"),))
    assert await is_believed()


async def test_turn_servers_are_replaced(reloading: Reloading) -> None:
    turn = Turn(uris=("turn:turn.test",), ttl=1, secret=Secret("shared"), username=None, password=None)
    await reloading.reload(allow_registration=True, turn=turn)
    alice = client(reloading)
    alice.use_session((await register(reloading, "alice")).json)
    assert (await alice.get("/voip/turnServer")).json["uris"] == ["turn:turn.test"]
    await reloading.reload(turn=None)
    assert (await alice.get("/voip/turnServer")).json == {}


def write(authority: trustme.CA, folder: Path) -> TlsFiles:
    issued = authority.issue_cert("localhost")
    files = TlsFiles(folder / "certificate.pem", folder / "key.pem")
    files.certs.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(files.key))
    return files


async def test_certificate_is_read_again_from_the_same_files(server: Server, tmp_path: Path) -> None:
    config = replace(CONFIG, tls=write(trustme.CA(), tmp_path))
    assert config.tls is not None
    tls = Tls(config.tls.certs, config.tls.key)
    before = tls.context
    reloader = Reloader(config, lambda: LoadedConfig(config, None, [], []), (), tls)
    write(trustme.CA(), tmp_path)
    await reloader.reload()
    assert tls.context is not before


async def test_certificate_without_its_key_changes_nothing(
    server: Server, tmp_path: Path, expect_errors: list[logging.LogRecord]
) -> None:
    config = replace(CONFIG, tls=write(trustme.CA(), tmp_path))
    assert config.tls is not None
    tls, applied = Tls(config.tls.certs, config.tls.key), list[Config]()
    before = tls.context
    config.tls.certs.write_bytes(trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes())
    wanted = replace(config, log="debug")
    await Reloader(config, lambda: LoadedConfig(wanted, None, [], []), (applied.append,), tls).reload()
    assert tls.context is before
    assert applied == []
    assert "KEY_VALUES_MISMATCH" in str(expect_errors[0].fields)  # type: ignore[attr-defined]
