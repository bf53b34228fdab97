"""What a client says to have an e-mail address or a phone number validated.

Spec: client-server-api/#post_matrixclientv3registeremailrequesttoken
"""

from __future__ import annotations

import re
from typing import Final

from conduit_py.api.fields import Body, require_field
from conduit_py.service.errors import InvalidParam

_CLIENT_SECRET: Final = re.compile(r"[0-9a-zA-Z.=_-]{1,255}")


def read_email(body: Body) -> str:
    """The address. Raises ``InvalidParam`` where there is no telling what it is."""
    _check_attempt(body)
    address = require_field(body, "email", str)
    local, at, domain = address.rpartition("@")
    if not (local and at and domain):
        raise InvalidParam("email is not an e-mail address")
    return address


def read_phone_number(body: Body) -> str:
    """The number as it was typed."""
    _check_attempt(body)
    require_field(body, "country", str)
    return require_field(body, "phone_number", str)


def _check_attempt(body: Body) -> None:
    require_field(body, "send_attempt", int)
    if _CLIENT_SECRET.fullmatch(require_field(body, "client_secret", str)) is None:
        raise InvalidParam("client_secret must be 1 to 255 of the characters 0-9 a-z A-Z . = _ -")
