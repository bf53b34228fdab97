"""The page on which somebody completes a stage of an authentication that their client does not know.

Spec: client-server-api/#fallback
"""

from __future__ import annotations

import html
from string import Template
from typing import Final
from urllib.parse import parse_qs

from conduit_py.api.auth import Authenticator
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import MatrixError
from conduit_py.service.users import uia
from conduit_py.service.users.auth_pages import AuthPages
from conduit_py.service.users.uia import StageFailed

FORM_BYTES_MAX: Final = 32_768

_HEADERS: Final = {
    # The one script is in the page, and nobody may put the page into a frame to catch what is typed.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PAGE: Final = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Authentication</title>
<style>
body { font-family: sans-serif; max-width: 24em; margin: 3em auto; padding: 0 1em }
input, button { box-sizing: border-box; display: block; font-size: 1em; margin: .5em 0 1em; padding: .5em; width: 100% }
.wrong { color: #b00 }
</style>
</head>
<body>
<h1>Authentication</h1>
$content
</body>
</html>
"""
)

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
            return _refuse(error)
        return _show(_DONE) if is_completed else _ask(stage, None)

    @routes.post("/_matrix/client/v3/auth/<stage>/fallback/web")
    async def complete_stage_on_page(request: Request, stage: str) -> Raw:
        form = parse_qs((await request.get_data(bytes_max=FORM_BYTES_MAX)).decode(errors="replace"))
        given = {name: values[0] for name, values in form.items()}
        session = request.args.get("session", "")
        try:
            await pages.complete(session, stage, given, auth.client_address(request))
        except StageFailed as error:
            return _ask(stage, str(error))
        except MatrixError as error:
            return _refuse(error)
        return _show(_DONE)

    return routes


def _ask(stage: str, complaint: str | None) -> Raw:
    said = "" if complaint is None else f'<p class="wrong" role="alert">{html.escape(complaint)}</p>\n'
    form = f'{said}<form method="post">\n{_FIELDS[stage]}<button>Continue</button>\n</form>'
    return _show(form, 200 if complaint is None else 400)


def _refuse(error: MatrixError) -> Raw:
    return _show(f'<p class="wrong" role="alert">{html.escape(str(error))}</p>', error.status)


def _show(content: str, status: int = 200) -> Raw:
    page = _PAGE.substitute(content=content).encode()
    return Raw(page, content_type="text/html; charset=utf-8", headers=_HEADERS, status=status)
