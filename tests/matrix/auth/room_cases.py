"""Cases for all rules but those about members and power levels."""

from __future__ import annotations

from dataclasses import replace

from conduit_py.matrix.ids import EventId, RoomId
from tests.matrix.auth.case import breaks, passes
from tests.matrix.auth.rig import ALICE, BOB, KIM, MOD, NEW, TOKEN, ZOE

BEFORE_12 = range(1, 12)
SINCE_12 = range(12, 13)

CREATE = [
    passes("create.prev_events", "is-first", lambda rig: rig.creates()),
    breaks("create.prev_events", "follows-another", lambda rig: rig.creates(prev_events=(EventId("$x"),))),
    passes("create.room_id", "own-server", lambda rig: rig.creates(), versions=BEFORE_12),
    breaks(
        "create.room_id",
        "other-server",
        lambda rig: rig.creates(room_id=RoomId("!room:two.test")),
        versions=BEFORE_12,
    ),
    breaks("create.room_id", "no-server", lambda rig: rig.creates(room_id=RoomId("!room")), versions=BEFORE_12),
    passes("create.room_id", "absent", lambda rig: rig.creates(json={}), versions=SINCE_12),
    breaks("create.room_id", "present", lambda rig: rig.creates(json={"room_id": "!create"}), versions=SINCE_12),
    passes("create.room_version", "known", lambda rig: rig.creates({"room_version": "1"})),
    breaks("create.room_version", "unknown", lambda rig: rig.creates({"room_version": "0"})),
    breaks("create.room_version", "no-string", lambda rig: rig.creates({"room_version": 1})),
    breaks("create.room_version", "no-hashable", lambda rig: rig.creates({"room_version": ["1"]})),
    passes("create.creator", "present", lambda rig: rig.creates({"creator": ALICE})),
    breaks(
        "create.creator", "absent", lambda rig: rig.check(rig.event("m.room.create", ALICE, "", {"room_version": "1"}))
    ),
    passes("create.additional_creators", "user-ids", lambda rig: rig.creates({"additional_creators": [BOB, ZOE]})),
    passes("create.additional_creators", "none", lambda rig: rig.creates({"additional_creators": []})),
    breaks("create.additional_creators", "no-array", lambda rig: rig.creates({"additional_creators": BOB})),
    breaks("create.additional_creators", "null", lambda rig: rig.creates({"additional_creators": None})),
    breaks("create.additional_creators", "no-strings", lambda rig: rig.creates({"additional_creators": [BOB, 1]})),
    breaks("create.additional_creators", "no-user-id", lambda rig: rig.creates({"additional_creators": ["@bob"]})),
    passes("create.allow", "nothing-else-asked", lambda rig: rig.creates({"x": 1})),
    passes(
        "create.allow",
        "without-creator",
        lambda rig: rig.check(rig.event("m.room.create", ALICE, "", {})),
        versions=range(11, 13),
    ),
    passes(
        "create.allow",
        "any-additional-creators",
        lambda rig: rig.creates({"additional_creators": 1}),
        versions=BEFORE_12,
    ),
    breaks(
        "create.allow", "asked-before", lambda rig: rig.creates({"room_version": "x"}), caught_by="create.room_version"
    ),
]

ROOM = [
    passes("room_id", "is-create-event", lambda rig: rig.sends(BOB)),
    breaks("room_id", "is-another-event", lambda rig: rig.sends(BOB, room_id=RoomId("!other"))),
    breaks("room_id", "create-was-rejected", lambda rig: rig.with_create({}, rejected=True).sends(BOB)),
    breaks("room_id", "create-is-unknown", lambda rig: rig.without("m.room.create").sends(BOB)),
    passes("federate", "not-mentioned", lambda rig: rig.sends(ZOE)),
    passes("federate", "not-false", lambda rig: rig.with_create({"m.federate": "false"}).sends(ZOE)),
    passes("federate", "same-server", lambda rig: rig.with_create({"m.federate": False}).sends(BOB)),
    breaks("federate", "other-server", lambda rig: rig.with_create({"m.federate": False}).sends(ZOE)),
]

AUTH_EVENTS = [
    passes("auth_events.duplicate", "all-once", lambda rig: rig.names_auth_events(*rig.auth_keys)),
    breaks(
        "auth_events.duplicate",
        "one-twice",
        lambda rig: rig.names_auth_events(*rig.auth_keys, more=[rig.state["m.room.power_levels", ""]]),
    ),
    breaks(
        "auth_events.duplicate",
        "one-named-twice-and-given-once",
        lambda rig: rig.names_auth_events(
            *rig.auth_keys, event=rig.event("m.room.message", BOB, auth_events=(EventId("$a"), EventId("$a")))
        ),
    ),
    passes("auth_events.selection", "selected", lambda rig: rig.names_auth_events(*rig.auth_keys)),
    passes("auth_events.selection", "not-all", lambda rig: rig.names_auth_events(*rig.auth_keys[:-1])),
    breaks(
        "auth_events.selection",
        "type",
        lambda rig: rig.names_auth_events(*rig.auth_keys, ("m.room.join_rules", "")),
    ),
    breaks(
        "auth_events.selection", "state-key", lambda rig: rig.names_auth_events(*rig.auth_keys, ("m.room.member", MOD))
    ),
    breaks(
        "auth_events.selection",
        "no-state",
        lambda rig: rig.names_auth_events(*rig.auth_keys, more=[rig.event("m.room.message", BOB)]),
    ),
    breaks(
        "auth_events.selection",
        "create-is-implied",
        lambda rig: rig.names_auth_events(*rig.auth_keys, ("m.room.create", "")),
        versions=SINCE_12,
    ),
    passes("auth_events.rejected", "accepted", lambda rig: rig.names_auth_events(*rig.auth_keys)),
    breaks(
        "auth_events.rejected",
        "rejected",
        lambda rig: rig.names_auth_events(
            *rig.auth_keys[:-1], more=[replace(rig.state["m.room.member", BOB], rejected=True)]
        ),
    ),
    passes("auth_events.create", "there", lambda rig: rig.names_auth_events(("m.room.create", ""))),
    breaks("auth_events.create", "missing", lambda rig: rig.names_auth_events(*rig.auth_keys[1:])),
    breaks("auth_events.create", "missing-in-state", lambda rig: rig.without("m.room.create").sends(BOB)),
    passes("auth_events.room_id", "same-room", lambda rig: rig.names_auth_events(*rig.auth_keys)),
    breaks(
        "auth_events.room_id",
        "other-room",
        lambda rig: rig.names_auth_events(
            *rig.auth_keys[:-1], more=[replace(rig.state["m.room.member", BOB], room_id=RoomId("!other:one.test"))]
        ),
    ),
]

ALIASES = [
    passes("aliases.state_key", "present", lambda rig: rig.sends(NEW, "m.room.aliases", "one.test")),
    breaks("aliases.state_key", "absent", lambda rig: rig.sends(NEW, "m.room.aliases")),
    passes("aliases.domain", "own", lambda rig: rig.sends(NEW, "m.room.aliases", "one.test")),
    breaks("aliases.domain", "other", lambda rig: rig.sends(NEW, "m.room.aliases", "two.test")),
    passes("aliases.allow", "anybody", lambda rig: rig.sends(NEW, "m.room.aliases", "one.test")),
    breaks("aliases.allow", "other", lambda rig: rig.sends(NEW, "m.room.aliases", ""), caught_by="aliases.domain"),
]

MESSAGES = [
    passes("joined", "joined", lambda rig: rig.sends(BOB)),
    breaks("joined", "knocking", lambda rig: rig.sends(KIM)),
    breaks("joined", "unknown", lambda rig: rig.sends(NEW)),
    breaks(
        "joined",
        "aliases-are-not-special",
        lambda rig: rig.sends(NEW, "m.room.aliases", "one.test"),
        versions=range(6, 13),
    ),
    passes(
        "third_party_invite.level",
        "enough",
        lambda rig: rig.levels(invite=50).sends(MOD, "m.room.third_party_invite", TOKEN),
    ),
    passes(
        "third_party_invite.level",
        "no-other-level-asked",
        lambda rig: rig.levels(events={"m.room.third_party_invite": 50}).sends(BOB, "m.room.third_party_invite", TOKEN),
    ),
    breaks(
        "third_party_invite.level",
        "too-low",
        lambda rig: rig.levels(invite=50).sends(BOB, "m.room.third_party_invite", TOKEN),
    ),
    passes("required_level", "message", lambda rig: rig.sends(BOB)),
    passes("required_level", "state", lambda rig: rig.sends(MOD, "m.room.topic", "")),
    passes(
        "required_level", "listed", lambda rig: rig.levels(events={"m.room.topic": 0}).sends(BOB, "m.room.topic", "")
    ),
    passes(
        "required_level",
        "creator-without-levels",
        lambda rig: rig.without("m.room.power_levels").sends(ALICE, "m.room.topic", ""),
    ),
    breaks("required_level", "message", lambda rig: rig.levels(events_default=1).sends(BOB)),
    breaks("required_level", "state", lambda rig: rig.sends(BOB, "m.room.topic", "")),
    breaks("required_level", "listed", lambda rig: rig.levels(events={"m.room.message": 1}).sends(BOB)),
    breaks(
        "required_level",
        "state-without-levels",
        lambda rig: rig.without("m.room.power_levels").sends(MOD, "m.room.topic", ""),
    ),
    passes("state_key", "own", lambda rig: rig.sends(MOD, "test.state", MOD)),
    passes("state_key", "nobodys", lambda rig: rig.sends(MOD, "test.state", "mod")),
    breaks("state_key", "of-somebody-else", lambda rig: rig.sends(MOD, "test.state", BOB)),
    breaks("state_key", "of-nobody", lambda rig: rig.sends(MOD, "test.state", "@")),
    passes("allow", "anything-else", lambda rig: rig.sends(BOB, "test.event")),
    passes(
        "allow",
        "redaction-is-not-special",
        lambda rig: rig.sends(BOB, "m.room.redaction", redacts=EventId("$x:two.test")),
        versions=range(3, 13),
    ),
    breaks("allow", "asked-before", lambda rig: rig.sends(BOB, "test.event", ""), caught_by="required_level"),
]

REDACTION = [
    passes("redaction.level", "enough", lambda rig: rig.sends(MOD, "m.room.redaction", redacts=EventId("$x:two.test"))),
    breaks(
        "redaction.level",
        "too-low",
        lambda rig: rig.levels(redact=75).sends(MOD, "m.room.redaction", redacts=EventId("$x:two.test")),
        caught_by="redaction.otherwise",
    ),
    passes("redaction.domain", "own", lambda rig: rig.sends(BOB, "m.room.redaction", redacts=EventId("$x:one.test"))),
    breaks(
        "redaction.domain",
        "other",
        lambda rig: rig.sends(BOB, "m.room.redaction", redacts=EventId("$x:two.test")),
        caught_by="redaction.otherwise",
    ),
    breaks(
        "redaction.domain",
        "none",
        lambda rig: rig.sends(BOB, "m.room.redaction", redacts=EventId("$x"), event_id=EventId("$y")),
        caught_by="redaction.otherwise",
    ),
    passes(
        "redaction.otherwise", "own", lambda rig: rig.sends(BOB, "m.room.redaction", redacts=EventId("$x:one.test"))
    ),
    breaks("redaction.otherwise", "nothing-redacted", lambda rig: rig.sends(BOB, "m.room.redaction")),
]

CASES = [*CREATE, *ROOM, *AUTH_EVENTS, *ALIASES, *MESSAGES, *REDACTION]
