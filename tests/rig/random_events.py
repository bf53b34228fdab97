"""Events that another server might send after any of the last events of a room, and orders in which they may come."""

from __future__ import annotations

import random
from collections.abc import Sequence

from conduit_py.matrix.pdu import Pdu
from tests.rig.remote_room import RemoteRoom

TOPIC = "m.room.topic"


def levels(peer: RemoteRoom, version: str, **more: int) -> dict[str, object]:
    users: dict[str, int] = {peer.user(name): level for name, level in (more or {"bob": 50}).items()}
    return {"users": users if version == "12" else {"@alice:one.test": 100, **users}}


def order_of(pdus: Sequence[Pdu], chance: random.Random) -> list[Pdu]:
    """An order in which every event comes after its predecessors."""
    waiting = list(pdus)
    names = {pdu.event_id for pdu in pdus}
    done: list[Pdu] = []
    while waiting:
        held = {pdu.event_id for pdu in done}
        ready = [pdu for pdu in waiting if {*pdu.prev_events, *pdu.auth_events} & names <= held]
        done.append(chance.choice(ready))
        waiting.remove(done[-1])
    return done


MEMBERSHIPS = ("join", "join", "leave", "ban", "invite")
USERS = ("bob", "carol", "dave")


def make_any(peer: RemoteRoom, chance: random.Random) -> Pdu:
    """An event that may be allowed, after some of the last ones."""
    recent = list(peer.pdus)[-8:]
    prev = chance.sample(recent, k=min(len(recent), chance.choice((1, 1, 1, 2, 3))))
    user, other = chance.choice(USERS), chance.choice(USERS)
    ts = 1_700_000_000_000 + chance.randrange(50)
    kind = chance.randrange(6)
    if kind == 0:
        return peer.say(user, str(chance.random()), prev=prev, ts=ts)
    if kind == 1:
        power = levels(peer, peer.version.id, **{name: chance.choice((0, 50, 100)) for name in USERS})
        return peer.set(user, "m.room.power_levels", power, prev=prev, ts=ts)
    if kind == 2:
        return peer.set(user, TOPIC, {"topic": str(chance.random())}, prev=prev, ts=ts)
    if kind == 3:
        rule = {"join_rule": chance.choice(("public", "invite"))}
        return peer.set(user, "m.room.join_rules", rule, prev=prev, ts=ts)
    target = user if kind == 4 else other
    membership = {"membership": chance.choice(MEMBERSHIPS)}
    return peer.set(user, "m.room.member", membership, peer.user(target), prev=prev, ts=ts)
