"""An application service of a server in a test: a bridge to a network of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from tests.rig.client import Client
from tests.rig.server import Server

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
