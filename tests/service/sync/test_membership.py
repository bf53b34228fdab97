"""In which section a room is told, and with what, after every way of coming and going."""

from __future__ import annotations

import pytest

from conduit_py.matrix.ids import RoomId
from conduit_py.service.requester import Requester
from tests.service.sync.world import Json, World

LEAVES = {"room": {"include_leave": True}}


class Inn:
    """Alice keeps a room; what happens to Bob is told in words."""

    def __init__(self, world: World, alice: Requester, bob: Requester, room_id: RoomId) -> None:
        self.world, self.alice, self.bob, self.room_id = world, alice, bob, room_id

    async def happens(self, words: str) -> None:
        room_id, membership = self.room_id, self.world.membership
        for word in words.split():
            match word:
                case "join":
                    await membership.join(self.bob, room_id)
                case "leave":
                    await membership.leave(self.bob, room_id)
                case "forget":
                    await membership.forget(self.bob, room_id)
                case "invite":
                    await membership.invite(self.alice, room_id, self.bob.user_id)
                case "kick":
                    await membership.kick(self.alice, room_id, self.bob.user_id)
                case "ban":
                    await membership.ban(self.alice, room_id, self.bob.user_id)
                case "unban":
                    await membership.unban(self.alice, room_id, self.bob.user_id)
                case _:
                    await self.world.send(self.alice, room_id, word)


def sections_of(reply: Json, room_id: str) -> set[str]:
    return {name for name, rooms in reply["rooms"].items() if room_id in rooms}


def texts(section: Json) -> list[str]:
    """What the timeline says: bodies of messages, memberships of Bob."""
    events = section["timeline"]["events"]
    return [
        event["content"]["body"] if event["type"] == "m.room.message" else event["content"]["membership"]
        for event in events
        if event["type"] == "m.room.message" or event.get("state_key", "").startswith("@bob")
    ]


@pytest.fixture
async def inn(world: World) -> Inn:
    alice, bob = await world.user("alice"), await world.user("bob")
    return Inn(world, alice, bob, await world.room(alice, name="Inn"))


INITIAL = [
    ("", set(), set()),
    ("join", {"join"}, {"join"}),
    ("invite", {"invite"}, {"invite"}),
    ("invite join", {"join"}, {"join"}),
    ("invite leave", set(), {"leave"}),
    ("invite kick", set(), {"leave"}),
    ("join leave", set(), {"leave"}),
    ("join kick", set(), {"leave"}),
    ("join ban", set(), {"leave"}),
    ("join ban unban", set(), {"leave"}),
    ("ban", set(), {"leave"}),
    ("join leave forget", set(), set()),
    ("join leave forget join", {"join"}, {"join"}),
    ("join leave forget invite", {"invite"}, {"invite"}),
]


@pytest.mark.parametrize(("before", "sections", "with_left"), INITIAL)
async def test_initial_sync_tells_a_room_by_membership(
    inn: Inn, before: str, sections: set[str], with_left: set[str]
) -> None:
    await inn.happens(before)

    assert sections_of(await inn.world.sync(inn.bob), inn.room_id) == sections
    assert sections_of(await inn.world.sync(inn.bob, filter=LEAVES), inn.room_id) == with_left


CHANGES = [
    ("", "hello", set(), []),
    ("", "join", {"join"}, ["join"]),
    ("", "one join two", {"join"}, ["one", "join", "two"]),
    ("", "invite", {"invite"}, []),
    ("", "invite join", {"join"}, ["invite", "join"]),
    ("", "invite leave", {"leave"}, ["leave"]),
    ("", "ban", {"leave"}, ["ban"]),
    ("", "join hello leave late", {"leave"}, ["join", "hello", "leave"]),
    ("", "join leave join", {"join"}, ["join", "leave", "join"]),
    ("invite", "kick", {"leave"}, ["leave"]),
    ("invite", "hello join", {"join"}, ["invite", "hello", "join"]),
    ("join", "hello", {"join"}, ["hello"]),
    ("join", "hello leave late", {"leave"}, ["hello", "leave"]),
    ("join", "hello kick", {"leave"}, ["hello", "leave"]),
    ("join", "hello ban late", {"leave"}, ["hello", "ban"]),
    ("join", "leave forget", {"leave"}, ["leave"]),
    ("join", "leave away join", {"join"}, ["join", "leave", "away", "join"]),
    ("join", "leave away join leave late", {"leave"}, ["leave", "away", "join", "leave"]),
    ("join", "leave invite", {"invite"}, []),
    ("join leave", "hello", set(), []),
    ("join leave", "late ban", {"leave"}, ["ban"]),
    ("join leave", "forget", set(), []),
    ("join ban", "unban", {"leave"}, ["leave"]),
    ("join leave", "late join", {"join"}, ["join", "leave", "late", "join"]),
]


@pytest.mark.parametrize(("before", "then", "sections", "said"), CHANGES)
async def test_incremental_sync_tells_how_a_membership_changed(
    inn: Inn, before: str, then: str, sections: set[str], said: list[str]
) -> None:
    await inn.happens(before)
    since = (await inn.world.sync(inn.bob))["next_batch"]
    await inn.happens(then)

    reply = await inn.world.sync(inn.bob, since)

    assert sections_of(reply, inn.room_id) == sections
    for section in sections - {"invite"}:
        assert texts(reply["rooms"][section][inn.room_id]) == said
    again = await inn.world.sync(inn.bob, reply["next_batch"])
    assert sections_of(again, inn.room_id) == set()


@pytest.mark.parametrize(("before", "is_limited"), [("one", False), ("one invite", False), ("join one leave", True)])
async def test_who_comes_back_is_told_to_begin_the_timeline_anew(inn: Inn, before: str, is_limited: bool) -> None:
    """It holds what was told already."""
    await inn.happens(before)
    since = (await inn.world.sync(inn.bob))["next_batch"]
    await inn.happens("join")

    section = (await inn.world.sync(inn.bob, since))["rooms"]["join"][inn.room_id]

    assert "one" in texts(section)
    assert section["timeline"]["limited"] is is_limited


async def test_who_comes_into_a_room_closed_to_newcomers_sees_nothing_from_before(inn: Inn) -> None:
    await inn.world.set_state(inn.alice, inn.room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    await inn.happens("secret")
    since = (await inn.world.sync(inn.bob))["next_batch"]
    await inn.happens("join hello")

    section = (await inn.world.sync(inn.bob, since))["rooms"]["join"][inn.room_id]

    assert texts(section) == ["join", "hello"]
    assert section["timeline"]["limited"] is True
    assert {"m.room.create", "m.room.name"} <= {event["type"] for event in section["state"]["events"]}


async def test_who_comes_back_is_told_what_changed_while_away(inn: Inn) -> None:
    """The change itself is closed to Bob, so it is in no timeline."""
    await inn.world.set_state(inn.alice, inn.room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    await inn.happens("join")
    since = (await inn.world.sync(inn.bob))["next_batch"]
    await inn.happens("leave")
    await inn.world.set_state(inn.alice, inn.room_id, "m.room.name", {"name": "Tavern"})
    await inn.happens("join")

    section = (await inn.world.sync(inn.bob, since))["rooms"]["join"][inn.room_id]

    assert texts(section) == ["join"]
    names = [event["content"]["name"] for event in section["state"]["events"] if event["type"] == "m.room.name"]
    assert names == ["Tavern"]


async def test_state_of_a_left_room_is_that_of_the_leave(inn: Inn) -> None:
    await inn.happens("join leave")
    await inn.world.set_state(inn.alice, inn.room_id, "m.room.name", {"name": "Tavern"})

    filter_ = {"room": {"include_leave": True, "timeline": {"limit": 1}}}
    section = (await inn.world.sync(inn.bob, filter=filter_))["rooms"]["leave"][inn.room_id]

    names = [event["content"]["name"] for event in section["state"]["events"] if event["type"] == "m.room.name"]
    assert names == ["Inn"]


async def test_a_rejected_invite_gives_away_nothing_of_the_room(inn: Inn) -> None:
    await inn.happens("secret invite")
    since = (await inn.world.sync(inn.bob))["next_batch"]
    await inn.happens("more leave")

    section = (await inn.world.sync(inn.bob, since))["rooms"]["leave"][inn.room_id]

    assert section["state"]["events"] == []
    assert texts(section) == ["leave"]


async def test_invite_state_is_stripped_and_names_room_and_inviter(inn: Inn) -> None:
    await inn.happens("invite")

    events = (await inn.world.sync(inn.bob))["rooms"]["invite"][inn.room_id]["invite_state"]["events"]

    assert all(event.keys() == {"type", "state_key", "sender", "content"} for event in events)
    keys = {(event["type"], event["state_key"]) for event in events}
    expected = {"m.room.create", "m.room.name", "m.room.join_rules"}
    assert {(name, "") for name in expected} | {("m.room.member", inn.alice.user_id)} <= keys
    assert events[-1]["state_key"] == inn.bob.user_id
    assert events[-1]["content"]["membership"] == "invite"


async def test_invites_of_ignored_users_are_not_told(inn: Inn) -> None:
    await inn.world.ignore(inn.bob, inn.alice.user_id)
    since = (await inn.world.sync(inn.bob))["next_batch"]
    await inn.happens("invite")

    assert sections_of(await inn.world.sync(inn.bob, since), inn.room_id) == set()
    assert sections_of(await inn.world.sync(inn.bob), inn.room_id) == set()


async def test_invites_are_not_told_to_who_blocks_them(inn: Inn) -> None:
    since = (await inn.world.sync(inn.bob))["next_batch"]
    await inn.happens("invite")
    config = {"default_action": "block"}
    await inn.world.account_data.set_content(inn.bob, inn.bob.user_id, None, "m.invite_permission_config", config)
    assert sections_of(await inn.world.sync(inn.bob, since), inn.room_id) == set()
    assert sections_of(await inn.world.sync(inn.bob), inn.room_id) == set()

    await inn.world.account_data.set_content(inn.bob, inn.bob.user_id, None, "m.invite_permission_config", {})
    assert sections_of(await inn.world.sync(inn.bob), inn.room_id) == {"invite"}


async def test_a_room_told_as_new_brings_its_account_data_and_receipts(inn: Inn) -> None:
    world, room_id = inn.world, inn.room_id
    await inn.happens("join")
    sent = await world.send(inn.alice, room_id, "hello")
    await world.receipts.post_receipt(inn.alice, room_id, "m.read", sent)
    await world.account_data.set_tag(inn.bob, inn.bob.user_id, room_id, "u.inns", {})
    await inn.happens("leave")
    since = (await world.sync(inn.bob))["next_batch"]
    await inn.happens("join")

    section = (await world.sync(inn.bob, since))["rooms"]["join"][room_id]

    assert [event["type"] for event in section["account_data"]["events"]] == ["m.tag"]
    assert [list(event["content"]) for event in section["ephemeral"]["events"]] == [[sent]]


async def test_unsigned_membership_is_the_readers_at_the_event(inn: Inn) -> None:
    await inn.happens("one invite join two")

    section = (await inn.world.sync(inn.bob))["rooms"]["join"][inn.room_id]

    memberships = [event["unsigned"]["membership"] for event in section["timeline"]["events"]]
    assert memberships[-4:] == ["leave", "invite", "join", "join"]
