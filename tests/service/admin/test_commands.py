"""Finding a command, giving it its arguments, and what is answered."""

from __future__ import annotations

import logging

import click
import pytest

from conduit_py.matrix.ids import Malformed
from conduit_py.outbound.errors import Unreachable
from conduit_py.service.admin.commands import Answer, Call, Dispatcher, Line, parse_message
from conduit_py.service.errors import NotFound
from kvschema.errors import StorageFull
from tests.rig.admin import Console, console


@click.command("greet")
@click.argument("name")
@click.option("-l", "--loud", is_flag=True, help="Shout.")
@click.pass_obj
async def greet(call: Call, name: str, loud: bool) -> Answer:
    """Say hello to somebody.

    Somebody has a NAME.
    """
    call.report(1, 2)
    text = f"hello {name}"
    return Answer(text=text.upper() if loud else text, secret="psst")


@click.command("count-lines")
@click.pass_obj
async def count_lines(call: Call) -> Answer:
    """Count the lines of a text."""
    return Answer(text=str(len(call.require_body("The text").splitlines())))


FAILURES: dict[str, Exception] = {
    "of-services": NotFound("There is no such room"),
    "of-ids": Malformed("an id begins with @"),
    "of-others": Unreachable("two.test does not answer"),
    "of-usage": click.UsageError("These options do not go together"),
    "of-disks": StorageFull("full"),
    "of-ours": ZeroDivisionError("the secret of the division"),
}


@click.command("fail")
@click.argument("how")
async def fail(how: str) -> Answer:
    """Fail."""
    raise FAILURES[how]


@pytest.fixture
def admin() -> Console:
    return console(greet, count_lines, fail)


async def test_command_gets_its_arguments_as_in_a_shell(admin: Console) -> None:
    answer = await admin.give("greet 'Alice and Bob' -l")
    assert (answer.text, answer.secret, answer.ok) == ("HELLO ALICE AND BOB", "psst", True)
    assert admin.reported == [(1, 2)]


async def test_secret_is_in_no_repr() -> None:
    assert "psst" not in repr(Answer(text="done", secret="psst"))
    assert "psst" not in repr(Call(body="psst"))


@pytest.mark.parametrize(
    "text", ["count-lines\n```\na\nb\n```", "count-lines\n\n```yaml\na\nb\n```\n", "count-lines\na\nb"]
)
async def test_body_is_the_code_block_below_the_command(admin: Console, text: str) -> None:
    assert await admin.ask(text) == "2"


async def test_body_that_is_missing_is_asked_for(admin: Console) -> None:
    assert "The text is missing" in await admin.fail("count-lines\n   ")


async def test_indentation_in_a_code_block_stays() -> None:
    assert parse_message("greet\n```\n  a:\n    - b\n```") == Line(("greet",), "  a:\n    - b")


async def test_code_block_without_end_is_refused() -> None:
    with pytest.raises(click.UsageError, match="has no end"):
        parse_message("count-lines\n```\na")


async def test_quote_without_end_is_refused() -> None:
    with pytest.raises(click.UsageError, match="no closing quotation"):
        parse_message("greet 'Alice")


async def test_missing_argument_is_named_with_the_usage(admin: Console) -> None:
    text = await admin.fail("greet")
    assert "Missing argument 'NAME'" in text
    assert "Usage: greet [OPTIONS] NAME" in text


async def test_option_that_is_none_is_refused(admin: Console) -> None:
    assert "No such option" in await admin.fail("greet --quiet Alice")


async def test_unknown_command_is_answered_with_one_alike(admin: Console) -> None:
    assert "Did you mean count-lines?" in await admin.fail("Count_Lines")
    assert "Did you mean" not in await admin.fail("xyz")


@pytest.mark.parametrize("text", ["", "help", "--help", "-h"])
async def test_help_lists_every_command(admin: Console, text: str) -> None:
    lines = (await admin.ask(text)).splitlines()
    assert lines[:3] == [
        "Tested:",
        "  greet        Say hello to somebody.",
        "  count-lines  Count the lines of a text.",
    ]


@pytest.mark.parametrize("text", ["help greet", "greet --help", "greet -h", "greet Alice --help"])
async def test_help_of_a_command_says_how_it_is_used(
    admin: Console, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    answer = await admin.ask(text)
    assert "Usage: greet [OPTIONS] NAME" in answer
    assert "Somebody has a NAME." in answer
    assert "-l, --loud  Shout." in answer
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("of-services", "There is no such room."),
        ("of-ids", "an id begins with @."),
        ("of-others", "two.test does not answer."),
        ("of-usage", "These options do not go together."),
        ("of-disks", "The disk is full: nothing was stored."),
    ],
)
async def test_failure_is_a_sentence(admin: Console, how: str, sentence: str) -> None:
    assert await admin.fail(f"fail {how}") == sentence


async def test_mistake_of_ours_is_logged_and_told_by_its_id(
    admin: Console, expect_errors: list[logging.LogRecord]
) -> None:
    text = await admin.fail("fail of-ours")
    assert text == "The command failed. The log says why, at request id run-1."
    # A formatter that has made its text takes the traceback away.
    assert expect_errors[0].exc_info or expect_errors[0].exc_text


async def test_two_commands_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="called greet"):
        Dispatcher({"One": [greet], "Two": [greet]}, new_id=lambda: "run")
