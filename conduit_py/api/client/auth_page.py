"""The page on which somebody completes a stage of an authentication that their client does not know.

Spec: client-server-api/#fallback
"""

from __future__ import annotations

from typing import Final

from conduit_py.api.auth import Authenticator
from conduit_py.api.page import Page, read_form
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import MatrixError
from conduit_py.service.users import uia
from conduit_py.service.users.auth_pages import AuthPages
from conduit_py.service.users.uia import StageFailed

_PAGE: Final = Page("Authentication", allows="script-src 'unsafe-inline'; form-action 'self'")

_FIELDS: Final = {
    uia.PASSWORD: '<label>Password<input name="password" type="password" autocomplete="current-password" required>'
    "</label>\n",
    uia.REGISTRATION_TOKEN: '<label>Registration token<input name="token" autocomplete="off" required></label>\n',
    uia.DUMMY: "",
}

_DONE: Final = """<p>Done. You can go back to your client.</p>
<script>
if (window.onAuthDone) {
  window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
  window.opener.postMessage("authDone", "*");
}
</script>"""


def routes(auth: Authenticator, pages: AuthPages) -> Routes:
    """The page, and the form on it, whose address holds the session."""
    routes = Routes("auth_page")

    @routes.get("/_matrix/client/v3/auth/<stage>/fallback/web")
    async def get_auth_page(request: Request, stage: str) -> Raw:
        try:
            is_completed = pages.is_completed(request.args.get("session", ""), stage)
        except MatrixError as error:
            return _PAGE.refuse(error)
        return _PAGE.show(_DONE) if is_completed else _ask(stage, None)

    @routes.post("/_matrix/client/v3/auth/<stage>/fallback/web")
    async def complete_stage_on_page(request: Request, stage: str) -> Raw:
        given = await read_form(request)
        session = request.args.get("session", "")
        try:
            await pages.complete(session, stage, given, auth.client_address(request))
        except StageFailed as error:
            return _ask(stage, str(error))
        except MatrixError as error:
            return _PAGE.refuse(error)
        return _PAGE.show(_DONE)

    return routes


def _ask(stage: str, complaint: str | None) -> Raw:
    return _PAGE.ask(f'<form method="post">\n{_FIELDS[stage]}<button>Continue</button>\n</form>', complaint)
