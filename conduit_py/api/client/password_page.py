"""The page on which somebody chooses a password, led there by a link from an administrator.

It works without scripts. It is served below ``/_matrix``, which is what reaches the server everywhere.
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
from conduit_py.service.errors import MatrixError, Unrecognized
from conduit_py.service.users.password_links import PasswordLinks

FORM_BYTES_MAX: Final = 32_768

_HEADERS: Final = {
    # Nothing but the form: no scripts, no frames, and the address, which has the token in it, is told to nobody.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
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
<title>Choose a password</title>
<style>
body { font-family: sans-serif; max-width: 24em; margin: 3em auto; padding: 0 1em }
input, button { box-sizing: border-box; display: block; font-size: 1em; margin: .5em 0 1em; padding: .5em; width: 100% }
.wrong { color: #b00 }
</style>
</head>
<body>
<h1>Choose a password</h1>
$content
</body>
</html>
"""
)

_FORM: Final = Template(
    """<p>for the account <b>$user_id</b></p>
$said<form method="post">
<input type="hidden" name="token" value="$token">
<input type="hidden" autocomplete="username" value="$user_id">
<label>New password<input name="password" type="password" autocomplete="new-password" required></label>
<label>The same again<input name="again" type="password" autocomplete="new-password" required></label>
<button>Set the password</button>
</form>"""
)


def routes(auth: Authenticator, links: PasswordLinks) -> Routes:
    """The page, whose path ends in a slash: a rest of the path that is empty."""
    routes = Routes("password_page")

    @routes.get("/_matrix/static/client/password/<path:rest>")
    async def get_password_page(request: Request, rest: str) -> Raw:
        _require_no_rest(rest)
        return _ask(links, request.args.get("token", ""), auth.client_address(request), None)

    @routes.post("/_matrix/static/client/password/<path:rest>")
    async def set_password_on_page(request: Request, rest: str) -> Raw:
        _require_no_rest(rest)
        form = parse_qs((await request.get_data(bytes_max=FORM_BYTES_MAX)).decode(errors="replace"))
        token, password, again = (form.get(name, [""])[0] for name in ("token", "password", "again"))
        address = auth.client_address(request)
        if password != again:
            return _ask(links, token, address, "You typed two different passwords.")
        try:
            user_id = await links.use(token, password, address)
        except MatrixError as error:
            return _ask(links, token, address, str(error)) if error.errcode == "M_WEAK_PASSWORD" else _refuse(error)
        done = f"<p>Done. You can log in as <b>{html.escape(user_id)}</b> with it now.</p>"
        return _show(done, 200)

    return routes


def _ask(links: PasswordLinks, token: str, address: str, complaint: str | None) -> Raw:
    try:
        user_id = links.get_user_id(token, address)
    except MatrixError as error:
        return _refuse(error)
    said = "" if complaint is None else f'<p class="wrong" role="alert">{html.escape(complaint)}</p>\n'
    form = _FORM.substitute(user_id=html.escape(user_id), token=html.escape(token), said=said)
    return _show(form, 200 if complaint is None else 400)


def _refuse(error: MatrixError) -> Raw:
    return _show(f'<p class="wrong" role="alert">{html.escape(str(error))}</p>', error.status)


def _show(content: str, status: int) -> Raw:
    page = _PAGE.substitute(content=content).encode()
    return Raw(page, content_type="text/html; charset=utf-8", headers=_HEADERS, status=status)


def _require_no_rest(rest: str) -> None:
    if rest:
        raise Unrecognized("There is no such page")
