"""Refusals that HTTP itself causes, and the shape that every refusal has.

A refusal is answered as ``{"errcode": ..., "error": ..., **extra}`` with its status.
Spec: client-server-api/#standard-error-response
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

__all__ = [
    "BadJson",
    "BadPath",
    "Busy",
    "ClientDisconnected",
    "HttpError",
    "MethodNotAllowed",
    "NotJson",
    "Refusal",
    "TooLarge",
    "Unrecognized",
]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Refusal(Protocol):
    """What an exception offers to be answered to the client; its text (``str``) becomes ``error``."""

    @property
    def status(self) -> int: ...
    @property
    def errcode(self) -> str: ...
    @property
    def extra(self) -> Mapping[str, Any]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class HttpError(Exception):
    """The request is refused before any service has seen it."""

    status: int
    errcode: str

    def __init__(
        self, message: str, *, headers: Mapping[str, str] = _NOTHING, extra: Mapping[str, Any] = _NOTHING
    ) -> None:
        super().__init__(message)
        self.headers = headers
        self.extra = extra


class Unrecognized(HttpError):
    status, errcode = 404, "M_UNRECOGNIZED"


class MethodNotAllowed(HttpError):
    status, errcode = 405, "M_UNRECOGNIZED"


class BadPath(HttpError):
    """A part of the path is not percent-encoded UTF-8."""

    status, errcode = 400, "M_INVALID_PARAM"


class NotJson(HttpError):
    status, errcode = 400, "M_NOT_JSON"


class BadJson(HttpError):
    status, errcode = 400, "M_BAD_JSON"


class TooLarge(HttpError):
    status, errcode = 413, "M_TOO_LARGE"


class Busy(HttpError):
    """For now."""

    status, errcode = 429, "M_LIMIT_EXCEEDED"


class ClientDisconnected(Exception):
    """The client hung up while its request was being read: nobody is there to be answered."""
