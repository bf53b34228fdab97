"""An application service of a server in a test: a bridge to a network of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import trio

from conduit_py.config import Proxy
from conduit_py.matrix.ids import ServerName
from conduit_py.outbound.appservice import AppServiceClient
from conduit_py.outbound.http import HttpClient, HttpReply, Target
from conduit_py.service.appservice_registry import AppServices
from conduit_py.service.appservices.ephemeral import AppServiceEphemeral
from conduit_py.service.appservices.queries import AppServiceQueries
from conduit_py.service.appservices.queue import AppServiceQueue
from conduit_py.service.users.store import Store
from tests.outbound.web import FakeDns
from tests.rig.client import Client
from tests.rig.server import SERVER_NAME, Server

AS_TOKEN = "the token of the bridge"
HS_TOKEN = "the token of the server"
SENDER = "@_irc_bot:one.test"


def registration(**changes: Any) -> dict[str, Any]:
    """What the file says, with top-level changes."""
    return {
        "id": "irc",
        "url": "http://127.0.0.1:9",
        "as_token": AS_TOKEN,
        "hs_token": HS_TOKEN,
        "sender_localpart": "_irc_bot",
        "namespaces": {
            "users": [{"regex": "@_irc_.*", "exclusive": True}],
            "aliases": [{"regex": "#_irc_.*", "exclusive": True}],
            "rooms": [],
        },
        "protocols": ["irc"],
        **changes,
    }


def write_registrations(folder: Path, *documents: dict[str, Any]) -> dict[str, str]:
    """Files for the configuration, and what to add to it. JSON is YAML."""
    paths = []
    for number, document in enumerate(documents):
        paths.append(folder / f"appservice{number}.yaml")
        paths[-1].write_bytes(orjson.dumps(document))
    return {"APPSERVICES": orjson.dumps([str(path) for path in paths]).decode()}


def bridge_of(server: Server, token: str = AS_TOKEN) -> Client:
    """The bridge as a client."""
    client = server.client()
    client.access_token = token
    return client


async def register_ghost(bridge: Client, username: str, **more: Any) -> str:
    """A user of the bridge, without a session of its own."""
    body = {"type": "m.login.application_service", "username": username, "inhibit_login": True, **more}
    response = await bridge.post("/register", body)
    assert response.status == 200, response.body
    user_id: str = response.json["user_id"]
    return user_id


@dataclass(frozen=True)
class Asked:
    """One request to an application service."""

    method: str
    path: str
    token: str
    content: Any

    @property
    def txn_id(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def event_ids(self) -> list[str]:
        return [event["event_id"] for event in self.content["events"]]


class Wires(HttpClient):
    """Brings requests to application services that are in the test: no sockets, and trio's clock."""

    def __init__(self) -> None:
        super().__init__(dns=FakeDns(), denylist=(), proxy=Proxy(), ca_certificates=None, requests_max=10)
        self.asked: list[Asked] = []
        self.targets: list[Target] = []
        self.answer: Callable[[Asked], tuple[int, Any]] = lambda asked: (200, {})
        """What it says; raising ``Unreachable`` is not saying anything."""
        self.on_asked: Callable[[Asked], Awaitable[None]] | None = None
        """What it does before it answers."""

    async def fetch(
        self,
        method: str,
        target: Target,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        bytes_max: int,
        timeout_s: float,
    ) -> HttpReply:
        await trio.lowlevel.checkpoint()
        token = (headers or {})["Authorization"].removeprefix("Bearer ")
        asked = Asked(method, path, token, None if body is None else orjson.loads(body))
        self.asked.append(asked)
        self.targets.append(target)
        if self.on_asked is not None:
            await self.on_asked(asked)
        status, content = self.answer(asked)
        return HttpReply(status, {}, orjson.dumps(content))

    def transactions(self) -> list[Asked]:
        return [asked for asked in self.asked if "/transactions/" in asked.path]


def no_ephemeral() -> AppServiceEphemeral:
    """Where there are no application services to tell."""
    nobody = AppServices(ServerName(SERVER_NAME), ())
    return AppServiceEphemeral(nobody, AppServiceQueue(nobody))


def no_queries(store: Store) -> AppServiceQueries:
    """Where there are no application services to ask."""
    return AppServiceQueries(store, AppServices(ServerName(SERVER_NAME), ()), AppServiceClient(Wires()))
