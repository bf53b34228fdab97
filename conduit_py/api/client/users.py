"""``POST /_matrix/client/v3/user_directory/search``

Spec: client-server-api/#post_matrixclientv3user_directorysearch
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import get_field, require_field
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.user_directory import UserDirectory


def routes(auth: Authenticator, directory: UserDirectory) -> Routes:
    """The operations of this module."""
    routes = Routes("users")

    @routes.post("/_matrix/client/v3/user_directory/search")
    async def search_user_directory(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        found = directory.search(requester, require_field(body, "search_term", str), get_field(body, "limit", int))
        return {"results": found.results, "limited": found.is_limited}

    return routes
