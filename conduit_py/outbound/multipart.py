"""Takes an answer of several parts to pieces while it comes, and reads the headers of a part.

See RFC 2046, section 5.1, for the parts and RFC 6266 for file names.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from typing import Final
from urllib.parse import unquote

from conduit_py.matrix.ids import Malformed

HEAD_BYTES_MAX: Final = 16 * 1024
"""Headers of a part, and what comes before the first part."""

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PARAMETER: Final = re.compile(r';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))', re.DOTALL)
_CHARSETS: Final = frozenset({"utf-8", "iso-8859-1"})


class PartReader:
    """The parts of a body, one after the other: ``read_head``, then ``read_content``, and again.

    Kept in memory is one chunk, and what may be a boundary or a head that has not come whole.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], boundary: str) -> None:
        self._chunks = chunks
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        # The first boundary may be the very first thing.
        self._buffer = bytearray(b"\r\n")

    async def read_head(self) -> Mapping[str, str]:
        """The headers of the next part, names in lower case. Raises `Malformed` where there is none."""
        await self._take_through(self._delimiter)
        rest = await self._take_through(b"\r\n")
        if rest.strip(b" \t"):
            raise Malformed("there is no such part")
        # A head without headers is no more than the line that ends it.
        self._buffer[:0] = b"\r\n"
        head = await self._take_through(b"\r\n\r\n")
        # The boundary of a part without content may follow at once.
        self._buffer[:0] = b"\r\n"
        while len(self._buffer) < len(self._delimiter):
            await self._receive()
        if not self._buffer.startswith(self._delimiter):
            del self._buffer[:2]
        return _parse_headers(head)

    async def read_content(self) -> AsyncGenerator[bytes, None]:
        """What is in the part whose head was read. Raises `Malformed` where the body ends before the part does."""
        while (at := self._buffer.find(self._delimiter)) < 0:
            certain = len(self._buffer) - len(self._delimiter) + 1
            if certain > 0:
                content = bytes(self._buffer[:certain])
                del self._buffer[:certain]
                yield content
            await self._receive()
        content = bytes(self._buffer[:at])
        del self._buffer[:at]
        if content:
            yield content

    async def _take_through(self, mark: bytes) -> bytes:
        """What comes before the next ``mark``."""
        while (at := self._buffer.find(mark, 0, HEAD_BYTES_MAX)) < 0:
            if len(self._buffer) >= HEAD_BYTES_MAX:
                raise Malformed("there is no boundary, or no end of a part's headers, where it should be")
            await self._receive()
        taken = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return taken

    async def _receive(self) -> None:
        chunk = await anext(self._chunks, None)
        if chunk is None:
            raise Malformed("the body ends before its last boundary")
        self._buffer += chunk


def _parse_headers(head: bytes) -> Mapping[str, str]:
    headers = {}
    for line in re.sub(rb"\r\n[ \t]+", b" ", head).split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers[_decode(name).strip().lower()] = _decode(value).strip()
    return headers


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def parse_boundary(content_type: str) -> str | None:
    """What parts the body of a ``multipart/mixed`` answer; None where it is no such."""
    if content_type.partition(";")[0].strip().lower() != "multipart/mixed":
        return None
    boundary = _parameters(content_type).get("boundary", "")
    return boundary if _BOUNDARY.fullmatch(boundary) else None


def parse_filename(disposition: str) -> str | None:
    """The file name that a ``Content-Disposition`` tells; the one with its character set where there are two."""
    parameters = _parameters(disposition)
    charset, quote, rest = parameters.get("filename*", "").partition("'")
    _, other_quote, encoded = rest.partition("'")
    if quote and other_quote and charset.lower() in _CHARSETS:
        return unquote(encoded, encoding=charset, errors="replace")
    return parameters.get("filename")


def _parameters(value: str) -> dict[str, str]:
    """Names in lower case; of a parameter that came twice, the first."""
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(value):
        text = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted else plain.strip()
        found.setdefault(name.lower(), text)
    return found
