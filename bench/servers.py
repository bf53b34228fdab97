"""Servers to measure: how to get, start, wait for and stop them.

A server is named on the command line as

- ``ours``: this checkout; ``ours@REF``: a commit, tag or branch of it; ``ours:PATH``: another checkout;
- ``synapse`` or ``synapse@VERSION``: Synapse from PyPI, in a virtual environment of its own under the cache directory;
- ``http://127.0.0.1:PORT``: a server that runs already, with open registration and no rate limits. ``?pid=N`` adds its
  process, for CPU time and memory; ``&users=FILE`` names a JSON list of ``{"user_id", "access_token"}`` in place of
  registration.

Each keeps its defaults but for these: rate limits off, registration open, password hashes cheap, one loopback port.
"""

from __future__ import annotations

import compileall
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

from bench.driver.process import Gauges
from bench.driver.scene import Account, register_all
from bench.driver.wire import Address, Connection, DriverError, encode_request
from tests.rig.ports import free_port

ROOT: Final = Path(__file__).parents[1]
SYNAPSE: Final = "1.163.*"
SERVER_NAME: Final = "bench.localhost"
START_S_MAX: Final = 120.0
STOP_S_MAX: Final = 20.0
LOG_TAIL_BYTES: Final = 3000

Settings = Mapping[str, str | int | float | bool]
"""Of the configuration file, by name."""


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "conduit_py-bench"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    address: Address
    gauges: Gauges
    start_s: float
    """From the start of the process to its first answer."""
    users: Sequence[Account] | None = None
    """None: to be registered."""

    def take_accounts(self) -> Sequence[Account]:
        return list(register_all(self.address)) if self.users is None else self.users


class Server(Protocol):
    """A server that is ready to be started, as often as wanted."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def start(self, directory: Path, settings: Settings = MappingProxyType({})) -> AbstractContextManager[Running]:
        """Run it with its data in ``directory``, which is empty or has those of an earlier run; stop it at the end.

        ``settings`` are for ours, and override the defaults.
        """
        ...


def prepare_server(name: str, cache: Path) -> Server:
    """The server called ``name``, downloaded or unpacked under ``cache`` where need be."""
    if name.startswith("http://"):
        return Attached.parse(name)
    found = re.fullmatch(r"(ours|synapse)(?:@([\w.*/~^+-]+)|:(.+))?", name)
    match found and found.groups():
        case ("ours", None, None):
            return Ours(name, compiled(ROOT))
        case ("ours", None, path):
            return Ours(name, compiled(Path(str(path)).resolve(strict=True)))
        case ("ours", ref, None):
            return Ours(name, compiled(export_commit(str(ref), cache)))
        case ("synapse", version, None):
            return Synapse(name, install_synapse(str(version or SYNAPSE), cache))
    raise DriverError(f"{name!r} names no server; python -m bench.compare --help lists what does")


def compiled(checkout: Path) -> Path:
    """``checkout``, with the bytecode that pip would have left in it."""
    for package in ("conduit_py", "kvschema"):
        compileall.compile_dir(checkout / package, quiet=1)
    return checkout


@dataclass(frozen=True, slots=True)
class Ours:
    name: str
    checkout: Path
    command: tuple[str, ...] = ("-m", "conduit_py")
    """For Python."""

    @property
    def version(self) -> str:
        git = subprocess.run(
            ["git", "-C", str(self.checkout), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=False,
        )
        return git.stdout.strip() if git.returncode == 0 and (self.checkout / ".git").exists() else self.checkout.name

    def start(self, directory: Path, settings: Settings = MappingProxyType({})) -> AbstractContextManager[Running]:
        port, metrics_port = free_port(), free_port()
        config = {
            "server_name": SERVER_NAME,
            "database_path": str(directory / "data"),
            "port": port,
            "allow_registration": True,
            "metrics_address": f"127.0.0.1:{metrics_port}",
            "rate_limits.enabled": False,
            "password_hash.time": 1,
            "password_hash.memory": 8192,
            **settings,
        }
        # JSON's strings, numbers and booleans are TOML's.
        lines = [f"{key} = {json.dumps(value)}" for key, value in config.items()]
        path = directory / "conduit.toml"
        path.write_text("\n".join(("[global]", *lines, "")))
        arguments = [sys.executable, *self.command, "--config", str(path)]
        metrics = Address("127.0.0.1", metrics_port)
        return run_process(arguments, port=port, directory=directory, import_path=self.checkout, metrics=metrics)


@dataclass(frozen=True, slots=True)
class Synapse:
    name: str
    python: Path

    @property
    def version(self) -> str:
        return run_tool([str(self.python), "-c", "import synapse; print(synapse.__version__)"]).strip()

    def start(self, directory: Path, settings: Settings = MappingProxyType({})) -> AbstractContextManager[Running]:
        port = free_port()
        app = [str(self.python), "-m", "synapse.app.homeserver"]
        generated, ours = directory / "homeserver.yaml", directory / "bench.yaml"
        generate = ["--generate-config", "--server-name", SERVER_NAME, "--report-stats", "no"]
        run_tool([*app, *generate, "--config-path", str(generated)], cwd=directory)
        ours.write_text(json.dumps(synapse_config(port)))  # YAML holds JSON
        return run_process([*app, "-c", str(generated), "-c", str(ours)], port=port, directory=directory)


def synapse_config(port: int) -> dict[str, Any]:
    """What differs from the configuration that Synapse generates, which has SQLite and one process."""
    unlimited = {"per_second": 1_000_000, "burst_count": 1_000_000}
    return {
        "listeners": [
            {
                "port": port,
                "type": "http",
                "tls": False,
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["client", "federation"], "compress": False}],
            }
        ],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": 4,
        "suppress_key_server_warning": True,
        "rc_login": {"address": unlimited, "account": unlimited, "failed_attempts": unlimited},
        "rc_joins": {"local": unlimited, "remote": unlimited},
        "rc_invites": {"per_room": unlimited, "per_user": unlimited, "per_issuer": unlimited},
        "rc_presence": {"per_user": unlimited},
        **dict.fromkeys(
            ("rc_message", "rc_registration", "rc_joins_per_room", "rc_room_creation", "rc_media_create"), unlimited
        ),
        # Downloads of media are limited by bytes.
        "remote_media_download_per_second": "1000G",
        "remote_media_download_burst_count": "1000G",
    }


@dataclass(frozen=True, slots=True)
class Attached:
    """A server that somebody else started and will stop."""

    name: str
    address: Address
    gauges: Gauges
    users: Sequence[Account] | None

    version = "?"

    @classmethod
    def parse(cls, url: str) -> Attached:
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
        users = None
        if "users" in query:
            listed = json.loads(Path(query["users"]).read_text())
            users = [Account(user["user_id"], user["access_token"]) for user in listed]
        address = Address.loopback(parts.hostname or "", parts.port or 80)
        gauges = Gauges(int(query["pid"]) if "pid" in query else None)
        return cls(f"{parts.scheme}://{parts.netloc}", address, gauges, users)

    def start(self, directory: Path, settings: Settings = MappingProxyType({})) -> AbstractContextManager[Running]:
        return nullcontext(Running(self.address, self.gauges, 0.0, self.users))


def export_commit(ref: str, cache: Path) -> Path:
    """The tree of a commit of this repository, in a directory named by its hash."""
    commit = run_tool(["git", "-C", str(ROOT), "rev-parse", "--verify", f"{ref}^{{commit}}"]).strip()
    target = cache / f"ours-{commit[:12]}"
    if not target.exists():
        tree = subprocess.run(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE, check=True).stdout
        unfinished = target.with_suffix(".part")
        with tarfile.open(fileobj=BytesIO(tree)) as archive:
            archive.extractall(unfinished, filter="data")
        unfinished.rename(target)
    return target


def install_synapse(version: str, cache: Path) -> Path:
    """The Python of a virtual environment that has Synapse. ``version`` may end in ``.*``."""
    environment = cache / f"synapse-{version.removesuffix('.*')}"
    python, done = environment / "bin" / "python", environment / "installed"
    if not done.exists():
        print(f"installing matrix-synapse {version} in {environment}", file=sys.stderr)
        run_tool([sys.executable, "-m", "venv", "--clear", str(environment)])
        run_tool([str(python), "-m", "pip", "install", "--quiet", f"matrix-synapse=={version}"])
        done.touch()
    return python


def run_tool(arguments: Sequence[str], *, cwd: Path | None = None) -> str:
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DriverError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-LOG_TAIL_BYTES:]}")
    return done.stdout


@contextmanager
def run_process(
    arguments: Sequence[str],
    *,
    port: int,
    directory: Path,
    import_path: Path | None = None,
    metrics: Address | None = None,
) -> Iterator[Running]:
    """A server process in ``directory``, from its first answer until it was told to end and did."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONDUIT_")}
    if import_path is not None:
        environment["PYTHONPATH"] = str(import_path)
    log = directory / "server.log"
    started_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, cwd=directory, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    address = Address("127.0.0.1", port)
    try:
        wait_for_answer(address, process)
        yield Running(address, Gauges(process.pid, metrics), time.monotonic() - started_s)
    except DriverError as error:
        raise DriverError(f"{error}\nthe end of the server's log:\n{tail(log)}") from error
    finally:
        stop(process)


def wait_for_answer(address: Address, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S_MAX
    while not answers(address):
        if process.poll() is not None or time.monotonic() > deadline:
            state = "did not answer" if process.returncode is None else f"ended with {process.returncode}"
            raise DriverError(f"the server {state}")
        time.sleep(0.02)


def tail(log: Path) -> str:
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


def answers(address: Address) -> bool:
    """Whether the server lists the versions of the specification.

    Spec: client-server-api/#get_matrixclientversions
    """
    try:
        with Connection(address) as connection:
            reply = connection.exchange(encode_request("GET", "/_matrix/client/versions"))
    except OSError:
        return False
    return reply.status == 200 and b'"versions"' in reply.body


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
