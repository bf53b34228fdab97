"""Cases for the rules about ``m.room.power_levels``."""

from __future__ import annotations

from conduit_py.matrix.auth import Verdict
from tests.matrix.auth.case import breaks, passes
from tests.matrix.auth.rig import ALICE, BOB, MOD, NEW, Rig

BEFORE_6 = range(1, 6)
SINCE_6 = range(6, 13)
BEFORE_10 = range(1, 10)
SINCE_10 = range(10, 13)
BEFORE_12 = range(1, 12)


def mod_sets(rig: Rig, **changes: object) -> Verdict:
    """A moderator, whose level is 50, sends power levels that differ from the current ones in ``changes``."""
    current = dict(rig.state["m.room.power_levels", ""].content)
    content = {**current, **changes}
    return rig.sets_levels(MOD, {name: value for name, value in content.items() if value is not ...})


FORM = [
    passes("power_levels.integers", "integer", lambda rig: mod_sets(rig, invite=1)),
    breaks("power_levels.integers", "string", lambda rig: mod_sets(rig, invite="1")),
    breaks("power_levels.integers", "float", lambda rig: mod_sets(rig, users_default=1.0)),
    breaks("power_levels.integers", "boolean", lambda rig: mod_sets(rig, redact=True)),
    breaks("power_levels.integers", "null", lambda rig: mod_sets(rig, kick=None)),
    passes("power_levels.maps", "integers", lambda rig: mod_sets(rig, events={"x": 1}, notifications={"room": 1})),
    breaks("power_levels.maps", "string-in-events", lambda rig: mod_sets(rig, events={"x": "1"})),
    breaks("power_levels.maps", "string-in-notifications", lambda rig: mod_sets(rig, notifications={"room": "1"})),
    breaks("power_levels.maps", "no-object", lambda rig: mod_sets(rig, events=[])),
    passes("power_levels.users", "integers", lambda rig: rig.sets_levels(MOD, rig.with_users(bob=1))),
    passes("power_levels.users", "absent", lambda rig: rig.levels(users={MOD: 50}).sets_levels(MOD, {"ban": 50})),
    passes(
        "power_levels.users",
        "string",
        lambda rig: rig.sets_levels(MOD, rig.with_users(bob=" +01 ")),
        versions=BEFORE_10,
    ),
    passes(
        "power_levels.users", "float", lambda rig: rig.sets_levels(MOD, rig.with_users(bob=50.9)), versions=BEFORE_6
    ),
    breaks(
        "power_levels.users", "string", lambda rig: rig.sets_levels(MOD, rig.with_users(bob="1")), versions=SINCE_10
    ),
    breaks("power_levels.users", "float", lambda rig: rig.sets_levels(MOD, rig.with_users(bob=1.5)), versions=SINCE_6),
    breaks("power_levels.users", "no-integer", lambda rig: rig.sets_levels(MOD, rig.with_users(bob="1.0"))),
    breaks("power_levels.users", "infinite", lambda rig: rig.sets_levels(MOD, rig.with_users(bob=float("inf")))),
    breaks("power_levels.users", "no-object", lambda rig: mod_sets(rig, users=[])),
    breaks("power_levels.users", "null", lambda rig: mod_sets(rig, users=None)),
    breaks("power_levels.users", "no-user-id", lambda rig: mod_sets(rig, users={MOD: 50, "bob": 1})),
    passes("power_levels.creators", "not-listed", lambda rig: rig.sets_levels(MOD, rig.with_users(bob=1))),
    breaks("power_levels.creators", "sender-of-create", lambda rig: rig.sets_levels(MOD, rig.with_users(alice=100))),
    breaks(
        "power_levels.creators",
        "additional-creator",
        lambda rig: rig.with_create({"additional_creators": [BOB]}).sets_levels(ALICE, rig.with_users(bob=1)),
    ),
    breaks(
        "power_levels.creators",
        "no-levels-before",
        lambda rig: rig.without("m.room.power_levels").sets_levels(ALICE, {"users": {ALICE: 100}}),
    ),
    passes(
        "power_levels.first",
        "anything",
        lambda rig: rig.without("m.room.power_levels").sets_levels(ALICE, {"ban": 500, "users": {BOB: 500}}),
    ),
    breaks(
        "power_levels.first",
        "not-the-first",
        lambda rig: rig.sets_levels(MOD, rig.levels_content(ban=500)),
        caught_by="power_levels.property.new",
    ),
]

PROPERTIES = [
    passes("power_levels.property.current", "equal", lambda rig: mod_sets(rig, ban=40)),
    passes("power_levels.property.current", "higher-but-kept", lambda rig: mod_sets(rig.levels(ban=51), kick=40)),
    passes(
        "power_levels.property.current",
        "same-number",
        lambda rig: mod_sets(rig.levels(ban=100), ban=" 100"),
        versions=BEFORE_10,
    ),
    breaks("power_levels.property.current", "changed", lambda rig: mod_sets(rig.levels(ban=51), ban=40)),
    breaks("power_levels.property.current", "removed", lambda rig: mod_sets(rig.levels(ban=51), ban=...)),
    breaks(
        "power_levels.property.current",
        "default-replaced",
        lambda rig: rig.levels(users={MOD: 40}, state_default=0).sets_levels(
            MOD, {"ban": 50, "users": {MOD: 40}, "state_default": 0, "redact": 40}
        ),
    ),
    breaks(
        "power_levels.property.current",
        "unreadable-replaced-by-its-equal",
        lambda rig: rig.levels(users={MOD: 40}, state_default=0, ban=True).sets_levels(
            MOD, {"users": {MOD: 40}, "state_default": 0, "ban": 1}
        ),
        versions=BEFORE_10,
    ),
    passes("power_levels.property.new", "equal", lambda rig: mod_sets(rig, invite=50)),
    breaks("power_levels.property.new", "higher", lambda rig: mod_sets(rig, invite=51)),
    breaks("power_levels.property.new", "higher-string", lambda rig: mod_sets(rig, invite="51"), versions=BEFORE_10),
    breaks("power_levels.property.new", "unreadable", lambda rig: mod_sets(rig, invite="x"), versions=BEFORE_10),
    breaks(
        "power_levels.property.new",
        "default-restored",
        lambda rig: rig.levels(users={MOD: 40}, state_default=0, ban=40).sets_levels(
            MOD, {"users": {MOD: 40}, "state_default": 0}
        ),
    ),
]

ENTRIES = [
    passes("power_levels.entry.current", "equal", lambda rig: mod_sets(rig.levels(events={"x": 50}), events={"x": 1})),
    passes(
        "power_levels.entry.current",
        "higher-but-kept",
        lambda rig: mod_sets(rig.levels(events={"x": 51}), events={"x": 51, "y": 1}),
    ),
    breaks(
        "power_levels.entry.current", "changed", lambda rig: mod_sets(rig.levels(events={"x": 51}), events={"x": 1})
    ),
    breaks("power_levels.entry.current", "removed", lambda rig: mod_sets(rig.levels(events={"x": 51}), events={})),
    breaks("power_levels.entry.current", "all-removed", lambda rig: mod_sets(rig.levels(events={"x": 51}), events=...)),
    breaks(
        "power_levels.entry.current",
        "notifications",
        lambda rig: mod_sets(rig.levels(notifications={"room": 51}), notifications={"room": 1}),
        versions=SINCE_6,
    ),
    passes(
        "power_levels.entry.current",
        "notifications",
        lambda rig: mod_sets(rig.levels(notifications={"room": 51}), notifications={"room": 1}),
        versions=BEFORE_6,
    ),
    passes("power_levels.entry.new", "equal", lambda rig: mod_sets(rig, events={"x": 50})),
    breaks("power_levels.entry.new", "added", lambda rig: mod_sets(rig, events={"x": 51})),
    breaks("power_levels.entry.new", "changed", lambda rig: mod_sets(rig.levels(events={"x": 1}), events={"x": 51})),
    breaks("power_levels.entry.new", "unreadable", lambda rig: mod_sets(rig, events={"x": "y"}), versions=BEFORE_10),
    breaks(
        "power_levels.entry.new",
        "equal-to-what-was-unreadable",
        lambda rig: rig.levels(users={}, state_default=0, events={"x": True}).sets_levels(
            MOD, {"state_default": 0, "ban": 50, "users": {}, "events": {"x": 1}}
        ),
        versions=BEFORE_10,
    ),
    breaks("power_levels.entry.new", "no-object", lambda rig: mod_sets(rig, events=["x"]), versions=BEFORE_10),
    breaks(
        "power_levels.entry.new",
        "notifications",
        lambda rig: mod_sets(rig, notifications={"room": 51}),
        versions=SINCE_6,
    ),
    passes(
        "power_levels.entry.new",
        "notifications",
        lambda rig: mod_sets(rig, notifications={"room": 51}),
        versions=BEFORE_6,
    ),
]

USERS = [
    passes("power_levels.user.current", "own", lambda rig: rig.sets_levels(MOD, rig.with_users(mod=1))),
    passes(
        "power_levels.user.current",
        "lower",
        lambda rig: mod_sets(rig.levels(users={MOD: 50, BOB: 49}), users={MOD: 50}),
    ),
    passes(
        "power_levels.user.current",
        "equal-but-kept",
        lambda rig: mod_sets(rig.levels(users={MOD: 50, BOB: 50}), users={MOD: 50, BOB: 50, NEW: 1}),
    ),
    breaks(
        "power_levels.user.current",
        "equal-changed",
        lambda rig: mod_sets(rig.levels(users={MOD: 50, BOB: 50}), users={MOD: 50, BOB: 1}),
    ),
    breaks(
        "power_levels.user.current",
        "equal-removed",
        lambda rig: mod_sets(rig.levels(users={MOD: 50, BOB: 50}), users={MOD: 50}),
    ),
    breaks("power_levels.user.current", "higher", lambda rig: mod_sets(rig, users={MOD: 50}), versions=BEFORE_12),
    passes("power_levels.user.new", "equal", lambda rig: rig.sets_levels(MOD, rig.with_users(bob=50))),
    breaks("power_levels.user.new", "added", lambda rig: rig.sets_levels(MOD, rig.with_users(bob=51))),
    breaks("power_levels.user.new", "own", lambda rig: rig.sets_levels(MOD, rig.with_users(mod=51))),
    breaks(
        "power_levels.user.new",
        "float-is-truncated",
        lambda rig: rig.sets_levels(MOD, rig.with_users(bob=51.1)),
        versions=BEFORE_6,
    ),
    passes("power_levels.allow", "unchanged", lambda rig: mod_sets(rig)),
    passes("power_levels.allow", "creator", lambda rig: rig.sets_levels(ALICE, rig.with_users(bob=100))),
    passes(
        "power_levels.allow",
        "creator-without-limit",
        lambda rig: rig.sets_levels(ALICE, rig.with_users(bob=2**53 - 1)),
        versions=range(12, 13),
    ),
    breaks(
        "power_levels.allow",
        "asked-before",
        lambda rig: rig.sets_levels(MOD, rig.with_users(bob=51)),
        caught_by="power_levels.user.new",
    ),
]

CASES = [*FORM, *PROPERTIES, *ENTRIES, *USERS]
