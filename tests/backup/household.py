"""Somebody who uses a server: messages, a large one among them, and media."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.rig.media_wire import upload_chunks
from tests.rig.process import ServerProcess
from tests.rig.wire import WireClient, register

CONTENTS = (b"\x89PNG" + bytes(3000), b"x" * 300_000)
"""Media files."""


@dataclass
class Household:
    """Alice, her room, and what she has put into it."""

    server: ServerProcess
    access_token: str
    room_id: str
    user_id: str
    sent: list[str] = field(default_factory=list)
    """The messages, in order."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """Media files by their URI."""

    @staticmethod
    def move_in(server: ServerProcess) -> Household:
        session = register(server.address, "alice")
        with WireClient(server.address, session["access_token"]) as alice:
            room_id = alice.post("createRoom", json={"name": "Kitchen"})["room_id"]
        household = Household(server, session["access_token"], room_id, session["user_id"])
        for number in range(20):
            household.say(f"message {number}")
        household.say("y" * 20_000)
        for content in CONTENTS:
            household.upload(content)
        return household

    def client(self) -> WireClient:
        return WireClient(self.server.address, self.access_token)

    def say(self, body: str) -> None:
        with self.client() as alice:
            content = {"msgtype": "m.text", "body": body}
            alice.put("rooms", self.room_id, "send", "m.room.message", f"txn{len(self.sent)}", json=content)
        self.sent.append(body)

    def upload(self, content: bytes) -> str:
        uri = upload_chunks(self.server.address, self.access_token, [content], len(content))
        self.contents[uri] = content
        return uri

    def at(self, server: ServerProcess) -> Household:
        """The same people at another server, which has been given their data."""
        return replace(self, server=server)

    def download_all(self) -> dict[str, bytes]:
        with self.client() as alice:
            return {uri: self._download(alice, uri) for uri in self.contents}

    def _download(self, alice: WireClient, uri: str) -> bytes:
        status, body = alice.exchange("GET", f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}")
        assert status == 200, body
        return body

    def read(self) -> list[str]:
        """Every message that the server has, in order."""
        with self.client() as alice:
            page: Any = alice.get("rooms", self.room_id, "messages", dir="f", limit="1000")
        return [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]


def write_config(data: Path, *, server_name: str = "one.test") -> Path:
    """A configuration beside the data directory."""
    path = data.parent / "conduit.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'server_name = "{server_name}"\ndatabase_path = "{data}"\n')
    return path


def config_of(household: Household) -> Path:
    return household.server.data.parent / "conduit.toml"


def media_files(data: Path) -> list[Path]:
    """Those that are stored, without what is on its way."""
    return sorted(path for path in (data / "media").rglob("*") if path.is_file() and len(path.parent.name) == 2)
