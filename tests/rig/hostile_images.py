"""Files that are made to hurt whoever makes thumbnails of them, or that only look like images."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

from PIL import Image

from tests.rig.images import encode, halves, moving, plain, png_that_claims, png_with_chunks

SIDE = 7000
"""Of a square that is just within the limit."""
COPIED_SIDE = 4000
"""Of one within the limit for those that are copied."""
SCRIPT = b"<script>alert(document.domain)</script>"
HTML = b"<!doctype html><html><body>" + SCRIPT + b"</body></html>"


def _png(width: int, height: int, *, depth: int = 8, colour: int = 2, before: bytes = b"") -> bytes:
    """A whole PNG of one colour, packed as well as can be."""
    bits = depth * {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * bits + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif(canvas: tuple[int, int], frames: int, frame: tuple[int, int] = (1, 1)) -> bytes:
    """Frames of one dark pixel each, whatever size they claim."""
    out = io.BytesIO()
    out.write(b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff")
    for _ in range(frames):
        out.write(b"\x21\xf9\x04\x00\x0a\x00\x00\x00")
        out.write(b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00")
    out.write(b"\x3b")
    return out.getvalue()


def jpeg_of_scans(scans: int) -> bytes:
    """The last scan again and again, each over 49 million pixels."""
    content = encode(Image.new("L", (SIDE, SIDE), 128), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * scans + b"\xff\xd9"


def jpeg_that_claims(width: int, height: int) -> bytes:
    content = bytearray(plain(64, 64, "JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp_that_claims(width: int, height: int, *, is_packed: bool) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1 if is_packed else 0, 0, 0, 0, 256, 0)
    palette = bytes(1024)
    pixels = b"\x00\x01"  # the end of packed data
    return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + 2, 0, 0, 14 + 40 + 1024) + header + palette + pixels


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("index.html", HTML)
    return out.getvalue()


Make = Callable[[], bytes]

BROKEN: dict[str, Make] = {
    "empty": lambda: b"",
    "text": lambda: b"this is no image",
    "html": lambda: HTML,
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">' + SCRIPT + b"</svg>",
    "svg with a declaration": lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "pdf": lambda: plain(64, 64, "PDF"),
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    "tiff": lambda: plain(64, 64, "TIFF"),
    "icon": lambda: plain(64, 64, "ICO"),
    "netpbm": lambda: b"P6 99999 99999 255\n",
    "pixmap": lambda: b'/* XPM */\nstatic char *a[] = {"1 1 1 1", "a c #000000", "a"};',
    "truncated jpeg": lambda: halves(900, 900)[:2000],
    "truncated png": lambda: _png(900, 900)[:-40],
    "truncated gif": lambda: plain(900, 900, "GIF")[:400],
    "truncated webp": lambda: plain(900, 900, "WEBP")[:60],
    "truncated avif": lambda: plain(900, 900, "AVIF")[:200],
    "truncated bmp": lambda: plain(900, 900, "BMP")[:2000],
    "png header alone": lambda: b"\x89PNG\r\n\x1a\n",
    "jpeg of 300 scans": lambda: jpeg_of_scans(300),
    "gif without pixels": lambda: b"GIF89a" + struct.pack("<HHBBB", 900, 900, 0, 0, 0) + b"\x3b",
    "png with a text bomb": lambda: _png(
        64, 64, before=b"".join(chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(1 << 20))) for _ in range(200))
    ),
    "packed bitmap of nothing": lambda: bmp_that_claims(900, 900, is_packed=False),
    "zip": _zip,
}
"""No thumbnail can be made of these."""

TOO_LARGE: dict[str, Make] = {
    "png of 900 million pixels": lambda: png_that_claims(30_000, 30_000),
    "png of 2^62 pixels": lambda: png_that_claims(2**31 - 1, 2**31 - 1),
    "png that is one line": lambda: png_that_claims(2**31 - 1, 1),
    "jpeg of 4 billion pixels": lambda: jpeg_that_claims(65_500, 65_500),
    "gif of 4 billion pixels": lambda: gif((65_535, 65_535), 1),
    "bitmap of a trillion pixels": lambda: bmp_that_claims(1_000_000, 1_000_000, is_packed=True),
    "webp of 49 million pixels": lambda: plain(SIDE, SIDE, "WEBP"),
    "bitmap of 49 million pixels": lambda: plain(SIDE, SIDE, "BMP"),
    "gif of 300 frames of 49 million pixels": lambda: gif((SIDE, SIDE), 300),
    "gif whose frame is larger than itself": lambda: gif((10, 10), 1, (65_535, 65_535)),
}
"""These have more pixels than are decoded."""

HEAVY: dict[str, Make] = {
    "png of 49 million pixels": lambda: _png(SIDE, SIDE),
    "png of 49 million pixels of 64 bits": lambda: _png(SIDE, SIDE, depth=16, colour=6),
    "png of 49 million pixels of 1 bit": lambda: _png(SIDE, SIDE, depth=1, colour=0),
    "jpeg of 49 million pixels": lambda: plain(SIDE, SIDE, "JPEG"),
    "jpeg of 40 scans": lambda: jpeg_of_scans(30),
    "webp of 16 million pixels": lambda: plain(COPIED_SIDE, COPIED_SIDE, "WEBP"),
    "avif of 16 million pixels": lambda: plain(COPIED_SIDE, COPIED_SIDE, "AVIF"),
    "gif of 3,000 frames": lambda: gif((64, 64), 3_000),
    "gif of 300 frames of 16 million pixels": lambda: gif((COPIED_SIDE, COPIED_SIDE), 300),
    "gif of 300 frames of 4 million pixels": lambda: gif((2000, 2000), 300),
    "png with 20,000 chunks": lambda: png_with_chunks(20_000),
    "line of 40,000 pixels": lambda: _png(40_000, 1),
    "print colours": lambda: encode(Image.new("CMYK", (3000, 3000)), "JPEG"),
    "palette": lambda: encode(Image.new("P", (3000, 3000)), "PNG"),
    "turned": lambda: halves(3000, 2000, orientation=6),
    "moving webp": lambda: moving(300, 300, 60, "WEBP"),
    "moving png": lambda: moving(300, 300, 60, "PNG"),
}
"""These are hard work, and have thumbnails."""

POLYGLOTS: dict[str, Make] = {
    "gif and script": lambda: plain(300, 300, "GIF") + b"/*" + SCRIPT + b"*/",
    "gif with a comment": lambda: encode(Image.new("P", (300, 300)), "GIF", comment=HTML),
    "png and html": lambda: plain(300, 300) + HTML,
    "png with text": lambda: _png(300, 300, before=chunk(b"tEXt", b"Comment\x00" + HTML)),
    "jpeg and zip": lambda: halves(300, 300) + _zip(),
    "jpeg with a comment": lambda: encode(Image.new("RGB", (300, 300)), "JPEG", comment=HTML),
    "webp and html": lambda: plain(300, 300, "WEBP") + HTML,
}
"""Images that are something else as well."""

CORPUS: dict[str, Make] = {
    name: cache(make) for group in (BROKEN, TOO_LARGE, HEAVY, POLYGLOTS) for name, make in group.items()
}
