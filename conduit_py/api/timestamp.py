"""The time that an application service says an event is of.

Spec: application-service-api/#timestamp-massaging
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conduit_py.http.request import Request
from conduit_py.service.errors import InvalidParam
from conduit_py.service.requester import Requester

TS_MS_MAX: Final = (1 << 53) - 1


def with_asserted_time(request: Request, requester: Requester) -> Requester:
    """The requester with ``ts`` of the query. Users say nothing by it. Raises ``InvalidParam`` for what is no time."""
    ts = request.args.get("ts")
    if ts is None or requester.appservice_id is None:
        return requester
    if not (ts.isascii() and ts.isdigit() and len(ts) <= 16 and int(ts) <= TS_MS_MAX):
        raise InvalidParam("ts must be a time in milliseconds")
    return replace(requester, asserted_ts_ms=int(ts))
