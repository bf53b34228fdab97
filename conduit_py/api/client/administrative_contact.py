"""``/_matrix/client/v3/account/3pid``

Spec: client-server-api/#adding-account-administrative-contact-information
"""

from __future__ import annotations

from conduit_py.api.auth import Authenticator
from conduit_py.api.fields import require_field
from conduit_py.api.validation_request import read_email, read_phone_number
from conduit_py.http.reply import Json
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.requester import Requester
from conduit_py.service.users.contacts import ContactService


def routes(auth: Authenticator, contacts: ContactService) -> Routes:
    """The operations of this module."""
    routes = Routes("administrative_contact")

    async def remove(request: Request, requester: Requester) -> Json:
        body = await request.json_object()
        medium, address = require_field(body, "medium", str), require_field(body, "address", str)
        return {"id_server_unbind_result": contacts.remove(requester, medium, address)}

    @routes.get("/_matrix/client/v3/account/3pid")
    async def get_account_3pids(request: Request) -> Json:
        return {"threepids": contacts.get_contacts(auth.require_user(request))}

    @routes.post("/_matrix/client/v3/account/3pid")
    async def post_3pids(request: Request) -> Json:
        requester = auth.require_user(request)
        require_field(await request.json_object(), "three_pid_creds", dict)
        contacts.add(requester)
        return {}

    @routes.post("/_matrix/client/v3/account/3pid/add")
    async def add_3pid(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        require_field(body, "client_secret", str)
        require_field(body, "sid", str)
        contacts.add(requester)
        return {}

    @routes.post("/_matrix/client/v3/account/3pid/bind")
    async def bind_3pid(request: Request) -> Json:
        requester = auth.require_user(request)
        body = await request.json_object()
        for name in ("client_secret", "id_server", "id_access_token", "sid"):
            require_field(body, name, str)
        contacts.bind(requester)
        return {}

    @routes.post("/_matrix/client/v3/account/3pid/delete")
    async def delete_3pid_from_account(request: Request) -> Json:
        return await remove(request, auth.require_user(request))

    @routes.post("/_matrix/client/v3/account/3pid/unbind")
    async def unbind_3pid_from_account(request: Request) -> Json:
        return await remove(request, auth.require_user(request))

    @routes.post("/_matrix/client/v3/account/3pid/email/requestToken")
    async def request_token_to_3pid_email(request: Request) -> Json:
        read_email(await request.json_object())
        contacts.validate_new("email")
        return {}

    @routes.post("/_matrix/client/v3/account/3pid/msisdn/requestToken")
    async def request_token_to_3pid_msisdn(request: Request) -> Json:
        read_phone_number(await request.json_object())
        contacts.validate_new("msisdn")
        return {}

    return routes
