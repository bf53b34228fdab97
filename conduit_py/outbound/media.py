"""Media of other servers, streamed.

Spec: server-server-api/#content-repository
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from conduit_py.matrix.ids import Malformed, ServerName
from conduit_py.outbound.errors import Refused, RemoteError, Unreachable
from conduit_py.outbound.federation import REQUEST_TIMEOUT_S, FederationClient, build_path
from conduit_py.outbound.http import HttpClient, HttpStream, https_target, redirection
from conduit_py.outbound.multipart import PartReader, parse_boundary, parse_filename

REDIRECTS_MAX: Final = 5
ENVELOPE_BYTES_MAX: Final = 64 * 1024
"""What the boundaries, the heads and the JSON around a file may take."""
DEFAULT_TYPE: Final = "application/octet-stream"


class TooLarge(RemoteError):
    """The file is larger than what the asker would take."""


class Broken(RemoteError):
    """The other server was asked, and what it gave leads to no file."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that begins to come, within the block that opened it."""

    content_type: str
    filename: str | None
    chunks: AsyncGenerator[bytes, None]
    """To be read once. Raises `Unreachable` or `Broken` where it breaks off, and `TooLarge`."""


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """The other server says where the file is."""

    url: str


class MediaClient:
    """One per server."""

    def __init__(self, http: HttpClient, federation: FederationClient) -> None:
        self._http = http
        self._federation = federation

    def may_ask(self, server_name: ServerName) -> bool:
        """Whether this server asks that one at all."""
        return self._federation.may_ask(server_name)

    @asynccontextmanager
    async def fetch_file(
        self, server_name: ServerName, media_id: str, *, timeout_ms: int, bytes_max: int
    ) -> AsyncIterator[RemoteFile]:
        """A medium. ``timeout_ms`` is how long the other server may wait for its upload.

        Raises `Unreachable`, `Refused`, `Broken` and `TooLarge`.
        """
        query = {"timeout_ms": str(timeout_ms)}
        async with self._fetch("download", server_name, media_id, query, bytes_max=bytes_max) as file:
            yield file

    @asynccontextmanager
    async def fetch_thumbnail(
        self, server_name: ServerName, media_id: str, query: Mapping[str, str], *, bytes_max: int
    ) -> AsyncIterator[RemoteFile]:
        """A thumbnail as the other server makes it. Raises as ``fetch_file``."""
        async with self._fetch(
            "thumbnail", server_name, media_id, {**query, "timeout_ms": "0"}, bytes_max=bytes_max
        ) as file:
            yield file

    @asynccontextmanager
    async def _fetch(
        self, what: str, server_name: ServerName, media_id: str, query: Mapping[str, str], *, bytes_max: int
    ) -> AsyncIterator[RemoteFile]:
        async with contextlib.AsyncExitStack() as stack:
            file = await self._open(stack, what, server_name, media_id, query, bytes_max)
            await stack.enter_async_context(contextlib.aclosing(file.chunks))
            yield file

    async def _open(
        self,
        stack: contextlib.AsyncExitStack,
        what: str,
        server_name: ServerName,
        media_id: str,
        query: Mapping[str, str],
        bytes_max: int,
    ) -> RemoteFile:
        timeout_s = REQUEST_TIMEOUT_S + int(query["timeout_ms"]) / 1000
        path = build_path("_matrix", "federation", "v1", "media", what, media_id, query=query)
        try:
            answer = await stack.enter_async_context(
                self._federation.fetch_stream(server_name, path, timeout_s=timeout_s)
            )
        except Refused as refused:
            if not _is_unknown_there(refused):
                raise
        else:
            found = await _read_parts(server_name, answer, bytes_max)
            if isinstance(found, RemoteFile):
                return found
            await stack.aclose()
            try:
                return await stack.enter_async_context(self._follow(found.url, timeout_s, bytes_max))
            except Unreachable as error:
                raise Broken(f"{server_name} leads to where no file is: {error}") from error
        # When falling back, servers MUST be sure to set allow_remote to false.
        query = {**query, "allow_remote": "false"}
        path = build_path("_matrix", "media", "v3", what, server_name, media_id, query=query)
        answer = await stack.enter_async_context(
            self._federation.fetch_stream(server_name, path, timeout_s=timeout_s, is_signed=False)
        )
        return _plain_file(answer, bytes_max)

    @asynccontextmanager
    async def _follow(self, url: str, timeout_s: float, bytes_max: int) -> AsyncIterator[RemoteFile]:
        """What is at an address that another server chose, and at those it sends on to."""
        for _ in range(REDIRECTS_MAX):
            try:
                target, path = https_target(url)
            except ValueError as error:
                raise Broken(f"the file is where it is not got from: {error}") from error
            async with self._http.stream(target, path, headers={}, timeout_s=timeout_s) as answer:
                next_url = _redirection(url, answer)
                if next_url is None:
                    yield _plain_file(answer, bytes_max)
                    return
            url = next_url
        raise Broken("the file is behind too many redirections")


def _redirection(url: str, answer: HttpStream) -> str | None:
    try:
        return redirection(url, answer.status, answer.headers)
    except ValueError as error:
        raise Broken(f"the file is where it is not got from: {error}") from error


def _is_unknown_there(refused: Refused) -> bool:
    """Does the other server not know the operation?"""
    # Servers from before the specification said how to refuse what they do not know answer in no such form.
    is_formless = refused.status == 404 and refused.errcode == "M_UNKNOWN"
    return refused.errcode == "M_UNRECOGNIZED" or is_formless


async def _read_parts(server_name: ServerName, answer: HttpStream, bytes_max: int) -> RemoteFile | _Elsewhere:
    boundary = parse_boundary(answer.headers.get("content-type", ""))
    if boundary is None:
        raise Broken(f"{server_name} answered with what has no parts")
    _require_whole(answer, bytes_max + ENVELOPE_BYTES_MAX)
    reader = PartReader(answer.chunks, boundary)
    try:
        await reader.read_head()
        await _skip_metadata(reader)
        headers = await reader.read_head()
    except Malformed as error:
        raise _unreadable(server_name, error) from error
    location = headers.get("location")
    if location is not None:
        return _Elsewhere(location)
    return _file(headers, _bounded(_readable(server_name, reader), bytes_max))


async def _skip_metadata(reader: PartReader) -> None:
    """An empty object, so far. Raises `Malformed`."""
    size = 0
    async with contextlib.aclosing(reader.read_content()) as chunks:
        async for chunk in chunks:
            size += len(chunk)
            if size > ENVELOPE_BYTES_MAX:
                raise Malformed("the metadata is too long")


def _plain_file(answer: HttpStream, bytes_max: int) -> RemoteFile:
    _require_whole(answer, bytes_max)
    if not {"content-length", "transfer-encoding"} & set(answer.headers):
        raise Broken("nothing would tell a file that breaks off from a whole one")
    return _file(answer.headers, _bounded(answer.chunks, bytes_max))


def _file(headers: Mapping[str, str], chunks: AsyncGenerator[bytes, None]) -> RemoteFile:
    filename = parse_filename(headers.get("content-disposition", ""))
    return RemoteFile(headers.get("content-type", DEFAULT_TYPE), filename, chunks)


def _require_whole(answer: HttpStream, bytes_max: int) -> None:
    """What is no file as it was uploaded, or is said to be too large, is not begun with."""
    if answer.status != 200 or answer.headers.get("content-encoding", "identity") != "identity":
        raise Broken(f"the answer has status {answer.status}, or another encoding than was asked for")
    length = answer.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > bytes_max):
        raise TooLarge(f"the file has more than {bytes_max} bytes")


async def _readable(server_name: ServerName, reader: PartReader) -> AsyncGenerator[bytes, None]:
    try:
        async with contextlib.aclosing(reader.read_content()) as chunks:
            async for chunk in chunks:
                yield chunk
    except Malformed as error:
        raise _unreadable(server_name, error) from error


async def _bounded(chunks: AsyncGenerator[bytes, None], bytes_max: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            size += len(chunk)
            if size > bytes_max:
                raise TooLarge(f"the file has more than {bytes_max} bytes")
            yield chunk


def _unreadable(server_name: ServerName, error: Malformed) -> Broken:
    return Broken(f"{server_name} answered with what cannot be read: {error}")
