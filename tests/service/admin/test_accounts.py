"""The commands about accounts, administrators and devices."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from conduit_py.matrix.ids import UserId
from conduit_py.service.admin.accounts import PASSWORD_CHARS
from tests.rig.admin import Chat, Console
from tests.rig.client import Client, path
from tests.rig.images import plain
from tests.rig.media import upload
from tests.rig.server import PASSWORD
from tests.rig.whole import WholeServer


@pytest.fixture
def cli(whole: WholeServer, alice: Chat) -> Console:
    """The command line. There is an administrator, alice."""
    return Console(whole.admin.dispatcher)


@pytest.fixture
def in_room(whole: WholeServer, alice: Chat) -> Console:
    """Commands as alice gives them in the Admin Room."""
    return Console(whole.admin.dispatcher, caller=UserId(alice.client.user_id), is_private=False)


async def can_log_in(whole: WholeServer, name: str, password: str) -> bool:
    body = {"type": "m.login.password", "user": name, "password": password}
    return (await whole.client().post("/login", body)).status == 200


async def test_list_local_users_says_who_is_what(whole: WholeServer, cli: Console) -> None:
    bob, carol = await whole.register("bob"), await whole.register("carol")
    await whole.change_account(bob, is_locked=True, is_suspended=True)
    await whole.change_account(carol, is_deactivated=True)
    assert await cli.ask("list-local-users") == "\n".join(
        ["Found 2 local user account(s):", "@alice:one.test (administrator)", "@bob:one.test (locked, suspended)"]
    )


async def test_create_user_on_the_command_line_shows_a_password_once(whole: WholeServer, cli: Console) -> None:
    answer = await cli.give("create-user Bob")
    assert answer.text == "Made the account @bob:one.test."
    assert answer.secret is not None
    assert len(answer.secret) == PASSWORD_CHARS
    assert await can_log_in(whole, "bob", answer.secret)


async def test_create_user_takes_a_password(whole: WholeServer, cli: Console) -> None:
    answer = await cli.give("create-user @bob:one.test 'correct horse'")
    assert (answer.ok, answer.secret) == (True, None)
    assert await can_log_in(whole, "bob", "correct horse")


async def test_create_user_makes_administrators_who_are_in_the_room(
    whole: WholeServer, cli: Console, alice: Chat
) -> None:
    answer = await cli.give("create-user bob --admin")
    bob = Client(whole._app)
    body = {"type": "m.login.password", "user": "bob", "password": answer.secret}
    bob.use_session((await bob.post("/login", body)).json)
    assert list((await bob.get("/sync")).json["rooms"]["join"]) == [alice.room_id]
    assert "@bob:one.test (administrator)" in await cli.ask("list-admins")


@pytest.mark.parametrize("name", ["alice", "conduit", "@conduit:one.test", "no spaces", ""])
async def test_create_user_refuses_names_that_cannot_be_had(whole: WholeServer, cli: Console, name: str) -> None:
    async with whole.leaves_no_trace():
        await cli.fail(f"create-user '{name}'")


async def test_password_in_the_room_is_chosen_through_a_link(whole: WholeServer, in_room: Console) -> None:
    answer = await in_room.give("create-user bob")
    assert answer.secret is None
    link = urlsplit(answer.text.splitlines()[-1])
    assert (link.scheme, link.netloc) == ("https", "one.test")
    page = await whole.client().get(f"{link.path}?{link.query}")
    assert page.status == 200
    assert b"@bob:one.test" in page.body
    form = f"{link.query}&password=hunter%202&again=hunter%202".encode()
    assert (await whole.client().request("POST", link.path, body=form)).status == 200
    assert await can_log_in(whole, "bob", "hunter 2")
    async with whole.leaves_no_trace():
        assert (await whole.client().request("POST", link.path, body=form)).status == 404


async def test_reset_password_on_the_command_line(whole: WholeServer, cli: Console) -> None:
    bob = await whole.register("bob")
    answer = await cli.give("reset-password bob")
    assert answer.secret is not None
    assert await can_log_in(whole, "bob", answer.secret)
    assert not await can_log_in(whole, "bob", PASSWORD)
    assert (await bob.get("/account/whoami")).outcome == (401, "M_UNKNOWN_TOKEN")


async def test_reset_password_may_leave_the_user_logged_in(whole: WholeServer, cli: Console) -> None:
    bob = await whole.register("bob")
    await cli.ask("reset-password --keep-sessions bob 'correct horse'")
    assert (await bob.get("/account/whoami")).status == 200
    assert await can_log_in(whole, "bob", "correct horse")


async def test_reset_password_in_the_room_changes_nothing_by_itself(whole: WholeServer, in_room: Console) -> None:
    bob = await whole.register("bob")
    answer = await in_room.give("reset-password bob")
    assert "https://one.test/_matrix/static/client/password/?token=" in answer.text
    assert (await bob.get("/account/whoami")).status == 200
    assert await can_log_in(whole, "bob", PASSWORD)


@pytest.mark.parametrize(
    "command",
    ["reset-password", "deactivate-user", "make-admin", "remove-admin", "list-devices", "delete-devices"],
)
@pytest.mark.parametrize("name", ["conduit", "@conduit:one.test", "nobody", "@alice:two.test"])
async def test_nobody_else_can_be_meant(whole: WholeServer, cli: Console, command: str, name: str) -> None:
    async with whole.leaves_no_trace():
        await cli.fail(f"{command} {name}")


async def test_deactivate_user_ends_an_account(whole: WholeServer, cli: Console) -> None:
    bob = await whole.register("bob")
    mxc = await upload(bob, plain(10, 10), "image/png")
    text = await cli.ask("deactivate-user -l --purge-media @bob:one.test")
    assert text == "@bob:one.test is deactivated, and leaves all rooms now, and 1 upload of the user is removed."
    assert not await can_log_in(whole, "bob", PASSWORD)
    carol = await whole.register("carol")
    assert (await carol.get(f"/_matrix/client/v1/media/download/{mxc.removeprefix('mxc://')}")).status == 404


async def test_deactivate_user_spares_the_last_administrator(whole: WholeServer, cli: Console) -> None:
    async with whole.leaves_no_trace():
        assert "the only administrator" in await cli.fail("deactivate-user alice")


async def test_deactivate_all_goes_on_over_those_that_cannot_be(whole: WholeServer, cli: Console) -> None:
    for name in ("bob", "carol", "dave"):
        await whole.register(name)
    await cli.ask("make-admin dave")
    text = await cli.ask("deactivate-all\n```\n@bob:one.test\nnobody\n@dave:one.test\n@carol:one.test\n```")
    assert text.splitlines() == [
        "Deactivated 2 accounts.",
        "There is no account nobody on this server",
        "@dave:one.test is an administrator: -F deactivates those as well",
    ]
    assert await cli.ask("deactivate-all -F\n@dave:one.test") == "Deactivated 1 account."
    assert await cli.ask("list-local-users") == "Found 1 local user account(s):\n@alice:one.test (administrator)"


async def test_make_admin_and_remove_admin(whole: WholeServer, cli: Console, alice: Chat) -> None:
    bob = await whole.register("bob")
    assert await cli.ask("make-admin bob") == "@bob:one.test is an administrator."
    assert list((await bob.get("/sync")).json["rooms"]["join"]) == [alice.room_id]
    assert await cli.ask("remove-admin alice") == "@alice:one.test is no administrator any more."
    assert not (await alice.client.get("/sync")).json["rooms"]["join"]
    async with whole.leaves_no_trace():
        assert "the only administrator" in await cli.fail("remove-admin bob")
        assert "no administrator" in await cli.fail("remove-admin alice")


async def test_make_admin_is_what_brings_back_who_left(cli: Console, alice: Chat) -> None:
    await alice.client.post(path("rooms", alice.room_id, "leave"), {})
    await cli.ask("make-admin alice")
    assert list((await alice.client.get("/sync")).json["rooms"]["join"]) == [alice.room_id]


async def test_devices_are_listed_and_deleted(whole: WholeServer, cli: Console) -> None:
    bob = await whole.register("bob", device_id="PHONE", initial_device_display_name="Bob's phone")
    others = [await whole.log_in(bob, device_id=device_id) for device_id in ("TABLET", "WATCH")]
    lines = (await cli.ask("list-devices bob")).splitlines()
    assert lines[0] == "@bob:one.test has 3 devices:"
    assert lines[1].startswith("PHONE   Bob's phone  ")
    async with whole.leaves_no_trace():
        assert "no device LAPTOP" in await cli.fail("delete-device bob TABLET LAPTOP")
    await cli.ask("delete-device bob TABLET")
    assert [(await it.get("/account/whoami")).status for it in (bob, *others)] == [200, 401, 200]
    assert await cli.ask("delete-devices bob") == "@bob:one.test is logged out on 2 devices."
    assert await cli.ask("list-devices bob") == "@bob:one.test has 0 devices."
