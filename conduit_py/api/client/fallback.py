"""Pages for clients that know no way to log in or register but a browser.

Spec: client-server-api/#login-fallback
"""

from __future__ import annotations

from string import Template
from typing import Final

from conduit_py.api.page import Page, require_no_rest
from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.http.routes import Routes

_ALLOWS: Final = "script-src 'unsafe-inline'; connect-src 'self'; form-action 'none'"

_CONTENT: Final = Template(
    """<form id="form">
<label>User name<input id="user" autocomplete="username" autocapitalize="none" required></label>
<label>Password<input id="password" type="password" autocomplete="$autocomplete" required></label>
$fields<button>$does</button>
</form>
<p id="said" class="wrong" role="alert"></p>
<script>
"use strict";
const value = (id) => document.getElementById(id).value;
const say = (text) => { document.getElementById("said").textContent = text; };
const given = (...names) => {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(names.filter((name) => query.has(name)).map((name) => [name, query.get(name)]));
};
const about = () => ({
  ...given("device_id", "initial_device_display_name"),
  refresh_token: new URLSearchParams(location.search).get("refresh_token") === "true",
});
const post = async (path, body) => {
  const response = await fetch("/_matrix/client/v3/" + path, { method: "POST", body: JSON.stringify(body) });
  return [response.status, await response.json()];
};
$script
document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  say("");
  submit().catch((error) => say(String(error)));
});
</script>"""
)

_LOGIN_SCRIPT: Final = """const submit = async () => {
  const [status, answer] = await post("login", {
    ...about(),
    type: "m.login.password",
    identifier: { type: "m.id.user", user: value("user") },
    password: value("password"),
  });
  if (status !== 200) { say(answer.error); return; }
  if (window.matrixLogin) { window.matrixLogin.onLogin(answer); } else { say("You are logged in."); }
};"""

_REGISTER_SCRIPT: Final = """const submit = async () => {
  const asked = {
    ...about(),
    username: value("user"),
    password: value("password"),
  };
  let [status, answer] = await post("register", asked);
  if (status === 401 && answer.session) {
    const needsToken = answer.flows.every((flow) => flow.stages.includes("m.login.registration_token"));
    const auth = needsToken
      ? { type: "m.login.registration_token", token: value("token"), session: answer.session }
      : { type: "m.login.dummy", session: answer.session };
    [status, answer] = await post("register", { ...asked, auth });
  }
  if (status !== 200) { say(answer.error); return; }
  if (window.matrixRegistration) { window.matrixRegistration.onRegistered(answer); } else { say("Welcome."); }
};"""

_LOGIN: Final = Page("Log in", allows=_ALLOWS).show(
    _CONTENT.substitute(does="Log in", autocomplete="current-password", fields="", script=_LOGIN_SCRIPT)
)
_REGISTER: Final = Page("Register", allows=_ALLOWS).show(
    _CONTENT.substitute(
        does="Register",
        autocomplete="new-password",
        fields='<label>Registration token, if you were given one<input id="token" autocomplete="off"></label>\n',
        script=_REGISTER_SCRIPT,
    )
)


def routes() -> Routes:
    """The pages, whose paths end in a slash: a rest of the path that is empty."""
    routes = Routes("fallback")

    @routes.get("/_matrix/static/client/login/<path:rest>")
    async def get_login_page(request: Request, rest: str) -> Raw:
        require_no_rest(rest)
        return _LOGIN

    @routes.get("/_matrix/static/client/register/<path:rest>")
    async def get_register_page(request: Request, rest: str) -> Raw:
        require_no_rest(rest)
        return _REGISTER

    return routes
