"""The authorisation rules, in the order and the words of the spec.

Above each piece of code stands the name of its rule (see the table in ``verdict.py`` for its number in each room
version) and the spec's sentence. A rule that says "allow" ends the check at once, as it does in the spec.

Spec: rooms/v12/#authorisation-rules, and the same section of every older version
"""

from __future__ import annotations

from collections.abc import Sequence

from conduit_py.matrix.auth.check import Check, domain_of, is_user_id
from conduit_py.matrix.auth.member import check_member
from conduit_py.matrix.auth.power_levels import check_power_levels
from conduit_py.matrix.auth.select import select_auth_types
from conduit_py.matrix.auth.verdict import Denied, GetState, Verdict, denied
from conduit_py.matrix.pdu import Pdu
from conduit_py.matrix.room_versions import ROOM_VERSIONS, RoomVersion

__all__ = ["Denied", "GetState", "Verdict", "check_auth_events", "check_event"]


def check_event(room_version: RoomVersion, event: Pdu, get_state: GetState) -> Verdict:
    """Whether ``event`` is allowed in the state that ``get_state`` reads: every rule but those about its auth events.

    ``get_state`` is asked only for the entries that :func:`select_auth_types` names for the event, and for the create
    event. That a signature of the server of ``join_authorised_via_users_server`` is there is checked here; that it is
    valid must have been checked before, with the other signatures, so an own event is signed before it is checked.
    """
    # create: If type is `m.room.create`:
    if event.type == "m.room.create":
        return _check_create(room_version, event)

    create = get_state("m.room.create", "")
    # room_id (since v12): If the event's `room_id` is not an event ID for an accepted (not rejected) `m.room.create`
    # event, with the sigil `!` instead of `$`, reject.
    if room_version.auth.room_id_is_create_event_id and not _is_room_of(create, event):
        return denied(room_version, "room_id", f"{event.room_id} is not the ID of an accepted m.room.create event")
    # auth_events.create: If there is no `m.room.create` event among the entries, reject.
    if create is None:
        return denied(room_version, "auth_events.create", "the room has no m.room.create event")

    # federate: If the `content` of the `m.room.create` event in the room state has the property `m.federate` set to
    # `false`, and the `sender` domain of the event does not match the `sender` domain of the create event, reject.
    if create.content.get("m.federate") is False and domain_of(event.sender) != domain_of(create.sender):
        return denied(room_version, "federate", f"the room is not federated, and {event.sender} is from elsewhere")

    check = Check(room_version, event, create, get_state)
    # aliases: If type is `m.room.aliases`:
    if event.type == "m.room.aliases" and room_version.auth.aliases_rule:
        return _check_aliases(check)

    # member: If type is `m.room.member`:
    if event.type == "m.room.member":
        return check_member(check)
    return _check_other(check)


def check_auth_events(room_version: RoomVersion, event: Pdu, auth_events: Sequence[Pdu]) -> Verdict:
    """The rules about the list of auth events itself. ``auth_events`` are those that ``event`` names, all of them; one
    that it names twice may be given once.

    Always passes for ``m.room.create``, which rule 1 settles.
    """
    if event.type == "m.room.create":
        return None
    selected = select_auth_types(
        room_version, type=event.type, sender=event.sender, state_key=event.state_key, content=event.content
    )
    keys = [(auth_event.type, auth_event.state_key) for auth_event in auth_events]

    # auth_events.duplicate: If there are duplicate entries for a given `type` and `state_key` pair, reject.
    if len(set(keys)) != len(keys) or len(set(event.auth_events)) != len(event.auth_events):
        return denied(room_version, "auth_events.duplicate", "two auth events have the same type and state_key")

    # auth_events.selection: If there are entries whose `type` and `state_key` don't match those specified by the auth
    # events selection algorithm described in the server specification, reject.
    for key in keys:
        if key not in selected:
            return denied(room_version, "auth_events.selection", f"{key[0]} {key[1]!r} is no auth event for this event")

    # auth_events.rejected: If there are entries which were themselves rejected under the checks performed on receipt
    # of a PDU, reject.
    for auth_event in auth_events:
        if auth_event.rejected:
            return denied(room_version, "auth_events.rejected", f"auth event {auth_event.event_id} was rejected")

    # auth_events.create: If there is no `m.room.create` event among the entries, reject.
    if room_version.auth.create_in_auth_events and ("m.room.create", "") not in keys:
        return denied(room_version, "auth_events.create", "no auth event is the m.room.create event")

    # auth_events.room_id: If any event in `auth_events` has a `room_id` which does not match that of the event being
    # authorised, reject.
    for auth_event in auth_events:
        if auth_event.room_id != event.room_id:
            return denied(room_version, "auth_events.room_id", f"auth event {auth_event.event_id} is of another room")
    return None


def _check_create(room_version: RoomVersion, event: Pdu) -> Verdict:
    # create.prev_events: If it has any `prev_events`, reject.
    if event.prev_events:
        return denied(room_version, "create.prev_events", "m.room.create must be the first event")

    if room_version.auth.room_id_is_create_event_id:
        # create.room_id (since v12): If the event has a `room_id`, reject.
        if "room_id" in event.json:
            return denied(room_version, "create.room_id", "m.room.create must not have a room_id")
    # create.room_id (up to v11): If the domain of the `room_id` does not match the domain of the `sender`, reject.
    elif domain_of(event.room_id) is None or domain_of(event.room_id) != domain_of(event.sender):
        return denied(room_version, "create.room_id", "the room_id is not of the sender's server")

    # create.room_version: If `content.room_version` is present and is not a recognised version, reject.
    if "room_version" in event.content:
        named = event.content["room_version"]
        if not isinstance(named, str) or named not in ROOM_VERSIONS:
            return denied(room_version, "create.room_version", "the room_version is unknown")

    # create.creator (up to v10): If `content` has no `creator` property, reject.
    if room_version.auth.create_has_creator and "creator" not in event.content:
        return denied(room_version, "create.creator", "m.room.create has no creator")

    # create.additional_creators (since v12): If `additional_creators` is present in `content` and is not an array of
    # strings where each string passes the same user ID validation applied to `sender`, reject.
    if room_version.auth.additional_creators and "additional_creators" in event.content:
        additional = event.content["additional_creators"]
        if not isinstance(additional, list | tuple) or not all(is_user_id(user_id) for user_id in additional):
            return denied(room_version, "create.additional_creators", "additional_creators must be user IDs")

    # create.allow: Otherwise, allow.
    return None


def _is_room_of(create: Pdu | None, event: Pdu) -> bool:
    return create is not None and not create.rejected and create.event_id[1:] == event.room_id[1:]


def _check_aliases(check: Check) -> Verdict:
    event = check.event
    # aliases.state_key: If event has no `state_key`, reject.
    if event.state_key is None:
        return check.denied("aliases.state_key", "m.room.aliases must be a state event")

    # aliases.domain: If sender's domain doesn't match `state_key`, reject.
    if domain_of(event.sender) != event.state_key:
        return check.denied("aliases.domain", f"{event.sender} is not of {event.state_key}")

    # aliases.allow: Otherwise, allow.
    return None


def _check_other(check: Check) -> Verdict:
    event = check.event
    # joined: If the `sender`'s current membership state is not `join`, reject.
    if check.membership(event.sender) != "join":
        return check.denied("joined", f"{event.sender} is not joined")

    power_levels = check.power_levels()
    has = power_levels.of_user(event.sender)

    # third_party_invite: If type is `m.room.third_party_invite`:
    if event.type == "m.room.third_party_invite":
        # third_party_invite.level: Allow if and only if `sender`'s current power level is greater than or equal to the
        # *invite level*.
        needed = power_levels.to_invite()
        if has >= needed:
            return None
        return check.denied("third_party_invite.level", f"{event.sender} has power level {has}, not {needed}")

    # required_level: If the event type's *required power level* is greater than the `sender`'s power level, reject.
    needed = power_levels.to_send(event.type, is_state=event.state_key is not None)
    if needed > has:
        return check.denied("required_level", f"{event.type} needs power level {needed}, {event.sender} has {has}")

    # state_key: If the event has a `state_key` that starts with an `@` and does not match the `sender`, reject.
    if event.state_key is not None and event.state_key.startswith("@") and event.state_key != event.sender:
        return check.denied("state_key", f"the state of {event.state_key} is not for {event.sender} to set")

    # power_levels: If type is `m.room.power_levels`:
    if event.type == "m.room.power_levels":
        return check_power_levels(check)

    # redaction (v1 and v2): If type is `m.room.redaction`:
    if event.type == "m.room.redaction" and check.rules.redaction_domain_rule:
        return _check_redaction(check)

    # allow: Otherwise, allow.
    return None


def _check_redaction(check: Check) -> Verdict:
    event = check.event
    power_levels = check.power_levels()
    # redaction.level: If the `sender`'s power level is greater than or equal to the *redact level*, allow.
    if power_levels.of_user(event.sender) >= power_levels.to_redact():
        return None

    # redaction.domain: If the domain of the `event_id` of the event being redacted is the same as the domain of the
    # `event_id` of the `m.room.redaction`, allow.
    if event.redacts is not None:
        domain = domain_of(event.redacts)
        if domain is not None and domain == domain_of(event.event_id):
            return None

    # redaction.otherwise: Otherwise, reject.
    return check.denied("redaction.otherwise", f"{event.sender} may not redact events of other servers")
