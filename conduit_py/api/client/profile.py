"""``/_matrix/client/v3/profile/{userId}``

Spec: client-server-api/#profiles
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.users.profile import ProfileService
from conduit_py.service.users.profile_reads import ProfileReads


def routes(auth: Authenticator, profiles: ProfileService, reads: ProfileReads) -> Routes:
    """The operations of this module. Profiles can be read without logging in."""
    routes = Routes("profile")

    @routes.get("/_matrix/client/v3/profile/<user_id>")
    async def get_user_profile(request: Request, user_id: str) -> Json:
        return await reads.get_profile(user_id)

    @routes.get("/_matrix/client/v3/profile/<user_id>/<key_name>")
    async def get_profile_field(request: Request, user_id: str, key_name: str) -> Json:
        return {key_name: await reads.get_field(user_id, key_name)}

    @routes.put("/_matrix/client/v3/profile/<user_id>/<key_name>")
    async def set_profile_field(request: Request, user_id: str, key_name: str) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        await profiles.set_field(requester, user_id, key_name, await request.json_object())
        return {}

    @routes.delete("/_matrix/client/v3/profile/<user_id>/<key_name>")
    async def delete_profile_field(request: Request, user_id: str, key_name: str) -> Json:
        requester = auth.require_user(request, may_be_guest=True)
        await profiles.delete_field(requester, user_id, key_name)
        return {}

    return routes
