"""How a command is found, given its arguments, run and answered.

Commands are ``click`` commands, whose help and usage errors people know. Click calls the callback with the arguments
that it has checked; the callback is a coroutine function, so what comes back is awaited here::

    def build_greeting_commands(greeter: Greeter) -> tuple[click.Command, ...]:
        @click.command("greet")
        @click.argument("name")
        @click.pass_obj
        async def greet(call: Call, name: str) -> Answer:
            \"""Say hello to somebody.\"""
            return Answer(text=await greeter.greet(name))

        return (greet,)

What goes wrong because of what was asked for is raised: ``click.UsageError`` (also from within the coroutine) or an
error of the services, which becomes an answer that is not ``ok``. Anything else is our mistake: it is logged, and the
administrator is told under which id.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import click

from conduit_py.log import get_logger, request_id
from conduit_py.matrix.ids import Malformed, UserId
from conduit_py.outbound.errors import RemoteError
from conduit_py.service.errors import MatrixError
from kvschema.errors import StorageFull

_log = get_logger(__name__)

HELP_WIDTH: Final = 80
_HELP_OPTIONS: Final = frozenset({"-h", "--help"})
_FENCE: Final = "```"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A medium that an answer shows."""

    uri: str
    """``mxc://...``"""
    content_type: str
    filename: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command has to say."""

    text: str
    is_table: bool = False
    """The text is laid out in columns, or is code: it is shown as it stands, in letters of one width."""
    secret: str | None = field(default=None, repr=False)
    """Shown on the command line only, such as a new password. A command that has one checks ``Call.is_private``."""
    attachment: Attachment | None = None
    """Shown in the room, below the text."""
    ok: bool = True
    wants_body: bool = False
    """Given again with a body, the command may do more."""


class BodyMissing(click.UsageError):
    """The command needs a body, and none came with it."""


def report_nothing(done: int, total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One command being given. Commands take it with ``@click.pass_obj``."""

    caller: UserId | None = None
    """The administrator who asks; None for the command line, which belongs to who runs the server."""
    is_private: bool = False
    """Nobody but the caller ever reads the answer, so that it may have a secret."""
    body: str | None = field(default=None, repr=False)
    """What came with the command: the code block below it, or the command line's standard input."""
    report: Callable[[int, int], None] = report_nothing
    """Tell whoever waits how far long work is: what is done, of how much."""

    def require_body(self, what: str) -> str:
        """The body. Raises ``click.UsageError`` where none came; ``what`` names it: "the registration in YAML"."""
        if self.body is None or not self.body.strip():
            raise BodyMissing(f"{what} is missing: give it in a code block below the command")
        return self.body


@dataclass(frozen=True, slots=True)
class Line:
    """A command as it was written."""

    words: tuple[str, ...]
    body: str | None = field(default=None, repr=False)


def parse_message(text: str) -> Line:
    """A message in a room: the command in its first line, what belongs to it in a code block below.

    What stands below without the fence of a code block is taken as it is. Raises ``click.UsageError``.
    """
    first, _, rest = text.strip().partition("\n")
    return Line(split(first), _unfence(rest) if rest.strip() else None)


def split(text: str) -> tuple[str, ...]:
    """The words of a command, with quotes as in a shell. Raises ``click.UsageError``."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise click.UsageError(f"The command cannot be read: {str(error).lower()}") from None


def _unfence(text: str) -> str:
    lines = text.strip("\n").splitlines()
    fences = [index for index, line in enumerate(lines) if line.strip().startswith(_FENCE)]
    if not fences:
        return text
    if len(fences) == 1:
        raise click.UsageError(f"The code block has no end: it wants a last line with {_FENCE}")
    return "\n".join(lines[fences[0] + 1 : fences[1]])


class SecretArgument(click.Argument):
    """A password, which must stand in no room: the message with it is removed."""


class SecretBodyCommand(click.Command):
    """What comes with it has secrets, which must stand in no room either."""


class Dispatcher:
    """One per server.

    :param groups: the commands, by the title that the help lists them under.
    :param new_id: names a run in the log, and to the administrator if it fails.
    """

    def __init__(self, groups: Mapping[str, Sequence[click.Command]], *, new_id: Callable[[], str]) -> None:
        self.groups = {title: tuple(commands) for title, commands in groups.items()}
        self._commands: dict[str, click.Command] = {}
        self._new_id = new_id
        for command in (command for commands in self.groups.values() for command in commands):
            if command.name is None or command.name in self._commands:
                raise ValueError(f"two commands, or none, are called {command.name}")
            self._commands[command.name] = command

    def __contains__(self, name: str) -> bool:
        return name in self._commands or name == "help"

    def exposes_secret(self, words: Sequence[str], *, has_body: bool) -> bool:
        """Does a command tell a secret to everybody who reads it? Maybe, if it makes no sense."""
        command = self._commands.get(words[0]) if words else None
        if isinstance(command, SecretBodyCommand) and has_body:
            return True
        secrets = () if command is None else [it.name for it in command.params if isinstance(it, SecretArgument)]
        if command is None or not secrets:
            return False
        try:
            with _context(command, list(words[1:]), Call()) as context:
                given = context.params
        except click.ClickException:
            return len(words) > 1
        return any(given.get(name or "") for name in secrets)

    async def run(self, words: Sequence[str], call: Call) -> Answer:
        """Do what the words of a command say. Everything that goes wrong becomes an answer."""
        run_id = self._new_id()
        with request_id(run_id):
            try:
                return await self._run(words, call)
            except click.ClickException as error:
                # What does not fit is named, and may be a part of a password.
                says_nothing = not call.is_private and self.exposes_secret(words, has_body=False)
                text = _complaint(error, says_nothing=says_nothing)
                return Answer(text=text, ok=False, wants_body=isinstance(error, BodyMissing))
            except (MatrixError, Malformed, RemoteError) as error:
                return Answer(text=_sentence(str(error)), ok=False)
            except StorageFull:
                return Answer(text="The disk is full: nothing was stored.", ok=False)
            except Exception:
                _log.exception("an administrator's command failed", command=words[0] if words else "")
                return Answer(text=f"The command failed. The log says why, at request id {run_id}.", ok=False)

    async def _run(self, words: Sequence[str], call: Call) -> Answer:
        if not words or words[0] in _HELP_OPTIONS or (words[0] == "help" and len(words) == 1):
            return Answer(text=self.list_commands(), is_table=True)
        name, rest = words[0], list(words[1:])
        if name == "help":
            name, rest = rest[0], ["--help"]
        command = self._commands.get(name)
        if command is None:
            raise click.UsageError(self._unknown(name))
        if not _HELP_OPTIONS.isdisjoint(rest[: rest.index("--")] if "--" in rest else rest):
            return Answer(text=get_help(command), is_table=True)
        _log.info("an administrator gives a command", command=name, caller=call.caller or "command line")
        with _context(command, rest, call) as context:
            work: Any = command.invoke(context)
        answer = await work
        assert isinstance(answer, Answer), f"{name} answers {answer!r}"
        return answer

    def list_commands(self) -> str:
        """What can be said, a line for each."""
        width = max(map(len, self._commands), default=0)
        parts = []
        for title, commands in self.groups.items():
            lines = (f"  {command.name:{width}}  {command.get_short_help_str(HELP_WIDTH)}" for command in commands)
            parts.append("\n".join([f"{title}:", *lines]))
        parts.append("help COMMAND tells more about one.")
        return "\n\n".join(parts)

    def _unknown(self, name: str) -> str:
        alike = difflib.get_close_matches(name, self._commands, n=1) or difflib.get_close_matches(
            name.replace("_", "-").lower(), self._commands, n=1
        )
        hint = f" Did you mean {alike[0]}?" if alike else ""
        return f"There is no command {name}.{hint} help lists them all."


def get_help(command: click.Command) -> str:
    """The usage of a command, what it does, and its options."""
    context = click.Context(command, info_name=command.name, **_SETTINGS)
    return command.get_help(context)


_SETTINGS: Final[dict[str, Any]] = {
    # Click's own help option prints to the standard output of the server.
    "help_option_names": [],
    "terminal_width": HELP_WIDTH,
    "color": False,
}


def _context(command: click.Command, words: list[str], call: Call) -> click.Context:
    return command.make_context(command.name, words, obj=call, **_SETTINGS)


def _complaint(error: click.ClickException, *, says_nothing: bool) -> str:
    message = "These are not the arguments that it takes" if says_nothing else error.format_message()
    usage = "" if not isinstance(error, click.UsageError) or error.ctx is None else f"\n{error.ctx.get_usage()}"
    return f"{_sentence(message)}{usage}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
