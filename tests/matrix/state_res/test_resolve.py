from __future__ import annotations

from collections import Counter

import pytest

from conduit_py.matrix.ids import EventId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.state_res import StateKey, resolve, separate
from conduit_py.matrix.state_res.graph import AuthGraph, auth_difference, conflicted_state_subgraph
from conduit_py.matrix.state_res.mainline import Mainline
from tests.matrix.state_res.scenario import build_event

V11 = ROOM_VERSIONS["11"]
MEMBERS = 500
TOPIC = ("m.room.topic", "")


def ids(*names: str) -> set[EventId]:
    return {EventId("$" + name) for name in names}


def graph_of(edges: dict[str, list[str]]) -> AuthGraph:
    """Events that refer to those behind them; all at state keys of their own."""
    events = {
        EventId("$" + name): build_event(
            V11,
            {
                "id": name,
                "type": "m.room.member",
                "sender": "a",
                "state_key": name,
                "content": {},
                "ts": 1,
                "depth": depth,
            }
            | {"auth": edges[name]},
        )
        for depth, name in enumerate(reversed(edges))
    }
    return AuthGraph(events.get, lambda event_id: events[event_id].auth_events, lambda event_id: events[event_id].depth)


def unconflicted(*names: str) -> dict[StateKey, EventId]:
    return {("m.room.member", name): EventId("$" + name) for name in names}


def test_nothing_resolves_to_nothing() -> None:
    assert resolve(V11, [], get_event=unreadable) == {}


def unreadable(event_id: EventId) -> Pdu | None:
    raise AssertionError(f"{event_id} was read")


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_states_that_agree_are_the_resolution_and_no_event_is_read(version: str) -> None:
    state = {TOPIC: EventId("$a"), ("m.room.name", ""): EventId("$b")}
    resolved = resolve(ROOM_VERSIONS[version], [state, dict(state)], get_event=unreadable)
    assert resolved == state
    assert resolved is not state


def test_separate_keeps_what_is_the_same_everywhere() -> None:
    a, b, c = EventId("$a"), EventId("$b"), EventId("$c")
    same, other, missing = ("same", ""), ("other", ""), ("missing", "")
    states = [{same: a, other: b, missing: c}, {same: a, other: c}, {same: a, other: c}]
    assert separate(states) == ({same: a}, [{other: b, missing: c}, {other: c}])
    assert separate(states[::-1])[0] == {same: a}


def test_auth_difference_has_what_only_one_chain_reaches() -> None:
    graph = graph_of({"x": ["only"], "y": ["both"], "only": ["both"], "both": ["first"], "first": []})
    assert auth_difference(graph, {}, [ids("x"), ids("y")]) == ids("only")


def test_auth_difference_leaves_out_what_the_unconflicted_state_rests_on() -> None:
    graph = graph_of({"u": ["only"], "x": ["only"], "y": ["both"], "only": ["both"], "both": []})
    assert auth_difference(graph, unconflicted("u"), [ids("x"), ids("y")]) == set()


def test_auth_difference_leaves_out_the_unconflicted_state() -> None:
    graph = graph_of({"x": ["u"], "y": [], "u": ["below"], "below": []})
    assert auth_difference(graph, unconflicted("u"), [ids("x"), ids("y")]) == set()


def test_auth_difference_leaves_out_the_events_of_the_states() -> None:
    graph = graph_of({"x": ["y"], "y": ["z"], "z": []})
    assert auth_difference(graph, {}, [ids("x"), ids("y", "z")]) == set()


def test_auth_difference_of_many_states_wants_all_to_agree() -> None:
    graph = graph_of({"x": ["a", "b"], "y": ["a", "b"], "z": ["a"], "a": [], "b": []})
    assert auth_difference(graph, {}, [ids("x"), ids("y"), ids("z")]) == ids("b")


def test_subgraph_has_the_paths_between_events_in_conflict() -> None:
    edges = {"x": ["p", "q"], "p": ["r"], "q": ["below"], "r": ["y"], "y": ["below"], "z": ["below"], "below": []}
    graph = graph_of(edges)
    assert conflicted_state_subgraph(graph, ids("x", "y", "z")) == ids("x", "p", "r", "y", "z")


def test_subgraph_of_nothing_known_is_empty() -> None:
    assert conflicted_state_subgraph(AuthGraph(lambda event_id: None), ids("x")) == set()


def test_mainline_positions_count_from_the_given_event() -> None:
    edges = {"P0": ["P1"], "SIDE": ["P1"], "P1": ["P2"], "P2": [], "LONE": []}
    short: dict[str, object] = {"type": "m.room.power_levels", "sender": "a", "content": {}, "ts": 1, "depth": 1}
    events = {
        EventId("$" + name): build_event(V11, {"id": name, "auth": auth, **short}) for name, auth in edges.items()
    }

    def position(*auth: str) -> float:
        event = build_event(V11, {"id": "X", **short, "type": "m.room.topic", "auth": list(auth)})
        return Mainline(AuthGraph(events.get), EventId("$P0")).position(event)

    assert [position("P0"), position("SIDE"), position("P1"), position("P2")] == [0, 1, 1, 2]
    assert [position("LONE"), position()] == [float("inf")] * 2
    # The event itself is not in its own list.
    assert Mainline(AuthGraph(events.get), EventId("$P0")).position(events[EventId("$P0")]) == 1


def test_mainline_ends_where_events_refer_to_each_other() -> None:
    short: dict[str, object] = {"type": "m.room.power_levels", "sender": "a", "content": {}, "ts": 1, "depth": 1}
    edges = {"P": ["Q"], "Q": ["P"], "R": ["S"], "S": ["R"]}
    events = {
        EventId("$" + name): build_event(V11, {"id": name, "auth": auth, **short}) for name, auth in edges.items()
    }
    mainline = Mainline(AuthGraph(events.get), EventId("$P"))
    assert mainline.position(events[EventId("$P")]) < 2
    assert mainline.position(events[EventId("$R")]) == float("inf")


class BigRoom:
    """A public room with many members, which counts what is read of it."""

    def __init__(self, version: str, *, members: int = MEMBERS) -> None:
        self.room_version = ROOM_VERSIONS[version]
        self.events: dict[EventId, Pdu] = {}
        self.state: dict[StateKey, EventId] = {}
        self.reads: Counter[EventId] = Counter()
        self.auth_reads: Counter[EventId] = Counter()
        levels = {} if self.room_version.auth.privileged_creators else {"@alice:test": 100}
        self.add("CREATE", "m.room.create", "alice", {"creator": "@alice:test"}, prev=[])
        self.join("alice", prev=["CREATE"], auth=["CREATE"])
        self.add("LEVELS", "m.room.power_levels", "alice", {"users": levels}, auth=["CREATE", "alice"])
        self.add("RULE", "m.room.join_rules", "alice", {"join_rule": "public"}, auth=["CREATE", "LEVELS", "alice"])
        for number in range(members):
            self.join(f"m{number}", auth=["CREATE", "LEVELS", "RULE"])

    def add(self, name: str, type: str, sender: str, content: object, *, state_key: str = "", **other: object) -> Pdu:
        depth = len(self.events) + 1
        short: dict[str, object] = {"id": name, "type": type, "sender": sender, "content": content}
        event = build_event(self.room_version, {**short, "state_key": state_key, "ts": depth, "depth": depth, **other})
        self.events[event.event_id] = event
        if name not in ("A", "B"):
            self.state[type, state_key] = event.event_id
        return event

    def join(self, user: str, **other: object) -> Pdu:
        return self.add(user, "m.room.member", user, {"membership": "join"}, state_key=f"@{user}:test", **other)

    def get_event(self, event_id: EventId) -> Pdu | None:
        self.reads[event_id] += 1
        return self.events.get(event_id)

    def get_auth_events(self, event_id: EventId) -> tuple[EventId, ...]:
        self.auth_reads[event_id] += 1
        return self.events[event_id].auth_events

    def get_order(self, event_id: EventId) -> int:
        return self.events[event_id].depth

    def resolve(self, *states: dict[StateKey, EventId]) -> dict[StateKey, EventId]:
        return resolve(
            self.room_version,
            states,
            get_event=self.get_event,
            get_auth_events=self.get_auth_events,
            get_order=self.get_order,
        )


@pytest.mark.parametrize("version", ["1", "2", "12"])
def test_topic_race_in_a_big_room_reads_only_what_it_is_about(version: str) -> None:
    room = BigRoom(version)
    auth = ["CREATE", "LEVELS", "alice"]
    a, b = (room.add(name, "m.room.topic", "alice", {}, auth=auth) for name in ("A", "B"))
    resolved = room.resolve({**room.state, TOPIC: a.event_id}, {**room.state, TOPIC: b.event_id})
    assert resolved == {**room.state, TOPIC: b.event_id}
    assert set(room.reads) <= ids("A", "B", "CREATE", "LEVELS", "RULE", "alice")
    assert max(room.reads.values()) == 1
    assert len(room.auth_reads) <= 6


def test_long_history_is_not_walked_for_a_new_conflict() -> None:
    room = BigRoom("11", members=0)
    previous = "LEVELS"
    for number in range(300):
        auth = ["CREATE", previous, "alice"]
        previous = f"P{number}"
        room.add(previous, "m.room.power_levels", "alice", {"users": {"@alice:test": 100}}, auth=auth)
    auth = ["CREATE", previous, "alice"]
    a = room.add("A", "m.room.join_rules", "alice", {"join_rule": "invite"}, auth=auth)
    b = room.add("B", "m.room.join_rules", "alice", {"join_rule": "knock"}, auth=auth)
    rules = ("m.room.join_rules", "")
    resolved = room.resolve({**room.state, rules: a.event_id}, {**room.state, rules: b.event_id})
    assert resolved[rules] == b.event_id
    assert len(room.reads) < 12


def test_event_that_has_descended_into_the_state_is_found_without_reading_members() -> None:
    room = BigRoom("11")
    room.add(
        "renamed",
        "m.room.member",
        "alice",
        {"membership": "join"},
        state_key="@alice:test",
        auth=["CREATE", "LEVELS", "RULE", "alice"],
    )
    a = room.add("A", "m.room.topic", "alice", {}, auth=["CREATE", "LEVELS", "alice"])
    b = room.add("B", "m.room.topic", "alice", {}, auth=["CREATE", "LEVELS", "renamed"])
    resolved = room.resolve({**room.state, TOPIC: a.event_id}, {**room.state, TOPIC: b.event_id})
    assert resolved == {**room.state, TOPIC: b.event_id}
    assert len(room.auth_reads) < 12


def test_two_changes_on_one_side_read_auth_events_but_no_members() -> None:
    room = BigRoom("11")
    levels = {"users": {"@alice:test": 100}}
    a = room.add("A", "m.room.power_levels", "alice", levels, auth=["CREATE", "LEVELS", "alice"])
    b = room.add("B", "m.room.power_levels", "alice", levels, auth=["CREATE", "A", "alice"])
    key = ("m.room.power_levels", "")
    assert room.resolve({**room.state, key: b.event_id}, room.state)[key] == b.event_id
    assert a.event_id in room.reads
    assert len(room.reads) < 12
    assert max(room.auth_reads.values()) < 8


def test_v1_stops_at_a_join_that_a_ban_before_it_denies() -> None:
    room = BigRoom("1", members=1)
    key = ("m.room.member", "@m0:test")
    ban = room.add("A", "m.room.member", "alice", {"membership": "ban"}, state_key=key[1], depth=1)
    assert room.resolve(room.state, {**room.state, key: ban.event_id})[key] == ban.event_id


def test_v1_ends_with_a_ban_after_the_join() -> None:
    room = BigRoom("1", members=1)
    key = ("m.room.member", "@m0:test")
    ban = room.add("A", "m.room.member", "alice", {"membership": "ban"}, state_key=key[1])
    assert room.resolve(room.state, {**room.state, key: ban.event_id})[key] == ban.event_id


def test_v1_keeps_the_join_when_the_ban_after_it_is_denied() -> None:
    room = BigRoom("1", members=2)
    key = ("m.room.member", "@m0:test")
    ban = room.add("A", "m.room.member", "m1", {"membership": "ban"}, state_key=key[1])
    assert room.resolve(room.state, {**room.state, key: ban.event_id})[key] == room.state[key]


@pytest.mark.parametrize("version", ["2", "12"])
def test_events_that_refer_to_each_other_are_left_out(version: str) -> None:
    room = BigRoom(version, members=3)
    a = room.add("A", "m.room.power_levels", "alice", {"users": {}}, auth=["CREATE", "B"])
    b = room.add("B", "m.room.power_levels", "alice", {"users": {}}, auth=["CREATE", "A"])
    states = [{**room.state, ("m.room.power_levels", ""): event.event_id} for event in (a, b)]
    resolved = resolve(room.room_version, states, get_event=room.get_event)
    assert ("m.room.power_levels", "") not in resolved
