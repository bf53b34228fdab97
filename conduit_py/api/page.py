"""Pages that people see in a browser, for what their client has no window of its own for.

They are served below ``/_matrix``, which is what reaches the server everywhere.
"""

from __future__ import annotations

import html
from string import Template
from typing import Final
from urllib.parse import parse_qs

from conduit_py.http.reply import Raw
from conduit_py.http.request import Request
from conduit_py.service.errors import MatrixError, Unrecognized

FORM_BYTES_MAX: Final = 32_768

_PAGE: Final = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font-family: sans-serif; max-width: 24em; margin: 3em auto; padding: 0 1em }
input, button { box-sizing: border-box; display: block; font-size: 1em; margin: .5em 0 1em; padding: .5em; width: 100% }
.wrong { color: #b00 }
</style>
</head>
<body>
<h1>$title</h1>
$content
</body>
</html>
"""
)


class Page:
    """One page, whatever is on it.

    :param allows: of the content security policy: what it does beside being shown. Nobody may put it into a frame to
        catch what is typed, and its address, which may have a token in it, is told to nobody.
    """

    def __init__(self, title: str, *, allows: str) -> None:
        self._title = title
        policy = f"default-src 'none'; style-src 'unsafe-inline'; {allows}; frame-ancestors 'none'; base-uri 'none'"
        self._headers = {
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    def show(self, content: str, status: int = 200) -> Raw:
        """``content`` is HTML."""
        page = _PAGE.substitute(title=self._title, content=content).encode()
        return Raw(page, content_type="text/html; charset=utf-8", headers=self._headers, status=status)

    def ask(self, form: str, complaint: str | None) -> Raw:
        """A form, with what was wrong about how it was filled in before."""
        return self.show(form) if complaint is None else self.show(_complain(complaint) + form, 400)

    def refuse(self, error: MatrixError) -> Raw:
        """What went wrong, in the words of the error."""
        return self.show(_complain(str(error)), error.status)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that was sent; of those given twice the first. Raises ``TooLarge``."""
    fields = parse_qs((await request.get_data(bytes_max=FORM_BYTES_MAX)).decode(errors="replace"))
    return {name: values[0] for name, values in fields.items()}


def require_no_rest(rest: str) -> None:
    """Of a page whose path ends in a slash: what follows that is empty. Raises ``Unrecognized``."""
    if rest:
        raise Unrecognized("There is no such page")


def _complain(complaint: str) -> str:
    return f'<p class="wrong" role="alert">{html.escape(complaint)}</p>\n'
