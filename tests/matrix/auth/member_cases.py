"""Cases for the rules about ``m.room.member``."""

from __future__ import annotations

from conduit_py.matrix.auth import Verdict
from tests.matrix.auth.case import breaks, passes
from tests.matrix.auth.rig import (
    ALICE,
    BOB,
    EVE,
    IVY,
    KEY,
    KIM,
    MOD,
    NEW,
    OTHER_KEY,
    TOKEN,
    ZOE,
    Rig,
    base64_of,
    signed_invitation,
)

BEFORE_7 = range(1, 7)
SINCE_7 = range(7, 13)
BEFORE_8 = range(1, 8)
SINCE_8 = range(8, 13)
SINCE_10 = range(10, 13)
SINCE_12 = range(12, 13)

AUTHORISED = {"join_authorised_via_users_server": ZOE}
SIGNED = {"two.test": {"ed25519:a": "c2lnbmF0dXJl"}}


def first_join(rig: Rig, user_id: str, sender: str | None = None) -> Verdict:
    return rig.with_only_create().joins(user_id, by=sender, prev_events=(rig.create.event_id,))


def restricted_join(rig: Rig, user_id: str, authoriser: object = ZOE, rule: str = "restricted") -> Verdict:
    content = {"join_authorised_via_users_server": authoriser}
    signatures = {"one.test": {"ed25519:a": ""}, "two.test": {"ed25519:a": ""}}
    return rig.join_rule(rule).joins(user_id, content=content, signatures=signatures)


def knocks(rig: Rig, user_id: str, rule: str = "knock", sender: str | None = None) -> Verdict:
    return rig.join_rule(rule).sets_membership(sender or user_id, user_id, "knock")


FORM = [
    passes("member.form", "complete", lambda rig: rig.sends(BOB, "m.room.member", BOB, {"membership": "join"})),
    breaks("member.form", "no-state-key", lambda rig: rig.sends(BOB, "m.room.member", None, {"membership": "join"})),
    breaks("member.form", "no-membership", lambda rig: rig.sends(BOB, "m.room.member", BOB, {})),
    passes(
        "member.authorised.signature",
        "signed",
        lambda rig: rig.join_rule("public").joins(NEW, content=AUTHORISED, signatures=SIGNED),
    ),
    breaks(
        "member.authorised.signature",
        "signed-by-another",
        lambda rig: rig.join_rule("public").joins(NEW, content=AUTHORISED, signatures={"one.test": {"ed25519:a": ""}}),
    ),
    breaks(
        "member.authorised.signature",
        "no-signature",
        lambda rig: rig.join_rule("public").joins(NEW, content=AUTHORISED, signatures={"two.test": {}}),
    ),
    breaks(
        "member.authorised.signature",
        "no-user-id",
        lambda rig: rig.joins(BOB, content={"join_authorised_via_users_server": "two.test"}, signatures=SIGNED),
    ),
    breaks(
        "member.authorised.signature",
        "no-sigil",
        lambda rig: rig.joins(BOB, content={"join_authorised_via_users_server": "zoe:two.test"}, signatures=SIGNED),
    ),
    breaks(
        "member.authorised.signature",
        "null",
        lambda rig: rig.joins(BOB, content={"join_authorised_via_users_server": None}, signatures=SIGNED),
    ),
    breaks(
        "member.authorised.signature",
        "not-joining",
        lambda rig: rig.sends(BOB, "m.room.member", BOB, {"membership": "leave", **AUTHORISED}),
    ),
    passes("member.unknown", "known", lambda rig: rig.sets_membership(BOB, BOB, "leave")),
    breaks("member.unknown", "word", lambda rig: rig.sets_membership(BOB, BOB, "dance")),
    breaks("member.unknown", "number", lambda rig: rig.sets_membership(BOB, BOB, 1)),
    breaks("member.unknown", "null", lambda rig: rig.sets_membership(BOB, BOB, None)),
    breaks("member.unknown", "knock", lambda rig: knocks(rig, NEW), versions=BEFORE_7),
]

JOIN = [
    passes("member.join.first", "creator", lambda rig: first_join(rig, ALICE)),
    passes("member.join.first", "for-the-creator", lambda rig: first_join(rig, ALICE, sender=BOB)),
    breaks("member.join.first", "somebody-else", lambda rig: first_join(rig, NEW), caught_by="member.join.otherwise"),
    breaks(
        "member.join.first",
        "not-after-create",
        lambda rig: rig.with_only_create().joins(ALICE),
        caught_by="member.join.otherwise",
    ),
    breaks(
        "member.join.first",
        "named-in-creator",
        lambda rig: first_join(rig.with_create({"creator": BOB}), BOB),
        caught_by="member.join.otherwise",
        versions=range(11, 13),
    ),
    breaks(
        "member.join.first",
        "additional-creator",
        lambda rig: first_join(rig.with_create({"additional_creators": [BOB]}), BOB),
        caught_by="member.join.otherwise",
        versions=SINCE_12,
    ),
    passes(
        "member.join.first",
        "named-in-creator",
        lambda rig: first_join(rig.with_create({"creator": BOB}), BOB),
        versions=range(1, 11),
    ),
    passes("member.join.sender", "own", lambda rig: rig.join_rule("public").joins(NEW)),
    breaks("member.join.sender", "of-somebody-else", lambda rig: rig.join_rule("public").joins(NEW, by=MOD)),
    passes("member.join.banned", "not-banned", lambda rig: rig.join_rule("public").joins(NEW)),
    breaks("member.join.banned", "banned", lambda rig: rig.join_rule("public").joins(EVE)),
    passes("member.join.invited", "invited", lambda rig: rig.joins(IVY)),
    passes("member.join.invited", "joined", lambda rig: rig.joins(BOB)),
    passes("member.join.invited", "no-join-rules", lambda rig: rig.without("m.room.join_rules").joins(IVY)),
    passes("member.join.invited", "rule-knock", lambda rig: rig.join_rule("knock").joins(IVY), versions=SINCE_7),
    breaks("member.join.invited", "not-invited", lambda rig: rig.joins(NEW), caught_by="member.join.otherwise"),
    breaks("member.join.invited", "knocking", lambda rig: rig.joins(KIM), caught_by="member.join.otherwise"),
    breaks(
        "member.join.invited",
        "rule-knock",
        lambda rig: rig.join_rule("knock").joins(IVY),
        caught_by="member.join.otherwise",
        versions=BEFORE_7,
    ),
    passes("member.join.restricted.member", "invited", lambda rig: rig.join_rule("restricted").joins(IVY)),
    passes("member.join.restricted.member", "joined", lambda rig: rig.join_rule("restricted").joins(BOB)),
    passes(
        "member.join.restricted.member",
        "knock-restricted",
        lambda rig: rig.join_rule("knock_restricted").joins(IVY),
        versions=SINCE_10,
    ),
    breaks(
        "member.join.restricted.member",
        "not-invited",
        lambda rig: rig.join_rule("restricted").joins(NEW),
        caught_by="member.join.restricted.authoriser",
    ),
    passes(
        "member.join.restricted.authoriser", "may-invite", lambda rig: restricted_join(rig.levels(invite=50), NEW, MOD)
    ),
    breaks("member.join.restricted.authoriser", "not-named", lambda rig: rig.join_rule("restricted").joins(NEW)),
    breaks(
        "member.join.restricted.authoriser", "too-low", lambda rig: restricted_join(rig.levels(invite=50), NEW, BOB)
    ),
    breaks("member.join.restricted.authoriser", "not-joined", lambda rig: restricted_join(rig, NEW, IVY)),
    passes("member.join.restricted.allow", "authorised", lambda rig: restricted_join(rig, NEW)),
    passes(
        "member.join.restricted.allow",
        "knock-restricted",
        lambda rig: restricted_join(rig, NEW, rule="knock_restricted"),
        versions=SINCE_10,
    ),
    breaks(
        "member.join.restricted.allow",
        "not-authorised",
        lambda rig: restricted_join(rig, NEW, NEW),
        caught_by="member.join.restricted.authoriser",
    ),
    passes("member.join.public", "public", lambda rig: rig.join_rule("public").joins(NEW)),
    breaks(
        "member.join.public",
        "private",
        lambda rig: rig.join_rule("private").joins(IVY),
        caught_by="member.join.otherwise",
    ),
    passes("member.join.otherwise", "public", lambda rig: rig.join_rule("public").joins(NEW)),
    breaks("member.join.otherwise", "no-rule", lambda rig: rig.join_rule(["public"]).joins(IVY)),
    breaks("member.join.otherwise", "restricted", lambda rig: restricted_join(rig, NEW), versions=BEFORE_8),
    breaks(
        "member.join.otherwise",
        "knock-restricted",
        lambda rig: restricted_join(rig, NEW, rule="knock_restricted"),
        versions=range(8, 10),
    ),
]

THIRD_PARTY = [
    passes(
        "member.invite.third_party.banned",
        "not-banned",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation()),
    ),
    breaks(
        "member.invite.third_party.banned",
        "banned",
        lambda rig: rig.with_third_party_invite().invites(MOD, EVE, signed_invitation(mxid=EVE)),
    ),
    passes(
        "member.invite.third_party.signed",
        "signed",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation()),
    ),
    breaks(
        "member.invite.third_party.signed",
        "absent",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, {"display_name": "new"}),
    ),
    breaks(
        "member.invite.third_party.signed", "no-object", lambda rig: rig.with_third_party_invite().invites(MOD, NEW, [])
    ),
    passes(
        "member.invite.third_party.mxid_and_token",
        "both",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation()),
    ),
    breaks(
        "member.invite.third_party.mxid_and_token",
        "no-mxid",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation(mxid=...)),
    ),
    breaks(
        "member.invite.third_party.mxid_and_token",
        "no-token",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation(token=...)),
    ),
    breaks(
        "member.invite.third_party.mxid_and_token",
        "no-object",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, {"signed": TOKEN}),
    ),
    passes(
        "member.invite.third_party.mxid",
        "same",
        lambda rig: rig.with_third_party_invite().invites(MOD, IVY, signed_invitation(mxid=IVY)),
    ),
    breaks(
        "member.invite.third_party.mxid",
        "other",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation(mxid=IVY)),
    ),
    passes(
        "member.invite.third_party.token",
        "known",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation()),
    ),
    breaks(
        "member.invite.third_party.token",
        "unknown",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation(token="other")),
    ),
    breaks(
        "member.invite.third_party.token",
        "no-string",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation(token=[TOKEN])),
    ),
    passes(
        "member.invite.third_party.sender",
        "same",
        lambda rig: rig.with_third_party_invite(sender=BOB).invites(BOB, NEW, signed_invitation()),
    ),
    passes(
        "member.invite.third_party.sender",
        "same-who-has-left",
        lambda rig: rig.with_third_party_invite().member_is(MOD, "leave").invites(MOD, NEW, signed_invitation()),
    ),
    breaks(
        "member.invite.third_party.sender",
        "other",
        lambda rig: rig.with_third_party_invite(sender=BOB).invites(MOD, NEW, signed_invitation()),
    ),
    passes(
        "member.invite.third_party.public_key",
        "matches",
        lambda rig: rig.with_third_party_invite(public_key=base64_of(KEY)).invites(MOD, NEW, signed_invitation()),
    ),
    breaks(
        "member.invite.third_party.public_key",
        "of-another",
        lambda rig: rig.with_third_party_invite(public_key=base64_of(OTHER_KEY)).invites(MOD, NEW, signed_invitation()),
        caught_by="member.invite.third_party.otherwise",
    ),
    passes(
        "member.invite.third_party.public_keys",
        "one-matches",
        lambda rig: rig.with_third_party_invite(
            public_key=base64_of(OTHER_KEY),
            public_keys=[{"public_key": base64_of(OTHER_KEY)}, {"public_key": base64_of(KEY)}],
        ).invites(MOD, NEW, signed_invitation()),
    ),
    breaks(
        "member.invite.third_party.public_keys",
        "none-matches",
        lambda rig: rig.with_third_party_invite(
            public_keys=[{"public_key": base64_of(OTHER_KEY)}, {"public_key": "x"}, {}, base64_of(KEY)]
        ).invites(MOD, NEW, signed_invitation()),
        caught_by="member.invite.third_party.otherwise",
    ),
    passes(
        "member.invite.third_party.otherwise",
        "signed",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, signed_invitation()),
    ),
    breaks(
        "member.invite.third_party.otherwise",
        "not-signed",
        lambda rig: rig.with_third_party_invite().invites(MOD, NEW, {"signed": {"mxid": NEW, "token": TOKEN}}),
    ),
    breaks(
        "member.invite.third_party.otherwise",
        "altered",
        lambda rig: rig.with_third_party_invite().invites(
            MOD, NEW, {"signed": {**signed_invitation()["signed"], "more": 1}}
        ),
    ),
    breaks(
        "member.invite.third_party.otherwise",
        "without-keys",
        lambda rig: rig.with_third_party_invite(public_keys=1).invites(MOD, NEW, signed_invitation()),
    ),
]

INVITE = [
    passes("member.invite.sender", "joined", lambda rig: rig.invites(BOB, NEW)),
    breaks("member.invite.sender", "not-joined", lambda rig: rig.invites(IVY, NEW)),
    passes("member.invite.target", "knocking", lambda rig: rig.invites(BOB, KIM)),
    passes("member.invite.target", "invited", lambda rig: rig.invites(BOB, IVY)),
    breaks("member.invite.target", "joined", lambda rig: rig.invites(MOD, BOB)),
    breaks("member.invite.target", "banned", lambda rig: rig.invites(MOD, EVE)),
    passes("member.invite.level", "enough", lambda rig: rig.levels(invite=50).invites(MOD, NEW)),
    breaks(
        "member.invite.level",
        "too-low",
        lambda rig: rig.levels(invite=51).invites(MOD, NEW),
        caught_by="member.invite.otherwise",
    ),
    passes("member.invite.otherwise", "default-level", lambda rig: rig.invites(BOB, NEW)),
    breaks("member.invite.otherwise", "too-low", lambda rig: rig.levels(invite=1).invites(BOB, NEW)),
]

LEAVE = [
    passes("member.leave.own", "joined", lambda rig: rig.sets_membership(BOB, BOB, "leave")),
    passes("member.leave.own", "invited", lambda rig: rig.sets_membership(IVY, IVY, "leave")),
    passes("member.leave.own", "knocking", lambda rig: rig.sets_membership(KIM, KIM, "leave"), versions=SINCE_7),
    breaks("member.leave.own", "knocking", lambda rig: rig.sets_membership(KIM, KIM, "leave"), versions=BEFORE_7),
    breaks("member.leave.own", "unknown", lambda rig: rig.sets_membership(NEW, NEW, "leave")),
    breaks("member.leave.own", "banned", lambda rig: rig.sets_membership(EVE, EVE, "leave")),
    passes("member.leave.sender", "joined", lambda rig: rig.sets_membership(MOD, BOB, "leave")),
    breaks("member.leave.sender", "left", lambda rig: rig.member_is(MOD, "leave").sets_membership(MOD, BOB, "leave")),
    passes("member.leave.banned", "enough", lambda rig: rig.sets_membership(MOD, EVE, "leave")),
    breaks("member.leave.banned", "too-low", lambda rig: rig.levels(ban=51).sets_membership(MOD, EVE, "leave")),
    passes("member.leave.level", "kick", lambda rig: rig.sets_membership(MOD, BOB, "leave")),
    breaks(
        "member.leave.level",
        "kick-level-too-low",
        lambda rig: rig.levels(kick=51).sets_membership(MOD, BOB, "leave"),
        caught_by="member.leave.otherwise",
    ),
    breaks(
        "member.leave.level",
        "target-not-lower",
        lambda rig: rig.levels(users={MOD: 50, BOB: 50}).sets_membership(MOD, BOB, "leave"),
        caught_by="member.leave.otherwise",
    ),
    breaks(
        "member.leave.level",
        "creators-are-equal",
        lambda rig: rig.with_create({"additional_creators": [BOB]}).sets_membership(ALICE, BOB, "leave"),
        caught_by="member.leave.otherwise",
        versions=SINCE_12,
    ),
    passes("member.leave.otherwise", "kick", lambda rig: rig.sets_membership(MOD, BOB, "leave")),
    breaks("member.leave.otherwise", "no-power", lambda rig: rig.sets_membership(BOB, IVY, "leave")),
]

BAN = [
    passes("member.ban.sender", "joined", lambda rig: rig.sets_membership(MOD, BOB, "ban")),
    breaks("member.ban.sender", "left", lambda rig: rig.member_is(MOD, "leave").sets_membership(MOD, BOB, "ban")),
    passes("member.ban.level", "enough", lambda rig: rig.sets_membership(MOD, NEW, "ban")),
    breaks(
        "member.ban.level",
        "too-low",
        lambda rig: rig.levels(ban=51).sets_membership(MOD, BOB, "ban"),
        caught_by="member.ban.otherwise",
    ),
    breaks(
        "member.ban.level",
        "target-not-lower",
        lambda rig: rig.levels(users={MOD: 50, BOB: 50}).sets_membership(MOD, BOB, "ban"),
        caught_by="member.ban.otherwise",
    ),
    breaks(
        "member.ban.level",
        "creator-is-higher",
        lambda rig: rig.levels(users={MOD: 2**53 - 1}).sets_membership(MOD, ALICE, "ban"),
        caught_by="member.ban.otherwise",
        versions=SINCE_12,
    ),
    passes("member.ban.otherwise", "enough", lambda rig: rig.sets_membership(MOD, BOB, "ban")),
    breaks("member.ban.otherwise", "no-power", lambda rig: rig.sets_membership(BOB, NEW, "ban")),
]

KNOCK = [
    passes("member.knock.join_rule", "knock", lambda rig: knocks(rig, NEW)),
    passes(
        "member.knock.join_rule",
        "knock-restricted",
        lambda rig: knocks(rig, NEW, "knock_restricted"),
        versions=SINCE_10,
    ),
    breaks("member.knock.join_rule", "invite", lambda rig: knocks(rig, NEW, "invite")),
    breaks(
        "member.knock.join_rule",
        "absent",
        lambda rig: rig.without("m.room.join_rules").sets_membership(NEW, NEW, "knock"),
    ),
    breaks(
        "member.knock.join_rule",
        "knock-restricted",
        lambda rig: knocks(rig, NEW, "knock_restricted"),
        versions=range(7, 10),
    ),
    passes("member.knock.sender", "own", lambda rig: knocks(rig, NEW)),
    breaks("member.knock.sender", "of-somebody-else", lambda rig: knocks(rig, NEW, sender=BOB)),
    passes("member.knock.membership", "unknown", lambda rig: knocks(rig, NEW)),
    passes("member.knock.membership", "knocking", lambda rig: knocks(rig, KIM)),
    passes("member.knock.membership", "left", lambda rig: knocks(rig.member_is(NEW, "leave"), NEW)),
    breaks("member.knock.membership", "banned", lambda rig: knocks(rig, EVE), caught_by="member.knock.otherwise"),
    passes("member.knock.otherwise", "unknown", lambda rig: knocks(rig, NEW)),
    breaks("member.knock.otherwise", "invited", lambda rig: knocks(rig, IVY)),
    breaks("member.knock.otherwise", "joined", lambda rig: knocks(rig, BOB)),
]

CASES = [*FORM, *JOIN, *THIRD_PARTY, *INVITE, *LEAVE, *BAN, *KNOCK]
