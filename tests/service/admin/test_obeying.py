"""Commands that are written in the Admin Room."""

from __future__ import annotations

import logging

import click
import pytest
import trio
from trio.testing import MockClock

from conduit_py.data import admin
from conduit_py.service.admin.commands import Answer, Dispatcher, SecretArgument
from conduit_py.service.admin.obeying import INTERRUPTED, LONG, NOT_ADMIN, PATIENCE_S
from tests.rig.admin import Chat, Json, enter
from tests.rig.server import Server
from tests.rig.whole import WholeServer, open_whole


def count_waiting(whole: Server) -> int:
    with whole.store.snapshot() as snapshot:
        return admin.count_commands(snapshot)


@pytest.mark.parametrize("address", ["@conduit:one.test: ", "conduit: ", "!admin ", ""])
async def test_command_is_answered_with_a_notice_in_reply(whole: WholeServer, alice: Chat, address: str) -> None:
    event_id = await alice.say(f"{address}list-local-users")
    answer = await alice.hear(event_id)
    assert answer["msgtype"] == "m.notice"
    assert answer["body"] == "Found 1 local user account(s):\n@alice:one.test (administrator)"
    assert answer["formatted_body"].startswith("<pre><code>Found 1")
    assert count_waiting(whole) == 0


async def test_talk_is_not_answered(whole: WholeServer, alice: Chat) -> None:
    for body in ("good morning", "well-known is not set up", "verify it please", "help me"):
        await alice.say(body)
    await alice.ask("!admin help")
    assert sum(event["sender"] == "@conduit:one.test" for event in await timeline_of(alice)) == 2
    assert count_waiting(whole) == 0


async def timeline_of(chat: Chat) -> list[Json]:
    return [event for event in await chat.read_all() if event["type"] == "m.room.message"]


async def test_unknown_command_is_answered(alice: Chat) -> None:
    assert "Did you mean list-local-users?" in await alice.ask("!admin list-users")


async def test_message_to_nobody_is_answered_with_help(alice: Chat) -> None:
    assert "list-local-users" in await alice.ask("@conduit:one.test:")


async def test_quote_without_end_is_answered(alice: Chat) -> None:
    assert "cannot be read" in await alice.ask("!admin greet 'x")


async def test_edit_of_a_command_is_not_obeyed(whole: WholeServer, alice: Chat) -> None:
    event_id = await alice.say("hm")
    new = {"msgtype": "m.text", "body": "!admin list-local-users"}
    await alice.say("!admin list-local-users", **{
        "m.new_content": new, "m.relates_to": {"rel_type": "m.replace", "event_id": event_id}
    })  # fmt: skip
    assert count_waiting(whole) == 0


async def test_member_who_is_no_administrator_is_refused(whole: WholeServer, alice: Chat) -> None:
    bob = await whole.register("bob")
    await whole.change_account(bob, is_admin=True)
    await whole.admin.room.settle()
    await whole.change_account(bob, is_admin=False)
    chat = await enter(bob)
    assert await chat.ask("!admin list-local-users") == NOT_ADMIN


async def test_too_many_commands_are_refused(whole: WholeServer, alice: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conduit_py.service.admin.queue.COMMANDS_WAITING_MAX", 0)
    async with whole.leaves_no_trace():
        sent = await alice.send({"msgtype": "m.text", "body": "!admin help"})
        assert sent.outcome == (429, "M_LIMIT_EXCEEDED")
    assert (await alice.send({"msgtype": "m.text", "body": "hello"})).status == 200


class Work:
    """A command that takes as long as the test wants, and one that fails."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = trio.Event()

    def commands(self) -> tuple[click.Command, ...]:
        @click.command("work-hard")
        @click.argument("name")
        async def work_hard(name: str) -> Answer:
            self.begun.append(name)
            await self.may_end.wait()
            return Answer(text=f"{name} is done")

        @click.command("fail-badly")
        async def fail_badly() -> Answer:
            raise ZeroDivisionError("the secret of the division")

        @click.command("set-secret")
        @click.argument("name")
        @click.argument("password", required=False, cls=SecretArgument)
        async def set_secret(name: str, password: str | None) -> Answer:
            return Answer(text=f"{name} has one", secret=password)

        return work_hard, fail_badly, set_secret


@pytest.fixture
def work() -> Work:
    return Work()


def use(whole: WholeServer, work: Work) -> None:
    whole.admin.obeying.dispatcher = Dispatcher({"Work": work.commands()}, new_id=lambda: "run-1")


async def test_failure_is_told_by_its_id(
    whole: WholeServer, alice: Chat, work: Work, expect_errors: list[logging.LogRecord]
) -> None:
    use(whole, work)
    assert await alice.ask("fail-badly") == "The command failed. The log says why, at request id run-1."


async def test_commands_are_begun_one_after_the_other(whole: WholeServer, alice: Chat, work: Work) -> None:
    use(whole, work)
    sent = [await alice.say(f"work-hard {name}") for name in "ab"]
    await trio.testing.wait_all_tasks_blocked()
    assert work.begun == ["a"]
    work.may_end.set()
    assert [(await alice.hear(event_id))["body"] for event_id in sent] == ["a is done", "b is done"]
    assert work.begun == ["a", "b"]


async def test_long_command_does_not_keep_others_waiting(
    whole: WholeServer, alice: Chat, work: Work, mock_clock: MockClock
) -> None:
    use(whole, work)
    event_id = await alice.say("work-hard a")
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(PATIENCE_S + 1)
    assert (await alice.hear(event_id))["body"] == LONG
    assert "work-hard" in await alice.ask("help")
    work.may_end.set()
    await trio.testing.wait_all_tasks_blocked()
    answers = [event["content"]["body"] for event in await timeline_of(alice)]
    assert answers[-1] == "a is done"
    assert count_waiting(whole) == 0


async def test_password_in_a_command_is_removed(whole: WholeServer, alice: Chat, work: Work) -> None:
    use(whole, work)
    answer = await alice.ask("set-secret bob hunter2")
    assert answer.startswith("Your message had a password")
    assert answer.endswith("bob has one")
    assert "hunter2" not in str(await alice.read_all())
    assert "hunter2" not in str(whole.dump())
    assert await alice.ask("set-secret carol") == "carol has one"


async def test_password_in_a_command_that_makes_no_sense_is_removed(
    whole: WholeServer, alice: Chat, work: Work
) -> None:
    use(whole, work)
    await alice.ask("set-secret bob correct horse battery staple")
    assert "staple" not in str(await alice.read_all())


async def test_command_that_a_restart_interrupts_is_not_begun_again(server: Server, work: Work) -> None:
    async with open_whole(server) as whole:
        await whole.admin.prepare()
        use(whole, work)
        alice = await enter(await whole.register("alice"))
        sent = [await alice.say(f"!admin work-hard {name}") for name in "ab"]
        await trio.testing.wait_all_tasks_blocked()
        assert count_waiting(whole) == 2
    async with open_whole(server) as whole:
        await whole.admin.prepare()
        alice.client.move(whole.client())
        assert (await alice.hear(sent[0]))["body"] == INTERRUPTED
        assert "There is no command work-hard" in (await alice.hear(sent[1]))["body"]
        assert work.begun == ["a"]
        assert count_waiting(whole) == 0
