"""``docs/admin.md``: how the server is steered, and every command with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from conduit_py.service.admin.commands import Dispatcher, get_help

PAGE: Final = Path(__file__).parents[3] / "docs" / "admin.md"

_HEAD: Final = """\
# Steering the server

<!-- Made from the commands themselves: UPDATE_GOLDEN=1 python -m pytest tests/service/admin/test_page.py -->

The server is steered with commands. They are given in the Admin Room or on the command line, and are the same in both.

## The Admin Room

`#admins:your.server` is a room that the server makes by itself at its first start. Its owner is the server's own
account, `@conduit:your.server`. The first account on the server is an administrator, and finds the room in its list of
chats. Whoever becomes an administrator later (`make-admin`) joins it too, and who ceases to be one (`remove-admin`)
leaves it. Nobody else can get in: it is invite-only and exists on this server only. It is not encrypted and cannot be,
because the server has to read what is written in it.

Being in the room gives no power. A command is obeyed if its sender is an administrator when its turn comes.

Write a command in one of these ways:

- `!admin list-local-users`
- `@conduit:your.server: list-local-users`; clients that put the name `conduit` in its place are understood
- `list-local-users` alone, for commands with a hyphen in their name, and for `help`

What belongs to a command as a text, such as the registration of a bridge, stands below it in a code block: between two
lines with three backticks.

Commands are done one after the other. One that takes longer than 20 seconds goes on beside the next. If the server is
restarted while it does a command, it says so afterwards and does not begin again by itself.

No password is ever shown in the room. `create-user` and `reset-password` answer with a link there, with which the user
chooses a password; it is good for a day and can be used once. If you write a password into a command, the server
removes your message from the room; do not count on that.

## The command line

`conduit_py admin` gives the same commands to the server that runs with this configuration, through a socket in its data
directory, `admin.sock`, which only the server's user and root may open. Where no server runs, it does them itself. The
socket is no data: a copy of the directory needs none, and tools that cannot copy sockets may skip it.

```sh by-hand: needs a server with its accounts
conduit_py admin list-local-users
conduit_py admin "deactivate-user --purge-media spammer"
conduit_py admin register-appservice < irc-registration.yaml
```

Two commands are there under their own name as well, because they are what one needs when nobody can log in:

```sh by-hand: needs a server with its accounts
conduit_py create-user --admin alice
conduit_py reset-password alice
```

Both show the password once. With `--password-stdin` they take one from standard input instead.

If every administrator's account is lost and the command line is out of reach too, set `emergency_password` in the
configuration and restart: with it one can log in as `@conduit:your.server`, which is an administrator as long as the
key is set. Take it out again when you are done; the next start closes what it opened.

## Closing registration

`allow-registration false` closes registration at once, and keeps it closed over restarts whatever the configuration
says, until `allow-registration true`. That opens it only until the next restart unless `allow_registration = true`
stands in the configuration, so that nobody forgets an open door. Registration tokens made with
`create-registration-token` work while registration is closed.

# Commands
"""


def render_page(dispatcher: Dispatcher) -> str:
    parts = [_HEAD]
    for title, commands in dispatcher.groups.items():
        parts.append(f"\n## {title}\n")
        parts += [f"\n### {command.name}\n\n```text\n{get_help(command).strip()}\n```\n" for command in commands]
    return "".join(parts)
