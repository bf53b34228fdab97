"""Rooms written down as JSON: events in short form, states by their differences from the state they began with.

A file names the events beside those of ``room.json``, which make up the state to begin with. IDs lose their sigil and
domains, users are local parts, and auth events are listed by ID. The create event is taken out of them where the room
version does not select it, and the founder out of the power levels where the room version does not list creators.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conduit_py.matrix.ids import EventId, RoomId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion
from conduit_py.matrix.state_res import StateKey

FIXTURES = Path(__file__).parents[1] / "fixtures" / "state_res"
VERSIONS = {"v1": ["1"], "v2": ["2", "6", "11"], "v2.1": ["12"]}


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    room_version: RoomVersion
    events: Mapping[EventId, Pdu]
    state_sets: Sequence[Mapping[StateKey, EventId]]
    resolved: Mapping[StateKey, EventId]

    def __str__(self) -> str:
        return f"{self.name}-v{self.room_version.id}"


def load_scenarios() -> list[Scenario]:
    room = json.loads((FIXTURES / "room.json").read_bytes())["events"]
    files = sorted(path for path in FIXTURES.glob("*.json") if path.stem != "room")
    return [
        _scenario(path.stem, ROOM_VERSIONS[version], room, json.loads(path.read_bytes()), algorithm)
        for path in files
        for algorithm, versions in VERSIONS.items()
        for version in versions
        if algorithm in json.loads(path.read_bytes())["resolved"]
    ]


def build_event(room_version: RoomVersion, event: Mapping[str, Any]) -> Pdu:
    auth_events = event.get("auth", [])
    if not room_version.auth.create_in_auth_events:
        auth_events = [name for name in auth_events if name != "CREATE"]
    content = event["content"]
    if room_version.auth.privileged_creators and event["type"] == "m.room.power_levels":
        users = {user_id: level for user_id, level in content["users"].items() if user_id != "@founder:test"}
        content = {**content, "users": users}
    is_v12_create = event["type"] == "m.room.create" and room_version.auth.room_id_is_create_event_id
    room_id = RoomId("!CREATE" if room_version.auth.room_id_is_create_event_id else "!room:test")
    return Pdu(
        event_id=EventId("$" + event["id"]),
        room_id=room_id,
        type=event["type"],
        sender=_user(event["sender"]),
        state_key=event.get("state_key", ""),
        content=content,
        origin_server_ts=event["ts"],
        depth=event["depth"],
        prev_events=tuple(EventId("$" + name) for name in event.get("prev", ["PREV"])),
        auth_events=tuple(EventId("$" + name) for name in auth_events),
        redacts=None,
        hashes={},
        signatures={},
        json={} if is_v12_create else {"room_id": room_id},
        rejected=event.get("rejected", False),
    )


def _scenario(
    name: str, room_version: RoomVersion, room: list[dict[str, Any]], file: Mapping[str, Any], algorithm: str
) -> Scenario:
    base = [build_event(room_version, event) for event in room]
    events = {event.event_id: event for event in base}
    for event in file["events"]:
        pdu = build_event(room_version, event)
        events[pdu.event_id] = pdu

    def state(difference: Mapping[str, list[str]]) -> dict[StateKey, EventId]:
        entries = {_key(event): event.event_id for event in base}
        for short_id in difference.get("without", []):
            del entries[_key(events[EventId("$" + short_id)])]
        for short_id in difference.get("with", []):
            event = events[EventId("$" + short_id)]
            entries[_key(event)] = event.event_id
        return entries

    return Scenario(
        name, room_version, events, [state(each) for each in file["states"]], state(file["resolved"][algorithm])
    )


def _key(event: Pdu) -> StateKey:
    assert event.state_key is not None
    return event.type, event.state_key


def _user(localpart: str) -> UserId:
    return UserId(f"@{localpart}:test")
