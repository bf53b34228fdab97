"""The authorisation rules for ``m.room.member``, in the order and the words of the spec.

Spec: rooms/v12/#authorisation-rules rule 5 (rule 4 in v6 to v11), client-server-api/#room-membership
"""

from __future__ import annotations

from collections.abc import Mapping

from conduit_py.matrix.auth.check import Check
from conduit_py.matrix.auth.third_party_invite import is_signed_with_any, public_key_of, public_keys_of
from conduit_py.matrix.auth.verdict import Verdict
from conduit_py.matrix.power_levels import creators_of
from conduit_py.matrix.signing import get_authorising_server


def check_member(check: Check) -> Verdict:
    content = check.event.content
    target = check.event.state_key
    # member.form: If there is no `state_key` property, or no `membership` property in `content`, reject.
    if target is None or "membership" not in content:
        return check.denied("member.form", "m.room.member must have a state_key and a membership")

    # member.authorised.signature (since v8): If `content` has a `join_authorised_via_users_server` property:
    # If the event is not validly signed by the homeserver of the user ID denoted by the key, reject.
    if check.rules.restricted_join_rule and not _is_signed_by_authoriser(check):
        return check.denied("member.authorised.signature", "the authorising user's server has not signed")

    match content["membership"]:
        case "join":
            return _check_join(check, target)
        case "invite":
            return _check_invite(check, target)
        case "leave":
            return _check_leave(check, target)
        case "ban":
            return _check_ban(check, target)
        # Since v7.
        case "knock" if check.rules.knocking:
            return _check_knock(check, target)
        case _:
            # member.unknown: Otherwise, the membership is unknown. Reject.
            return check.denied("member.unknown", "the membership is unknown")


def _is_signed_by_authoriser(check: Check) -> bool:
    if "join_authorised_via_users_server" not in check.event.content:
        return True
    server_name = get_authorising_server(check.event.content)
    signatures = None if server_name is None else check.event.signatures.get(server_name)
    return isinstance(signatures, Mapping) and len(signatures) > 0


def _check_join(check: Check, target: str) -> Verdict:
    event = check.event
    # member.join.first: If the only previous event is an `m.room.create` and the `state_key` is the creator (since
    # v11: the sender of the `m.room.create`), allow.
    if event.prev_events == (check.create.event_id,) and target in _first_members(check):
        return None

    # member.join.sender: If the `sender` does not match `state_key`, reject.
    if event.sender != target:
        return check.denied("member.join.sender", f"{event.sender} cannot join for {target}")

    membership = check.membership(target)
    # member.join.banned: If the `sender` is banned, reject.
    if membership == "ban":
        return check.denied("member.join.banned", f"{target} is banned")

    join_rule = check.join_rule()
    # member.join.invited: If the `join_rule` is `invite` (since v7: or `knock`) then allow if membership state is
    # `invite` or `join`.
    if join_rule == "invite" or (join_rule == "knock" and check.rules.knocking):
        if membership in ("invite", "join"):
            return None

    # member.join.restricted (since v8): If the `join_rule` is `restricted` (since v10: or `knock_restricted`):
    elif (join_rule == "restricted" and check.rules.restricted_join_rule) or (
        join_rule == "knock_restricted" and check.rules.knock_restricted_join_rule
    ):
        return _check_restricted_join(check, membership)

    # member.join.public: If the `join_rule` is `public`, allow.
    elif join_rule == "public":
        return None

    # member.join.otherwise: Otherwise, reject.
    return check.denied("member.join.otherwise", f"{target} is not invited")


def _first_members(check: Check) -> frozenset[str]:
    # Of the creators of a room of v12, only the sender of the create event joins this way.
    if check.rules.create_has_creator:
        return creators_of(check.room_version, check.create)
    return frozenset([check.create.sender])


def _check_restricted_join(check: Check, membership: object) -> Verdict:
    # member.join.restricted.member: If membership state is `join` or `invite`, allow.
    if membership in ("join", "invite"):
        return None

    # member.join.restricted.authoriser: If the `join_authorised_via_users_server` key in `content` is not a user with
    # sufficient permission to invite other users or is not a joined member of the room, reject.
    authoriser = check.event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str):
        return check.denied("member.join.restricted.authoriser", "nobody in the room has authorised the join")
    power_levels = check.power_levels()
    if check.membership(authoriser) != "join" or power_levels.of_user(authoriser) < power_levels.to_invite():
        return check.denied("member.join.restricted.authoriser", f"{authoriser} may not invite")

    # member.join.restricted.allow: Otherwise, allow.
    return None


def _check_invite(check: Check, target: str) -> Verdict:
    event = check.event
    # member.invite.third_party: If `content` has a `third_party_invite` property:
    if "third_party_invite" in event.content:
        return _check_third_party_invite(check, target, event.content["third_party_invite"])

    # member.invite.sender: If the `sender`'s current membership state is not `join`, reject.
    if check.membership(event.sender) != "join":
        return check.denied("member.invite.sender", f"{event.sender} is not joined")

    # member.invite.target: If *target user*'s current membership state is `join` or `ban`, reject.
    membership = check.membership(target)
    if membership in ("join", "ban"):
        return check.denied("member.invite.target", f"the membership of {target} is {membership}")

    # member.invite.level: If the `sender`'s power level is greater than or equal to the *invite level*, allow.
    power_levels = check.power_levels()
    has, needed = power_levels.of_user(event.sender), power_levels.to_invite()
    if has >= needed:
        return None

    # member.invite.otherwise: Otherwise, reject.
    return check.denied("member.invite.otherwise", f"inviting needs power level {needed}, {event.sender} has {has}")


def _check_third_party_invite(check: Check, target: str, third_party_invite: object) -> Verdict:
    # member.invite.third_party.banned: If *target user* is banned, reject.
    if check.membership(target) == "ban":
        return check.denied("member.invite.third_party.banned", f"{target} is banned")

    # member.invite.third_party.signed: If `content.third_party_invite` does not have a `signed` property, reject.
    if not isinstance(third_party_invite, Mapping) or "signed" not in third_party_invite:
        return check.denied("member.invite.third_party.signed", "the invitation is not signed")

    # member.invite.third_party.mxid_and_token: If `signed` does not have `mxid` and `token` properties, reject.
    signed = third_party_invite["signed"]
    if not isinstance(signed, Mapping) or "mxid" not in signed or "token" not in signed:
        return check.denied("member.invite.third_party.mxid_and_token", "the invitation has no mxid and token")

    # member.invite.third_party.mxid: If `mxid` does not match `state_key`, reject.
    if signed["mxid"] != target:
        return check.denied("member.invite.third_party.mxid", f"the invitation is not for {target}")

    # member.invite.third_party.token: If there is no `m.room.third_party_invite` event in the current room state with
    # `state_key` matching `token`, reject.
    token = signed["token"]
    invite = check.get_state("m.room.third_party_invite", token) if isinstance(token, str) else None
    if invite is None:
        return check.denied("member.invite.third_party.token", "the room has no invitation with this token")

    # member.invite.third_party.sender: If `sender` does not match `sender` of the `m.room.third_party_invite`, reject.
    if check.event.sender != invite.sender:
        return check.denied("member.invite.third_party.sender", f"the invitation was sent by {invite.sender}")

    # If any signature in `signed` matches any public key in the
    # `m.room.third_party_invite` event, allow. The public keys are in `content` of `m.room.third_party_invite` as:
    # third_party.public_key: A single public key in the `public_key` property.
    # third_party.public_keys: A list of public keys in the `public_keys` property.
    public_keys = [*public_key_of(invite.content), *public_keys_of(invite.content)]
    if is_signed_with_any(public_keys, signed):
        return None

    # member.invite.third_party.otherwise: Otherwise, reject.
    return check.denied("member.invite.third_party.otherwise", "no key of the invitation has signed it")


def _check_leave(check: Check, target: str) -> Verdict:
    event = check.event
    # member.leave.own: If the `sender` matches `state_key`, allow if and only if that user's current membership state
    # is `invite`, `join`, or (since v7) `knock`.
    if event.sender == target:
        membership = check.membership(target)
        if membership in ("invite", "join") or (membership == "knock" and check.rules.knocking):
            return None
        return check.denied("member.leave.own", f"{target} is not in the room")

    # member.leave.sender: If the `sender`'s current membership state is not `join`, reject.
    if check.membership(event.sender) != "join":
        return check.denied("member.leave.sender", f"{event.sender} is not joined")

    # member.leave.banned: If the *target user*'s current membership state is `ban`, and the `sender`'s power level is
    # less than the *ban level*, reject.
    power_levels = check.power_levels()
    has = power_levels.of_user(event.sender)
    if check.membership(target) == "ban" and has < power_levels.to_ban():
        return check.denied("member.leave.banned", f"unbanning needs power level {power_levels.to_ban()}, not {has}")

    # member.leave.level: If the `sender`'s power level is greater than or equal to the *kick level*, and the *target
    # user*'s power level is less than the `sender`'s power level, allow.
    if has >= power_levels.to_kick() and power_levels.of_user(target) < has:
        return None

    # member.leave.otherwise: Otherwise, reject.
    return check.denied("member.leave.otherwise", f"with power level {has}, {event.sender} may not kick {target}")


def _check_ban(check: Check, target: str) -> Verdict:
    event = check.event
    # member.ban.sender: If the `sender`'s current membership state is not `join`, reject.
    if check.membership(event.sender) != "join":
        return check.denied("member.ban.sender", f"{event.sender} is not joined")

    # member.ban.level: If the `sender`'s power level is greater than or equal to the *ban level*, and the *target
    # user*'s power level is less than the `sender`'s power level, allow.
    power_levels = check.power_levels()
    has = power_levels.of_user(event.sender)
    if has >= power_levels.to_ban() and power_levels.of_user(target) < has:
        return None

    # member.ban.otherwise: Otherwise, reject.
    return check.denied("member.ban.otherwise", f"with power level {has}, {event.sender} may not ban {target}")


def _check_knock(check: Check, target: str) -> Verdict:
    # member.knock.join_rule: If the `join_rule` is anything other than `knock` or (since v10) `knock_restricted`,
    # reject.
    join_rule = check.join_rule()
    if join_rule != "knock" and not (join_rule == "knock_restricted" and check.rules.knock_restricted_join_rule):
        return check.denied("member.knock.join_rule", "the room does not take knocks")

    # member.knock.sender: If `sender` does not match `state_key`, reject.
    if check.event.sender != target:
        return check.denied("member.knock.sender", f"{check.event.sender} cannot knock for {target}")

    # member.knock.membership: If the `sender`'s current membership is not `ban`, `invite`, or `join`, allow.
    membership = check.membership(target)
    if membership not in ("ban", "invite", "join"):
        return None

    # member.knock.otherwise: Otherwise, reject.
    return check.denied("member.knock.otherwise", f"the membership of {target} is {membership}")
