"""Somebody who gives commands to a server, without a room or a socket between."""

from __future__ import annotations

import itertools

import click

from conduit_py.matrix.ids import UserId
from conduit_py.service.admin.commands import Answer, Call, Dispatcher, parse_message


class Console:
    """An administrator's. ``is_private`` is what the command line is, and the Admin Room is not."""

    def __init__(self, dispatcher: Dispatcher, *, caller: UserId | None = None, is_private: bool = True) -> None:
        self.dispatcher = dispatcher
        self.caller, self.is_private = caller, is_private
        self.reported: list[tuple[int, int]] = []
        """How far commands said that they were."""

    async def give(self, text: str) -> Answer:
        """A command, with a code block below it where it needs one."""
        line = parse_message(text)
        call = Call(
            caller=self.caller,
            is_private=self.is_private,
            body=line.body,
            report=lambda done, total: self.reported.append((done, total)),
        )
        return await self.dispatcher.run(line.words, call)

    async def ask(self, text: str) -> str:
        """What a command answers that has to succeed."""
        answer = await self.give(text)
        assert answer.ok, answer.text
        return answer.text

    async def fail(self, text: str) -> str:
        """Why a command is refused that has to be."""
        answer = await self.give(text)
        assert not answer.ok, answer.text
        assert answer.secret is None
        return answer.text


def console(*commands: click.Command) -> Console:
    """One that knows these commands."""
    runs = itertools.count(1)
    return Console(Dispatcher({"Tested": commands}, new_id=lambda: f"run-{next(runs)}"))
