"""Query parameters and bodies of the content repository.

Spec: client-server-api/#content-repository
"""

from __future__ import annotations

from conduit_py.api.params import choose_argument, require_argument
from conduit_py.http.request import Request
from conduit_py.service.errors import InvalidParam
from conduit_py.service.media.fetch import TIMEOUT_DEFAULT_MS, Asked, parse_mxc
from conduit_py.service.media.thumbnail_sizes import Method
from conduit_py.service.media.upload import DEFAULT_TYPE, Description, describe

NUMBER_DIGITS_MAX = 9
_METHODS = {"scale": Method.SCALE, "crop": Method.CROP}


def read_asked(request: Request, server_name: str, media_id: str, *, is_legacy: bool) -> Asked:
    """What a download asks for. Raises ``NotFound``, ``InvalidParam``.

    ``allow_redirect`` is read and changes nothing: nobody is sent elsewhere.
    """
    read_flag(request, "allow_redirect")
    return Asked(
        mxc=parse_mxc(server_name, media_id),
        timeout_ms=read_timeout(request),
        allow_remote=read_flag(request, "allow_remote", default=True),
        is_legacy=is_legacy,
    )


def read_timeout(request: Request) -> int:
    """How long to wait for an upload, in ms. Raises ``InvalidParam``."""
    text = request.args.get("timeout_ms")
    return TIMEOUT_DEFAULT_MS if text is None else parse_number("timeout_ms", text)


def read_size(request: Request) -> tuple[int, int]:
    """The width and height that are asked for. Raises ``MissingParam``, ``InvalidParam``."""
    width, height = (parse_number(name, require_argument(request, name)) for name in ("width", "height"))
    return width, height


def read_method(request: Request) -> Method:
    """Raises ``InvalidParam``."""
    return _METHODS[choose_argument(request, "method", tuple(_METHODS))]


def read_flag(request: Request, name: str, *, default: bool = False) -> bool:
    """Raises ``InvalidParam``."""
    choices = ("true", "false") if default else ("false", "true")
    return choose_argument(request, name, choices) == "true"


def read_description(request: Request) -> Description:
    """What the uploader says of the content. Raises ``InvalidParam``, ``TooLarge``."""
    length = request.content_length
    if length is not None:
        request.body.check(length)
    return describe(request.content_type or DEFAULT_TYPE, request.args.get("filename"))


def parse_number(name: str, text: str) -> int:
    """Raises ``InvalidParam``."""
    if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX):
        raise InvalidParam(f"The query parameter {name} must be a whole number of at most {NUMBER_DIGITS_MAX} digits")
    return int(text)
