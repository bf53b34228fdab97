"""Makes one thumbnail with Pillow, from a file that anybody may have made up. Runs in a thread.

Only common formats are read. The header tells the size before a pixel is decoded, and too many are refused. Decoders
get their data through ``_Timed``, which ends them when the time is over; those that take all of it at once are bounded
by the number of pixels. JPEG is decoded at a fraction of its size where that is enough.
"""

from __future__ import annotations

import io
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from conduit_py.service.media.thumbnail_sizes import Form, fit

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS_MAX: Final = 50_000_000
"""Of one image: 200 MB while it is decoded, and more than telephones make."""
COPIED_PIXELS_MAX: Final = 16_000_000
"""Of an image that is animated, or in a format whose decoder keeps several copies: as much memory again."""
BAND_ROWS: Final = 256
"""Converted at a time."""
ANIMATED_PIXELS_MAX: Final = 200_000_000
"""Of all frames, decoded one after the other."""
MOVING_PIXELS_MAX: Final = 4_000_000
"""Of a frame that is to move: putting one onto the next keeps the interpreter, for a tenth of a second at the most."""
THUMBNAIL_PIXELS_MAX: Final = 20_000_000
"""Of all frames of an animated thumbnail, which are in memory together: 80 MB."""
FRAMES_MAX: Final = 300
SCANS_MAX: Final = 50
"""Of a JPEG: each goes over all of its pixels, takes a few bytes, and cannot be interrupted. Cameras make ten."""
PROFILE_BYTES_MAX: Final = 16_384
"""Of a colour profile that is passed on."""
SECONDS_MAX: Final = 10.0

FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF")
_TYPES: Final = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
}
"""Formats in which an image may be its own thumbnail, as what it is served."""
SAFE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/apng", "image/gif", "image/webp"})
"""What thumbnails are served as. Spec: client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid"""
COUNTED_BYTES: Final = 1 << 20
_DECODED_ONCE: Final = frozenset({"JPEG", "MPO", "PNG", "GIF"})
_JPEG: Final = frozenset({"JPEG", "MPO"})
_SCAN: Final = b"\xff\xda"
"""Start of a scan. See ITU T.81, section B.1"""
_ANIMATED: Final = frozenset({"PNG", "GIF", "WEBP"})
_ORIENTATION: Final = 0x0112
_TURNED: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations with width and height exchanged."""


class CannotThumbnail(Exception):
    """The content is no image that thumbnails can be made of, or not within the time."""


class TooManyPixels(CannotThumbnail):
    """The image is too large."""


@dataclass(frozen=True, slots=True)
class Made:
    """A thumbnail. ``data`` is None where the image is its own."""

    data: bytes | None
    content_type: str


def make_thumbnail(path: Path, form: Form) -> Made:
    """Raises ``CannotThumbnail``, ``TooManyPixels``, ``FileNotFoundError``."""
    with path.open("rb", buffering=0) as raw, io.BufferedReader(_Timed(raw, time.monotonic() + SECONDS_MAX)) as file:
        try:
            return _make(file, form)
        except CannotThumbnail:
            raise
        except Exception as error:
            raise CannotThumbnail(f"{error} ({type(error).__name__})") from error


class _Timed(io.RawIOBase):
    """A file that cannot be read any more when the time is over."""

    def __init__(self, raw: io.FileIO, deadline: float) -> None:
        self._raw = raw
        self.deadline = deadline

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        require_time(self.deadline)
        return self._raw.readinto(buffer)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        require_time(self.deadline)
        return self._raw.seek(offset, whence)


def require_time(deadline: float) -> None:
    """Raises ``CannotThumbnail``."""
    if time.monotonic() > deadline:
        raise CannotThumbnail(f"it takes longer than {SECONDS_MAX:g} s")


def _make(file: BinaryIO, form: Form) -> Made:
    from PIL import Image  # takes 0.1 s, which the start of the server need not

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # the limit here is lower
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise TooManyPixels(str(error)) from error
    with image:
        _check_pixels(image, PIXELS_MAX if image.format in _DECODED_ONCE else COPIED_PIXELS_MAX)
        if image.format in _JPEG:
            _check_scans(file)
        is_animated = image.format in _ANIMATED and bool(getattr(image, "is_animated", False))
        if is_animated:
            _check_pixels(image, COPIED_PIXELS_MAX)
        if form.is_animated and is_animated:
            animated = _make_animated(image, form)
            if animated is not None:
                return animated
        turned = image.getexif().get(_ORIENTATION, 1) in _TURNED
        fitted = fit(form, image.size[::-1] if turned else image.size)
        if fitted is None and image.format in _TYPES and not is_animated:
            image.load()  # what cannot be decoded is not served as an image
            return Made(None, _TYPES[image.format])
        image.seek(0)
        _check_pixels(image, PIXELS_MAX)
        return _encode_still(_shrink(image, form, turned))


def _check_scans(file: BinaryIO) -> None:
    """A marker is nowhere in the data it stands for; what is counted elsewhere in the file is not much."""
    position = file.tell()
    file.seek(0)
    scans, before = 0, b""
    while chunk := file.read(COUNTED_BYTES):
        scans += (before + chunk).count(_SCAN)
        before = chunk[-1:]
        if scans > SCANS_MAX:
            raise CannotThumbnail(f"it has more than {SCANS_MAX} scans")
    file.seek(position)


def _check_pixels(image: Image, pixels_max: int) -> None:
    width, height = image.size
    if width * height > min(pixels_max, PIXELS_MAX):
        raise TooManyPixels(f"it has {width} x {height} pixels")


def _shrink(image: Image, form: Form, turned: bool) -> Image:
    """The part that is shown in the size that is wanted, as it will be seen, with nothing kept of its metadata."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    raw_form = Form(form.height, form.width, form.method, form.is_animated) if turned else form
    full = image.size
    size, box = fit(raw_form, full) or (full, (0, 0, *full))
    # Twice the size that is needed of the part that is shown.
    ample = (int(2 * size[0] * full[0] / (box[2] - box[0])), int(2 * size[1] * full[1] / (box[3] - box[1])))
    image.draft(None, ample)
    orientation = image.getexif().get(_ORIENTATION, 1)
    image.load()
    factor = max(min(image.width // ample[0], image.height // ample[1]), 1)
    shown = _reduce(image, factor)
    if size != shown.size:
        x, y = image.width / full[0] / factor, image.height / full[1] / factor
        part = (box[0] * x, box[1] * y, min(box[2] * x, shown.width), min(box[3] * y, shown.height))
        shown = shown.resize(size, Resampling.LANCZOS, box=part, reducing_gap=2.0)
    profile = image.info.get("icc_profile")
    shown.info = {"icc_profile": profile} if shown.mode == image.mode and _is_small(profile) else {}
    shown.getexif()[_ORIENTATION] = orientation
    upright = ImageOps.exif_transpose(shown)
    assert upright is not None
    return upright


def _reduce(image: Image, factor: int) -> Image:
    """In a plain mode, and so many times smaller. Converting all of it at once would take its memory once more."""
    from PIL import Image as images

    if factor == 1:
        return _with_plain_mode(image)
    rows = max(BAND_ROWS // factor, 1) * factor
    small: Image | None = None
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        band = _with_plain_mode(band).reduce(factor)
        if small is None:
            small = images.new(band.mode, (band.width, -(-image.height // factor)))
        small.paste(band, (0, top // factor))
    assert small is not None
    return small


def _is_small(profile: object) -> bool:
    return isinstance(profile, bytes) and len(profile) <= PROFILE_BYTES_MAX


def _with_plain_mode(image: Image) -> Image:
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value / 256).convert("L")
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def _encode_still(image: Image) -> Made:
    out = io.BytesIO()
    profile = image.info.get("icc_profile")
    if image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255):
        image.save(out, "PNG", icc_profile=profile)
        return Made(out.getvalue(), "image/png")
    plain = image.convert("RGB") if image.mode == "RGBA" else image
    plain.save(out, "JPEG", quality=80, progressive=True, icc_profile=profile)
    return Made(out.getvalue(), "image/jpeg")


def _make_animated(image: Image, form: Form) -> Made | None:
    """None where the animation is too long: the thumbnail will not move then."""
    from PIL.Image import Resampling

    deadline = time.monotonic() + SECONDS_MAX / 2
    fitted = fit(form, image.size)
    size, box = fitted if fitted is not None else (image.size, (0, 0, *image.size))
    frames: list[Image] = []
    durations: list[int] = []
    pixels = image.size[0] * image.size[1]
    if pixels > MOVING_PIXELS_MAX:
        return None
    while True:
        if len(frames) == FRAMES_MAX or (len(frames) + 1) * pixels > ANIMATED_PIXELS_MAX:
            return None
        if (len(frames) + 1) * size[0] * size[1] > THUMBNAIL_PIXELS_MAX or time.monotonic() > deadline:
            return None
        try:
            image.seek(len(frames))
        except EOFError:
            break
        _check_pixels(image, COPIED_PIXELS_MAX)  # a frame may be larger than those before
        image.load()
        frame = image if image.mode == "RGBA" else image.convert("RGBA")
        frames.append(frame.resize(size, Resampling.LANCZOS, box=box, reducing_gap=2.0))
        durations.append(_duration_of(image))
    if fitted is None and image.format is not None:
        return Made(None, _TYPES[image.format])
    loop: Any = image.info.get("loop", 1)
    loop = loop if isinstance(loop, int) and 0 <= loop < 1 << 16 else 0
    out = io.BytesIO()
    frames[0].save(
        out, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=loop, quality=75, method=0
    )
    return Made(out.getvalue(), "image/webp")


def _duration_of(image: Image) -> int:
    """Of the frame, in ms. What is made up is taken for a tenth of a second."""
    duration: Any = image.info.get("duration", 0)
    is_sensible = isinstance(duration, int | float) and 0 < duration <= 60_000
    return round(duration) if is_sensible else 100
