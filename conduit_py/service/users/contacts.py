"""Third-party identifiers of users. There are none: the server sends no e-mail and no text messages, and it trusts no
identity server, so nothing can be validated. What is asked gets the refusal that the specification has for it.

Spec: client-server-api/#adding-account-administrative-contact-information
"""

from __future__ import annotations

from typing import Any, Final

from conduit_py.service.errors import MatrixError
from conduit_py.service.requester import Requester

UNBIND_RESULT: Final = "no-support"
"""No identity server is known that an identifier could be unbound from."""


class ContactService:
    """One per server."""

    def get_contacts(self, requester: Requester) -> list[dict[str, Any]]:
        """The identifiers of the requester."""
        return []

    def add(self, requester: Requester) -> None:
        """Raises ``M_THREEPID_AUTH_FAILED``: no session of a validation was ever begun here."""
        raise MatrixError("No such session was validated", errcode="M_THREEPID_AUTH_FAILED", status=403)

    def bind(self, requester: Requester) -> None:
        """Raises ``M_SERVER_NOT_TRUSTED``."""
        raise MatrixError("This server trusts no identity server", errcode="M_SERVER_NOT_TRUSTED", status=400)

    def remove(self, requester: Requester, medium: str, address: str) -> str:
        """Nothing is associated with the user afterwards; says what became of it at the identity server."""
        return UNBIND_RESULT

    def validate_new(self, medium: str) -> None:
        """Begin to validate an identifier that is to be added. Raises ``M_THREEPID_MEDIUM_NOT_SUPPORTED``."""
        raise MatrixError(
            "This server sends neither e-mail nor text messages", errcode="M_THREEPID_MEDIUM_NOT_SUPPORTED", status=400
        )

    def validate_known(self, medium: str, address: str) -> None:
        """Begin to validate an identifier that a user has. Raises ``M_THREEPID_NOT_FOUND``."""
        raise MatrixError("Nobody here has this address", errcode="M_THREEPID_NOT_FOUND", status=400)
