"""Another server in a room, which knows the whole room by itself: what states resolve to it works out from values.

It makes the events that it is told to make, allowed or not, and after any events. Nothing is sent: a test hands them to
the server in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from conduit_py.data import short_ids, timeline
from conduit_py.matrix.auth.rules import check_event
from conduit_py.matrix.auth.select import select_auth_types
from conduit_py.matrix.event_builder import build_event, sign_and_hash
from conduit_py.matrix.ids import EventId, KeyId, RoomId, ServerName, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS
from conduit_py.matrix.signing import SigningKey
from conduit_py.matrix.state_res import StateKey, resolve
from conduit_py.outbound.errors import Refused
from conduit_py.service.users.store import Store
from tests.rig.remote import Question
from tests.rig.server import START_MS

State = Mapping[StateKey, EventId]


class HasStore(Protocol):
    """Of a server, all that is needed."""

    store: Store


class RemoteRoom:
    """A server named ``name`` that holds the room as ``server`` did when it last looked (``learn``)."""

    def __init__(self, server: HasStore, room_id: str, name: str = "two.test") -> None:
        self.name = ServerName(name)
        self.key = SigningKey.from_seed(KeyId("ed25519:1"), name.encode().ljust(32, b".")[:32])
        self.room_id = RoomId(room_id)
        self.pdus: dict[EventId, Pdu] = {}
        self.states: dict[EventId, State] = {}
        """The state after each event."""
        self.rejected: set[EventId] = set()
        self.ends: tuple[EventId, ...] = ()
        self.withheld: set[str] = set()
        """Events that it does not give away."""
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
        user_id = self.user(sender)
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
            origin_server_ts=START_MS + self._made + 1 if ts is None else ts,
            redacts=None if redacts is None else EventId(redacts),
        )
        return self.add(self.sign({**proto, **changes}))

    def sign(self, proto: Mapping[str, Any]) -> Pdu:
        self._made += 1
        is_random = self.version.event_format.event_id_format == "random"
        event_id = EventId(f"$made{self._made}:{self.name}") if is_random else None
        return sign_and_hash(proto, self.version, self.name, self.key, event_id=event_id)

    # What it answers when it is asked.

    def answer(self, question: Question) -> dict[str, Any]:
        """As a server does that holds everything and hides nothing, but what is in ``withheld``."""
        match question.segments[2:]:
            case ("event", event_id):
                return {"origin": self.name, "origin_server_ts": START_MS, "pdus": [self._tell(event_id)]}
            case ("event_auth", _, event_id):
                return {"auth_chain": self._tell_all(self.auth_chain([event_id]))}
            case ("state_ids", _):
                state = self._state_before(question)
                chain = self.auth_chain(state)
                return {"pdu_ids": self._held(state), "auth_chain_ids": self._held(chain)}
            case ("state", _):
                state = self._state_before(question)
                return {"pdus": self._tell_all(state), "auth_chain": self._tell_all(self.auth_chain(state))}
            case ("get_missing_events", _):
                assert question.content is not None
                asked = question.content
                found = self.before(asked["latest_events"], asked["earliest_events"], asked["limit"])
                return {"events": self._tell_all(found)}
            case ("backfill", _):
                limit = int(question.query["limit"][0])
                first = [EventId(event_id) for event_id in question.query["v"]]
                found = [*first, *self.before(first, (), limit - len(first))]
                return {"origin": self.name, "origin_server_ts": START_MS, "pdus": self._tell_all(found)}
            case ("timestamp_to_event", _):
                ts, is_backwards = int(question.query["ts"][0]), question.query["dir"] == ["b"]
                return self._find_nearest(ts, is_backwards=is_backwards)
            case _:
                raise Refused(404, "M_UNRECOGNIZED", "unknown")

    def _find_nearest(self, ts: int, *, is_backwards: bool) -> dict[str, Any]:
        times = [(pdu.origin_server_ts, pdu.event_id) for pdu in self.pdus.values()]
        found = [it for it in times if it[0] <= ts] if is_backwards else [it for it in times if it[0] >= ts]
        if not found:
            raise Refused(404, "M_NOT_FOUND", "no such event")
        nearest_ts, event_id = max(found) if is_backwards else min(found)
        return {"event_id": event_id, "origin_server_ts": nearest_ts}

    def auth_chain(self, event_ids: Iterable[str]) -> list[EventId]:
        todo, chain = list(event_ids), dict[EventId, None]()
        while todo:
            pdu = self.pdus.get(EventId(todo.pop()))
            for auth_event in () if pdu is None else pdu.auth_events:
                if auth_event not in chain:
                    chain[auth_event] = None
                    todo.append(auth_event)
        return list(chain)

    def before(self, latest: Iterable[str], earliest: Iterable[str], limit: int) -> list[EventId]:
        """Events before the latest, the newest ones, oldest first."""
        todo, seen, found = list(latest), set(earliest), list[EventId]()
        while todo and len(found) < limit:
            pdu = self.pdus.get(EventId(todo.pop(0)))
            for event_id in () if pdu is None else pdu.prev_events:
                if event_id not in seen:
                    seen.add(event_id)
                    found.append(event_id)
                    todo.append(event_id)
        return found[:limit][::-1]

    def _state_before(self, question: Question) -> list[EventId]:
        pdu = self.pdus.get(EventId(question.query["event_id"][0]))
        if pdu is None:
            raise Refused(404, "M_NOT_FOUND", "no such event")
        return list(self.state_before(pdu).values())

    def _held(self, event_ids: Iterable[EventId]) -> list[EventId]:
        return [event_id for event_id in event_ids if event_id in self.pdus]

    def _tell(self, event_id: str) -> Mapping[str, Any]:
        if event_id in self.withheld or event_id not in self.pdus:
            raise Refused(404, "M_NOT_FOUND", "no such event")
        return self.pdus[EventId(event_id)].json

    def _tell_all(self, event_ids: Iterable[EventId]) -> list[Mapping[str, Any]]:
        return [self.pdus[event_id].json for event_id in event_ids if event_id not in self.withheld]

    def join(self, user: str, **more: Any) -> Pdu:
        return self.make(user, "m.room.member", {"membership": "join"}, state_key=self.user(user), **more)

    def say(self, user: str, text: str, **more: Any) -> Pdu:
        return self.make(user, "m.room.message", {"msgtype": "m.text", "body": text}, **more)

    def set(self, user: str, type: str, content: Mapping[str, Any], state_key: str = "", **more: Any) -> Pdu:
        return self.make(user, type, content, state_key=state_key, **more)
