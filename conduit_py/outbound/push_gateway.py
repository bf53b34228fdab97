"""Push gateways: they are told of notifications, and answer which pushkeys are no more.

Spec: push-gateway-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from conduit_py.outbound.errors import Refused, Unreachable
from conduit_py.outbound.http import HttpClient, https_target, retry_after_ms

NOTIFY_PATH: Final = "/_matrix/push/v1/notify"
TIMEOUT_S: Final = 30.0
ANSWER_BYTES_MAX: Final = 64 * 1024


class PushGatewayClient:
    """One per server."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def fetch_notify(self, url: str, notification: Mapping[str, Any]) -> frozenset[str]:
        """Hand a notification to the gateway at ``url``. Returns the pushkeys that it rejects.

        Raises ``Unreachable``, and ``Refused`` for an answer that is no success: the notification was not taken.

        Spec: push-gateway-api/#post_matrixpushv1notify
        """
        target, path = https_target(url)
        reply = await self._http.fetch(
            "POST",
            target,
            path,
            headers={"Content-Type": "application/json"},
            body=orjson.dumps({"notification": notification}),
            bytes_max=ANSWER_BYTES_MAX,
            timeout_s=TIMEOUT_S,
        )
        if not 200 <= reply.status < 300:
            raise Refused(reply.status, "", "no success", retry_after_ms=retry_after_ms(reply.headers))
        return _parse_rejected(reply.body, target.host)


def _parse_rejected(body: bytes, host: str) -> frozenset[str]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    rejected = answer.get("rejected", []) if isinstance(answer, dict) else None
    if not isinstance(rejected, list):
        # Something else than a push gateway may answer anything with a 200.
        raise Unreachable(f"what {host} answered is not from a push gateway")
    return frozenset(pushkey for pushkey in rejected if isinstance(pushkey, str))


def is_gateway_url(url: str) -> bool:
    """May a pusher send to this? Spec: client-server-api/#post_matrixclientv3pushersset"""
    try:
        https_target(url)
    except ValueError:
        return False
    parts = urlsplit(url)
    if any(char <= " " or char == "\x7f" for char in url):
        return False
    return parts.path == NOTIFY_PATH and "@" not in parts.netloc and not parts.fragment


def host_of(url: str) -> str:
    """Whom a gateway's URL leads to."""
    return https_target(url)[0].host
