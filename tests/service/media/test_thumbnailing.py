"""What thumbnails look like, and what hostile images do not do."""

from __future__ import annotations

import io
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from conduit_py.service.media import thumbnailing
from conduit_py.service.media.thumbnail_sizes import Form, Method, choose_form, fit
from conduit_py.service.media.thumbnailing import CannotThumbnail, Made, TooManyPixels, make_thumbnail
from tests.rig.images import BLUE, RED, decode, encode, halves, moving, plain, png_that_claims, png_with_chunks

SMALL = Form(32, 32, Method.CROP, False)
MOVING = Form(32, 32, Method.CROP, True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image"


def make(path: Path, content: bytes, form: Form = SMALL) -> Made:
    path.write_bytes(content)
    return make_thumbnail(path, form)


def picture(made: Made) -> Image.Image:
    assert made.data is not None
    return decode(made.data)


def colour(image: Image.Image, x: float, y: float) -> str:
    red, _, blue = image.convert("RGB").getpixel((int(x * image.width), int(y * image.height)))  # type: ignore[misc]
    return "red" if red > blue else "blue"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF"])
def test_common_formats_are_read(path: Path, format: str) -> None:
    made = make(path, plain(200, 100, format))
    assert picture(made).size == (32, 32)
    assert made.content_type == "image/jpeg"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "I;16"])
def test_modes_of_png_are_read(path: Path, mode: str) -> None:
    if mode == "PA":
        content = encode(Image.new("P", (90, 90)), "PNG", transparency=bytes(256))
    else:
        content = encode(Image.new(mode, (90, 90)), "PNG")
    assert picture(make(path, content)).size == (32, 32)


def test_grey_of_16_bits_keeps_its_brightness(path: Path) -> None:
    made = make(path, encode(Image.new("I;16", (90, 90), 0x8000), "PNG"))
    assert picture(made).convert("L").getpixel((5, 5)) == pytest.approx(0x80, abs=3)


def test_print_colours_are_read(path: Path) -> None:
    made = make(path, encode(Image.new("CMYK", (90, 90)), "JPEG"))
    assert picture(made).mode == "RGB"


def test_transparency_stays(path: Path) -> None:
    made = make(path, encode(Image.new("RGBA", (90, 90), (255, 0, 0, 0)), "PNG"))
    assert made.content_type == "image/png"
    assert picture(made).getpixel((5, 5)) == (255, 0, 0, 0) or picture(made).getchannel("A").getextrema() == (0, 0)


def test_small_images_of_other_formats_are_made_anew(path: Path) -> None:
    made = make(path, plain(20, 10, "BMP"))
    assert made.content_type == "image/jpeg"
    assert picture(made).size == (20, 10)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", [SMALL, Form(32, 32, Method.SCALE, False), Form(40, 20, Method.CROP, False)])
def test_images_are_turned_as_their_exif_says(path: Path, orientation: int, form: Form) -> None:
    content = halves(200, 100, orientation=orientation)
    expected = ImageOps.exif_transpose(decode(content))
    assert expected is not None
    shown = picture(make(path, content, form))
    if form.method is Method.SCALE:
        assert shown.size == ((64, 32) if orientation < 5 else (32, 64))
    else:
        assert shown.size == (form.width, form.height)
    for x, y in ((0.1, 0.5), (0.9, 0.5), (0.5, 0.1), (0.5, 0.9)):
        if {x, y} & {0.1, 0.9} and not _is_on_the_seam(expected, x, y):
            assert colour(shown, x, y) == colour(expected, x, y)
    assert shown.getexif().get(0x0112) is None


def _is_on_the_seam(image: Image.Image, x: float, y: float) -> bool:
    return {colour(image, x, y)} != {colour(image, min(x + 0.05, 0.99), min(y + 0.05, 0.99))} or 0.5 in (
        (x,) if image.width > image.height else (y,)
    )


def test_nothing_of_the_metadata_is_passed_on(path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A camera that tells where it was"
    content = encode(Image.new("RGB", (90, 90), RED), "JPEG", exif=exif, comment=b"A camera")
    made = make(path, content)
    assert b"camera" in content
    assert made.data is not None
    assert b"camera" not in made.data


def test_crop_shows_the_middle(path: Path) -> None:
    image = Image.new("RGB", (300, 100), BLUE)
    image.paste(RED, (100, 0, 200, 100))
    shown = picture(make(path, encode(image, "PNG")))
    assert {colour(shown, x, 0.5) for x in (0.1, 0.5, 0.9)} == {"red"}


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_animations_move_if_they_may(path: Path, format: str) -> None:
    content = moving(100, 100, 5, format)
    made = make(path, content, MOVING)
    assert made.content_type == "image/webp"
    assert getattr(picture(made), "n_frames", 1) == 5
    still = make(path, content, SMALL)
    assert still.content_type == "image/jpeg"


def test_a_small_animation_is_its_own_thumbnail_if_it_may_move(path: Path) -> None:
    assert make(path, moving(20, 20), MOVING) == Made(None, "image/gif")
    assert picture(make(path, moving(20, 20), SMALL)).size == (20, 20)


@pytest.mark.parametrize(
    ("limit", "value"), [("FRAMES_MAX", 3), ("ANIMATED_PIXELS_MAX", 30_000), ("THUMBNAIL_PIXELS_MAX", 3000)]
)
def test_long_animations_do_not_move(path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    monkeypatch.setattr(thumbnailing, limit, value)
    made = make(path, moving(100, 100, 5), MOVING)
    assert made.content_type == "image/jpeg"


# Hostile images


@pytest.mark.parametrize("size", [(10_000, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_they_are_decoded(path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(TooManyPixels):
        make(path, png_that_claims(*size))


@pytest.mark.parametrize("format", ["JPEG", "GIF", "WEBP", "BMP"])
def test_the_limit_holds_for_every_format(path: Path, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    monkeypatch.setattr(thumbnailing, "PIXELS_MAX", 99 * 100)
    with pytest.raises(TooManyPixels):
        make(path, plain(100, 100, format))


def test_an_image_that_breaks_off_has_no_thumbnail(path: Path) -> None:
    with pytest.raises(CannotThumbnail):
        make(path, png_that_claims(1000, 1000))


def test_a_broken_small_image_is_not_its_own_thumbnail(path: Path) -> None:
    with pytest.raises(CannotThumbnail):
        make(path, plain(20, 20)[:-40])


def test_the_time_is_bounded_while_a_header_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnailing, "SECONDS_MAX", 0.05)
    began = time.thread_time()
    with pytest.raises(CannotThumbnail, match="longer than"):
        make(path, png_with_chunks(500_000))
    assert time.thread_time() - began < 2


@pytest.mark.parametrize("format", ["TIFF", "ICO", "TGA", "PPM", "PCX", "PDF", "EPS"])
def test_rare_formats_are_not_read(path: Path, format: str) -> None:
    with pytest.raises(CannotThumbnail):
        make(path, plain(64, 64, format))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_images_raise_nothing_else(path: Path, format: str) -> None:
    dice = random.Random(format)
    content = bytearray(moving(60, 60, 3, format) if format in ("GIF", "PNG", "WEBP") else plain(60, 60, format))
    for _ in range(150):
        damaged = bytearray(content[: dice.randrange(len(content))] if dice.random() < 0.2 else content)
        for _ in range(dice.randrange(1, 8)):
            if damaged:
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        for form in (SMALL, MOVING):
            try:
                made = make(path, bytes(damaged), form)
            except CannotThumbnail:
                continue
            assert made.data is None or decode(made.data).size


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_raise_nothing_else(content: bytes) -> None:
    descriptor = os.memfd_create("image")
    with io.FileIO(descriptor, "wb") as file:
        file.write(content)
        with pytest.raises(CannotThumbnail):
            make_thumbnail(Path(f"/proc/self/fd/{descriptor}"), SMALL)


def test_a_file_that_has_gone_is_said_to_be(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_thumbnail(path, SMALL)


# Sizes

sides = st.integers(1, 5000)


@given(sides, sides, sides, sides, st.sampled_from(Method))
def test_thumbnails_are_large_enough_and_never_larger_than_the_image(
    width: int, height: int, wanted_width: int, wanted_height: int, method: Method
) -> None:
    form = choose_form(wanted_width, wanted_height, method, is_animated=False)
    fitted = fit(form, (width, height))
    if fitted is None:
        return
    size, (left, top, right, bottom) = fitted
    assert size[0] <= width
    assert size[1] <= height
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    if method is Method.SCALE or (width >= form.width and height >= form.height):
        assert size[0] >= wanted_width
        assert size[1] >= wanted_height


@given(sides, sides, st.sampled_from(Method))
def test_forms_are_chosen_for_themselves(width: int, height: int, method: Method) -> None:
    form = choose_form(width, height, method, is_animated=False)
    if form.width:
        assert form.width >= width
        assert form.height >= height
        if method is Method.SCALE:
            assert choose_form(form.width, form.height, method, is_animated=False) == form


@pytest.mark.parametrize(
    ("asked", "method", "expected"),
    [
        ((32, 32), Method.CROP, (32, 32)),
        ((96, 96), Method.CROP, (96, 96)),
        ((50, 50), Method.CROP, (96, 96)),
        ((320, 240), Method.SCALE, (320, 240)),
        ((640, 480), Method.SCALE, (640, 480)),
        ((800, 600), Method.SCALE, (800, 600)),
        ((100, 300), Method.SCALE, (640, 480)),
        ((5000, 5000), Method.SCALE, (0, 0)),
        ((5000, 10), Method.CROP, (0, 0)),
    ],
)
def test_the_sizes_are_those_of_the_spec(asked: tuple[int, int], method: Method, expected: tuple[int, int]) -> None:
    form = choose_form(*asked, method, is_animated=False)
    assert (form.width, form.height) == expected
