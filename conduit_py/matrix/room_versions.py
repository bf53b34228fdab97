"""What differs between room versions, as data.

A version is written as its difference from the one before it, so that each block below reads like the "changes" part of
its page in the spec. Code asks for a rule by name (``room_version.auth.knocking``) and never compares version numbers:
versions have no order.

Spec: rooms/#complete-list-of-room-versions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

EventIdFormat = Literal["random", "hash", "hash_url_safe"]
StateResolution = Literal["v1", "v2", "v2.1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthRules:
    """What the authorisation rules of a room version ask for."""

    aliases_rule: bool
    """v1 to v5: ``m.room.aliases`` has a rule of its own. rooms/v1/#authorisation-rules rule 4"""
    redaction_domain_rule: bool
    """v1 and v2: rule 11 allows a redaction by the redact level or by the domain of the event ids.
    rooms/v1/#authorisation-rules"""
    create_has_creator: bool
    """v1 to v10: ``m.room.create`` must have ``content.creator``, and that user is the creator.
    rooms/v11/#remove-the-creator-property-of-mroomcreate-events"""
    create_in_auth_events: bool
    """v1 to v11: ``m.room.create`` is selected for ``auth_events``; in v12 it must not be.
    rooms/v12/#authorisation-rules rule 3.2"""
    notifications_levels_checked: bool
    """Since v6: changes to ``notifications`` of ``m.room.power_levels`` are checked. rooms/v6/#authorisation-rules"""
    knocking: bool
    """Since v7: ``knock`` is a membership and a join rule. rooms/v7/#authorisation-rules"""
    restricted_join_rule: bool
    """Since v8: ``restricted`` is a join rule, and ``join_authorised_via_users_server`` must be signed for.
    rooms/v8/#authorisation-rules"""
    knock_restricted_join_rule: bool
    """Since v10: ``knock_restricted`` is a join rule. rooms/v10/#authorisation-rules"""
    float_power_levels: bool
    """v1 to v5: power levels may be floats, which are truncated.
    rooms/v1/#mroompower_levels-events-accept-values-as-floats"""
    integer_power_levels: bool
    """Since v10: power levels must be integers; before, strings of digits pass too.
    rooms/v10/#values-in-mroompower_levels-events-must-be-integers"""
    room_id_is_create_event_id: bool
    """Since v12: rules 1.2 and 2, the room ID is the create event's ID with ``!``; before, rule 1.2 compares domains.
    rooms/v12/#authorisation-rules"""
    privileged_creators: bool
    """Since v12: creators have an infinite power level and must not be listed in ``m.room.power_levels`` (rule 10.4).
    rooms/v12/#authorisation-rules"""
    additional_creators: bool
    """Since v12: ``content.additional_creators`` of ``m.room.create`` names more creators (rule 1.4).
    rooms/v12/#authorisation-rules"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactionRules:
    """Which keys survive a redaction, beyond those that survive in every version."""

    keeps_historical_keys: bool
    """v1 to v10: top-level ``origin``, ``membership`` and ``prev_state`` are kept. rooms/v11/#redactions"""
    keeps_aliases: bool
    """v1 to v5: ``aliases`` of ``m.room.aliases`` is kept. rooms/v6/#redactions"""
    keeps_join_rule_allow: bool
    """Since v8: ``allow`` of ``m.room.join_rules`` is kept. rooms/v8/#redactions"""
    keeps_join_authorised_via_users_server: bool
    """Since v9: ``join_authorised_via_users_server`` of ``m.room.member`` is kept. rooms/v9/#redactions"""
    keeps_create_content: bool
    """Since v11: the whole content of ``m.room.create`` is kept; before, ``creator`` alone. rooms/v11/#redactions"""
    keeps_third_party_invite_signed: bool
    """Since v11: ``third_party_invite.signed`` of ``m.room.member`` is kept. rooms/v11/#redactions"""
    keeps_invite_level: bool
    """Since v11: ``invite`` of ``m.room.power_levels`` is kept. rooms/v11/#redactions"""
    keeps_redacts_in_content: bool
    """Since v11: ``redacts`` in the content of ``m.room.redaction`` is kept. rooms/v11/#redactions"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFormat:
    """How a PDU is written on the wire, hashed and signed."""

    event_id_format: EventIdFormat
    """``random``: ``$opaque:domain`` in the event (v1, v2). ``hash``: the reference hash (v3). ``hash_url_safe``: the
    same in URL-safe Base64 (since v4). rooms/v3/#event-ids, rooms/v4/#event-ids"""
    references_have_hashes: bool
    """v1 and v2: ``prev_events`` and ``auth_events`` hold ``[event_id, hashes]`` pairs. rooms/v3/#event-format"""
    event_id_server_signs: bool
    """v1 and v2: the server in the event ID must have signed too. rooms/v3/#authorisation-rules"""
    strict_canonical_json: bool
    """Since v6: floats and integers beyond 53 bits are refused. rooms/v6/#canonical-json"""
    depth_max: int
    """2**63 - 1, since v6 2**53 - 1. rooms/v6/#event-format"""
    redacts_in_content: bool
    """Since v11: ``redacts`` stands in the content.
    rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property"""
    create_has_room_id: bool
    """v1 to v11: ``m.room.create`` carries a ``room_id``; since v12 it must not. rooms/v12/#event-format"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomVersion:
    """One room version: its name and every rule that depends on it."""

    id: str
    stable: bool
    """As listed for clients in ``m.room_versions``. rooms/#complete-list-of-room-versions"""
    auth: AuthRules
    redaction: RedactionRules
    event_format: EventFormat
    state_res: StateResolution
    """``v2`` since v2, ``v2.1`` since v12. rooms/v2/#state-resolution, rooms/v12/#state-resolution"""
    enforce_key_validity: bool
    """Since v5: a key signs only events up to its ``valid_until_ts``. rooms/v5/#signing-key-validity-period"""


_V1 = RoomVersion(
    id="1",
    stable=True,
    auth=AuthRules(
        aliases_rule=True,
        redaction_domain_rule=True,
        create_has_creator=True,
        create_in_auth_events=True,
        notifications_levels_checked=False,
        knocking=False,
        restricted_join_rule=False,
        knock_restricted_join_rule=False,
        float_power_levels=True,
        integer_power_levels=False,
        room_id_is_create_event_id=False,
        privileged_creators=False,
        additional_creators=False,
    ),
    redaction=RedactionRules(
        keeps_historical_keys=True,
        keeps_aliases=True,
        keeps_join_rule_allow=False,
        keeps_join_authorised_via_users_server=False,
        keeps_create_content=False,
        keeps_third_party_invite_signed=False,
        keeps_invite_level=False,
        keeps_redacts_in_content=False,
    ),
    event_format=EventFormat(
        event_id_format="random",
        references_have_hashes=True,
        event_id_server_signs=True,
        strict_canonical_json=False,
        depth_max=2**63 - 1,
        redacts_in_content=False,
        create_has_room_id=True,
    ),
    state_res="v1",
    enforce_key_validity=False,
)

_V2 = replace(_V1, id="2", state_res="v2")

_V3 = replace(
    _V2,
    id="3",
    auth=replace(_V2.auth, redaction_domain_rule=False),
    event_format=replace(
        _V2.event_format, event_id_format="hash", references_have_hashes=False, event_id_server_signs=False
    ),
)

_V4 = replace(_V3, id="4", event_format=replace(_V3.event_format, event_id_format="hash_url_safe"))

_V5 = replace(_V4, id="5", enforce_key_validity=True)

_V6 = replace(
    _V5,
    id="6",
    auth=replace(_V5.auth, aliases_rule=False, notifications_levels_checked=True, float_power_levels=False),
    redaction=replace(_V5.redaction, keeps_aliases=False),
    event_format=replace(_V5.event_format, strict_canonical_json=True, depth_max=2**53 - 1),
)

_V7 = replace(_V6, id="7", auth=replace(_V6.auth, knocking=True))

_V8 = replace(
    _V7,
    id="8",
    auth=replace(_V7.auth, restricted_join_rule=True),
    redaction=replace(_V7.redaction, keeps_join_rule_allow=True),
)

_V9 = replace(_V8, id="9", redaction=replace(_V8.redaction, keeps_join_authorised_via_users_server=True))

_V10 = replace(_V9, id="10", auth=replace(_V9.auth, knock_restricted_join_rule=True, integer_power_levels=True))

_V11 = replace(
    _V10,
    id="11",
    auth=replace(_V10.auth, create_has_creator=False),
    redaction=replace(
        _V10.redaction,
        keeps_historical_keys=False,
        keeps_create_content=True,
        keeps_third_party_invite_signed=True,
        keeps_invite_level=True,
        keeps_redacts_in_content=True,
    ),
    event_format=replace(_V10.event_format, redacts_in_content=True),
)

_V12 = replace(
    _V11,
    id="12",
    auth=replace(
        _V11.auth,
        create_in_auth_events=False,
        room_id_is_create_event_id=True,
        privileged_creators=True,
        additional_creators=True,
    ),
    event_format=replace(_V11.event_format, create_has_room_id=False),
    state_res="v2.1",
)

_ALL = (_V1, _V2, _V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10, _V11, _V12)

ROOM_VERSIONS: Final[Mapping[str, RoomVersion]] = MappingProxyType({version.id: version for version in _ALL})

DEFAULT_ROOM_VERSION: Final = _V12.id
"""Spec: rooms/#complete-list-of-room-versions"""


def get_room_version(version_id: str) -> RoomVersion | None:
    """``None`` when this server does not know the version."""
    return ROOM_VERSIONS.get(version_id)
