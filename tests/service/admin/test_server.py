"""The commands about the server itself and about reports."""

from __future__ import annotations

import pytest

from conduit_py.outbound.resolve import KnownDelegation
from conduit_py.service.federation.destinations import StoredDelegations
from kvschema.catalog.users import REPORTS_PER_USER_MAX
from tests.rig.admin import Chat, Console, enter
from tests.rig.client import path
from tests.rig.rooms import create
from tests.rig.whole import WholeServer


@pytest.fixture
def cli(whole: WholeServer, alice: Chat) -> Console:
    return Console(whole.admin.dispatcher)


async def test_show_config_tells_no_secret(cli: Console) -> None:
    lines = (await cli.ask("show-config")).splitlines()
    assert 'server_name = "one.test"' in lines
    assert "emergency_password = (not set)" in lines


async def test_memory_usage_tells_of_process_and_cache(cli: Console) -> None:
    lines = (await cli.ask("memory-usage")).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["Process", "Object cache", "Objects in it", "Database on disk"]


async def test_clear_database_caches_empties_the_cache(whole: WholeServer, cli: Console) -> None:
    assert len(whole.store.database.cache) > 0
    assert (await cli.ask("clear-database-caches 3")).startswith("Dropped ")
    assert len(whole.store.database.cache) == 0
    assert await cli.ask("list-admins") == "Found 1 administrator:\n@alice:one.test (administrator)"


async def test_clear_service_caches_forgets_where_servers_are(whole: WholeServer, cli: Console) -> None:
    known = StoredDelegations(whole.store)
    await known.put("two.test", KnownDelegation("three.test:8448", 1 << 60, 0, 1 << 60))
    assert await cli.ask("clear-service-caches") == "Forgot where 1 server is reached."
    assert known.get("two.test") is None


async def test_reports_are_listed_shown_and_deleted(whole: WholeServer, cli: Console) -> None:
    bob = await whole.register("bob")
    room_id = await create(bob)
    sent = await bob.put(path("rooms", room_id, "send", "m.room.message", "1"), {"msgtype": "m.text", "body": "rude"})
    event_id = sent.json["event_id"]
    await bob.post(path("rooms", room_id, "report", event_id), {"reason": "too\nloud"})
    await bob.post(f"/_matrix/client/v3/users/{'@alice:one.test'}/report", {"reason": "x" * 100})
    lines = (await cli.ask("list-reports")).splitlines()
    assert lines[0] == "Found 2 reports:"
    assert lines[1].endswith(f"@bob:one.test reports the user @alice:one.test: {'x' * 60}...")
    assert lines[2].endswith(f"reports the event {event_id} in {room_id}: too loud")
    number = lines[2].split()[0]
    shown = await cli.ask(f"show-report {number}")
    assert 'Content:     {"msgtype":"m.text","body":"rude"}' in shown
    await cli.ask(f"delete-report {number}")
    assert (await cli.ask("list-reports")).startswith("Found 1 report:")
    async with whole.leaves_no_trace():
        assert "no report" in await cli.fail(f"delete-report {number}")


async def test_reports_are_told_in_the_admin_room(whole: WholeServer) -> None:
    await whole.admin.prepare()
    alice, bob = await enter(await whole.register("alice")), await whole.register("bob")
    before = len(await alice.read_all())
    for number in range(REPORTS_PER_USER_MAX + 2):
        body = {"reason": f"<b>spam</b> {number}"}
        assert (await bob.post(path("rooms", "!spam:two.test", "report"), body)).status == 200
    told = [event["content"] for event in (await alice.read_all())[before:]]
    said = "@bob:one.test reports the room !spam:two.test: <b>spam</b> 0"
    assert told[0]["body"] == f"{said}\nlist-reports shows every report."
    assert "<b>" not in told[0].get("formatted_body", "")
    assert len(told) == REPORTS_PER_USER_MAX


async def test_a_report_is_kept_where_the_admin_room_takes_nothing(whole: WholeServer, cli: Console) -> None:
    bob = await whole.register("bob")
    assert (await bob.post(path("users", "@alice:one.test", "report"), {"reason": "rude"})).status == 200
    assert (await cli.ask("list-reports")).startswith("Found 1 report:")
