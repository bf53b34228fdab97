"""Requests to other homeservers: signed, to where the server name leads, answers as JSON.

Spec: server-server-api/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

from conduit_py.matrix.canonical_json import encode_canonical_json
from conduit_py.matrix.ids import KeyId, Malformed, ServerName
from conduit_py.matrix.json_parts import find_parts_in_slices
from conduit_py.matrix.signing import SigningKey
from conduit_py.matrix.x_matrix import build_x_matrix
from conduit_py.observe.requests import SERVERS, timed
from conduit_py.outbound.errors import Refused, RemoteError, Unreachable
from conduit_py.outbound.http import HttpClient, HttpReply, HttpStream, Target, retry_after_ms
from conduit_py.outbound.resolve import Resolver
from conduit_py.slices import parse_large_json, run_slices

REQUEST_TIMEOUT_S: Final = 30.0
"""One question that is answered from what the other server has."""
KEYS_TIMEOUT_S: Final = 10.0
"""For keys: others wait for them."""
NOTARY_TIMEOUT_S: Final = 20.0
"""A notary may have to ask the servers first."""

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
ROOM_VERSION_CHARS_MAX: Final = 32
"""Spec: client-server-api/#room-versions"""
ENTRIES_MAX: Final = 500_000
"""Of lists of which the entries are not parsed at once: the state of the largest rooms."""
REFUSAL_BYTES_MAX: Final = 64 * 1024
KEYS_BYTES_MAX: Final = 64 * 1024
"""An answer about its keys by one server. A server that has had a hundred keys needs about 12 KiB."""
NOTARY_BYTES_MAX: Final = 2 * 1024 * 1024
TRANSACTION_TIMEOUT_S: Final = 60.0
"""The other server may have to ask for what it is missing before it answers."""
TRANSACTION_ANSWER_BYTES_MAX: Final = 256 * 1024

ERRCODE_CHARS_MAX: Final = 255


def build_path(*segments: str, query: Mapping[str, str | Sequence[str]] | None = None) -> str:
    """A path of percent-encoded segments: ``build_path("_matrix", "federation", "v1", "event", event_id)``.

    A sequence in the query is a parameter that is given several times.
    """
    path = "".join(f"/{quote(segment, safe='')}" for segment in segments)
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


class Fetcher(Protocol):
    """Who asks other servers: `FederationClient`, or what a test puts in its place."""

    async def fetch(
        self,
        method: str,
        destination: ServerName,
        path: str,
        *,
        content: Mapping[str, Any] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
        bytes_max: int = ANSWER_BYTES_MAX,
        is_signed: bool = True,
        texts_of: Collection[str] = (),
    ) -> dict[str, Any]: ...


class FederationClient:
    """One per server.

    :param is_forbidden: servers that are not talked to.
    :param is_allowed: whether this server talks with others at all.
    """

    def __init__(
        self,
        http: HttpClient,
        resolver: Resolver,
        *,
        server_name: ServerName,
        signing_key: SigningKey,
        is_forbidden: Callable[[ServerName], bool],
        is_allowed: bool,
    ) -> None:
        self._http = http
        self._resolver = resolver
        self._server_name = server_name
        self._signing_key = signing_key
        self._is_forbidden = is_forbidden
        self._is_allowed = is_allowed
        self.asked = Counter(answered=0, refused=0, unreachable=0)
        """Requests by what became of them."""

    async def fetch(
        self,
        method: str,
        destination: ServerName,
        path: str,
        *,
        content: Mapping[str, Any] | bytes | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
        bytes_max: int = ANSWER_BYTES_MAX,
        is_signed: bool = True,
        texts_of: Collection[str] = (),
    ) -> dict[str, Any]:
        """The JSON object that ``destination`` answers. ``path`` comes from `build_path`; bytes are canonical JSON.

        :param texts_of: members that are lists of objects, whose entries are not parsed but given as they came. Other
            lists and objects are left out then.
        Raises `Unreachable`, `Refused`, and `Malformed` for content that has no JSON encoding.
        """
        body = _encode(content)
        with self._noting(destination, path):
            target, headers = await self._prepare(method, destination, path, body, is_signed=is_signed)
            headers["Accept"] = "application/json"
            reply = await self._http.fetch(
                method, target, path, headers=headers, body=body, bytes_max=bytes_max, timeout_s=timeout_s
            )
            if texts_of and 200 <= reply.status < 300:
                return await _read_texts(destination, reply, texts_of)
            return await read_answer(destination, reply)

    @asynccontextmanager
    async def fetch_stream(
        self,
        destination: ServerName,
        path: str,
        *,
        timeout_s: float,
        method: str = "GET",
        content: Mapping[str, Any] | None = None,
        is_signed: bool = True,
    ) -> AsyncIterator[HttpStream]:
        """What ``destination`` answers, if it is no refusal, while it comes. It must begin within ``timeout_s``.

        Raises as `fetch` does; the block raises `Unreachable` where the answer breaks off.
        """
        body = _encode(content)
        with self._noting(destination, path):
            target, headers = await self._prepare(method, destination, path, body, is_signed=is_signed)
            async with self._http.stream(
                target, path, method=method, headers=headers, body=body, timeout_s=timeout_s
            ) as answer:
                if not 200 <= answer.status < 300:
                    await read_answer(destination, await answer.read(REFUSAL_BYTES_MAX))
                yield answer

    @contextmanager
    def _noting(self, destination: ServerName, path: str) -> Iterator[None]:
        """One request, for those who watch over the server."""
        try:
            with timed(SERVERS, destination=destination, path=path.partition("?")[0]):
                yield
        except RemoteError as error:
            self.asked["refused" if isinstance(error, Refused) else "unreachable"] += 1
            raise
        self.asked["answered"] += 1

    def may_ask(self, destination: ServerName) -> bool:
        """Whether this server asks that one at all."""
        return self._is_allowed and destination != self._server_name and not self._is_forbidden(destination)

    async def _prepare(
        self, method: str, destination: ServerName, path: str, body: bytes | None, *, is_signed: bool
    ) -> tuple[Target, dict[str, str]]:
        """Whom to ask, and the headers that say who asks."""
        if not self._is_allowed:
            raise Refused(403, "M_FORBIDDEN", "this server does not talk with other servers")
        if not self.may_ask(destination):
            raise Refused(403, "M_FORBIDDEN", f"{destination} is not talked to")
        try:
            target = await self._resolver.fetch_target(destination)
        except Malformed as error:
            raise Unreachable(f"{destination} is no server name: {error}") from error
        headers = {} if body is None else {"Content-Type": "application/json"}
        if not is_signed:
            return target, headers
        authorization = build_x_matrix(
            method=method,
            uri=path,
            origin=self._server_name,
            destination=destination,
            body=body,
            signing_key=self._signing_key,
        )
        return target, {**headers, "Authorization": authorization}

    async def send_transaction(self, destination: ServerName, txn_id: str, body: bytes) -> dict[str, Any]:
        """Bring a transaction, in canonical JSON, and return the answer.

        Spec: server-server-api/#put_matrixfederationv1sendtxnid
        """
        path = build_path("_matrix", "federation", "v1", "send", txn_id)
        return await self.fetch(
            "PUT",
            destination,
            path,
            content=body,
            timeout_s=TRANSACTION_TIMEOUT_S,
            bytes_max=TRANSACTION_ANSWER_BYTES_MAX,
        )

    async def fetch_server_keys(self, server_name: ServerName) -> dict[str, Any]:
        """What a server says of its own keys; nothing of it is checked.

        Spec: server-server-api/#get_matrixkeyv2server
        """
        return await self.fetch(
            "GET",
            server_name,
            "/_matrix/key/v2/server",
            timeout_s=KEYS_TIMEOUT_S,
            bytes_max=KEYS_BYTES_MAX,
            is_signed=False,
        )

    async def fetch_notarized_keys(
        self, notary: ServerName, wanted: Mapping[ServerName, Mapping[KeyId, int]]
    ) -> list[dict[str, Any]]:
        """What a notary knows of other servers' keys, by server and key id with the time until which each must be
        valid; nothing of it is checked.

        Spec: server-server-api/#post_matrixkeyv2query
        """
        criteria = {
            server_name: {key_id: {"minimum_valid_until_ts": until} for key_id, until in keys.items()}
            for server_name, keys in wanted.items()
        }
        answer = await self.fetch(
            "POST",
            notary,
            "/_matrix/key/v2/query",
            content={"server_keys": criteria},
            timeout_s=NOTARY_TIMEOUT_S,
            bytes_max=NOTARY_BYTES_MAX,
            is_signed=False,
        )
        entries = answer.get("server_keys")
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _encode(content: Mapping[str, Any] | bytes | None) -> bytes | None:
    return content if content is None or isinstance(content, bytes) else encode_canonical_json(content, strict=False)


async def _read_texts(destination: ServerName, reply: HttpReply, names: Collection[str]) -> dict[str, Any]:
    try:
        parts = await run_slices(find_parts_in_slices(reply.body, entries_max=ENTRIES_MAX))
    except Malformed as error:
        raise Unreachable(f"{destination} answered with what is no JSON object: {error}") from None
    return {**parts.members, **{name: parts.get_texts(name) for name in names if parts.is_list(name)}}


async def read_answer(destination: ServerName, reply: HttpReply) -> dict[str, Any]:
    """The object in a successful answer. Raises `Refused` for a refusal, `Unreachable` for what is neither."""
    is_refusal = not 200 <= reply.status < 300
    try:
        answer = await parse_large_json(b"" if is_refusal and len(reply.body) > REFUSAL_BYTES_MAX else reply.body)
    except Malformed:
        answer = None
    if not is_refusal:
        if isinstance(answer, list) and len(answer) == 2 and answer[0] == reply.status:
            # So the oldest operations answer. Spec: server-server-api/#put_matrixfederationv1inviteroomideventid
            answer = answer[1]
        if not isinstance(answer, dict):
            raise Unreachable(f"{destination} answered with what is no JSON object")
        return answer
    errcode = answer.get("errcode") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(errcode, str):
        if reply.status >= 500:
            # Not the homeserver spoke but what stands before it.
            raise Unreachable(f"{destination} answered with status {reply.status}")
        raise Refused(reply.status, "M_UNKNOWN", "no reason given", retry_after_ms=retry_after_ms(reply.headers))
    message, after_ms, room_version = (answer.get(name) for name in ("error", "retry_after_ms", "room_version"))
    raise Refused(
        reply.status,
        errcode[:ERRCODE_CHARS_MAX],
        message if isinstance(message, str) else "no reason given",
        retry_after_ms=after_ms if type(after_ms) is int else retry_after_ms(reply.headers),
        room_version=room_version[:ROOM_VERSION_CHARS_MAX] if isinstance(room_version, str) else None,
    )
