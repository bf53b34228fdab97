"""Which thumbnail is made for which request, so that few are made of one image.

Spec: client-server-api/#thumbnails

A thumbnail is never smaller than asked for in either direction, unless the image is: "scale" keeps the image's aspect
ratio and covers the wanted rectangle, "crop" has the aspect ratio of the rectangle.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

SCALES: Final = ((32, 32), (96, 96), (320, 240), (640, 480), (800, 600), (1600, 1200))
"""The spec's sizes, each for both methods, and one for large screens. Who asks for more gets the image itself."""
CROPS: Final = (32, 96, 320, 640, 800, 1600)


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Method(enum.IntEnum):
    """Stored: never give a number another meaning."""

    CROP = 0
    SCALE = 1


@dataclass(frozen=True, slots=True)
class Form:
    """What a thumbnail is to be like. A width and height of 0 stand for the image's own."""

    width: int
    height: int
    method: Method
    is_animated: bool


def choose_form(width: int, height: int, method: Method, *, is_animated: bool) -> Form:
    """The form that is made for a request of at least 1 by 1 pixels."""
    if method is Method.SCALE:
        box = next((box for box in SCALES if width <= box[0] and height <= box[1]), (0, 0))
    else:
        longer = max(width, height)
        side = next((side for side in CROPS if longer <= side), 0)
        box = (-(-width * side // longer), -(-height * side // longer))
    return Form(*box, method, is_animated)


def fit(form: Form, size: tuple[int, int]) -> tuple[tuple[int, int], Box] | None:
    """The size of the thumbnail of an image of ``size``, and the part of the image it shows.

    None: the image is not larger than what is wanted, and is its own thumbnail.
    """
    width, height = size
    if not form.width or not form.height:
        return None
    across, down = form.width / width, form.height / height
    if form.method is Method.SCALE:
        factor = max(across, down)
        if factor >= 1:
            return None
        return (max(round(width * factor), form.width), max(round(height * factor), form.height)), (0, 0, width, height)
    if min(across, down) >= 1:
        return None
    # The largest part with the wanted aspect ratio. It is not scaled up: a narrow image makes a small thumbnail.
    factor = min(1 / across, 1 / down)
    part = (form.width * factor, form.height * factor)
    left, top = max((width - part[0]) / 2, 0.0), max((height - part[1]) / 2, 0.0)
    shown = min(factor, 1.0)
    return (
        (max(round(form.width * shown), 1), max(round(form.height * shown), 1)),
        (left, top, min(left + part[0], float(width)), min(top + part[1], float(height))),
    )
