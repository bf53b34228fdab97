"""How a conversation with another machine fails."""

from __future__ import annotations


class RemoteError(Exception):
    """No answer that can be used."""


class Unreachable(RemoteError):
    """The other side could not be asked, or gave nothing that is an answer: it may be worth trying later."""


class Refused(RemoteError):
    """The other side answered that it will not. Trying again changes nothing, unless ``may_retry`` says so."""

    def __init__(
        self,
        status: int,
        errcode: str,
        message: str,
        *,
        retry_after_ms: int | None = None,
        room_version: str | None = None,
    ) -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.status = status
        self.errcode = errcode
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.room_version = room_version
        """Of the room, where it is one that we are said not to know."""

    @property
    def may_retry(self) -> bool:
        """Whether the refusal is about the moment and not about the request."""
        return self.status >= 500 or self.status == 429
