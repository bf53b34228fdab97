"""Asking application services.

Their addresses come from the operator, so they may be anywhere. Where the path of today is not known to them, the one
of the drafts is tried: much software that is in use knows no other.

Spec: application-service-api/#homeserver--application-service-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import orjson

from conduit_py.matrix.appservices import Registration
from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.outbound.federation import build_path
from conduit_py.outbound.http import HttpClient, HttpReply, Target

TRANSACTION_TIMEOUT_S: Final = 60.0
QUERY_TIMEOUT_S: Final = 20.0
ANSWER_BYTES_MAX: Final = 1_000_000
REFUSAL_CHARS_MAX: Final = 2_000
"""Of a refusal that is handed on to the application service itself."""
_UNKNOWN_PATH: Final = frozenset({404, 405, 501})
_PORTS: Final = {"http": 80, "https": 443}


class BadStatus(Refused):
    """What an application service refused with, as it was."""

    def __init__(self, reply: HttpReply) -> None:
        self.body = reply.body.decode("utf-8", "replace")[:REFUSAL_CHARS_MAX]
        super().__init__(reply.status, "M_UNKNOWN", self.body)


class AppServicePost(Protocol):
    """Who brings transactions to application services: ``AppServiceClient``, or what a test puts in its place."""

    async def fetch_send_transaction(self, appservice: Registration, txn_id: str, body: bytes) -> None: ...


class AppServiceClient:
    """One per server."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def fetch_send_transaction(self, appservice: Registration, txn_id: str, body: bytes) -> None:
        """Hand over what happened. Returns when the application service has it; raises ``RemoteError``.

        Spec: application-service-api/#put_matrixappv1transactionstxnid
        """
        path = build_path("_matrix", "app", "v1", "transactions", txn_id)
        try:
            await self._fetch(appservice, "PUT", path, body, timeout_s=TRANSACTION_TIMEOUT_S)
        except BadStatus as error:
            if error.status not in _UNKNOWN_PATH:
                raise
            path = build_path("transactions", txn_id)
            await self._fetch(appservice, "PUT", path, body, timeout_s=TRANSACTION_TIMEOUT_S)

    async def fetch_ping(self, appservice: Registration, transaction_id: str | None) -> None:
        """See whether it answers. Raises ``BadStatus`` or ``Unreachable``.

        Spec: application-service-api/#post_matrixappv1ping
        """
        content: Mapping[str, Any] = {} if transaction_id is None else {"transaction_id": transaction_id}
        path = build_path("_matrix", "app", "v1", "ping")
        await self._fetch(appservice, "POST", path, orjson.dumps(content), timeout_s=QUERY_TIMEOUT_S)

    async def fetch_query_user_by_id(self, appservice: Registration, user_id: str) -> bool:
        """Whether it made the user, now that somebody asks for one. Raises ``RemoteError``.

        Spec: application-service-api/#get_matrixappv1usersuserid
        """
        return await self._query(appservice, ("users", user_id))

    async def fetch_query_room_by_alias(self, appservice: Registration, alias: str) -> bool:
        """Whether it made a room with the alias, now that somebody asks for one. Raises ``RemoteError``.

        Spec: application-service-api/#get_matrixappv1roomsroomalias
        """
        return await self._query(appservice, ("rooms", alias))

    async def fetch_get_protocol_metadata(self, appservice: Registration, protocol: str) -> Any:
        """What it says of a network, whatever that is. Raises ``RemoteError``.

        Spec: application-service-api/#get_matrixappv1thirdpartyprotocolprotocol
        """
        return await self._fetch_third_party(appservice, ("protocol", protocol), {})

    async def fetch_query_user_by_protocol(
        self, appservice: Registration, protocol: str, fields: Mapping[str, str]
    ) -> Any:
        """Its users with these fields. Raises ``RemoteError``."""
        return await self._fetch_third_party(appservice, ("user", protocol), fields)

    async def fetch_query_location_by_protocol(
        self, appservice: Registration, protocol: str, fields: Mapping[str, str]
    ) -> Any:
        """Its places with these fields. Raises ``RemoteError``."""
        return await self._fetch_third_party(appservice, ("location", protocol), fields)

    async def fetch_query_location_by_alias(self, appservice: Registration, alias: str) -> Any:
        """The places that a room's alias stands for. Raises ``RemoteError``."""
        return await self._fetch_third_party(appservice, ("location",), {"alias": alias})

    async def fetch_query_user_by_userid(self, appservice: Registration, user_id: str) -> Any:
        """The users that a user id stands for. Raises ``RemoteError``."""
        return await self._fetch_third_party(appservice, ("user",), {"userid": user_id})

    async def _fetch_third_party(
        self, appservice: Registration, path: tuple[str, ...], query: Mapping[str, str]
    ) -> Any:
        for version in ("v1", "unstable"):
            url = build_path("_matrix", "app", version, "thirdparty", *path, query=query)
            try:
                return await self._fetch(appservice, "GET", url, None, timeout_s=QUERY_TIMEOUT_S)
            except BadStatus as error:
                if error.status not in _UNKNOWN_PATH or version == "unstable":
                    raise
        return None

    async def _query(self, appservice: Registration, path: tuple[str, str]) -> bool:
        for start in (("_matrix", "app", "v1"), ()):
            try:
                await self._fetch(appservice, "GET", build_path(*start, *path), None, timeout_s=QUERY_TIMEOUT_S)
            except BadStatus as error:
                if error.status not in _UNKNOWN_PATH:
                    raise
            else:
                return True
        return False

    async def _fetch(
        self, appservice: Registration, method: str, path: str, body: bytes | None, *, timeout_s: float
    ) -> Any:
        """The JSON of a successful answer. Raises ``BadStatus`` or ``Unreachable``."""
        if appservice.url is None:
            raise Unreachable(f"{appservice.id} has no address")
        target, base = _target(appservice.url)
        headers = {"Authorization": f"Bearer {appservice.hs_token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        reply = await self._http.fetch(
            method, target, base + path, headers=headers, body=body, bytes_max=ANSWER_BYTES_MAX, timeout_s=timeout_s
        )
        if not 200 <= reply.status < 300:
            raise BadStatus(reply)
        try:
            return orjson.loads(reply.body)
        except ValueError:
            return None


def _target(url: str) -> tuple[Target, str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    target = Target(
        host=host,
        port=parts.port or _PORTS[parts.scheme],
        route_host=host,
        host_header=parts.netloc.rpartition("@")[2],
        scheme=parts.scheme,
        is_exempt=True,
    )
    return target, parts.path.rstrip("/")
