"""The page about commands says what they say themselves."""

from __future__ import annotations

import os

from tests.rig.whole import WholeServer
from tests.service.admin.page import PAGE, render_page


async def test_page_of_commands_is_up_to_date(whole: WholeServer) -> None:
    now = render_page(whole.admin.dispatcher)
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(now)
    assert now == PAGE.read_text(), "run this test with UPDATE_GOLDEN=1 and commit the page"


async def test_every_command_says_what_it_does(whole: WholeServer) -> None:
    silent = [
        command.name
        for commands in whole.admin.dispatcher.groups.values()
        for command in commands
        if not (command.help or "").strip() or len(command.get_short_help_str(80)) < 10
    ]
    assert silent == []
