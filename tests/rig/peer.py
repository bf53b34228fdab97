"""Another server, as one server of a network sees it: it signs requests and events, and answers nothing.

Its keys are planted, so that nobody has to ask for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conduit_py.data import server_keys
from conduit_py.http.in_process import AppClient
from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.event_builder import build_event, sign_and_hash
from conduit_py.matrix.ids import EventId, KeyId, RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.signing import KEY_VALID_MS_MAX, SigningKey, VerifyKey
from conduit_py.matrix.x_matrix import build_x_matrix
from tests.contract import check_response
from tests.rig.client import Response, path
from tests.rig.network import Node
from tests.rig.server import START_MS

FEDERATION = "/_matrix/federation"
ALL_VERSIONS = "&".join(f"ver={version}" for version in ROOM_VERSIONS)


class Peer:
    """Made by ``open_peer``."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.name = ServerName(name)
        self.key = SigningKey.from_seed(KeyId("ed25519:r"), name.encode().ljust(32, b"r")[:32])
        self._events = 0

    def user(self, localpart: str) -> str:
        return f"@{localpart}:{self.name}"

    async def request(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> Response:
        """A signed request; the reply is held against the specification."""
        body = None if content is None else encode_canonical_json(content, strict=False)
        header = build_x_matrix(
            method=method,
            uri=path,
            origin=self.name,
            destination=ServerName(self.node.name),
            body=body,
            signing_key=self.key,
        )
        headers = {"Authorization": header}
        if body is not None:
            headers["Content-Type"] = "application/json"
        reply = await AppClient(self.node.built.app).request(method, path, headers, body or b"")
        response = Response(reply.status, reply.headers, reply.body)
        content_type = reply.headers.get("content-type")
        parsed = response.json if content_type == "application/json" else None
        check_response(method, path, reply.status, parsed, content_type)
        return response

    async def make(self, what: str, room_id: str, user_id: str, query: str = ALL_VERSIONS) -> Response:
        """``make_join``, ``make_leave`` or ``make_knock``."""
        where = f"{FEDERATION}/v1/make_{what}{path(room_id, user_id)}"
        return await self.request("GET", where + (f"?{query}" if query else ""))

    def sign(self, template: Mapping[str, Any], **changes: Any) -> Pdu:
        """The event made of a template: what ``make_join`` and its like answered."""
        version = ROOM_VERSIONS[template["room_version"]]
        event = {**template["event"], "origin": self.name, **changes}
        return sign_and_hash(event, version, self.name, self.key, event_id=self.new_event_id(version.id))

    def new_event_id(self, room_version: str) -> EventId | None:
        if ROOM_VERSIONS[room_version].event_format.event_id_format != "random":
            return None
        self._events += 1
        return EventId(f"${self._events}:{self.name}")

    async def send(self, what: str, pdu: Pdu, query: str = "") -> Response:
        """``send_join``, ``send_leave`` or ``send_knock``."""
        version = "v1" if what == "knock" else "v2"
        where = f"{FEDERATION}/{version}/send_{what}{path(pdu.room_id, pdu.event_id)}"
        return await self.request("PUT", where + (f"?{query}" if query else ""), pdu.json)

    async def join(self, room_id: str, user_id: str) -> Response:
        """The whole handshake; the answer of ``send_join``."""
        template = await self.make("join", room_id, user_id)
        assert template.status == 200, template.body
        response = await self.send("join", self.sign(template.json))
        assert response.status == 200, response.body
        return response

    def build(
        self,
        room_version: str,
        room_id: str | None,
        *,
        type: str,
        sender: str,
        content: Mapping[str, Any],
        state_key: str | None = "",
        prev_events: Sequence[Pdu] = (),
        auth_events: Sequence[Pdu] = (),
    ) -> Pdu:
        """An event of a room that this server made up."""
        version = ROOM_VERSIONS[room_version]
        proto = build_event(
            room_version=version,
            room_id=None if room_id is None else RoomId(room_id),
            type=type,
            sender=UserId(sender),
            state_key=state_key,
            content=content,
            prev_events=[pdu.event_id for pdu in prev_events],
            auth_events=[pdu.event_id for pdu in auth_events],
            depth=1 + max((pdu.depth for pdu in prev_events), default=0),
            origin_server_ts=START_MS,
        )
        return sign_and_hash(
            {**proto, "origin": self.name}, version, self.name, self.key, event_id=self.new_event_id(room_version)
        )


async def open_peer(node: Node, name: str = "two.test") -> Peer:
    """A server whose keys the other knows."""
    peer = Peer(node, name)
    key = VerifyKey(peer.key.key_id, peer.key.public_key, START_MS + KEY_VALID_MS_MAX)
    async with node.store.writer.turn() as turn:
        server_keys.stage_keys(turn, peer.name, key)
    return peer
