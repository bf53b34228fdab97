"""Another server in a room, which knows the whole room by itself: what states resolve to it works out from values.

It makes the events that it is told to make, allowed or not, and after any events. Nothing is sent: a test hands them to
the server in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from conduit_py.data import short_ids, timeline
from conduit_py.matrix.auth.rules import check_event
from conduit_py.matrix.auth.select import select_auth_types
from conduit_py.matrix.event_builder import build_event, sign_and_hash
from conduit_py.matrix.ids import EventId, KeyId, RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.signing import SigningKey
from conduit_py.matrix.state_res import StateKey, resolve
from tests.rig.server import START_MS, Server

State = Mapping[StateKey, EventId]


class RemoteRoom:
    """A server named ``name`` that holds the room as ``server`` did when it last looked (``learn``)."""

    def __init__(self, server: Server, room_id: str, name: str = "two.test") -> None:
        self.name = ServerName(name)
        self.key = SigningKey.from_seed(KeyId("ed25519:1"), name.encode().ljust(32, b".")[:32])
        self.room_id = RoomId(room_id)
        self.pdus: dict[EventId, Pdu] = {}
        self.states: dict[EventId, State] = {}
        """The state after each event."""
        self.rejected: set[EventId] = set()
        self.ends: tuple[EventId, ...] = ()
        self._server = server
        self._made = 0
        self.learn()

    def learn(self) -> None:
        """Take over what the server has in its timeline."""
        with self._server.store.snapshot() as snapshot:
            room = short_ids.get_room(snapshot, self.room_id)
            assert room is not None
            self.version = ROOM_VERSIONS[short_ids.get_room_record(snapshot, room).room_version]
            found = [timeline.get_pdu(snapshot, event) for _, event in timeline.scan_timeline(snapshot, room)]
        for pdu in found:
            if pdu.event_id not in self.pdus:
                self.add(pdu)

    def user(self, localpart: str) -> UserId:
        return UserId(f"@{localpart}:{self.name}")

    def state_before(self, pdu: Pdu) -> State:
        return self.resolve(pdu.prev_events)

    def resolve(self, event_ids: Iterable[EventId]) -> State:
        """The state after several events."""
        states = [self.states[event_id] for event_id in event_ids]
        return resolve(self.version, states, get_event=self.pdus.get)

    def add(self, pdu: Pdu) -> Pdu:
        """Hold an event. One that the rules reject changes nothing, and is no end."""
        before = self.state_before(pdu)
        self.pdus[pdu.event_id] = pdu
        if self.is_denied(pdu, before):
            self.rejected.add(pdu.event_id)
            self.states[pdu.event_id] = before
            return pdu
        key = None if pdu.state_key is None else (pdu.type, pdu.state_key)
        self.states[pdu.event_id] = before if key is None else {**before, key: pdu.event_id}
        self.ends = (*(end for end in self.ends if end not in pdu.prev_events), pdu.event_id)
        return pdu

    def is_denied(self, pdu: Pdu, state: State) -> bool:
        def get_state(type: str, state_key: str) -> Pdu | None:
            return self.pdus.get(state.get((type, state_key), EventId("")))

        return check_event(self.version, pdu, get_state) is not None

    def make(
        self,
        sender: str,
        type: str,
        content: Mapping[str, Any],
        *,
        state_key: str | None = None,
        prev: Sequence[str] | None = None,
        auth: Sequence[str] | None = None,
        redacts: str | None = None,
        ts: int | None = None,
        **changes: Any,
    ) -> Pdu:
        """A signed event after ``prev`` (all ends of the room for None), which is held from now on.

        ``changes`` are set before it is signed.
        """
        user_id, self._made = self.user(sender), self._made + 1
        prev_events = self.ends if prev is None else tuple(map(EventId, prev))
        state = self.resolve(prev_events)
        keys = select_auth_types(self.version, type=type, sender=user_id, state_key=state_key, content=content)
        selected = [state[key] for key in keys if key in state]
        proto = build_event(
            room_version=self.version,
            room_id=self.room_id,
            type=type,
            sender=user_id,
            state_key=state_key,
            content=content,
            prev_events=prev_events,
            auth_events=selected if auth is None else [EventId(event_id) for event_id in auth],
            depth=1 + max(self.pdus[event_id].depth for event_id in prev_events),
            origin_server_ts=START_MS + self._made if ts is None else ts,
            redacts=None if redacts is None else EventId(redacts),
        )
        return self.add(self.sign({**proto, **changes}))

    def sign(self, proto: Mapping[str, Any]) -> Pdu:
        is_random = self.version.event_format.event_id_format == "random"
        event_id = EventId(f"$made{self._made}:{self.name}") if is_random else None
        return sign_and_hash(proto, self.version, self.name, self.key, event_id=event_id)

    def join(self, user: str, **more: Any) -> Pdu:
        return self.make(user, "m.room.member", {"membership": "join"}, state_key=self.user(user), **more)

    def say(self, user: str, text: str, **more: Any) -> Pdu:
        return self.make(user, "m.room.message", {"msgtype": "m.text", "body": text}, **more)

    def set(self, user: str, type: str, content: Mapping[str, Any], state_key: str = "", **more: Any) -> Pdu:
        return self.make(user, type, content, state_key=state_key, **more)
