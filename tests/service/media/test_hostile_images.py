"""Every hostile image has the outcome it is to have: no thumbnail, or one with nothing in it but the picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_py.service.media.thumbnail_sizes import Form, Method
from conduit_py.service.media.thumbnailing import SAFE_TYPES, CannotThumbnail, TooManyPixels, make_thumbnail
from tests.rig.hostile_images import BROKEN, CORPUS, HEAVY, POLYGLOTS, SCRIPT, TOO_LARGE
from tests.rig.images import decode

FORMS = [Form(32, 32, Method.CROP, False), Form(320, 240, Method.SCALE, False), Form(96, 96, Method.CROP, True)]
QUICK = ("gif of 3,000 frames", "png with 20,000 chunks", "line of 40,000 pixels", "moving webp", "turned")
"""Of the heavy ones: those that every run can bear. The others are asked of a server process."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image"


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("ignore")
def test_broken_image_has_no_thumbnail(path: Path, name: str) -> None:
    path.write_bytes(CORPUS[name]())
    for form in FORMS:
        with pytest.raises(CannotThumbnail) as caught:
            make_thumbnail(path, form)
        assert not isinstance(caught.value, TooManyPixels)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_image_of_too_many_pixels_is_not_decoded(path: Path, name: str) -> None:
    path.write_bytes(CORPUS[name]())
    for form in FORMS:
        with pytest.raises(TooManyPixels):
            make_thumbnail(path, form)


@pytest.mark.parametrize("name", QUICK)
def test_heavy_image_has_a_thumbnail(path: Path, name: str) -> None:
    assert name in HEAVY
    path.write_bytes(CORPUS[name]())
    for form in FORMS:
        made = make_thumbnail(path, form)
        assert made.content_type in SAFE_TYPES
        assert made.data is None or decode(made.data).size


@pytest.mark.parametrize("name", POLYGLOTS)
def test_thumbnail_of_a_polyglot_is_an_image_alone(path: Path, name: str) -> None:
    content = CORPUS[name]()
    assert SCRIPT in content
    path.write_bytes(content)
    for form in (Form(32, 32, Method.CROP, False), Form(96, 96, Method.SCALE, True)):
        made = make_thumbnail(path, form)
        assert made.content_type in SAFE_TYPES
        assert made.data is not None
        assert decode(made.data).size >= (form.width, form.height)
        assert SCRIPT not in made.data
