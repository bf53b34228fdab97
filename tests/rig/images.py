"""Images as people upload them, and some that nobody should."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def plain(width: int, height: int, format: str = "PNG", mode: str = "RGB") -> bytes:
    """One colour throughout."""
    return encode(Image.new(mode, (width, height), RED if mode == "RGB" else None), format)


def halves(width: int, height: int, *, orientation: int | None = None) -> bytes:
    """A JPEG with a red left half and a blue right half, in an EXIF orientation."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    if orientation is None:
        return encode(image, "JPEG", quality=95)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, "JPEG", quality=95, exif=exif)


def moving(width: int, height: int, frames: int = 4, format: str = "GIF") -> bytes:
    """An animation whose frames differ."""
    colours = [(40 * (number % 6), 255 - 40 * (number % 6), number % 251) for number in range(frames)]
    pictures = [Image.new("RGB", (width, height), colour) for colour in colours]
    return encode(pictures[0], format, save_all=True, append_images=pictures[1:], duration=50, loop=0)


def decode(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header promises more pixels than there are bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND")
    )


def png_with_chunks(count: int) -> bytes:
    """A PNG with many chunks that say nothing in front of its pixels."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(8 * 25))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"exAm") * count
        + _chunk(b"IDAT", pixels)
        + _chunk(b"IEND")
    )


def _chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
