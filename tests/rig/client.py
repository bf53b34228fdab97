"""A client of a server in the same process. Every reply is held against the specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from conduit_py.http.in_process import AppClient
from tests.contract import check_response
from tests.replies import note_reply

CLIENT = "/_matrix/client/v3"


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def errcode(self) -> str | None:
        errcode: str | None = self.json.get("errcode")
        return errcode

    @property
    def outcome(self) -> tuple[int, str | None]:
        """Status and errcode, which is what a refusal is."""
        return self.status, self.errcode


class Client:
    """Somebody who talks to the server: nobody yet, or a user on a device once ``access_token`` is set.

    Paths that do not begin with ``/_matrix`` or ``/.well-known`` are below ``/_matrix/client/v3``.
    """

    def __init__(self, app: AppClient) -> None:
        self._app = app
        self.access_token: str | None = None
        self.refresh_token: str | None = None
        self.user_id = ""
        self.device_id = ""
        self.password = ""

    async def get(self, path: str, **query: str) -> Response:
        return await self.request("GET", path + _query(query))

    async def put(self, path: str, json: Any = None, **query: str) -> Response:
        return await self.request("PUT", path + _query(query), json)

    async def post(self, path: str, json: Any = None, **query: str) -> Response:
        return await self.request("POST", path + _query(query), json)

    async def delete(self, path: str, json: Any = None) -> Response:
        return await self.request("DELETE", path, json)

    async def request(
        self, method: str, path: str, json: Any = None, *, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Response:
        """``json`` is the body, or ``body`` its bytes as they are."""
        if not path.startswith(("/_matrix", "/.well-known")):
            path = CLIENT + path
        sent = dict(headers)
        if self.access_token is not None:
            sent.setdefault("Authorization", f"Bearer {self.access_token}")
        data = body if body is not None else b"" if json is None else orjson.dumps(json)
        reply = await self._app.request(method, path, sent, data)
        response = Response(reply.status, reply.headers, reply.body)
        content_type = reply.headers.get("content-type")
        parsed = response.json if content_type == "application/json" and response.body else None
        operation = check_response(method, path, reply.status, parsed, content_type)
        if operation is not None:
            note_reply(operation, reply.status, has_token="Authorization" in sent)
        return response

    def move(self, other: Client) -> None:
        """Ask the server that another client asks, such as this one's own after a restart."""
        self._app = other._app

    def use_session(self, session: Mapping[str, Any]) -> None:
        """Go on as who ``/login`` or ``/register`` answered."""
        self.user_id = session["user_id"]
        self.device_id = session["device_id"]
        self.access_token = session["access_token"]
        self.refresh_token = session.get("refresh_token")

    def user_path(self, *parts: str) -> str:
        """``/user/{userId}/...`` of this user."""
        return path("user", self.user_id, *parts)


def path(*parts: str) -> str:
    """A path of percent-encoded parts."""
    return "".join("/" + quote(part, safe="") for part in parts)


def _query(query: Mapping[str, str]) -> str:
    return "?" + urlencode(query) if query else ""
