"""Identity servers: whether a key that they have signed an invite with is still theirs.

Spec: client-server-api/#third-party-invites
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import orjson

from conduit_py.outbound.errors import Unreachable
from conduit_py.outbound.http import HttpClient, https_target

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 64 * 1024


async def fetch_is_valid(http: HttpClient, url: str, public_key: str) -> bool:
    """Whether a key counts, asked where the invite says. Raises ``Unreachable``.

    Spec: client-server-api/#mroomthird_party_invite
    """
    try:
        target, path = https_target(url)
    except ValueError as error:
        raise Unreachable(f"{url} cannot be asked: {error}") from None
    path += ("&" if "?" in path else "?") + urlencode({"public_key": public_key})
    reply = await http.fetch("GET", target, path, bytes_max=ANSWER_BYTES_MAX, timeout_s=TIMEOUT_S)
    try:
        answer = orjson.loads(reply.body) if reply.status == 200 else None
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("valid"), bool):
        raise Unreachable(f"{target.host} does not tell whether the key is valid")
    return bool(answer["valid"])
