"""Somebody who uses a server over a real socket: what they do, and what /sync has shown them so far."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import orjson

from tests.rig.wire import WireClient, path

Json = dict[str, Any]

PATIENCE_S = 60.0
POLL_MS = 5_000
PAGE = 50


class Peer(Protocol):
    """A server, whoever wrote it."""

    name: str

    def register(self, name: str) -> WireClient: ...


class Person:
    """A user of ``peer`` with a new account."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer = peer
        self.client = peer.register(f"{name}-{secrets.token_hex(4)}")
        whoami = self.client.get("account", "whoami")
        self.user_id: str = whoami["user_id"]
        self.device_id: str = whoami["device_id"]
        self.events: dict[str, list[Json]] = {}
        """By room: every timeline event shown, in order."""
        self.ephemeral: dict[str, list[Json]] = {}
        self.rooms: dict[str, str] = {}
        """How the user stands to each room: join, invite, knock or leave."""
        self.to_device: list[Json] = []
        self.changed: set[str] = set()
        """Users whose device lists were said to have changed."""
        self._since = ""

    def __del__(self) -> None:
        self.client.close()

    # What they are shown.

    def sync(self, timeout_ms: int = 0) -> None:
        query = {"timeout": str(timeout_ms), "filter": '{"room":{"timeline":{"limit":200}}}'}
        if self._since:
            query["since"] = self._since
        reply = self.client.get("sync", **query)
        self._since = reply["next_batch"]
        self.to_device += reply.get("to_device", {}).get("events", [])
        self.changed.update(reply.get("device_lists", {}).get("changed", []))
        for standing, rooms in reply.get("rooms", {}).items():
            for room_id, section in rooms.items():
                self.rooms[room_id] = standing
                self.events.setdefault(room_id, []).extend(section.get("timeline", {}).get("events", []))
                self.ephemeral.setdefault(room_id, []).extend(section.get("ephemeral", {}).get("events", []))

    def wait_until(self, is_so: Callable[[], Any], what: str = "") -> None:
        """Sync until it is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, f"{self.user_id} has waited in vain: {what}"
            self.sync(POLL_MS)

    def wait_for_body(self, room_id: str, *bodies: str) -> None:
        """Until these messages were shown, each once."""
        self.wait_until(lambda: set(bodies) <= set(self.bodies(room_id)), f"for {bodies} in {room_id}")
        shown = self.bodies(room_id)
        assert [body for body in bodies if shown.count(body) != 1] == []

    def wait_for_standing(self, room_id: str, standing: str) -> None:
        self.wait_until(lambda: self.rooms.get(room_id) == standing, f"to be {standing} in {room_id}")

    def wait_for_state(self, room_id: str, type: str, state_key: str, content: Json) -> None:
        """Until this is in the room's state as the server has it."""

        def has_it() -> bool:
            status, body = self.ask("GET", "rooms", room_id, "state", type, state_key)
            return status == 200 and content.items() <= body.items()

        self.wait_until(has_it, f"for {type} {state_key!r} to be {content}")

    def wait_for_membership(self, room_id: str, user_id: str, membership: str) -> None:
        self.wait_for_state(room_id, "m.room.member", user_id, {"membership": membership})

    def bodies(self, room_id: str) -> list[str]:
        """What was said in a room, in the order shown."""
        return [event["content"]["body"] for event in self.events.get(room_id, ()) if "body" in event["content"]]

    def scroll_back(self, room_id: str, *, until: int) -> list[Json]:
        """Events from the newest backwards, until there are so many messages or no more."""
        found: list[Json] = []
        query = {"dir": "b", "limit": str(PAGE)}
        while True:
            page = self.client.get("rooms", room_id, "messages", **query)
            found += page["chunk"]
            if "end" not in page or sum(1 for event in found if "body" in event["content"]) >= until:
                return found
            query["from"] = page["end"]

    # What they do.

    def ask(self, method: str, *parts: str, json: Any = None, **query: str) -> tuple[int, Any]:
        """Status and JSON."""
        return self.client.ask(method, *parts, json=json, **query)

    def create_room(self, *, version: str = "11", **options: Any) -> str:
        created = self.client.post("createRoom", json={"preset": "public_chat", "room_version": version, **options})
        room_id: str = created["room_id"]
        return room_id

    def join(self, room: str, via: Iterable[Peer] = ()) -> str:
        """By id or alias."""
        status, reply = self.ask("POST", "join", room, json={}, **_via(via))
        assert status == 200, (room, status, reply)
        room_id: str = reply["room_id"]
        self.wait_for_standing(room_id, "join")
        return room_id

    def knock(self, room: str, via: Iterable[Peer]) -> None:
        status, reply = self.ask("POST", "knock", room, json={}, **_via(via))
        assert status == 200, (room, status, reply)

    def act(self, room_id: str, operation: str, **body: Any) -> None:
        """``invite``, ``kick``, ``ban``, ``unban``, ``leave``, ..."""
        self.client.post("rooms", room_id, operation, json=body)

    def send(self, room_id: str, content: Json, type: str = "m.room.message") -> str:
        txn_id = secrets.token_hex(8)
        event_id: str = self.client.put("rooms", room_id, "send", type, txn_id, json=content)["event_id"]
        return event_id

    def say(self, room_id: str, body: str) -> str:
        return self.send(room_id, {"msgtype": "m.text", "body": body})

    def set_state(self, room_id: str, type: str, content: Json, state_key: str = "") -> str:
        event_id: str = self.client.put("rooms", room_id, "state", type, state_key, json=content)["event_id"]
        return event_id

    def redact(self, room_id: str, event_id: str) -> None:
        self.client.put("rooms", room_id, "redact", event_id, secrets.token_hex(8), json={})

    def upload(self, content: bytes, content_type: str) -> str:
        """The ``mxc://`` URI."""
        reply = self.client.exchange("POST", "/_matrix/media/v3/upload", content, content_type)
        assert reply[0] == 200, reply
        return str(orjson.loads(reply[1])["content_uri"])

    def download(self, mxc: str) -> bytes:
        server_name, media_id = mxc.removeprefix("mxc://").split("/")
        status, body = self.client.exchange("GET", "/_matrix/client/v1/media/download" + path(server_name, media_id))
        assert status == 200, (mxc, status, body)
        return body


def _via(peers: Iterable[Peer]) -> dict[str, str]:
    # The old name of the parameter: every server knows it.
    names = [peer.name for peer in peers]
    return {"server_name": names[0]} if names else {}
