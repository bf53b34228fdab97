"""A room of any version whose state each case changes a little before somebody tries something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from conduit_py.matrix.auth import Verdict, check_auth_events, check_event
from conduit_py.matrix.hashes import encode_base64
from conduit_py.matrix.ids import EventId, KeyId, RoomId, UserId
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import RoomVersion
from conduit_py.matrix.signing import SigningKey, sign_json

ALICE = UserId("@alice:one.test")
"""Created the room: power level 100, without limit since v12."""
MOD = UserId("@mod:one.test")
"""Joined, power level 50."""
BOB = UserId("@bob:one.test")
"""Joined, power level 0."""
ZOE = UserId("@zoe:two.test")
"""Joined, power level 0, on the other server."""
EVE = UserId("@eve:one.test")
"""Banned."""
IVY = UserId("@ivy:one.test")
"""Invited."""
KIM = UserId("@kim:one.test")
"""Knocking."""
NEW = UserId("@new:one.test")
"""Never heard of."""

TOKEN = "third-party-token"
KEY = SigningKey.from_seed(KeyId("ed25519:0"), bytes(32))
OTHER_KEY = SigningKey.from_seed(KeyId("ed25519:0"), bytes(range(32)))

_MEMBERS = {ALICE: "join", MOD: "join", BOB: "join", ZOE: "join", EVE: "ban", IVY: "invite", KIM: "knock"}


def base64_of(key: SigningKey) -> str:
    return encode_base64(key.public_key)


def signed_invitation(key: SigningKey = KEY, **changes: Any) -> dict[str, Any]:
    """What an identity server hands out; ``...`` as a value leaves the property out."""
    invitation = {"mxid": NEW, "token": TOKEN, **changes}
    kept = {name: value for name, value in invitation.items() if value is not ...}
    return {"display_name": "new", "signed": sign_json(kept, entity="id.test", signing_key=key)}


class Rig:
    def __init__(self, room_version: RoomVersion) -> None:
        self.room_version = room_version
        self.state: dict[tuple[str, str], Pdu] = {}
        self.create: Pdu = self.event("m.room.create", ALICE, "", {"creator": ALICE})
        self.state["m.room.create", ""] = self.create
        self.levels()
        self.join_rule("invite")
        for user_id, membership in _MEMBERS.items():
            self.member_is(user_id, membership)

    @property
    def has_domain_ids(self) -> bool:
        return self.room_version.event_format.event_id_format == "random"

    @property
    def room_id(self) -> RoomId:
        return RoomId("!create" if self.room_version.auth.room_id_is_create_event_id else "!room:one.test")

    def event(
        self,
        type: str,
        sender: str,
        state_key: str | None = None,
        content: Mapping[str, Any] | None = None,
        **other: Any,
    ) -> Pdu:
        is_create = type == "m.room.create"
        name = "create" if is_create else f"{type}-{state_key}".translate({ord("@"): None, ord(":"): "-"})
        event_id = f"${name}:one.test" if self.has_domain_ids else f"${name}"
        json = {} if is_create and self.room_version.auth.room_id_is_create_event_id else {"room_id": self.room_id}
        fields: dict[str, Any] = {
            "event_id": EventId(event_id),
            "room_id": self.room_id,
            "origin_server_ts": 1,
            "depth": 1,
            "prev_events": () if is_create else (EventId("$prev"),),
            "auth_events": (),
            "redacts": None,
            "hashes": {},
            "signatures": {},
            "json": json,
        }
        return Pdu(type=type, sender=UserId(sender), state_key=state_key, content=content or {}, **{**fields, **other})

    # What the room is like.

    def with_state(self, type: str, content: Mapping[str, Any], state_key: str = "", sender: str = ALICE) -> Self:
        self.state[type, state_key] = self.event(type, sender, state_key, content)
        return self

    def without(self, type: str, state_key: str = "") -> Self:
        del self.state[type, state_key]
        return self

    def with_only_create(self) -> Self:
        self.state = {("m.room.create", ""): self.create}
        return self

    def with_create(self, content: Mapping[str, Any], **other: Any) -> Self:
        self.create = self.event("m.room.create", ALICE, "", {"creator": ALICE, **content}, **other)
        self.state["m.room.create", ""] = self.create
        return self

    def levels_content(self, **changes: Any) -> dict[str, Any]:
        creators = {} if self.room_version.auth.privileged_creators else {ALICE: 100}
        return {"users": {**creators, MOD: 50}, "ban": 50, **changes}

    def with_users(self, **levels: Any) -> dict[str, Any]:
        """Content of power levels, with levels for people of ``one.test`` changed."""
        users = {**self.levels_content()["users"], **{f"@{name}:one.test": level for name, level in levels.items()}}
        return self.levels_content(users={user_id: level for user_id, level in users.items() if level is not ...})

    def levels(self, **changes: Any) -> Self:
        return self.with_state("m.room.power_levels", self.levels_content(**changes))

    def join_rule(self, rule: Any) -> Self:
        return self.with_state("m.room.join_rules", {"join_rule": rule})

    def member_is(self, user_id: str, membership: str) -> Self:
        return self.with_state("m.room.member", {"membership": membership}, user_id, user_id)

    def with_third_party_invite(self, sender: str = MOD, **content: Any) -> Self:
        content = content or {"public_key": base64_of(KEY)}
        return self.with_state("m.room.third_party_invite", content, TOKEN, sender)

    # What somebody tries.

    def get_state(self, type: str, state_key: str) -> Pdu | None:
        return self.state.get((type, state_key))

    def check(self, event: Pdu) -> Verdict:
        return check_event(self.room_version, event, self.get_state)

    def sends(
        self,
        sender: str,
        type: str = "m.room.message",
        state_key: str | None = None,
        content: Mapping[str, Any] | None = None,
        **other: Any,
    ) -> Verdict:
        return self.check(self.event(type, sender, state_key, content, **other))

    def creates(self, content: Mapping[str, Any] | None = None, **other: Any) -> Verdict:
        return self.check(self.event("m.room.create", ALICE, "", {"creator": ALICE, **(content or {})}, **other))

    def joins(
        self, user_id: str, *, by: str | None = None, content: Mapping[str, Any] | None = None, **other: Any
    ) -> Verdict:
        return self.sends(by or user_id, "m.room.member", user_id, {"membership": "join", **(content or {})}, **other)

    def invites(self, sender: str, target: str, third_party_invite: Any = None) -> Verdict:
        content = {"membership": "invite"}
        if third_party_invite is not None:
            content["third_party_invite"] = third_party_invite
        return self.sends(sender, "m.room.member", target, content)

    def sets_membership(self, sender: str, target: str, membership: Any) -> Verdict:
        return self.sends(sender, "m.room.member", target, {"membership": membership})

    def sets_levels(self, sender: str, content: Mapping[str, Any]) -> Verdict:
        return self.sends(sender, "m.room.power_levels", "", content)

    def names_auth_events(self, *keys: tuple[str, str], more: Sequence[Pdu] = (), event: Pdu | None = None) -> Verdict:
        """Whether a message of Bob's may name these entries of the state, and ``more``, as its auth events."""
        named = [self.state[key] for key in keys]
        message = event or self.event("m.room.message", BOB)
        return check_auth_events(self.room_version, message, [*named, *more])

    @property
    def auth_keys(self) -> list[tuple[str, str]]:
        """What a message of Bob's has to name."""
        create = [("m.room.create", "")] if self.room_version.auth.create_in_auth_events else []
        return [*create, ("m.room.power_levels", ""), ("m.room.member", BOB)]
