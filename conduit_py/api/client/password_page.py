"""The page on which somebody chooses a password, led there by a link from an administrator.

It works without scripts.
"""

from __future__ import annotations

import html
from string import Template
from typing import Final

from conduit_py.api.auth import Authenticator
from conduit_py.api.page import Page, read_form, require_no_rest
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes
from conduit_py.service.errors import MatrixError
from conduit_py.service.users.password_links import PasswordLinks

_PAGE: Final = Page("Choose a password", allows="form-action 'self'")

_FORM: Final = Template(
    """<p>for the account <b>$user_id</b></p>
<form method="post">
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
        require_no_rest(rest)
        return _ask(links, request.args.get("token", ""), auth.client_address(request), None)

    @routes.post("/_matrix/static/client/password/<path:rest>")
    async def set_password_on_page(request: Request, rest: str) -> Raw:
        require_no_rest(rest)
        form = await read_form(request)
        token, password, again = (form.get(name, "") for name in ("token", "password", "again"))
        address = auth.client_address(request)
        if password != again:
            return _ask(links, token, address, "You typed two different passwords.")
        try:
            user_id = await links.use(token, password, address)
        except MatrixError as error:
            return (
                _ask(links, token, address, str(error)) if error.errcode == "M_WEAK_PASSWORD" else _PAGE.refuse(error)
            )
        done = f"<p>Done. You can log in as <b>{html.escape(user_id)}</b> with it now.</p>"
        return _PAGE.show(done)

    return routes


def _ask(links: PasswordLinks, token: str, address: str, complaint: str | None) -> Raw:
    try:
        user_id = links.get_user_id(token, address)
    except MatrixError as error:
        return _PAGE.refuse(error)
    return _PAGE.ask(_FORM.substitute(user_id=html.escape(user_id), token=html.escape(token)), complaint)
