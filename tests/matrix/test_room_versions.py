"""Room versions as data: each rule holds in the versions that the spec names."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter

import pytest

from conduit_py.matrix.room_versions import (
    DEFAULT_ROOM_VERSION,
    ROOM_VERSIONS,
    AuthRules,
    EventFormat,
    RedactionRules,
    get_room_version,
)

# Rule, first version and last version in which it holds.
SPANS = {
    "auth.aliases_rule": (1, 5),
    "auth.redaction_domain_rule": (1, 2),
    "auth.create_has_creator": (1, 10),
    "auth.create_in_auth_events": (1, 11),
    "auth.notifications_levels_checked": (6, 12),
    "auth.knocking": (7, 12),
    "auth.restricted_join_rule": (8, 12),
    "auth.knock_restricted_join_rule": (10, 12),
    "auth.float_power_levels": (1, 5),
    "auth.integer_power_levels": (10, 12),
    "auth.room_id_is_create_event_id": (12, 12),
    "auth.privileged_creators": (12, 12),
    "auth.additional_creators": (12, 12),
    "redaction.keeps_historical_keys": (1, 10),
    "redaction.keeps_aliases": (1, 5),
    "redaction.keeps_join_rule_allow": (8, 12),
    "redaction.keeps_join_authorised_via_users_server": (9, 12),
    "redaction.keeps_create_content": (11, 12),
    "redaction.keeps_third_party_invite_signed": (11, 12),
    "redaction.keeps_invite_level": (11, 12),
    "redaction.keeps_redacts_in_content": (11, 12),
    "event_format.references_have_hashes": (1, 2),
    "event_format.event_id_server_signs": (1, 2),
    "event_format.strict_canonical_json": (6, 12),
    "event_format.redacts_in_content": (11, 12),
    "event_format.create_has_room_id": (1, 11),
    "enforce_key_validity": (5, 12),
    "stable": (1, 12),
}


@pytest.mark.parametrize("rule", SPANS)
def test_rule_holds_in_the_versions_the_spec_names(rule: str) -> None:
    first, last = SPANS[rule]
    holds = [int(version_id) for version_id, version in ROOM_VERSIONS.items() if attrgetter(rule)(version)]
    assert holds == list(range(first, last + 1))


def test_every_boolean_rule_has_a_span() -> None:
    groups = {"auth": AuthRules, "redaction": RedactionRules, "event_format": EventFormat}
    rules = {f"{group}.{rule.name}" for group, kind in groups.items() for rule in fields(kind) if rule.type == "bool"}
    assert rules == {rule for rule in SPANS if "." in rule}


def test_formats_and_algorithms_by_version() -> None:
    table = [
        (version.event_format.event_id_format, version.state_res, version.event_format.depth_max)
        for version in ROOM_VERSIONS.values()
    ]
    assert table == [
        ("random", "v1", 2**63 - 1),
        ("random", "v2", 2**63 - 1),
        ("hash", "v2", 2**63 - 1),
        *[("hash_url_safe", "v2", 2**63 - 1)] * 2,
        *[("hash_url_safe", "v2", 2**53 - 1)] * 6,
        ("hash_url_safe", "v2.1", 2**53 - 1),
    ]


def test_versions_are_found_by_their_name() -> None:
    assert list(ROOM_VERSIONS) == [str(n) for n in range(1, 13)]
    assert all(version.id == version_id for version_id, version in ROOM_VERSIONS.items())
    assert get_room_version("13") is None
    default = get_room_version(DEFAULT_ROOM_VERSION)
    assert default is not None
    assert (default.id, default.stable) == ("12", True)
