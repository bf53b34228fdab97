"""``POST /_matrix/client/v3/search``"""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from conduit_py.service.requester import Requester
from conduit_py.service.rooms import search as search_module
from tests.rig.client import Client, Response
from tests.rig.rooms import Json, ban, create, forget, in_room, join, leave, redact, send, set_state
from tests.rig.whole import WholeServer


async def request(user: Client, criteria: Json, **query: str) -> Response:
    return await user.post("/search", {"search_categories": {"room_events": criteria}}, **query)


async def search(user: Client, term: str, *, next_batch: str | None = None, **criteria: Any) -> Json:
    query = {} if next_batch is None else {"next_batch": next_batch}
    response = await request(user, {"search_term": term, "order_by": "recent", **criteria}, **query)
    assert response.status == 200, response.body
    found: Json = response.json["search_categories"]["room_events"]
    return found


def ids(found: Json) -> list[str]:
    return [result["result"]["event_id"] for result in found["results"]]


async def test_search_finds_events_with_all_the_words(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    first = await send(alice, room_id, "Martians and men")
    await send(alice, room_id, "martians alone")
    second = await send(alice, room_id, "MEN, then martians.")
    found = await search(alice, "martians men")
    assert ids(found) == [second, first]
    assert (found["count"], found["highlights"]) == (2, ["martians", "men"])
    assert found["results"][0]["result"]["room_id"] == room_id
    assert "next_batch" not in found
    assert ids(await search(alice, "martian")) == []
    assert ids(await search(alice, "?!")) == []


async def test_search_looks_at_names_and_topics_too(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    name = await set_state(alice, room_id, "m.room.name", {"name": "cheese"})
    topic = await set_state(alice, room_id, "m.room.topic", {"topic": "cheese"})
    body = await send(alice, room_id, "cheese")
    assert ids(await search(alice, "cheese")) == [body, topic, name]
    assert ids(await search(alice, "cheese", keys=["content.name", "content.body"])) == [body, name]
    assert ids(await search(alice, "cheese", keys=["content.topic"])) == [topic]


async def test_search_ranks_by_how_much_of_the_text_is_found(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    best = await send(alice, room_id, "tea")
    worst = await send(alice, room_id, "a long story in which there is tea")
    middle = await send(alice, room_id, "tea tea coffee")
    response = await request(alice, {"search_term": "tea"})
    results = response.json["search_categories"]["room_events"]["results"]
    assert [result["result"]["event_id"] for result in results] == [best, middle, worst]
    ranks = [result["rank"] for result in results]
    assert ranks == sorted(ranks, reverse=True)


async def test_search_pages_put_together_are_the_results(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    sent = [await send(alice, room_id, f"word {number}") for number in range(5)]
    told: list[str] = []
    next_batch: str | None = None
    while True:
        page = await search(alice, "word", next_batch=next_batch, filter={"limit": 2})
        told += ids(page)
        if "next_batch" not in page:
            break
        next_batch = page["next_batch"]
        await send(alice, room_id, "word in between")
    assert told == sent[::-1]


async def test_search_groups_results_and_goes_on_in_one_group(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    one, two = await create(alice), await create(alice)
    await join(bob, one)
    old = [await send(alice, one, "word"), await send(bob, one, "word")]
    newer = await send(alice, two, "word")
    newest = await send(alice, one, "word")
    groupings = {"group_by": [{"key": "room_id"}, {"key": "sender"}]}

    page = await search(alice, "word", filter={"limit": 2}, groupings=groupings)

    by_room, by_sender = page["groups"]["room_id"], page["groups"]["sender"]
    assert {key: (group["order"], group["results"]) for key, group in by_room.items()} == {
        one: (1, [newest]),
        two: (2, [newer]),
    }
    assert "next_batch" not in by_room[two]
    assert by_sender[alice.user_id]["results"] == [newest, newer]
    more = await search(alice, "word", next_batch=by_room[one]["next_batch"], filter={"limit": 2})
    assert ids(more) == old[::-1]


async def test_search_tells_what_is_around_results(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    around = [await send(alice, room_id, str(number)) for number in range(3)]
    await send(alice, room_id, "word")
    around += [await send(alice, room_id, str(number)) for number in range(3, 6)]
    asked = {"before_limit": 2, "after_limit": 1, "include_profile": True}
    (result,) = (await search(alice, "word", event_context=asked))["results"]
    context = result["context"]
    assert [event["event_id"] for event in context["events_before"]] == [around[2], around[1]]
    assert [event["event_id"] for event in context["events_after"]] == [around[3]]
    assert context["profile_info"][alice.user_id]["displayname"].startswith("alice")
    before = await alice.get(in_room(room_id, "messages"), dir="b", limit="1", **{"from": context["start"]})
    after = await alice.get(in_room(room_id, "messages"), dir="f", limit="1", **{"from": context["end"]})
    assert [page.json["chunk"][0]["event_id"] for page in (before, after)] == [around[0], around[4]]


async def test_search_tells_the_state_of_rooms(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice, name="here")
    await create(alice, name="elsewhere")
    await send(alice, room_id, "word")
    state = (await search(alice, "word", include_state=True))["state"]
    assert list(state) == [room_id]
    assert any(event["content"] == {"name": "here"} for event in state[room_id])


async def test_search_filters(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    one, two = await create(alice), await create(alice)
    await join(bob, one)
    by_alice, by_bob = await send(alice, one, "word"), await send(bob, one, "word")
    elsewhere = await send(alice, two, "word")
    assert ids(await search(alice, "word", filter={"rooms": [one]})) == [by_bob, by_alice]
    assert ids(await search(alice, "word", filter={"not_rooms": [one]})) == [elsewhere]
    assert ids(await search(alice, "word", filter={"senders": [bob.user_id]})) == [by_bob]
    assert ids(await search(alice, "word", filter={"not_types": ["m.room.message"]})) == []


async def test_search_finds_only_what_may_be_seen(whole: WholeServer) -> None:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id, closed = await create(alice, visibility="joined"), await create(alice)
    await send(alice, closed, "word")
    await send(alice, room_id, "word before")
    await join(bob, room_id)
    seen = await send(alice, room_id, "word while")
    await ban(alice, room_id, bob)
    await send(alice, room_id, "word after")
    assert ids(await search(bob, "word")) == [seen]
    assert ids(await search(carol, "word")) == []


async def test_search_finds_nothing_in_a_forgotten_room(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    event_id = await send(alice, room_id, "word")
    await leave(bob, room_id)
    assert ids(await search(bob, "word")) == [event_id]
    await forget(bob, room_id)
    assert ids(await search(bob, "word")) == []


async def test_search_leaves_out_who_is_ignored(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id = await create(alice)
    await join(bob, room_id)
    await send(alice, room_id, "word")
    path = bob.user_path("account_data", "m.ignored_user_list")
    await bob.put(path, {"ignored_users": {alice.user_id: {}}})
    assert ids(await search(bob, "word")) == []


async def test_search_does_not_find_what_was_redacted(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    event_id = await send(alice, room_id, "word")
    await redact(alice, room_id, event_id)
    assert ids(await search(alice, "word")) == []


async def test_search_looks_through_many_places(whole: WholeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await whole.register("alice")
    room_id = await create(alice)
    wanted = await send(alice, room_id, "common rare")
    for _ in range(9):
        await send(alice, room_id, "common")
    monkeypatch.setattr(search_module, "LOOKS_PER_SLICE", 2)
    monkeypatch.setattr(search_module, "READ_PER_SLICE", 2)
    assert ids(await search(alice, "common rare")) == [wanted]
    assert (await search(alice, "common"))["count"] == 10
    monkeypatch.setattr(search_module, "PLACES_MAX", 6)
    assert ids(await search(alice, "common rare")) == []


async def test_search_in_no_category_finds_none(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    assert (await alice.post("/search", {"search_categories": {}})).json == {"search_categories": {}}


@pytest.mark.parametrize(
    ("criteria", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"search_term": 3}, "M_BAD_JSON"),
        ({"search_term": "word", "keys": ["content.url"]}, "M_INVALID_PARAM"),
        ({"search_term": "word", "order_by": "size"}, "M_INVALID_PARAM"),
        ({"search_term": "word", "event_context": {"before_limit": -1}}, "M_INVALID_PARAM"),
        ({"search_term": "word", "groupings": {"group_by": [{"key": "type"}]}}, "M_BAD_JSON"),
        ({"search_term": "word", "groupings": {"group_by": ["sender"]}}, "M_BAD_JSON"),
    ],
)
async def test_search_of_a_wrong_form(whole: WholeServer, criteria: Json, errcode: str) -> None:
    alice = await whole.register("alice")
    assert (await request(alice, criteria)).outcome == (400, errcode)


@pytest.mark.parametrize("token", ["nothing", "!", "WzEsMl0", "WzEsMiwidHlwZSIsIiJd", "Wy0xLDAsbnVsbCwiIl0"])
async def test_search_invalid_param_for_a_token_of_somebody_else(whole: WholeServer, token: str) -> None:
    alice = await whole.register("alice")
    response = await request(alice, {"search_term": "word"}, next_batch=token)
    assert response.outcome == (400, "M_INVALID_PARAM")


async def test_search_missing_token(whole: WholeServer) -> None:
    assert (await request(whole.client(), {"search_term": "word"})).outcome == (401, "M_MISSING_TOKEN")


async def test_search_of_one_user_waits_for_the_one_before(
    whole: WholeServer, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    find, go_on, begun = search_module.Finder.find, trio.Event(), list[str]()

    async def find_slowly(self: search_module.Finder, requester: Requester, *args: Any, **kwargs: Any) -> Any:
        begun.append(requester.user_id)
        await go_on.wait()
        return await find(self, requester, *args, **kwargs)

    monkeypatch.setattr(search_module.Finder, "find", find_slowly)
    for user in (alice, alice, bob):
        nursery.start_soon(search, user, "word")
        await trio.testing.wait_all_tasks_blocked()
    assert begun == [alice.user_id, bob.user_id]
    go_on.set()
    await trio.testing.wait_all_tasks_blocked()
    assert begun == [alice.user_id, bob.user_id, alice.user_id]


async def test_search_looks_at_no_more_places_than_there_is_time_for(
    whole: WholeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await whole.register("alice")
    sent: list[str] = []
    for _ in range(3):
        room_id = await create(alice)
        sent += [await send(alice, room_id, "some word") for _ in range(5)]
    monkeypatch.setattr(search_module, "LOOKS_PER_SLICE", 4)
    assert sorted(ids(await search(alice, "some word", filter={"limit": 50}))) == sorted(sent)
    monkeypatch.setattr(search_module, "PLACES_MAX", 4)
    assert len(ids(await search(alice, "some word", filter={"limit": 50}))) == 12
    monkeypatch.setattr(search_module, "PLACES_PER_SEARCH_MAX", 7)
    assert len(ids(await search(alice, "some word", filter={"limit": 50}))) == 7
