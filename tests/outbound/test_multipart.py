"""Answers of several parts, in whatever pieces they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from conduit_py.matrix.ids import Malformed
from conduit_py.outbound.multipart import HEAD_BYTES_MAX, PartReader, parse_boundary, parse_filename

Part = tuple[Mapping[str, str], bytes]


async def pieces(body: bytes, *cuts: int) -> AsyncGenerator[bytes, None]:
    places = sorted({0, *cuts, len(body)})
    for start, end in pairwise(places):
        await trio.lowlevel.checkpoint()
        yield body[start:end]


async def read(body: bytes, *cuts: int, parts: int = 2, boundary: str = "b") -> list[Part]:
    async with aclosing(pieces(body, *cuts)) as chunks:
        reader = PartReader(chunks, boundary)
        found = []
        for _ in range(parts):
            head = await reader.read_head()
            async with aclosing(reader.read_content()) as content:
                found.append((head, b"".join([chunk async for chunk in content])))
        return found


WHOLE = (
    b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n"
    b'--b\r\nContent-Type: text/plain\r\nX: "1"\r\n\r\nhello\r\n--b--\r\n'
)


async def test_parts_have_headers_and_content() -> None:
    assert await read(WHOLE) == [
        ({"content-type": "application/json"}, b"{}"),
        ({"content-type": "text/plain", "x": '"1"'}, b"hello"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"what comes before\r\nis skipped\r\n" + WHOLE,
        WHOLE.replace(b"--b\r\n", b"--b \t\r\n"),
        WHOLE.removesuffix(b"--\r\n"),
        WHOLE + b"what comes after\r\n--b\r\n\r\n",
        WHOLE.replace(b"text/plain", b"\r\n text/plain"),
        WHOLE.replace(b"Content-Type", b"CONTENT-type "),
    ],
)
async def test_forms_that_are_allowed_are_read(body: bytes) -> None:
    assert (await read(body))[1] == ({"content-type": "text/plain", "x": '"1"'}, b"hello")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"--b\r\n\r\n\r\n--b\r\n\r\nx\r\n--b--", [({}, b""), ({}, b"x")]),
        (b"--b\r\nA: 1\r\n\r\n--b\r\nLocation: y\r\n\r\n--b--", [({"a": "1"}, b""), ({"location": "y"}, b"")]),
        (
            b"--b\r\nA: \xc3\xa4\r\nB: \xe4\r\n\r\n\r\n--b\r\n\r\n\r\n\r\n--b--",
            [({"a": "ä", "b": "ä"}, b""), ({}, b"\r\n")],
        ),
    ],
)
async def test_parts_may_be_empty(body: bytes, expected: list[Part]) -> None:
    for cut in range(len(body)):
        assert await read(body, cut) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"--b--\r\n",
        b"--b\r\nA: 1\r\n\r\nonly one\r\n--b--\r\n",
        b"--c\r\n\r\nx\r\n--c\r\n\r\nx\r\n--c--",
        b"--bc\r\n\r\nx\r\n--bc\r\n\r\nx\r\n--bc--",
        WHOLE.replace(b"\r\n", b"\n"),
        b"x" * (HEAD_BYTES_MAX + 1) + b"\r\n" + WHOLE,
        WHOLE.replace(b"hello", b"").replace(b"\r\n\r\n", b"\r\nX: " + b"x" * (HEAD_BYTES_MAX + 100) + b"\r\n\r\n"),
        *(WHOLE[:end] for end in range(0, len(WHOLE) - len(b"--\r\n"), 7)),
    ],
)
async def test_what_has_not_all_its_parts_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        await read(body, *range(0, len(body), 100))


@given(
    st.binary(max_size=200) | st.lists(st.sampled_from([b"\r\n", b"--", b"b", b"\r", b"x"])).map(b"".join),
    st.lists(st.integers(0, 400)),
)
def test_content_comes_out_as_it_went_in(content: bytes, cuts: list[int]) -> None:
    boundary = "never in it"
    mark = f"--{boundary}".encode()
    body = mark + b"\r\nContent-Type: a/b\r\n\r\n{}\r\n" + mark + b"\r\n\r\n" + content + b"\r\n" + mark + b"--"
    inside = [cut for cut in cuts if cut < len(body)]

    async def check() -> None:
        assert (await read(body, *inside, boundary=boundary))[1] == ({}, content)

    trio.run(check)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_whatever_comes_is_read_or_refused(body: bytes, cut: int) -> None:
    async def check() -> None:
        with suppress(Malformed):
            await read(b"--b\r\n" + body, min(cut, len(body)))

    trio.run(check)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/mixed; boundary=abc", "abc"),
        ('Multipart/Mixed;charset=utf-8;BOUNDARY="a b:c"', "a b:c"),
        ('multipart/mixed; boundary="a\\"b"', None),
        ("multipart/mixed", None),
        ("multipart/mixed; boundary=", None),
        ("multipart/mixed; boundary=" + "x" * 71, None),
        ("multipart/form-data; boundary=abc", None),
        ("application/json", None),
        ("", None),
    ],
)
def test_boundary_is_told_by_the_content_type(content_type: str, boundary: str | None) -> None:
    assert parse_boundary(content_type) == boundary


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ("attachment; filename=a.txt", "a.txt"),
        ('inline; filename="War and Peace.txt"', "War and Peace.txt"),
        ('inline;FileName = "a\\"\\\\b;c.txt"', 'a"\\b;c.txt'),
        ("attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        ("attachment; filename=\"plain.txt\"; filename*=UTF-8'de'Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        ("attachment; filename=plain.txt; filename*=klingon''x", "plain.txt"),
        ("attachment; filename*=broken; filename=plain.txt", "plain.txt"),
        ("attachment; filename*=utf-8''%FF", "�"),
        ('attachment; filename="Grüße.txt"', "Grüße.txt"),
        ("attachment; filename=", ""),
        ("inline", None),
        ("", None),
        ("attachment; name=x", None),
    ],
)
def test_filename_is_told_by_the_disposition(disposition: str, filename: str | None) -> None:
    assert parse_filename(disposition) == filename
