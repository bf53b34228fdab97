"""What a client or a remote server is told. Raised by services, rendered once at the edge.

Spec: client-server-api/#standard-error-response
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MatrixError(Exception):
    """One standard error response: ``{"errcode": ..., "error": str(self), **extra}`` with ``status``.

    Subclasses fix errcode and status; both may be given for the rare ones.
    """

    errcode = "M_UNKNOWN"
    status = 500

    def __init__(
        self,
        message: str,
        *,
        errcode: str | None = None,
        status: int | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        if errcode is not None:
            self.errcode = errcode
        if status is not None:
            self.status = status
        self.extra: Mapping[str, Any] = extra or {}
        self.headers: Mapping[str, str] = headers or {}


class Forbidden(MatrixError):
    """The requester may not do this."""

    errcode, status = "M_FORBIDDEN", 403


class NotFound(MatrixError):
    """There is no such thing, or the requester may not know of it."""

    errcode, status = "M_NOT_FOUND", 404


class BadJson(MatrixError):
    """The body is JSON of the wrong shape."""

    errcode, status = "M_BAD_JSON", 400


class MalformedEvent(BadJson):
    """The event is one that no room would take, whoever sent it."""


class InvalidParam(MatrixError):
    """A parameter has a value it cannot have."""

    errcode, status = "M_INVALID_PARAM", 400


class MissingParam(MatrixError):
    """A parameter that is needed was not given."""

    errcode, status = "M_MISSING_PARAM", 400


class TooLarge(MatrixError):
    """The body, or the event made of it, is larger than the spec allows."""

    errcode, status = "M_TOO_LARGE", 413


class MissingToken(MatrixError):
    """No access token was given."""

    errcode, status = "M_MISSING_TOKEN", 401


class UnknownToken(MatrixError):
    """The access token opens nothing."""

    errcode, status = "M_UNKNOWN_TOKEN", 401


class LimitExceeded(MatrixError):
    """Too many requests."""

    errcode, status = "M_LIMIT_EXCEEDED", 429


class NoSpace(MatrixError):
    """The disk or quota is full: nothing was stored, reads go on."""

    errcode, status = "M_UNKNOWN", 507


class Unrecognized(MatrixError):
    """This server does not have the operation, or not for such input."""

    errcode, status = "M_UNRECOGNIZED", 404


class UiaRequired(MatrixError):
    """User-interactive authentication is not complete: ``extra`` is the 401 body of the spec.

    Spec: client-server-api/#user-interactive-authentication-api
    """

    errcode, status = "", 401
