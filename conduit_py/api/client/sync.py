"""``GET /_matrix/client/v3/sync``

Spec: client-server-api/#get_matrixclientv3sync
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.params import choose_argument
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request, parse_json_object
from conduit_py.http.routes import Routes
from conduit_py.matrix.filters import NO_FILTER, SyncFilter, parse_sync_filter
from conduit_py.matrix.sync_token import parse_sync_token
from conduit_py.service.errors import InvalidParam
from conduit_py.service.requester import Requester
from conduit_py.service.sync.service import SyncService
from conduit_py.service.sync.since import SyncRequest
from conduit_py.service.users.filters import FilterService

_BOOLEANS = ("false", "true")
_PRESENCE = ("online", "offline", "unavailable")
_STATE_AFTER = {
    "use_state_after": "state_after",
    "org.matrix.msc4222.use_state_after": "org.matrix.msc4222.state_after",
}


def routes(auth: Authenticator, syncs: SyncService, filters: FilterService) -> Routes:
    """The operations of this module."""
    routes = Routes("sync")

    @routes.get("/_matrix/client/v3/sync")
    async def sync(request: Request) -> Raw:
        requester = auth.require_user(request, may_be_guest=True)
        since = request.args.get("since")
        return Raw(
            await syncs.sync(
                requester,
                SyncRequest(
                    since=None if since is None else parse_sync_token(since),
                    filter=_get_filter(requester, request.args.get("filter"), filters),
                    full_state=_is_true(request, "full_state"),
                    state_after=_get_state_after(request),
                    timeout_ms=_get_timeout(request),
                    set_presence=choose_argument(request, "set_presence", _PRESENCE),
                ),
            )
        )

    return routes


def _get_filter(requester: Requester, text: str | None, filters: FilterService) -> SyncFilter:
    if not text:
        return NO_FILTER
    if text.startswith("{"):
        return parse_sync_filter(parse_json_object(text.encode()))
    return parse_sync_filter(filters.require_filter(requester, requester.user_id, text))


def _is_true(request: Request, name: str) -> bool:
    return choose_argument(request, name, _BOOLEANS) == "true"


def _get_state_after(request: Request) -> str | None:
    return next((answer for asked, answer in _STATE_AFTER.items() if _is_true(request, asked)), None)


def _get_timeout(request: Request) -> int | None:
    text: str | None = request.args.get("timeout")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise InvalidParam("The query parameter timeout must be a number of milliseconds")
    # What is beyond the server's limit need not be exact.
    return int(text[:15])
