"""Compiled push rules follow what the user changes."""

from __future__ import annotations

from conduit_py.data import users
from conduit_py.matrix.ids import RoomId, UserId
from conduit_py.matrix.push.evaluate import CompiledRuleset, prepare_event
from conduit_py.service.users.push_rules import get_compiled_ruleset
from tests.rig.client import Client
from tests.rig.server import Server

EVENT = {"type": "m.room.message", "sender": "@bob:one.test", "content": {"msgtype": "m.text", "body": "cake"}}


def compiled(server: Server, user: Client) -> CompiledRuleset:
    user_id = UserId(user.user_id)
    with server.store.snapshot() as snapshot:
        found = users.get_local(snapshot, user_id)
        assert found is not None
        return get_compiled_ruleset(snapshot, found[0], user_id)


def does_notify(server: Server, user: Client) -> bool:
    prepared = prepare_event(
        EVENT, room_id=RoomId("!r:one.test"), member_count=3, sender_power_level=0, notification_levels={}
    )
    return compiled(server, user).evaluate(prepared, display_name=None).notify


async def test_compiled_ruleset_is_kept_until_a_rule_changes(server: Server) -> None:
    alice = await server.register("alice")
    first = compiled(server, alice)
    assert compiled(server, alice) is first
    assert does_notify(server, alice)
    await alice.put("/pushrules/global/override/.m.rule.master/enabled", {"enabled": True})
    assert compiled(server, alice) is not first
    assert not does_notify(server, alice)


async def test_compiled_ruleset_survives_other_account_data(server: Server) -> None:
    alice = await server.register("alice")
    first = compiled(server, alice)
    await alice.put(alice.user_path("account_data", "org.example"), {})
    assert compiled(server, alice) is first
