"""How long state resolution takes in big rooms: medians in milliseconds. Run ``python -m bench.state_res``.

Exits with 1 if two forks of a room of 10,000 members with 200 events in conflict take a second or more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

from conduit_py.matrix.auth import select_auth_types
from conduit_py.matrix.ids import EventId, RoomId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.state_res import StateKey, resolve, resolve_conflict

MEMBERS = 10_000
CONFLICTS = 200
STATE_EVENTS = 50_000
ROUNDS = 7
LIMIT_MS = 1000

State = dict[StateKey, EventId]
ALICE = UserId("@alice:one.test")


@dataclass(slots=True)
class Room:
    room_version: RoomVersion
    events: dict[EventId, Pdu] = field(default_factory=dict)

    def send(
        self, state: State, type: str, content: Mapping[str, Any], *, sender: UserId = ALICE, state_key: str = ""
    ) -> EventId:
        """A state event on top of ``state``, which takes it up."""
        number = len(self.events)
        keys = select_auth_types(self.room_version, type=type, sender=sender, state_key=state_key, content=content)
        has_create_room_id = self.room_version.auth.room_id_is_create_event_id
        event_id = EventId(f"$event{number}" if number else "$room")
        self.events[event_id] = Pdu(
            event_id=event_id,
            room_id=RoomId("!room" if has_create_room_id else "!room:one.test"),
            type=type,
            sender=sender,
            state_key=state_key,
            content=content,
            origin_server_ts=number,
            depth=number + 1,
            prev_events=(EventId("$room"),) if number == 1 else (EventId("$prev"),) if number else (),
            auth_events=tuple(state[key] for key in keys if key in state),
            redacts=None,
            hashes={},
            signatures={},
            json={} if has_create_room_id else {"room_id": "!room:one.test"},
        )
        state[type, state_key] = event_id
        return event_id

    def callables(self) -> dict[str, Any]:
        events = self.events
        return {
            "get_event": events.get,
            "get_auth_events": lambda event_id: events[event_id].auth_events,
            "get_order": lambda event_id: events[event_id].depth,
        }


def big_room(room_version: RoomVersion, *, members: int, other_state: int = 0) -> tuple[Room, State]:
    room = Room(room_version)
    state: State = {}
    room.send(state, "m.room.create", {"creator": ALICE})
    room.send(state, "m.room.member", {"membership": "join"}, state_key=ALICE)
    room.send(state, "m.room.power_levels", levels(room_version, 0))
    room.send(state, "m.room.join_rules", {"join_rule": "public"})
    for number in range(members):
        join(room, state, number)
    for number in range(other_state):
        room.send(state, "test.state", {}, state_key=str(number))
    return room, state


def levels(room_version: RoomVersion, step: int) -> dict[str, Any]:
    users = {} if room_version.auth.privileged_creators else {ALICE: 100}
    return {"users": users, "events": {"test.step": step % 50}}


def join(room: Room, state: State, number: int) -> None:
    user_id = UserId(f"@member{number}:one.test")
    room.send(state, "m.room.member", {"membership": "join"}, sender=user_id, state_key=user_id)


def fork(room: Room, base: State, side: int) -> State:
    """Half of the events in conflict: renamed members, others kicked, power levels, and state of all kinds."""
    state = dict(base)
    for step in range(CONFLICTS // 2):
        match step % 4:
            case 0:
                join(room, state, step)
            case 1:
                target = f"@member{step if side else step + 1000}:one.test"
                room.send(state, "m.room.member", {"membership": "leave"}, state_key=target)
            case 2 if step % 20 == 2:
                room.send(state, "m.room.power_levels", levels(room.room_version, step + side))
            case _:
                room.send(state, "test.state", {}, state_key=f"fork{step}")
    return state


def median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        work()
        times.append((perf_counter() - start) * 1000)
    return median(times)


def report(what: str, work: Callable[[], object]) -> float:
    took_ms = median_ms(work)
    print(f"{what:<86}{took_ms:10.3f} ms")
    return took_ms


def bench_conflict(version: str) -> float:
    room_version = ROOM_VERSIONS[version]
    room, base = big_room(room_version, members=MEMBERS)
    one, two = fork(room, base, 0), fork(room, base, 1)
    what = f"v{version}: {MEMBERS} members, two forks, {CONFLICTS} events in conflict"
    report(f"{what}, without order", lambda: resolve(room_version, [one, two], get_event=room.events.get))
    return report(what, lambda: resolve(room_version, [one, two], **room.callables()))


def bench_small_difference(version: str) -> None:
    room_version = ROOM_VERSIONS[version]
    room, base = big_room(room_version, members=STATE_EVENTS // 2, other_state=STATE_EVENTS // 2)
    topic: StateKey = ("m.room.topic", "")
    one, two = dict(base), dict(base)
    room.send(one, *topic[:1], {"topic": "one"})
    room.send(two, *topic[:1], {"topic": "two"})
    given = room.callables()
    what = f"v{version}: {len(base)} state events"
    report(f"{what}, no conflict, whole states", lambda: resolve(room_version, [base, dict(base)], **given))
    report(f"{what}, no conflict, difference given", lambda: resolve_conflict(room_version, base, [{}, {}], **given))
    report(f"{what}, two topics, whole states", lambda: resolve(room_version, [one, two], **given))
    differences = [{topic: one[topic]}, {topic: two[topic]}]
    report(f"{what}, two topics, difference given", lambda: resolve_conflict(room_version, base, differences, **given))

    twice = dict(base)
    for step in (1, 2):
        room.send(twice, "m.room.power_levels", levels(room_version, step))
    key: StateKey = ("m.room.power_levels", "")
    rest = {other: event_id for other, event_id in base.items() if other != key}
    differences = [{key: base[key]}, {key: twice[key]}]
    report(
        f"{what}, power levels changed twice, difference given",
        lambda: resolve_conflict(room_version, rest, differences, **given),
    )


def main() -> int:
    slowest_ms = max(bench_conflict(version) for version in ("1", "11", "12"))
    for version in ("1", "11", "12"):
        bench_small_difference(version)
    return 0 if slowest_ms < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
