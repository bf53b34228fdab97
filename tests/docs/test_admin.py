"""What the pages tell administrators to type are commands that there are, with the arguments that they take."""

from __future__ import annotations

import shlex

import click
import pytest

from conduit_py.server import build
from tests.docs.pages import Block, load_pages
from tests.rig.server import Server, load_test_config

BLOCKS = [block for page in load_pages() for block in page.blocks() if block.word == "admin"]


@pytest.fixture
async def commands(server: Server) -> dict[str, click.Command]:
    built = await build(load_test_config(), server.store, hash_limiter=None)
    return {command.name or "": command for group in built.admin.dispatcher.groups.values() for command in group}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
async def test_commands_are_there(block: Block, commands: dict[str, click.Command]) -> None:
    lines, _, _ = block.text.partition("```")
    for line in lines.splitlines():
        name, *arguments = shlex.split(line)
        commands[name].make_context(name, arguments, resilient_parsing=False)


def test_there_are_such_pages() -> None:
    assert BLOCKS


async def test_command_that_is_not_there_is_found(commands: dict[str, click.Command]) -> None:
    with pytest.raises(click.UsageError):
        commands["list-reports"].make_context("list-reports", ["--loudly"])
